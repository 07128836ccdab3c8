//! The administrator's policy for this machine: locked values, defaults, and keys that only a policy has.
//!
//! A policy that cannot be read or understood stops gatepass; it is never skipped.

pub mod export;
pub mod lint;
mod native;

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::choice::{Choice, StoreChoice};
use super::document::{Document, DocumentReader, Problem, Table, any_of, number, text_value};
use super::profile::ProfileName;
use super::schema::{Key, REDIRECT_PATH, Shape};
use crate::error::{Failure, Result};
use crate::platform::files::Unsafe;
use crate::platform::policy::{self as place, RawPolicy};
use crate::text;
use crate::text::hex;

/// Version of the policy schema that this binary knows. A policy with a higher `schema` may have keys that are
/// left out here.
pub const SCHEMA: u64 = 1;

/// A key that only a policy has.
#[derive(Debug)]
pub struct Rule {
    /// Its name on Linux.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// One sentence for people.
    pub about: &'static str,
}

/// A row of the table below.
const fn rule(name: &'static str, shape: Shape, about: &'static str) -> Rule {
    Rule { name, shape, about }
}

/// Keys that only a policy has. The templates for administrators come from here as well.
#[rustfmt::skip]
pub static ONLY_IN_POLICY: &[Rule] = &[
    rule("locked_keys", Shape::TextList, "keys that stay at their policy, preset or built-in value; * for all"),
    rule("allowed_profiles", Shape::TextList, "the only profiles that may be used"),
    rule("allowed_stores", Shape::TextList, "the only places where a session may be kept"),
    rule("min_version", Shape::Text, "the oldest version of gatepass that may run"),
    rule("schema", Shape::Number(1, 1_000_000), "the version of the list of keys that this policy was written for"),
    rule("session_not_before", Shape::Text, "sessions from before this moment (RFC 3339) are dropped: remote sign-out"),
    rule("disabled", Shape::Text, "gatepass stops with this message: remote sign-out"),
];

/// Keys that are frozen together with a locked `issuer` or `gateway_url`: each could send a token elsewhere or make
/// it say something else.
const BOUND: [&str; 7] = [
    "exchange",
    "headers",
    "secret_headers",
    "ca_file",
    "client_auth",
    "token_params",
    "trusted_audiences",
];

/// Which keys nothing below the policy may set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum LockedKeys {
    /// Those that the policy gives a locked value.
    #[default]
    WithValue,
    /// These as well.
    Also(BTreeSet<&'static str>),
    /// All.
    All,
}

/// A policy in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Values that nothing below can change.
    pub locked: Document,
    /// Values where no other source sets one.
    pub defaults: Document,
    locked_keys: LockedKeys,
    /// The only profiles that may be used, if there is such a list.
    pub allowed_profiles: Option<Vec<String>>,
    /// The only stores that may be used, if there is such a list.
    pub allowed_stores: Option<Vec<String>>,
    /// Sessions from before this moment are dropped, in seconds since 1970.
    pub session_not_before: Option<u64>,
    /// Why gatepass must not be used at present.
    pub disabled: Option<String>,
    /// Keys that only a newer gatepass knows, left out.
    pub ignored: Vec<String>,
    /// As it was delivered.
    text: Vec<u8>,
}

impl Policy {
    /// The policy of this machine, if there is one.
    pub fn read() -> Result<Option<Self>> {
        let rejected = |why: &str, remedy| {
            Failure::config(format!("policy rejected: {}: {why}", place::PLACE), remedy)
        };
        let found = place::read(native::names).map_err(|why| rejected(&why, place::REPAIR))?;
        let Some(found) = found else {
            return Ok(None);
        };
        let problem = |what: String| vec![Problem { what, remedy: None }];
        let parsed = match found {
            RawPolicy::File(file) => file
                .whole(place::LIMIT)
                .map_err(|why| match why {
                    Unsafe::Size => problem("it is larger than 2 MiB".to_owned()),
                    other => problem(format!("it cannot be read: {other}")),
                })
                .and_then(|text| Ok((Self::parse(&text)?, text))),
            RawPolicy::Values(values) => {
                native::to_toml(&values).map_err(problem).and_then(|text| {
                    let policy = Self::parse(text.as_bytes()).map_err(native::without_lines)?;
                    Ok((policy, text.into_bytes()))
                })
            }
        };
        let (policy, text) = parsed.map_err(|problems| {
            let all: Vec<String> = problems.into_iter().map(Problem::in_one_line).collect();
            rejected(
                &all.join("; "),
                "ask your administrator to correct it; gatepass does nothing without it",
            )
        })?;
        Ok(Some(Self { text, ..policy }))
    }

    /// Every problem of a policy as the registry or managed preferences would have it.
    pub fn problems_of_values(values: &serde_json::Map<String, serde_json::Value>) -> Vec<Problem> {
        match native::to_toml(values) {
            Err(what) => vec![Problem { what, remedy: None }],
            Ok(text) => match Self::parse(text.as_bytes()) {
                Err(problems) => native::without_lines(problems),
                Ok(_) => Vec::new(),
            },
        }
    }

    /// Reads a policy's text; gives every problem.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut reader = DocumentReader::default();
        let mut policy = Self::default();
        if let Some(root) = reader.open(bytes) {
            policy.take(root.get_ref(), &mut reader);
        }
        policy.ignored = reader.ignored.take().unwrap_or_default();
        let problems = reader.into_problems();
        if problems.is_empty() {
            Ok(policy)
        } else {
            Err(problems)
        }
    }

    fn take(&mut self, root: &DeTable<'_>, reader: &mut DocumentReader) {
        // The policy's own keys are read first: they say how to read the rest.
        let locked = root
            .get("locked")
            .and_then(|value| value.get_ref().as_table());
        let schema = [Some(root), locked]
            .into_iter()
            .flatten()
            .find_map(|table| table.get("schema"))
            .and_then(|value| number(value.get_ref()));
        if schema.is_some_and(|schema| schema > SCHEMA) {
            reader.ignored = Some(Vec::new());
        }
        for (name, value) in root {
            let line = reader.line(name.span());
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("locked", DeValue::Table(table)) => self.locked = self.part(table, reader, true),
                ("default", DeValue::Table(table)) => {
                    self.defaults = self.part(table, reader, false);
                }
                (name @ ("locked" | "default"), _) => {
                    reader.problem(line, format!("`{name}` must be a table: [{name}]"));
                }
                (name, value) if is_rule(name) => self.rule(name, value, line, reader),
                (known, _) if Key::find(known).is_some() || known == "profile" => reader.problem(
                    line,
                    format!("`{known}` belongs into [locked] or [default]"),
                ),
                _ => {
                    // An unknown key, with the nearest known one; nothing is taken over.
                    reader.entry(name, value, &mut Table::new());
                }
            }
        }
    }

    /// Locked values or defaults.
    fn part(&mut self, table: &DeTable<'_>, reader: &mut DocumentReader, locked: bool) -> Document {
        let mut document = Document::default();
        for (name, value) in table {
            match name.get_ref().as_ref() {
                "profile" => reader.profiles(value, &mut document),
                rule if locked && is_rule(rule) => {
                    let line = reader.line(name.span());
                    self.rule(rule, value.get_ref(), line, reader);
                }
                _ => reader.entry(name, value, &mut document.top),
            }
        }
        document
    }

    /// One of the keys that only a policy has.
    fn rule(&mut self, name: &str, value: &DeValue<'_>, line: usize, reader: &mut DocumentReader) {
        let done = match name {
            "locked_keys" => texts(value).and_then(|names| {
                self.locked_keys = LockedKeys::named(&names, reader.ignored.as_mut())?;
                Ok(())
            }),
            "allowed_profiles" => texts(value).and_then(|names| {
                for name in &names {
                    ProfileName::parse(name).map_err(str::to_owned)?;
                }
                self.allowed_profiles = Some(names);
                Ok(())
            }),
            "allowed_stores" => texts(value).and_then(|names| {
                let known = StoreChoice::WORDS;
                match names.iter().find(|name| !known.contains(&name.as_str())) {
                    Some(other) => Err(format!(
                        "must list {}, not \"{}\"",
                        any_of(known),
                        text::printable(other, 80)
                    )),
                    None => {
                        self.allowed_stores = Some(names);
                        Ok(())
                    }
                }
            }),
            "min_version" => text_value(value).and_then(|least| check_version(&least)),
            "schema" => number(value)
                .map(drop)
                .ok_or_else(|| "must be a whole number".to_owned()),
            "session_not_before" => text_value(value).and_then(|moment| {
                let at = OffsetDateTime::parse(&moment, &Rfc3339).map_err(|_| {
                    "must be a moment such as \"2026-11-21T09:00:00Z\" (RFC 3339)".to_owned()
                })?;
                self.session_not_before = Some(u64::try_from(at.unix_timestamp()).unwrap_or(0));
                Ok(())
            }),
            _ => match value {
                DeValue::Boolean(false) => Ok(()),
                DeValue::Boolean(true) => {
                    self.disabled = Some(String::new());
                    Ok(())
                }
                _ => text_value(value).map(|why| self.disabled = Some(why)),
            },
        };
        if let Err(why) = done {
            reader.problem(line, format!("`{name}` {why}"));
        }
    }

    /// Whether nothing below the policy may set this key for this profile.
    pub fn freezes(&self, key: &str, profile: &ProfileName) -> bool {
        let listed = match &self.locked_keys {
            LockedKeys::WithValue => false,
            LockedKeys::Also(names) => names.contains(key),
            LockedKeys::All => true,
        };
        listed
            || (key == REDIRECT_PATH.name && self.locks("issuer", profile))
            || (BOUND.contains(&key)
                && ["issuer", "gateway_url"]
                    .iter()
                    .any(|name| self.locks(name, profile)))
    }

    /// Whether the policy locks this key, with a value or by name.
    fn locks(&self, key: &str, profile: &ProfileName) -> bool {
        matches!(&self.locked_keys, LockedKeys::Also(names) if names.contains(key))
            || self.locked.top.contains_key(key)
            || self
                .locked
                .profiles
                .get(profile)
                .is_some_and(|table| table.contains_key(key))
    }

    /// Refuses a profile that is not among the allowed ones.
    pub fn check_profile(&self, profile: &ProfileName) -> Result<()> {
        match &self.allowed_profiles {
            Some(allowed) if !allowed.iter().any(|name| name == profile.as_str()) => {
                Err(Failure::config(
                    format!("your organisation's policy does not allow the profile `{profile}`"),
                    match allowed.first() {
                        Some(first) => format!("use one of these: --profile {first}{}", {
                            allowed[1..]
                                .iter()
                                .fold(String::new(), |all, name| format!("{all}, {name}"))
                        }),
                        None => "ask your administrator".to_owned(),
                    },
                ))
            }
            _ => Ok(()),
        }
    }

    /// Digest of the policy as it was delivered (hexadecimal SHA-256), so that a fleet can be compared. It is made
    /// when it is asked for: a run that prints a token needs none.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(&self.text))
    }
}

impl LockedKeys {
    fn named(names: &[String], ignored: Option<&mut Vec<String>>) -> Result<Self, String> {
        if names.iter().any(|name| name == "*") {
            return Ok(Self::All);
        }
        let mut found = BTreeSet::new();
        let mut unknown = Vec::new();
        for name in names {
            match Key::find(name) {
                Some(key) => {
                    found.insert(key.name);
                }
                None => unknown.push(text::printable(name, 80)),
            }
        }
        match (unknown.first(), ignored) {
            (Some(_), Some(ignored)) => ignored.append(&mut unknown),
            (Some(name), None) => return Err(format!("names the unknown key `{name}`")),
            (None, _) => {}
        }
        Ok(Self::Also(found))
    }
}

/// The key of this name that only a policy has.
fn find_rule(name: &str) -> Option<&'static Rule> {
    ONLY_IN_POLICY.iter().find(|rule| rule.name == name)
}

fn is_rule(name: &str) -> bool {
    find_rule(name).is_some()
}

fn texts(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or("must be a list of strings")?;
    list.iter()
        .map(|item: &Spanned<DeValue<'_>>| text_value(item.get_ref()))
        .collect()
}

/// Refuses to run where a newer version is demanded.
fn check_version(least: &str) -> Result<(), String> {
    let numbers = |version: &str| -> Option<Vec<u64>> {
        let release = version.split(['-', '+']).next()?;
        let numbers: Option<Vec<u64>> = release.split('.').map(|n| n.parse().ok()).collect();
        numbers.filter(|numbers| (1..=3).contains(&numbers.len()))
    };
    let this = env!("CARGO_PKG_VERSION");
    match (numbers(least), numbers(this)) {
        (Some(mut least_numbers), Some(own)) => {
            least_numbers.resize(3, 0);
            if own < least_numbers {
                Err(format!(
                    "asks for gatepass {least} or newer, and this is {this}: install the newer one"
                ))
            } else {
                Ok(())
            }
        }
        _ => Err("must be a version such as \"1.4.0\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match Policy::parse(text.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|p| p.what).collect(),
        }
    }

    #[test]
    fn locked_values_defaults_and_rules_are_read() {
        let policy = Policy::parse(
            b"schema = 1\nallowed_profiles = ['default', 'a']\nsession_not_before = '2026-11-01T00:00:00Z'\n\
              [locked]\nissuer = 'https://idp.example'\nlocked_keys = ['flow']\n[locked.profile.a]\naudience = 'x'\n\
              [default]\nmin_validity = 60\n[default.profile.a]\nscopes = ['openid']\n",
        )
        .unwrap();
        let a = ProfileName::parse("a").unwrap();
        assert_eq!(policy.session_not_before, Some(1_793_491_200));
        assert!(policy.locked.top.contains_key("issuer"));
        assert!(policy.locked.profiles[&a].contains_key("audience"));
        assert!(policy.defaults.profiles[&a].contains_key("scopes"));
        for key in [
            "flow",
            "headers",
            "exchange",
            "ca_file",
            "token_params",
            "client_auth",
        ] {
            assert!(policy.freezes(key, &a), "{key}");
        }
        assert!(!policy.freezes("browser", &a));
        let by_name = Policy::parse(b"locked_keys = ['issuer']").unwrap();
        assert!(by_name.freezes("exchange", &a));
        assert!(policy.check_profile(&a).is_ok());
        assert!(
            policy
                .check_profile(&ProfileName::parse("b").unwrap())
                .is_err()
        );
    }

    #[test]
    fn whatever_is_not_understood_is_a_problem() {
        let cases = [
            (
                "issuer = 'https://a'",
                "`issuer` belongs into [locked] or [default]",
            ),
            (
                "[profile.a]",
                "`profile` belongs into [locked] or [default]",
            ),
            ("[lcoked]", "unknown key `lcoked`"),
            ("locked = 1", "`locked` must be a table"),
            ("[locked]\nisuer = 'https://a'", "unknown key `isuer`"),
            (
                "[default]\nlocked_keys = ['*']",
                "unknown key `locked_keys`",
            ),
            (
                "[locked]\nmin_validity = '5'",
                "`min_validity` must be a whole number",
            ),
            ("locked_keys = 'flow'", "`locked_keys` must be a list"),
            (
                "locked_keys = ['flwo']",
                "`locked_keys` names the unknown key `flwo`",
            ),
            (
                "allowed_profiles = ['../x']",
                "`allowed_profiles` a profile's name",
            ),
            (
                "allowed_stores = ['cloud']",
                "`allowed_stores` must list \"keychain\", \"keyutils\" or \"file\", not \"cloud\"",
            ),
            (
                "session_not_before = 'yesterday'",
                "`session_not_before` must be a moment",
            ),
            (
                "session_not_before = 5",
                "`session_not_before` must be a string",
            ),
            (
                "min_version = '99'",
                "`min_version` asks for gatepass 99 or newer",
            ),
            ("min_version = 'new'", "`min_version` must be a version"),
            ("schema = 'one'", "`schema` must be a whole number"),
            ("disabled = 5", "`disabled` must be a string"),
            ("[locked", "invalid"),
            ("\u{feff}\u{feff}", "invalid"),
        ];
        for (text, expected) in cases {
            let found = problems(text);
            assert!(
                found.iter().any(|what| what.contains(expected))
                    || (expected == "invalid" && !found.is_empty()),
                "{text}: {found:?}"
            );
        }
        assert_eq!(
            problems("[locked]\na = 1\nb = 2\n[default]\nc = 3\n").len(),
            3
        );
    }

    #[test]
    fn a_newer_schema_makes_unknown_keys_harmless_and_nothing_else() {
        let policy = Policy::parse(
            b"schema = 2\nfuture = true\nlocked_keys = ['new_key', 'flow']\n[locked]\nnew_key = 1\nflow = 'device'\n",
        )
        .unwrap();
        assert_eq!(policy.ignored, ["future", "new_key", "new_key"]);
        assert!(policy.freezes("flow", &ProfileName::default()));
        assert!(!problems("schema = 2\n[locked]\nflow = 'telepathy'\n").is_empty());
        assert!(!problems("schema = 1\n[locked]\nnew_key = 1\n").is_empty());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for fine in ["0.1", "0.1.0", "0.0.9", "0.1.0-beta"] {
            assert!(check_version(fine).is_ok(), "{fine}");
        }
        for newer in ["0.1.1", "0.10", "1"] {
            assert!(check_version(newer).is_err(), "{newer}");
        }
    }
}
