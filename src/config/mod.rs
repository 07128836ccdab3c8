//! Configuration: from files and the command line to one set of effective values, each with its source.
//!
//! [`schema`] is the one list of keys; [`document`] reads a file against it and [`policy`] what an administrator
//! has decided; [`preset`] has what suits a provider; [`layers`] decides which source wins; [`settings`] is the
//! typed result that the rest of gatepass sees, made of the words in [`choice`] and read by `effective`; [`secrecy`] says what
//! must not be seen, [`redirect_path`] whose a redirect is; `digest` says what
//! cached tokens depend on; [`starter`] writes a first file.

pub mod address;
pub mod choice;
mod digest;
pub mod document;
mod effective;
pub mod exchange;
pub mod header_names;
pub mod import;
pub mod layers;
pub mod policy;
pub mod preset;
pub mod profile;
pub mod redirect_path;
pub mod schema;
pub mod secrecy;
pub mod settings;
pub mod starter;
pub mod template;
pub mod value;

use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};
use crate::platform::files::{self, Access, Unsafe};
use crate::platform::paths;

use document::Document;
use layers::Layers;
use policy::Policy;
use profile::ProfileName;
use settings::Settings;

/// Largest configuration file that is read, in bytes.
pub const FILE_LIMIT: u64 = 2 * 1024 * 1024;

/// Where the user's configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFile {
    /// The path that was read.
    pub path: PathBuf,
    /// Its content; `None` if there is no such file.
    pub document: Option<Document>,
}

impl UserFile {
    /// Reads the user's file: `explicit` (from `--config`), which must exist, or the one in the usual place.
    pub fn read(explicit: Option<&Path>) -> Result<Self> {
        let path = match explicit {
            Some(path) => path.to_owned(),
            None => paths::config_dir()?.join("config.toml"),
        };
        let shown = path.display();
        let unusable = |reason| {
            Failure::config(
                format!("the configuration {shown} is not safe to use: {reason}"),
                match reason {
                    Unsafe::Mode => format!("chmod go-w '{shown}'"),
                    Unsafe::Owner => format!("chown it to yourself, or copy it: '{shown}'"),
                    _ => "gatepass config path".to_owned(),
                },
            )
        };
        let opened = files::open_to_read(&path, Access::OwnerWrites).map_err(unusable)?;
        let document = match opened {
            None if explicit.is_some() => {
                return Err(Failure::config(
                    format!("there is no configuration {shown}"),
                    "give --config the path of an existing file",
                ));
            }
            None => None,
            Some(file) => {
                let text = file.whole(FILE_LIMIT).map_err(unusable)?;
                Some(Self::document(&path, &text)?)
            }
        };
        Ok(Self { path, document })
    }

    fn document(path: &Path, text: &[u8]) -> Result<Document> {
        let document = Document::parse(text).map_err(|problem| {
            Failure::config(
                format!("{}: {}", path.display(), problem.what),
                problem
                    .remedy
                    .unwrap_or_else(|| "edit that line, then run gatepass config check".to_owned()),
            )
        })?;
        Self::keep_secrets_private(path, &document)?;
        Ok(document)
    }

    /// A file that holds a client secret must be its owner's alone.
    fn keep_secrets_private(path: &Path, document: &Document) -> Result<()> {
        if !document.holds_a_secret() {
            return Ok(());
        }
        // The file that a link leads to counts, not the link.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match files::open(&target, Access::OwnerOnly) {
            Err(Unsafe::Mode) => Err(Failure::config(
                format!(
                    "{} holds a secret and other users may read it",
                    path.display()
                ),
                format!("chmod 600 '{}'", path.display()),
            )),
            _ => Ok(()),
        }
    }
}

/// Everything that is read to decide about values, once per run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// What the administrator has decided, if anything.
    pub policy: Option<Policy>,
    /// What the user has written.
    pub file: UserFile,
}

impl Sources {
    /// Reads policy and file. `explicit` (from `--config`) replaces the user's file, never the policy.
    pub fn read(explicit: Option<&Path>) -> Result<Self> {
        Ok(Self {
            policy: Policy::read()?,
            file: UserFile::read(explicit)?,
        })
    }

    /// Every profile that a source describes, `default` first.
    pub fn profiles(&self) -> Vec<ProfileName> {
        let documents = self.file.document.iter().chain(
            self.policy
                .iter()
                .flat_map(|policy| [&policy.locked, &policy.defaults]),
        );
        let mut names: Vec<ProfileName> = documents
            .flat_map(|document| document.profiles.keys().cloned())
            .filter(|name| !name.is_default())
            .collect();
        names.sort();
        names.dedup();
        names.insert(0, ProfileName::default());
        names
    }

    /// Only a user's file with this text.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Self {
        let (document, problems) = Document::parse_all(text.as_bytes());
        assert!(problems.is_empty(), "{problems:?}");
        Self {
            policy: None,
            file: UserFile {
                path: "config.toml".into(),
                document: Some(document),
            },
        }
    }
}

/// The effective configuration of a profile.
pub fn load(sources: &Sources, profile: &ProfileName) -> Result<Settings> {
    Settings::resolve(&Layers::new(sources, profile)?, profile)
}
