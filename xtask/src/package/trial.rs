//! Packages of debug programs, in a folder of their own: what is installed to try packages out.

use std::fs;
use std::path::{Path, PathBuf};

use super::target::Target;
use super::{Kind, Release, make_folder, pack};
use crate::process::root;

/// Programs that are to be packed.
pub(crate) struct Trial {
    /// The version that the packages say they are.
    pub(crate) version: String,
    /// Where everything is put.
    pub(crate) folder: PathBuf,
}

impl Trial {
    /// Packs the programs for Linux and Windows, and says where the packages are.
    pub(crate) fn pack(&self, linux: &Path, windows: &Path) -> Result<PathBuf, String> {
        let release = Release {
            version: self.version.clone(),
            epoch: Release::of_this_commit()?.epoch,
            source: root(),
            target_dir: self.folder.join("target"),
            native: self.folder.join("target"),
            packages: self.folder.join("packages"),
        };
        if release.packages.exists() {
            fs::remove_dir_all(&release.packages).map_err(|e| e.to_string())?;
        }
        make_folder(&release.packages)?;
        // It says what manual and completions consist of.
        place(linux, &release.target_dir.join("debug"))?;
        for (target, program, kinds) in [
            (Target::LinuxX64, linux, &[Kind::Deb, Kind::Rpm][..]),
            (Target::WindowsX64, windows, &[Kind::Msi]),
        ] {
            let folder = release.target_dir.join(target.triple()).join("release");
            place(program, &folder)?;
            pack(target, kinds, &release)?;
        }
        Ok(release.packages)
    }
}

/// Where `cargo xtask package` leaves what it made.
pub(crate) fn finished() -> Result<PathBuf, String> {
    Ok(Release::of_this_commit()?.packages)
}

/// Copies a program into a folder.
fn place(program: &Path, folder: &Path) -> Result<(), String> {
    make_folder(folder)?;
    let to = folder.join(program.file_name().unwrap_or_default());
    fs::copy(program, &to)
        .map(drop)
        .map_err(|e| format!("{}: {e}", program.display()))
}
