//! Packages of debug programs, in a folder of their own: what is installed to try packages out.

use std::fs;
use std::path::{Path, PathBuf};

use super::target::{System, Target};
use super::{Kind, Package, Release, make_folder};
use crate::process::root;

/// Programs that are to be packed, for one processor per system but the Mac's two.
pub(crate) struct Trial {
    /// The version that the packages say they are.
    pub(crate) version: String,
    /// Where everything is put.
    pub(crate) folder: PathBuf,
    /// The program for Linux, which also says what manual and completions consist of.
    pub(crate) linux: PathBuf,
    /// The program for Windows.
    pub(crate) windows: PathBuf,
    /// What stands for the program for Macs: with Arm processors and with Intel's.
    pub(crate) mac: [PathBuf; 2],
}

impl Trial {
    /// Packs the programs, and says where the packages are.
    pub(crate) fn pack(&self) -> Result<PathBuf, String> {
        let target_dir = self.folder.join("target");
        let release = Release {
            version: self.version.clone(),
            epoch: Release::of_this_commit()?.epoch,
            source: root(),
            native: target_dir.clone(),
            target_dir,
            packages: self.folder.join("packages"),
        };
        if release.packages.exists() {
            fs::remove_dir_all(&release.packages).map_err(|e| e.to_string())?;
        }
        make_folder(&release.packages)?;
        place(&self.linux, &release.native.join("debug/gatepass"))?;
        let targets = [
            Target::LinuxX64,
            Target::WindowsX64,
            Target::MacArm64,
            Target::MacX64,
        ];
        for target in targets {
            let program = match target.system() {
                System::Linux => &self.linux,
                System::Windows => &self.windows,
                System::Mac => &self.mac[usize::from(!target.is_arm())],
            };
            place(program, &release.program(target))?;
        }
        let all = Package {
            kinds: vec![Kind::Deb, Kind::Rpm, Kind::Msi, Kind::Pkg],
            targets: targets.to_vec(),
            build: false,
            twice: false,
        };
        all.pack(&release)?;
        Ok(release.packages)
    }
}

/// Where `cargo xtask package` leaves what it made.
pub(crate) fn finished() -> Result<PathBuf, String> {
    Ok(Release::of_this_commit()?.packages)
}

/// Copies a program.
fn place(program: &Path, to: &Path) -> Result<(), String> {
    make_folder(to.parent().unwrap_or(to))?;
    fs::copy(program, to)
        .map(drop)
        .map_err(|e| format!("{}: {e}", program.display()))
}
