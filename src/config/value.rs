//! A configuration value, independent of where it was written.

use std::collections::BTreeMap;

/// A value of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigValue {
    /// A string.
    Text(String),
    /// A whole number (seconds, a port).
    Number(u64),
    /// `true` or `false`.
    Flag(bool),
    /// A list.
    List(Vec<ConfigValue>),
    /// A table with free names (`headers`, `authorize_params`, `required_claims`).
    Table(BTreeMap<String, ConfigValue>),
}

impl ConfigValue {
    /// Canonical JSON: the same value always gives the same bytes, whatever file it came from.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Table(table) => table
                .iter()
                .map(|(name, value)| (name.clone(), value.to_json()))
                .collect(),
        }
    }
}

impl From<&str> for ConfigValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
