//! `cargo xtask test --packages`: the packages of this version and of the next one, installed, used, replaced and
//! removed.
//!
//! No version was released yet whose packages could be the earlier ones. So the later ones are made here: the same
//! source under the next version's number, with newer formats for everything that gatepass keeps. Going back from
//! them is going back from the worst that a next version may bring.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cross::toolchain::{self, Toolchain};
use crate::install::{self, Part};
use crate::load_configuration;
use crate::package::trial::{self, Trial};
use crate::package::version;
use crate::process::{answer, cargo, command, root, run};
use crate::test::{Tests, Which};
use crate::windows;

/// What to look for on this machine, and the Debian package that brings it.
const PARTS: [(Part, &str); 12] = [
    (Part::Program("mmdebstrap"), "mmdebstrap"),
    (Part::Program("nsenter"), "util-linux"),
    (Part::Program("strip"), "binutils"),
    (Part::Program("wixl"), "wixl"),
    (Part::Program("msibuild"), "msitools"),
    (Part::Program("rpm"), "rpm"),
    (Part::Program("lintian"), "lintian"),
    (Part::Program("rpmlint"), "rpmlint"),
    (Part::Program("xmllint"), "libxml2-utils"),
    (Part::Program("desktop-file-validate"), "desktop-file-utils"),
    (Part::Program("shellcheck"), "shellcheck"),
    (Part::Program("bsdtar"), "libarchive-tools"),
];

/// The Debian release that packages are installed into, and what its desktops have that gatepass needs. `rpm` is there
/// because no distribution of its own can be had everywhere that this runs.
const RELEASE: &str = "trixie";
const BESIDE: &str = "ca-certificates,dbus,gnome-keyring,libsecret-tools,rpm";

/// What gatepass keeps between runs, and where the number of its format stands.
const FORMATS: [&str; 3] = [
    "src/session/record.rs",
    "src/session/state.rs",
    "src/session/active_sign_in.rs",
];

/// How long one test may take: a machine is started, and packages installed and removed.
const LIMIT: Duration = Duration::from_secs(600);

/// One version's packages.
struct Version {
    number: String,
    packages: PathBuf,
}

/// Installs what is missing.
pub(crate) fn tools() -> Result<(), String> {
    if answer("id", &["-u"]).as_deref() != Some("0") {
        return Err(
            "packages are installed into folders that only root can enter: run this as root"
                .to_owned(),
        );
    }
    install::missing_of(&PARTS)?;
    windows::tools()
}

/// Builds the packages of both versions, for the tests that install them.
pub(crate) fn tests(finished: bool) -> Result<Vec<Tests>, String> {
    let kept = toolchain::kept()?;
    let debian = debian(&kept)?;
    let toolchain = Toolchain::provide(&[windows::TARGET])?;
    let wine = windows::wine(&kept)?;
    let place = kept.join("packages");
    let this = if finished {
        Version {
            number: version(),
            packages: trial::finished()?,
        }
    } else {
        build(&root(), version(), &place.join("this"), &toolchain)?
    };
    let source = place.join("source");
    let number = next_version(&source)?;
    let next = build(&source, number, &place.join("next"), &toolchain)?;
    let tests = Tests::of(&["--workspace", "--test", "packages"])
        .which(Which::Ignored)
        .one_by_one()
        .limit(LIMIT)
        .env("GATEPASS_DEBIAN", debian)
        .env("GATEPASS_WINE", wine)
        .env("GATEPASS_THIS_VERSION", this.number)
        .env("GATEPASS_THIS_PACKAGES", this.packages)
        .env("GATEPASS_NEXT_VERSION", next.number)
        .env("GATEPASS_NEXT_PACKAGES", next.packages);
    Ok(vec![tests])
}

/// A Debian that nothing was installed into but what desktops have; each test takes a copy of it.
fn debian(kept: &Path) -> Result<PathBuf, String> {
    let system = kept.join(format!("debian-{RELEASE}"));
    if !system.exists() {
        let unfinished = kept.join("debian-unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        let mut debian = command("mmdebstrap", &["--variant=minbase", "--quiet"]);
        debian
            // Mirrors of a moment in the past are as good.
            .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
            .args([&format!("--include={BESIDE}"), RELEASE])
            .arg(&unfinished)
            .arg(toolchain::mirror());
        run(&mut debian)
            .map_err(|why| format!("the Debian to install into cannot be fetched: {why}"))?;
        fs::rename(&unfinished, &system).map_err(|error| error.to_string())?;
    }
    Ok(system)
}

/// Builds one version's programs and packs them.
fn build(
    source: &Path,
    number: String,
    folder: &Path,
    toolchain: &Toolchain,
) -> Result<Version, String> {
    println!("version {number}");
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).map_err(|e| format!("{}: {e}", programs.display()))?;
    let (linux, exe) = (programs.join("gatepass"), programs.join("gatepass.exe"));
    // Where the versions' programs come to lie is the same: each is taken away before the other is built.
    let target = toolchain.target_dir();
    run(
        cargo(&["build", "--quiet", "--package=gatepass", "--bin=gatepass"])
            .current_dir(source)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0"),
    )?;
    let built = target.join("debug/gatepass");
    run(command("strip", &["-o"]).arg(&linux).arg(built))?;
    run(windows::build(toolchain, &["gatepass"]).current_dir(source))?;
    let built = target.join(windows::TARGET).join("debug/gatepass.exe");
    run(command("strip", &["-o"]).arg(&exe).arg(built))?;
    load_configuration::complete(&exe)?;
    let trial = Trial {
        version: number.clone(),
        folder: folder.to_owned(),
        linux,
        windows: exe,
        mac: [
            mac(toolchain, "aarch64", &programs)?,
            mac(toolchain, "x86_64", &programs)?,
        ],
    };
    let packages = trial.pack()?;
    Ok(Version { number, packages })
}

/// A program for Macs that does nothing. No Mac is here to run one: what is looked at is the package around it.
fn mac(toolchain: &Toolchain, processor: &str, folder: &Path) -> Result<PathBuf, String> {
    let program = folder.join(format!("gatepass-{processor}"));
    let source = folder.join("nothing.c");
    fs::write(&source, "int main(void) { return 0; }\n").map_err(|e| e.to_string())?;
    run(toolchain
        .c_compiler(&format!("{processor}-macos"))
        .arg("-o")
        .arg(&program)
        .arg(source))?;
    Ok(program)
}

/// Lays out the source of the next version, and says its number.
fn next_version(folder: &Path) -> Result<String, String> {
    let listed = command(
        "git",
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    )
    .output()
    .map_err(|e| format!("git: {e}"))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let number = raised(&version())?;
    // What is there no more must not be found by cargo either.
    let there: BTreeSet<PathBuf> = listed
        .split('\0')
        .filter(|name| root().join(name).is_file())
        .map(|name| folder.join(name))
        .collect();
    prune(folder, &there)?;
    for file in listed.split('\0').filter(|name| !name.is_empty()) {
        let Ok(content) = fs::read(root().join(file)) else {
            // Removed and not committed yet.
            continue;
        };
        let content = if file == "Cargo.toml" {
            changed(
                file,
                &content,
                &format!("\nversion = \"{}\"", version()),
                &format!("\nversion = \"{number}\""),
            )?
        } else if FORMATS.contains(&file) {
            changed(
                file,
                &content,
                "const FORMAT: u32 = 1;",
                "const FORMAT: u32 = 2;",
            )?
        } else {
            content
        };
        let to = folder.join(file);
        // What stays as it is need not be compiled again.
        if file != "Cargo.lock" && fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        let parent = to.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&to, content))
            .map_err(|e| format!("{}: {e}", to.display()))?;
    }
    Ok(number)
}

/// Removes all files of a folder but these.
fn prune(folder: &Path, but: &BTreeSet<PathBuf>) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder) else {
        // There is none yet.
        return Ok(());
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            prune(&path, but)?;
        } else if !but.contains(&path) {
            fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

/// A file with another text in one place.
fn changed(file: &str, content: &[u8], from: &str, to: &str) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(content);
    if text.matches(from).count() == 1 {
        Ok(text.replace(from, to).into_bytes())
    } else {
        Err(format!(
            "{file} does not have {from:?} in one place: the next version cannot be made"
        ))
    }
}

/// The next minor version.
fn raised(version: &str) -> Result<String, String> {
    let numbers: Vec<u32> = version
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect();
    match numbers[..] {
        [major, minor, _] => Ok(format!("{major}.{}.0", minor + 1)),
        _ => Err(format!("{version} is no version of three numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::{changed, raised};

    #[test]
    fn the_next_version_is_a_minor_one() {
        assert_eq!(raised("1.9.3").as_deref(), Ok("1.10.0"));
        assert!(raised("1.9.3-rc1").is_err());
    }

    #[test]
    fn what_is_to_be_changed_must_be_there_once() {
        assert_eq!(changed("f", b"a b", "b", "c").as_deref(), Ok(&b"a c"[..]));
        assert!(changed("f", b"a b b", "b", "c").is_err());
        assert!(changed("f", b"a", "b", "c").is_err());
    }
}
