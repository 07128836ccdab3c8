//! Lays out what goes into every package of one target: documentation, completions, licences, bill of materials.
//!
//! The folder lies beside the binary, because cargo-deb and cargo-generate-rpm find both there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::target::{System, Target};
use super::{Release, crates, licences, make_folder, packaging, read, sbom, write};
use crate::process::{cargo, command, root, run};

/// A laid-out target.
pub(super) struct Stage {
    /// What it is for.
    pub(super) target: Target,
    /// The binary.
    pub(super) binary: PathBuf,
    /// The folder with everything else.
    pub(super) folder: PathBuf,
}

/// Who stands behind the packages; the same in `Cargo.toml`.
const MAINTAINER: &str = "gatepass developers <gatepass@users.noreply.github.com>";

/// Shells, and the names that their completion files must have.
pub(super) const COMPLETIONS: [(&str, &str); 4] = [
    ("bash", "gatepass.bash"),
    ("zsh", "_gatepass"),
    ("fish", "gatepass.fish"),
    ("powershell", "gatepass.ps1"),
];

impl Stage {
    /// Lays out the folder afresh.
    pub(super) fn lay_out(target: Target, release: &Release) -> Result<Self, String> {
        let binary = release.program(target);
        let stage = Self {
            target,
            folder: binary.with_file_name("package"),
            binary,
        };
        if stage.folder.exists() {
            fs::remove_dir_all(&stage.folder).map_err(|e| e.to_string())?;
        }
        make_folder(&stage.folder)?;
        let folder = &stage.folder;
        for file in ["LICENSE-MIT", "LICENSE-APACHE", "CHANGELOG.md"] {
            write(&folder.join(file), read(&root().join(file))?)?;
        }
        let linked = crates::linked(target)?;
        write(
            &folder.join("THIRD-PARTY-LICENCES.txt"),
            licences::of(&linked)?,
        )?;
        write(
            &folder.join("gatepass.cdx.json"),
            sbom::of(target, &linked, release)?,
        )?;
        // With xtask, so that what was compiled for it need not be compiled again.
        run(&mut cargo(&[
            "build",
            "--quiet",
            "--locked",
            "--package=gatepass",
            "--package=xtask",
            "--bin=gatepass",
        ]))?;
        stage.says(&["man"], "gatepass.1", release)?;
        for (shell, file) in COMPLETIONS {
            stage.says(&["completions", shell], file, release)?;
        }
        if target.system() == System::Linux {
            stage.debian_files(release)?;
        }
        Ok(stage)
    }

    /// What this version of gatepass prints on this machine, whatever the target.
    fn says(&self, arguments: &[&str], file: &str, release: &Release) -> Result<(), String> {
        let native = release.native.join("debug/gatepass");
        let output = command(&native.display().to_string(), arguments)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("{}: {e}", native.display()))?;
        if !output.status.success() || output.stdout.is_empty() {
            return Err(format!(
                "`gatepass {}` ended with {}",
                arguments.join(" "),
                output.status
            ));
        }
        write(&self.folder.join(file), output.stdout)
    }

    /// The forms that Debian wants: a changelog of its own kind, and compressed documentation.
    fn debian_files(&self, release: &Release) -> Result<(), String> {
        let when = command(
            "date",
            &[
                "--utc",
                "--rfc-email",
                &format!("--date=@{}", release.epoch),
            ],
        )
        .env("LC_ALL", "C")
        .output()
        .map_err(|e| format!("date: {e}"))?;
        write(
            &self.folder.join("changelog"),
            format!(
                "gatepass ({}) stable; urgency=medium\n\n  * What changed is in CHANGELOG.md.\n\n -- {}  {}\n",
                release.version,
                MAINTAINER,
                String::from_utf8_lossy(&when.stdout).trim()
            ),
        )?;
        let copyright = read(&packaging("linux/copyright"))?;
        write(&self.folder.join("copyright"), copyright)?;
        for file in ["gatepass.1", "changelog", "CHANGELOG.md"] {
            compressed(&self.folder.join(file))?;
        }
        Ok(())
    }
}

/// Writes `FILE.gz` beside a file, without name and time in it.
pub(super) fn compressed(file: &Path) -> Result<(), String> {
    run(&mut command(
        "gzip",
        &["-9", "-n", "--keep", "--force", &file.display().to_string()],
    ))
}
