//! `cargo xtask package`: everything that an administrator downloads, built on this one machine.
//!
//! [`build`] makes the binaries, [`stage`] lays out what goes beside them, and one module per kind of package puts it
//! into its form. All of it depends on the commit alone, so two builds of one commit are equal byte for byte; [`again`]
//! shows it.

mod again;
mod archive;
mod build;
mod crates;
mod deb;
mod icon;
mod licences;
mod msi;
mod pkg;
mod rpm;
mod sbom;
mod stage;
mod sums;
mod target;
mod tools;
pub(crate) mod trial;

use std::path::{Path, PathBuf};

use crate::install::{Part, missing_of};
use crate::process::{answer, cargo, root, step};
use stage::Stage;
pub(crate) use target::System;
use target::Target;

/// What builds packages beside the tools that cargo installs, and the Debian packages that bring it.
const NEEDED: [(Part, &str); 6] = [
    (Part::Program("gzip"), "gzip"),
    (Part::Program("zip"), "zip"),
    (Part::Program("wixl"), "wixl"),
    (Part::Program("msibuild"), "msitools"),
    (Part::Program("msiinfo"), "msitools"),
    (Part::Program("faketime"), "faketime"),
];

/// One kind of package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Debian, Ubuntu.
    Deb,
    /// Fedora, Red Hat, SUSE.
    Rpm,
    /// Windows Installer.
    Msi,
    /// The macOS installer; one package for both processors.
    Pkg,
    /// Archives to unpack by hand: `.tar.gz`, and `.zip` for Windows.
    Tar,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Deb, Self::Rpm, Self::Msi, Self::Pkg, Self::Tar];

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "deb" => Some(Self::Deb),
            "rpm" => Some(Self::Rpm),
            "msi" => Some(Self::Msi),
            "pkg" => Some(Self::Pkg),
            "tar" => Some(Self::Tar),
            _ => None,
        }
    }

    fn suits(self, target: Target) -> bool {
        match self {
            Self::Deb | Self::Rpm => target.system() == System::Linux,
            Self::Msi => target.system() == System::Windows,
            Self::Pkg => target.system() == System::Mac,
            Self::Tar => true,
        }
    }
}

/// What was asked for.
pub(crate) struct Package {
    kinds: Vec<Kind>,
    targets: Vec<Target>,
    /// Whether binaries are built; otherwise those that are there are taken.
    build: bool,
    /// Whether everything is made a second time and compared.
    twice: bool,
}

impl Package {
    /// Reads `--only deb,rpm`, `--target linux-x86_64,…`, `--no-build` and `--check-reproducible`.
    pub(crate) fn from_arguments(arguments: &[&str]) -> Option<Self> {
        let mut package = Self {
            kinds: Kind::ALL.to_vec(),
            targets: Target::ALL.to_vec(),
            build: true,
            twice: false,
        };
        let mut rest = arguments;
        loop {
            rest = match rest {
                [] => return Some(package),
                ["--only", words, rest @ ..] => {
                    package.kinds = words
                        .split(',')
                        .map(Kind::from_word)
                        .collect::<Option<_>>()?;
                    rest
                }
                ["--target", words, rest @ ..] => {
                    package.targets = words
                        .split(',')
                        .map(Target::from_name)
                        .collect::<Option<_>>()?;
                    rest
                }
                ["--no-build", rest @ ..] => {
                    package.build = false;
                    rest
                }
                ["--check-reproducible", rest @ ..] => {
                    package.twice = true;
                    rest
                }
                _ => return None,
            };
        }
    }

    /// Makes what was asked for.
    pub(crate) fn run(&self) -> Result<(), String> {
        let release = Release::of_this_commit()?;
        self.build(&release)?;
        self.pack(&release)?;
        if self.twice {
            again::check(self, &release)?;
        }
        println!("\n{}", release.packages.display());
        Ok(())
    }

    /// Builds the binaries.
    pub(crate) fn build(&self, release: &Release) -> Result<(), String> {
        for target in self.binaries().filter(|_| self.build) {
            step(&format!("{}: the binary", target.name()), || {
                build::binary(target, release)
            })?;
        }
        Ok(())
    }

    /// The systems and files of the binaries that packages are made from.
    pub(crate) fn programs(&self, release: &Release) -> Vec<(System, PathBuf)> {
        self.binaries()
            .map(|target| (target.system(), release.program(target)))
            .collect()
    }

    /// Puts the binaries into packages.
    pub(crate) fn pack(&self, release: &Release) -> Result<(), String> {
        missing_of(&NEEDED)?;
        let mut macs = Vec::new();
        for target in self.binaries() {
            let kinds: Vec<Kind> = self
                .kinds
                .iter()
                .copied()
                .filter(|kind| kind.suits(target))
                .collect();
            let stage = pack(target, &kinds, release)?;
            if target.system() == System::Mac {
                macs.push(stage);
            }
        }
        if self.kinds.contains(&Kind::Pkg) && !macs.is_empty() {
            step("macos: Pkg", || pkg::make(&macs, release))?;
        }
        step("checksums", || sums::write_file(&release.packages))
    }

    /// The targets that something is made for.
    fn binaries(&self) -> impl Iterator<Item = Target> {
        self.targets
            .iter()
            .copied()
            .filter(|target| self.kinds.iter().any(|kind| kind.suits(*target)))
    }
}

/// Makes these packages of one target, whose binary is there.
fn pack(target: Target, kinds: &[Kind], release: &Release) -> Result<Stage, String> {
    let name = target.name();
    let mut staged = None;
    step(&format!("{name}: what lies beside it"), || {
        staged = Some(Stage::lay_out(target, release)?);
        Ok(())
    })?;
    let stage = staged.ok_or("nothing was laid out")?;
    for kind in kinds {
        let make = match kind {
            Kind::Deb => deb::make,
            Kind::Rpm => rpm::make,
            Kind::Msi => msi::make,
            Kind::Tar => archive::make,
            // When the programs for both processors are there.
            Kind::Pkg => continue,
        };
        step(&format!("{name}: {kind:?}"), || make(&stage, release))?;
    }
    Ok(stage)
}

/// What all packages of one commit have in common.
pub(crate) struct Release {
    /// The version, as the workspace has it.
    pub(crate) version: String,
    /// The moment that goes into packages in place of the time of the build: the commit's, in seconds since 1970.
    pub(crate) epoch: u64,
    /// The folder that the binaries are built from.
    pub(crate) source: PathBuf,
    /// Where the binaries are built.
    pub(crate) target_dir: PathBuf,
    /// Cargo's target folder, where this machine's own gatepass lies.
    pub(crate) native: PathBuf,
    /// Where finished packages go.
    pub(crate) packages: PathBuf,
}

impl Release {
    /// That of the commit which is checked out.
    pub(crate) fn of_this_commit() -> Result<Self, String> {
        let output = cargo(&["metadata", "--format-version=1", "--locked"])
            .output()
            .map_err(|e| format!("cargo metadata: {e}"))?;
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("cargo metadata is not JSON: {e}"))?;
        let target_dir = PathBuf::from(
            metadata["target_directory"]
                .as_str()
                .ok_or("cargo metadata names no target folder")?,
        );
        let epoch = std::env::var("SOURCE_DATE_EPOCH")
            .ok()
            .or_else(|| answer("git", &["log", "-1", "--format=%ct"]))
            .and_then(|text| text.parse().ok())
            .ok_or("no commit and no SOURCE_DATE_EPOCH: the packages' date is unknown")?;
        let packages = target_dir.join("packages");
        make_folder(&packages)?;
        Ok(Self {
            version: version(),
            epoch,
            source: root(),
            native: target_dir.clone(),
            target_dir,
            packages,
        })
    }

    /// Where a target's release binary is.
    fn program(&self, target: Target) -> PathBuf {
        self.target_dir
            .join(target.triple())
            .join("release")
            .join(target.binary())
    }
}

/// The workspace's version; this crate inherits it as gatepass does.
pub(crate) fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Writes the checksums of all files in a folder, and says where.
pub(crate) fn sum_up(folder: &Path) -> Result<PathBuf, String> {
    sums::write_file(folder)?;
    Ok(folder.join(sums::FILE))
}

fn make_folder(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    std::fs::write(path, content).map_err(|e| format!("{}: {e}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A file of the folder `packaging`.
fn packaging(file: &str) -> PathBuf {
    root().join("packaging").join(file)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Package};

    #[test]
    fn options_choose_kinds_and_targets() {
        let package = Package::from_arguments(&["--only", "deb,tar", "--target", "linux-x86_64"])
            .expect("valid options");
        assert_eq!(package.kinds, [Kind::Deb, Kind::Tar]);
        assert_eq!(package.targets.len(), 1);
        for wrong in [
            &["--only"][..],
            &["--only", "exe"],
            &["--target", "beos"],
            &["x"],
        ] {
            assert!(Package::from_arguments(wrong).is_none(), "{wrong:?}");
        }
    }
}
