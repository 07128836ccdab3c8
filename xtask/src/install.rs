//! What the tests need from the machine. Only what is missing is installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{answer, command, find, root, run};

/// What to look for, and the Debian package that brings it.
const PARTS: [(Part, &str); 18] = [
    (Part::Program("dbus-daemon"), "dbus"),
    (Part::Program("dbus-send"), "dbus"),
    (Part::Program("gnome-keyring-daemon"), "gnome-keyring"),
    (Part::Program("secret-tool"), "libsecret-tools"),
    (Part::Program("keyctl"), "keyutils"),
    (Part::Program("chromium"), "chromium"),
    (
        Part::File("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
        "fonts-dejavu-core",
    ),
    (Part::Program("node"), "nodejs"),
    (Part::Program("npm"), "npm"),
    (Part::Program("strace"), "strace"),
    (Part::Program("openssl"), "openssl"),
    (Part::Program("bsdtar"), "libarchive-tools"),
    (Part::Program("script"), "bsdutils"),
    (Part::Program("setpriv"), "util-linux"),
    (Part::Program("python3"), "python3"),
    (Part::Program("xmllint"), "libxml2-utils"),
    (Part::Program("ansible-playbook"), "ansible-core"),
    (Part::Program("valgrind"), "valgrind"),
];

/// The oldest Node.js that runs the lab's scripts.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// How to see whether something is installed.
pub(crate) enum Part {
    /// A program of this name.
    Program(&'static str),
    /// This file or folder.
    File(&'static str),
    /// The package's own folder of documents, for what brings no program.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "the lane of real servers is Linux's")
    )]
    Library,
}

impl Part {
    fn is_there(&self, package: &str) -> bool {
        match self {
            Self::Program(name) => find(name).is_some(),
            Self::File(path) => Path::new(path).exists(),
            Self::Library => Path::new("/usr/share/doc").join(package).exists(),
        }
    }
}

/// Installs the Debian packages that are missing.
pub(crate) fn packages() -> Result<(), String> {
    missing_of(&PARTS)
}

/// Installs those of these Debian packages that are missing.
pub(crate) fn missing_of(parts: &[(Part, &'static str)]) -> Result<(), String> {
    let mut missing: Vec<&str> = parts
        .iter()
        .filter(|(part, package)| !part.is_there(package))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    install(&missing)
}

/// Installs these Debian packages.
pub(crate) fn install(missing: &[&str]) -> Result<(), String> {
    println!("missing: {}", missing.join(" "));
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    if find("apt-get").is_none() {
        return Err(format!(
            "this is no Debian; install what these packages bring there: {}",
            missing.join(" ")
        ));
    }
    let root = answer("id", &["-u"]).as_deref() == Some("0");
    let sudo = !root && answer("sudo", &["-n", "true"]).is_some();
    if !root && !sudo {
        return Err(format!("run this once: sudo {by_hand}"));
    }
    let apt = |arguments: &[&str]| {
        let words = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let words: Vec<&str> = words.iter().chain(arguments).copied().collect();
        if sudo {
            run(command("sudo", &[&["-n"], &words[..]].concat()).env("LC_ALL", "C"))
        } else {
            run(&mut command(words[0], &words[1..]))
        }
    };
    let unfetched = |why: String| {
        format!(
            "{why}: could not be fetched from Debian (is there a network?): {}; by hand: {by_hand}",
            missing.join(" ")
        )
    };
    apt(&["update", "--quiet=2"]).map_err(unfetched)?;
    let arguments: Vec<&str> = ["install", "--yes", "--quiet=2", "--no-install-recommends"]
        .into_iter()
        .chain(missing.iter().copied())
        .collect();
    apt(&arguments).map_err(unfetched)
}

/// Installs the provider and the browser driver as their lock says, unless they are there already.
pub(crate) fn node_packages() -> Result<(), String> {
    let lab = root().join("tests/lab");
    // npm writes this file last.
    let written = |file: &str| {
        fs::metadata(lab.join(file))
            .and_then(|about| about.modified())
            .ok()
    };
    let (installed, lock) = (
        written("node_modules/.package-lock.json"),
        written("package-lock.json"),
    );
    if installed.is_some() && installed >= lock {
        println!("they are as the lock says");
        return Ok(());
    }
    let mut npm = npm("ci", &lab);
    if node_is_recent() {
        npm.arg("--omit=optional");
    } else {
        println!("this machine's Node.js is too old for the provider: its own one comes along");
    }
    run(&mut npm).map_err(|why| {
        format!("{why}: the provider and the browser driver could not be fetched from npm (is there a network?)")
    })
}

/// npm in this folder. Where there is no network it gives up soon: by itself it would take more than five minutes.
pub(crate) fn npm(what: &str, folder: &Path) -> Command {
    let mut npm = command("npm", &[what, "--no-audit", "--no-fund"]);
    npm.args(["--fetch-retries=2", "--fetch-retry-mintimeout=1000"])
        .arg("--fetch-retry-maxtimeout=5000")
        .current_dir(folder);
    npm
}

fn node_is_recent() -> bool {
    let version = answer("node", &["--version"]).unwrap_or_default();
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST_NODE
}
