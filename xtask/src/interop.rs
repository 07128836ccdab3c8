//! What the lane of real servers needs from the machine. Only what is missing is installed.

use std::fs;

use gatepass_testkit::lab::{Keycloak, LiteLlm};

use crate::install::{self, Part};
use crate::process::{command, run};

/// What to look for, and the Debian package that brings it.
const PARTS: [(Part, &str); 15] = [
    (Part::Program("apache2"), "apache2"),
    (
        Part::File("/usr/lib/apache2/modules/mod_auth_openidc.so"),
        "libapache2-mod-auth-openidc",
    ),
    (Part::Program("glewlwyd"), "glewlwyd"),
    (
        Part::File("/usr/share/lemonldap-ng/portal/htdocs/index.psgi"),
        "liblemonldap-ng-portal-perl",
    ),
    (
        Part::File("/var/lib/lemonldap-ng/conf/lmConf-1.json"),
        "lemonldap-ng",
    ),
    // LemonLDAP::NG calls the next ones optional and does not start without them.
    (Part::Library, "libgd-securityimage-perl"),
    (Part::Library, "libimage-magick-perl"),
    (Part::Library, "libstring-random-perl"),
    (Part::Library, "libcrypt-openssl-x509-perl"),
    (Part::Library, "libconvert-pem-perl"),
    (Part::Library, "libconvert-base32-perl"),
    (Part::Program("starman"), "starman"),
    (Part::Library, "python3-venv"),
    (Part::Program("java"), "openjdk-17-jre-headless"),
    (Part::Program("mvn"), "maven"),
];

/// Installs the servers that Debian has.
pub(crate) fn servers() -> Result<(), String> {
    install::missing_of(&PARTS)
}

/// Installs `LiteLLM` into a Python environment of its own that is kept between runs.
pub(crate) fn litellm() -> Result<(), String> {
    let kept = LiteLlm::environment();
    if kept.join("complete").exists() {
        println!("it is in {}", kept.display());
        return Ok(());
    }
    let path = kept.display().to_string();
    run(&mut command("/usr/bin/python3", &["-m", "venv", &path]))?;
    let wanted = format!("litellm[proxy]=={}", LiteLlm::VERSION);
    run(&mut command(
        &format!("{path}/bin/pip"),
        &["install", "--quiet", "--no-cache-dir", &wanted],
    ))
    .map_err(|why| {
        format!("{why}: LiteLLM could not be fetched from PyPI (is there a network?)")
    })?;
    // An installation that was broken off has no such mark.
    fs::write(kept.join("complete"), &wanted).map_err(|e| format!("{path}: {e}"))
}

/// Installs Keycloak from Maven Central, where its makers publish it.
pub(crate) fn keycloak() -> Result<(), String> {
    let kept = Keycloak::folder();
    if kept.join("complete").exists() {
        println!("it is in {}", kept.display());
        return Ok(());
    }
    let folder = kept.parent().ok_or("no folder to keep it in")?;
    let folder = folder.display().to_string();
    let version = Keycloak::VERSION;
    let artifact = format!("-Dartifact=org.keycloak:keycloak-quarkus-dist:{version}:tar.gz");
    let output = format!("-DoutputDirectory={folder}");
    let goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy";
    run(&mut command(
        "mvn",
        &["--batch-mode", "--quiet", goal, &artifact, &output],
    ))
    .map_err(|why| {
        format!("{why}: Keycloak could not be fetched from Maven Central (is there a network?)")
    })?;
    let archive = format!("{folder}/keycloak-quarkus-dist-{version}.tar.gz");
    run(&mut command("tar", &["-xzf", &archive, "-C", &folder]))?;
    fs::remove_file(&archive).map_err(|e| format!("{archive}: {e}"))?;
    fs::write(kept.join("complete"), version).map_err(|e| format!("{folder}: {e}"))
}
