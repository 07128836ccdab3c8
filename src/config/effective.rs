//! Typed access to the effective values, and what is wrong with them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

use super::choice::{Choice, ClientAuth, Kind, Redirect};
use super::exchange::Exchange;
use super::layers::{Layers, Source};
use super::schema::{self as key, Key};
use super::value::ConfigValue;
use crate::error::Failure;

/// What to do about a value that cannot be right.
const CORRECT: &str = "change that value in the file that gatepass config path names";

/// Typed access to the effective values. The shapes were checked when the values were read; what is wrong all the
/// same is collected.
pub(super) struct Effective<'l, 'f> {
    pub(super) layers: &'l Layers<'f>,
    pub(super) problems: RefCell<Vec<Failure>>,
}

impl Effective<'_, '_> {
    pub(super) fn get(&self, key: &'static Key) -> Option<(Cow<'_, ConfigValue>, Source)> {
        self.layers.effective(key)
    }

    pub(super) fn value(&self, key: &'static Key) -> Option<ConfigValue> {
        self.get(key).map(|(value, _)| value.into_owned())
    }

    /// Notes a configuration error, with the place where the value stands.
    pub(super) fn wrong(&self, key: &'static Key, what: impl AsRef<str>) {
        let failure = match self.get(key) {
            Some((_, source)) => {
                let remedy = match source {
                    Source::LockedPolicy | Source::DefaultPolicy => {
                        "ask your administrator to correct the policy"
                    }
                    Source::CommandLine => "correct that option",
                    _ => CORRECT,
                };
                Failure::config(format!("{source}: {}", what.as_ref()), remedy)
            }
            None => Failure::config(what, CORRECT),
        };
        self.problems.borrow_mut().push(failure);
    }

    pub(super) fn text(&self, key: &'static Key) -> Option<String> {
        match self.value(key)? {
            ConfigValue::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn required_text(&self, key: &'static Key) -> String {
        self.text(key).unwrap_or_else(|| {
            self.problems.borrow_mut().push(Failure::config(
                format!("`{}` is not configured", key.name),
                "gatepass config init --issuer URL --client-id ID",
            ));
            String::new()
        })
    }

    /// The scopes; what is built in is for OpenID providers.
    pub(super) fn scopes(&self, kind: Kind) -> Vec<String> {
        match self.get(&key::SCOPES) {
            Some((_, Source::BuiltIn)) if kind != Kind::Oidc => Vec::new(),
            _ => self.texts(&key::SCOPES),
        }
    }

    pub(super) fn exchange(&self) -> Option<Exchange> {
        let Some(ConfigValue::Table(table)) = self.value(&key::EXCHANGE) else {
            return None;
        };
        Exchange::parse(&table)
            .map_err(|reason| self.wrong(&key::EXCHANGE, reason.replace('%', "`exchange.headers`")))
            .ok()
    }

    /// A choice. There is none only where the key has no built-in value.
    pub(super) fn choice<C: Choice>(&self, key: &'static Key) -> Option<C> {
        C::of_word(&self.text(key)?)
    }

    /// A choice that has a built-in value.
    ///
    /// What the schema lets through is one of the choice's words, and a test holds the built-in value to that.
    pub(super) fn chosen<C: Choice>(&self, key: &'static Key) -> C {
        self.choice(key)
            .unwrap_or_else(|| self.never(key, C::ALL[0]))
    }

    pub(super) fn number(&self, key: &'static Key) -> Option<u64> {
        match self.value(key)? {
            ConfigValue::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A number that has a built-in value.
    pub(super) fn seconds(&self, key: &'static Key) -> u64 {
        self.number(key).unwrap_or_else(|| self.never(key, 0))
    }

    /// A flag that has a built-in value.
    pub(super) fn flag(&self, key: &'static Key) -> bool {
        match self.value(key) {
            Some(ConfigValue::Flag(flag)) => flag,
            _ => self.never(key, false),
        }
    }

    /// Notes that a value is not what the schema promises. Nothing is used where that is noted.
    fn never<T>(&self, key: &'static Key, anything: T) -> T {
        self.problems.borrow_mut().push(Failure::internal(format!(
            "`{}` has no value of its shape",
            key.name
        )));
        anything
    }

    pub(super) fn texts(&self, key: &'static Key) -> Vec<String> {
        match self.value(key) {
            Some(ConfigValue::List(items)) => items
                .into_iter()
                .filter_map(|item| match item {
                    ConfigValue::Text(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn table(&self, key: &'static Key) -> BTreeMap<String, ConfigValue> {
        match self.value(key) {
            Some(ConfigValue::Table(table)) => table,
            _ => BTreeMap::new(),
        }
    }

    pub(super) fn text_table(&self, key: &'static Key) -> BTreeMap<String, String> {
        self.table(key)
            .into_iter()
            .filter_map(|(name, value)| match value {
                ConfigValue::Text(text) => Some((name, text)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn redirect(&self) -> Redirect {
        let path = self.text(&key::REDIRECT_PATH).unwrap_or_default();
        let path_character =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
        let odd = path.contains("//") || path.split('/').any(|part| part == "." || part == "..");
        if !path.starts_with('/') || odd || path.len() > 200 || !path.bytes().all(path_character) {
            self.wrong(
                &key::REDIRECT_PATH,
                "`redirect_path` must be a path such as \"/callback\"",
            );
        }
        let ports: Vec<u16> = match self.value(&key::REDIRECT_PORTS) {
            Some(ConfigValue::List(items)) => items
                .into_iter()
                .filter_map(|item| match item {
                    ConfigValue::Number(port) => u16::try_from(port).ok(),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        if ports.is_empty() {
            self.wrong(
                &key::REDIRECT_PORTS,
                "`redirect_ports` must list a port; 0 is any free one",
            );
        }
        Redirect {
            host: self.chosen(&key::REDIRECT_HOST),
            ports,
            path,
            response_mode: self.chosen(&key::RESPONSE_MODE),
        }
    }

    pub(super) fn client_auth(&self, has_secret: bool) -> ClientAuth {
        self.choice(&key::CLIENT_AUTH).unwrap_or(if has_secret {
            ClientAuth::SecretBasic
        } else {
            ClientAuth::None
        })
    }
}
