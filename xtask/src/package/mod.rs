//! `cargo xtask package`: everything that an administrator downloads, built on this one machine.
//!
//! [`build`] makes the binaries, [`stage`] lays out what goes beside them, and one module per kind of package puts it
//! into its form. All of it depends on the commit alone, so two builds of one commit are equal byte for byte.

mod archive;
mod build;
mod crates;
mod deb;
mod licences;
mod msi;
mod rpm;
mod sbom;
mod stage;
mod sums;
mod target;
mod tools;
pub(crate) mod trial;

use std::path::{Path, PathBuf};

use crate::process::{answer, cargo, root, step};
use stage::Stage;
use target::{System, Target};

/// One kind of package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Debian, Ubuntu.
    Deb,
    /// Fedora, Red Hat, SUSE.
    Rpm,
    /// Windows Installer.
    Msi,
    /// Archives to unpack by hand: `.tar.gz`, and `.zip` for Windows.
    Tar,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Deb, Self::Rpm, Self::Msi, Self::Tar];

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "deb" => Some(Self::Deb),
            "rpm" => Some(Self::Rpm),
            "msi" => Some(Self::Msi),
            "tar" => Some(Self::Tar),
            _ => None,
        }
    }

    fn suits(self, target: Target) -> bool {
        match self {
            Self::Deb | Self::Rpm => target.system() == System::Linux,
            Self::Msi => target.system() == System::Windows,
            Self::Tar => true,
        }
    }
}

/// What was asked for.
pub(crate) struct Package {
    kinds: Vec<Kind>,
    targets: Vec<Target>,
    build: bool,
}

impl Package {
    /// Reads `--only deb,rpm`, `--target linux-x86_64,…` and `--no-build`, which takes the binaries that are there.
    pub(crate) fn from_arguments(arguments: &[&str]) -> Option<Self> {
        let mut package = Self {
            kinds: Kind::ALL.to_vec(),
            targets: Target::ALL.to_vec(),
            build: true,
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
                _ => return None,
            };
        }
    }

    /// Builds what was asked for.
    pub(crate) fn run(&self) -> Result<(), String> {
        let release = Release::of_this_commit()?;
        for target in &self.targets {
            let kinds: Vec<Kind> = self
                .kinds
                .iter()
                .copied()
                .filter(|kind| kind.suits(*target))
                .collect();
            if kinds.is_empty() {
                continue;
            }
            let name = target.name();
            if self.build {
                step(&format!("{name}: the binary"), || {
                    build::binary(*target, &release)
                })?;
            }
            pack(*target, &kinds, &release)?;
        }
        step("checksums", || sums::write_file(&release.packages))?;
        println!("\n{}", release.packages.display());
        Ok(())
    }
}

/// Makes these packages of one target, whose binary is there.
fn pack(target: Target, kinds: &[Kind], release: &Release) -> Result<(), String> {
    let name = target.name();
    let mut staged = None;
    step(&format!("{name}: what lies beside it"), || {
        staged = Some(Stage::lay_out(target, release)?);
        Ok(())
    })?;
    let Some(stage) = staged else { return Ok(()) };
    for kind in kinds {
        step(&format!("{name}: {kind:?}"), || match kind {
            Kind::Deb => deb::make(&stage, release),
            Kind::Rpm => rpm::make(&stage, release),
            Kind::Msi => msi::make(&stage, release),
            Kind::Tar => archive::make(&stage, release),
        })?;
    }
    Ok(())
}

/// What all packages of one commit have in common.
pub(crate) struct Release {
    /// The version, as the workspace has it.
    pub(crate) version: String,
    /// The moment that goes into packages in place of the time of the build: the commit's, in seconds since 1970.
    pub(crate) epoch: u64,
    /// Cargo's target folder.
    pub(crate) target_dir: PathBuf,
    /// Where finished packages go.
    pub(crate) packages: PathBuf,
}

impl Release {
    fn of_this_commit() -> Result<Self, String> {
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
            target_dir,
            packages,
        })
    }
}

/// The workspace's version; this crate inherits it as gatepass does.
pub(crate) fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
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
