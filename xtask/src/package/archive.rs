//! Archives to unpack by hand: `.tar.gz`, and `.zip` for Windows. Everything in one folder, with the binary on top.

use std::fs;
use std::path::{Path, PathBuf};

use super::stage::Stage;
use super::target::System;
use super::{Release, make_folder, packaging, write};
use crate::process::{command, root, run};

/// What goes along from the laid-out folder.
const FILES: [&str; 9] = [
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "CHANGELOG.md",
    "THIRD-PARTY-LICENCES.txt",
    "gatepass.cdx.json",
    "gatepass.1",
    "gatepass.bash",
    "_gatepass",
    "gatepass.fish",
];

/// What device managements are given, for every system, since nobody rolls out from the machine that it is for: below
/// the repository, and its folder in the archive. A folder goes along with all that is in it.
const MANAGEMENT: [(&str, &str); 9] = [
    ("packaging/linux/policy.example.toml", "linux"),
    ("packaging/macos/example.mobileconfig", "macos"),
    ("packaging/macos/io.gatepass.helper.plist", "macos"),
    ("packaging/windows/example.reg", "windows"),
    ("packaging/windows/gatepass.admx", "windows"),
    ("packaging/windows/en-US", "windows"),
    ("packaging/mdm", ""),
    ("schema/gatepass.schema.json", "schema"),
    ("schema/gatepass-policy.schema.json", "schema"),
];

/// Lays out the folder for whoever rolls out.
fn management(folder: &Path) -> Result<(), String> {
    for (from, below) in MANAGEMENT {
        let below = folder.join(below);
        make_folder(&below)?;
        let from = root().join(from);
        let (from, below) = (from.display().to_string(), below.display().to_string());
        run(&mut command("cp", &["-R", &from, &below]))?;
    }
    Ok(())
}

/// Writes the archive.
pub(super) fn make(stage: &Stage, release: &Release) -> Result<(), String> {
    let name = format!("gatepass-{}-{}", release.version, stage.target.name());
    let work = stage.folder.join("archive");
    let folder = work.join(&name);
    make_folder(&folder)?;
    let copy = |from: &Path, to: PathBuf| {
        fs::copy(from, &to)
            .map(drop)
            .map_err(|e| format!("{}: {e}", from.display()))
    };
    copy(&stage.binary, folder.join(stage.target.binary()))?;
    for file in FILES {
        copy(&stage.folder.join(file), folder.join(file))?;
    }
    if stage.target.system() == System::Windows {
        copy(
            &stage.folder.join("gatepass.ps1"),
            folder.join("gatepass.ps1"),
        )?;
    }
    management(&folder.join("management"))?;
    write(
        &folder.join("README.md"),
        super::read(&packaging("archive.md"))?,
    )?;
    let archive = release.packages.join(match stage.target.system() {
        System::Windows => format!("{name}.zip"),
        System::Linux | System::Mac => format!("{name}.tar.gz"),
    });
    let archive = archive.display().to_string();
    // Sorted, owned by nobody in particular, dated with the commit: the same bytes every time.
    let script = match stage.target.system() {
        System::Windows => {
            "rm -f \"$2\"; find \"$1\" -exec touch --date=@\"$3\" {} +; \
             find \"$1\" -type f | LC_ALL=C sort | TZ=UTC zip -X -9 -q \"$2\" -@"
        }
        System::Linux | System::Mac => {
            "set -o pipefail; tar --create --sort=name --format=ustar --mtime=@\"$3\" --owner=0 --group=0 \
             --numeric-owner --mode=u+rw,go+r,go-w \"$1\" | gzip -9 -n > \"$2\""
        }
    };
    let mut pack = command(
        "bash",
        &[
            "-ec",
            script,
            "pack",
            &name,
            &archive,
            &release.epoch.to_string(),
        ],
    );
    run(pack.current_dir(&work))?;
    fs::remove_dir_all(&work).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::management;

    #[test]
    fn whoever_rolls_out_finds_every_template_and_script() {
        let folder =
            std::env::temp_dir().join(format!("gatepass-management-{}", std::process::id()));
        management(&folder).expect("laid out");
        for file in [
            "linux/policy.example.toml",
            "macos/example.mobileconfig",
            "macos/io.gatepass.helper.plist",
            "windows/example.reg",
            "windows/gatepass.admx",
            "windows/en-US/gatepass.adml",
            "mdm/intune/detect.ps1",
            "mdm/jamf/extension-attribute.sh",
            "mdm/ansible/gatepass/tasks/main.yml",
            "schema/gatepass-policy.schema.json",
        ] {
            assert!(folder.join(file).is_file(), "{file}");
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
