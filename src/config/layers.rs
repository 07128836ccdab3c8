//! Which source decides.
//!
//! Precedence, first to last: locked policy, command line, user file, default policy, preset, built-in. The
//! source decides first; within one source the profile beats the top level; tables and lists are replaced
//! whole. (Policy and presets take their places in [`Layers::effective`] in the policy part.)

use std::borrow::Cow;
use std::fmt;

use super::UserFile;
use super::document::Table;
use super::profile::ProfileName;
use super::schema::Key;
use super::value::Value;
use crate::error::{Failure, Result};
use crate::text;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An option of this run.
    CommandLine,
    /// The user's file, with the line.
    UserFile(usize),
    /// gatepass's own default.
    BuiltIn,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::UserFile(line) => write!(f, "user file line {line}"),
            Self::BuiltIn => f.write_str("built-in"),
        }
    }
}

/// All sources that may decide about one profile.
#[derive(Debug)]
pub struct Layers<'f> {
    command_line: Vec<(&'static str, Value)>,
    profile: Option<&'f Table>,
    top: Option<&'f Table>,
}

impl<'f> Layers<'f> {
    /// Gathers the sources for a profile, which must exist.
    pub fn new(file: &'f UserFile, profile: &ProfileName) -> Result<Self> {
        let document = file.document.as_ref();
        let table = document.and_then(|document| document.profiles.get(profile));
        if table.is_none() && !profile.is_default() {
            let known = document.map(|document| &document.profiles);
            let near = known.and_then(|known| {
                text::nearest(profile.as_str(), known.keys().map(ProfileName::as_str))
            });
            return Err(Failure::config(
                format!("there is no profile `{profile}` in {}", file.path.display()),
                match near {
                    Some(near) => format!("did you mean --profile {near}?"),
                    None => format!("add [profile.{profile}] to {}", file.path.display()),
                },
            ));
        }
        Ok(Self {
            command_line: Vec::new(),
            profile: table,
            top: document.map(|document| &document.top),
        })
    }

    /// The built-in values and the two keys that name a session.
    pub fn of_session(issuer: &str, client_id: &str) -> Self {
        Self {
            command_line: vec![
                ("issuer", Value::from(issuer)),
                ("client_id", Value::from(client_id)),
            ],
            profile: None,
            top: None,
        }
    }

    /// Adds what the command line says about a key.
    pub fn set_from_command_line(&mut self, key: &'static str, value: Value) {
        self.command_line.push((key, value));
    }

    /// The value in force for a key and where it comes from, if any source has one.
    pub fn effective(&self, key: &Key) -> Option<(Cow<'_, Value>, Source)> {
        let given = self.command_line.iter().find(|(name, _)| *name == key.name);
        if let Some((_, value)) = given {
            return Some((Cow::Borrowed(value), Source::CommandLine));
        }
        for table in [self.profile, self.top].into_iter().flatten() {
            if let Some(placed) = table.get(key.name) {
                return Some((Cow::Borrowed(&placed.value), Source::UserFile(placed.line)));
            }
        }
        let value = key.built_in.value()?;
        Some((Cow::Owned(value), Source::BuiltIn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::Document;

    #[test]
    fn the_source_decides_first_and_the_profile_beats_the_top_level() {
        let file = UserFile {
            path: "config.toml".into(),
            document: Some(
                Document::parse(
                    b"min_validity = 1\naudience = 'top'\n[profile.a]\nmin_validity = 2\n",
                )
                .unwrap(),
            ),
        };
        let profile = ProfileName::parse("a").unwrap();
        let mut layers = Layers::new(&file, &profile).unwrap();
        let key = |name| Key::find(name).unwrap();
        assert_eq!(
            layers.effective(key("min_validity")),
            Some((Cow::Owned(Value::Number(2)), Source::UserFile(4)))
        );
        assert_eq!(
            layers.effective(key("audience")),
            Some((Cow::Owned(Value::from("top")), Source::UserFile(2)))
        );
        assert_eq!(
            layers.effective(key("flow")),
            Some((Cow::Owned(Value::from("auto")), Source::BuiltIn))
        );
        assert_eq!(layers.effective(key("issuer")), None);
        layers.set_from_command_line("min_validity", Value::Number(3));
        assert_eq!(
            layers.effective(key("min_validity")),
            Some((Cow::Owned(Value::Number(3)), Source::CommandLine))
        );
    }

    #[test]
    fn an_unknown_profile_is_a_configuration_error() {
        let file = UserFile {
            path: "config.toml".into(),
            document: Some(Document::parse(b"[profile.work]\n").unwrap()),
        };
        let failure = Layers::new(&file, &ProfileName::parse("wrok").unwrap()).unwrap_err();
        assert_eq!(failure.id, crate::error::Id::Config);
        assert_eq!(failure.remedy, "did you mean --profile work?");
    }
}
