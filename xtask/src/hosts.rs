//! What the lane of real hosts needs from the machine. Only what is missing is installed.

use std::fs;
use std::path::Path;

use gatepass_testkit::lab::Hosts;

use crate::install::{self, Part};
use crate::process::{command, run};

/// What to look for, and the Debian package that brings it.
const PARTS: [(Part, &str); 1] = [(Part::Library, "python3-venv")];

/// Installs the programs (npm) and the libraries (npm, pip) as their locks say, in a folder that is kept between runs.
pub(crate) fn programs() -> Result<(), String> {
    install::missing_of(&PARTS)?;
    let (versions, kept) = (Hosts::versions(), Hosts::folder());
    fs::create_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    kept_as(
        &versions.join("package-lock.json"),
        &kept.join("npm-complete"),
        || {
            for name in ["package.json", "package-lock.json"] {
                fs::copy(versions.join(name), kept.join(name))
                    .map_err(|e| format!("{name}: {e}"))?;
            }
            // The programs come as they are in their packages; their scripts would only fetch or link them again.
            // Not `npm ci`: it refuses a lock without opencode's packages for other systems, which not every registry
            // has. What the lock names, `npm install` takes as the lock says, too.
            run(install::npm("install", &kept).arg("--ignore-scripts")).map_err(|why| {
                format!("{why}: the hosts could not be fetched from npm (is there a network?)")
            })
        },
    )?;
    let wanted = versions.join("requirements.txt");
    kept_as(&wanted, &kept.join("pip-complete"), || {
        let python = kept.join("python").display().to_string();
        run(&mut command("/usr/bin/python3", &["-m", "venv", &python]))?;
        let list = wanted.display().to_string();
        let pip = format!("{python}/bin/pip");
        run(&mut command(
            &pip,
            &["install", "--quiet", "--no-deps", "--requirement", &list],
        ))
        .map_err(|why| {
            format!("{why}: the libraries could not be fetched from PyPI (is there a network?)")
        })
    })
}

/// Installs, unless the mark says that this very list was installed to the end.
fn kept_as(
    list: &Path,
    mark: &Path,
    install: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let wanted = fs::read(list).map_err(|e| format!("{}: {e}", list.display()))?;
    if fs::read(mark).is_ok_and(|there| there == wanted) {
        println!("{} is as its list says", mark.display());
        return Ok(());
    }
    install()?;
    fs::write(mark, wanted).map_err(|e| format!("{}: {e}", mark.display()))
}
