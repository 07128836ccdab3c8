//! A policy of a machine that has none.

use std::path::PathBuf;

use super::Etc;

/// `/etc/gatepass` as one test wants it, for runs that see it.
#[derive(Debug)]
pub struct PolicyFolder {
    etc: Etc,
}

impl PolicyFolder {
    /// A policy with this text, owned by root and writable by root alone.
    ///
    /// # Panics
    /// Where the temporary folder cannot be made.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let etc = Etc::new().with("gatepass/policy.toml", text);
        Self { etc }
    }

    /// The folder that runs see as `/etc/gatepass`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.etc.path("gatepass")
    }

    /// The file that runs see as `/etc/gatepass/policy.toml`.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.etc.path("gatepass/policy.toml")
    }

    /// What starts a program that sees the policy.
    #[must_use]
    pub fn command(&self) -> [String; 6] {
        self.etc.command()
    }
}
