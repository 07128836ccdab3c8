//! The name of a profile.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::text::hex;

/// The name of a profile: letters, digits, `-` and `_`, at most 64 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileName(String);

impl ProfileName {
    /// Name under which files of the whole profile are kept, whatever issuer and client it is configured for.
    pub fn key(&self) -> String {
        hex(&Sha256::digest(format!("profile:{}", self.as_str()))[..16])
    }

    /// Checks a name from a configuration file or the command line.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if (1..=64).contains(&name.len()) && name.chars().all(fine) {
            Ok(Self(name.to_owned()))
        } else {
            Err("a profile's name has letters, digits, - and _ only, at most 64 of them")
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the profile that top-level keys describe.
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl Default for ProfileName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
