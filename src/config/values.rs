//! Typed access to effective values, and what is wrong with them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::choice::{ClientAuth, Kind, Redirect, RedirectHost, ResponseMode, Usage};
use super::exchange::Exchange;
use super::layers::{Layers, Source};
use super::schema::Key;
use super::value::Value;
use crate::error::Failure;

/// What to do about a value that cannot be right.
const CORRECT: &str = "correct that value (`gatepass config path` names the file)";

/// Typed access to the effective values. The shapes were checked when the values were read; what is wrong all the
/// same is collected.
pub(super) struct Values<'l, 'f> {
    pub(super) layers: &'l Layers<'f>,
    pub(super) problems: RefCell<Vec<Failure>>,
}

impl Values<'_, '_> {
    pub(super) fn get(&self, name: &str) -> Option<(Cow<'_, Value>, Source)> {
        self.layers.effective(Key::find(name)?)
    }

    pub(super) fn value(&self, name: &str) -> Option<Value> {
        self.get(name).map(|(value, _)| value.into_owned())
    }

    /// Notes a configuration error, with the place where the value stands.
    pub(super) fn wrong(&self, name: &str, what: impl AsRef<str>) {
        let failure = match self.get(name) {
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

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn required_text(&self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.problems.borrow_mut().push(Failure::config(
                format!("`{name}` is not configured"),
                "gatepass config init --issuer URL --client-id ID",
            ));
            String::new()
        })
    }

    /// The scopes; what is built in is for OpenID providers.
    pub(super) fn scopes(&self, kind: Kind) -> Vec<String> {
        match self.get("scopes") {
            Some((_, Source::BuiltIn)) if kind != Kind::Oidc => Vec::new(),
            _ => self.texts("scopes"),
        }
    }

    pub(super) fn exchange(&self) -> Option<Exchange> {
        let Some(Value::Table(table)) = self.value("exchange") else {
            return None;
        };
        Exchange::parse(&table)
            .map_err(|reason| self.wrong("exchange", reason.replace('%', "`exchange.headers`")))
            .ok()
    }

    pub(super) fn word(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn seconds(&self, name: &str, otherwise: u64) -> Duration {
        Duration::from_secs(self.number(name).unwrap_or(otherwise))
    }

    pub(super) fn flag(&self, name: &str, otherwise: bool) -> bool {
        match self.value(name) {
            Some(Value::Flag(flag)) => flag,
            _ => otherwise,
        }
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(items)) => items
                .into_iter()
                .filter_map(|item| match item {
                    Value::Text(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn table(&self, name: &str) -> BTreeMap<String, Value> {
        match self.value(name) {
            Some(Value::Table(table)) => table,
            _ => BTreeMap::new(),
        }
    }

    pub(super) fn text_table(&self, name: &str) -> BTreeMap<String, String> {
        self.table(name)
            .into_iter()
            .filter_map(|(name, value)| match value {
                Value::Text(text) => Some((name, text)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn redirect(&self) -> Redirect {
        let path = self
            .text("redirect_path")
            .unwrap_or_else(|| "/callback".to_owned());
        let path_character =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
        let odd = path.contains("//") || path.split('/').any(|part| part == "." || part == "..");
        if !path.starts_with('/') || odd || path.len() > 200 || !path.bytes().all(path_character) {
            self.wrong(
                "redirect_path",
                "`redirect_path` is a path such as \"/callback\"",
            );
        }
        let ports: Vec<u16> = match self.value("redirect_ports") {
            Some(Value::List(items)) => items
                .into_iter()
                .filter_map(|item| match item {
                    Value::Number(port) => u16::try_from(port).ok(),
                    _ => None,
                })
                .collect(),
            _ => vec![0],
        };
        if ports.is_empty() {
            self.wrong("redirect_ports", "`redirect_ports` lists no port");
        }
        Redirect {
            host: match self.word("redirect_host").as_str() {
                "localhost" => RedirectHost::Localhost,
                "[::1]" => RedirectHost::Ipv6,
                _ => RedirectHost::Ipv4,
            },
            ports,
            path,
            response_mode: match self.word("response_mode").as_str() {
                "form_post" => ResponseMode::FormPost,
                _ => ResponseMode::Query,
            },
        }
    }

    pub(super) fn client_auth(&self, has_secret: bool) -> ClientAuth {
        match self.word("client_auth").as_str() {
            "client_secret_basic" => ClientAuth::SecretBasic,
            "client_secret_post" => ClientAuth::SecretPost,
            "private_key_jwt" => ClientAuth::PrivateKeyJwt,
            "tls_client_auth" => ClientAuth::Tls,
            "" if has_secret => ClientAuth::SecretBasic,
            _ => ClientAuth::None,
        }
    }

    pub(super) fn usage(&self, name: &str) -> Usage {
        match self.word(name).as_str() {
            "always" => Usage::Always,
            "never" => Usage::Never,
            _ => Usage::Auto,
        }
    }
}
