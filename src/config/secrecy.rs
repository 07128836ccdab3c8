//! What of the configuration is secret, as the schema says: it must not be in files that other users may read, and is
//! masked where values are shown.

use gatepass_host::secrets::looks_secret;
use serde_json::Value as Json;

use super::exchange::PLACEHOLDER;
use super::schema::{self, Key, Secrecy, Shape};
use super::value::ConfigValue;

/// What is shown instead of a secret.
const MASKED: &str = "…";

/// Whether other people must not read a file that holds this value.
pub(super) fn holds_secret(key: &Key, value: &ConfigValue) -> bool {
    match (key.secrecy, key.shape, value) {
        (_, Shape::Table(keys), ConfigValue::Table(table)) => table.iter().any(|(name, value)| {
            schema::find(keys, name).is_some_and(|key| holds_secret(key, value))
        }),
        (Secrecy::Secret, ..) => true,
        (Secrecy::Password, _, ConfigValue::Text(address)) => has_password(address),
        (Secrecy::Credentials, _, value) => holds_credential(key.name, value),
        (Secrecy::Open | Secrecy::Password | Secrecy::Entries, ..) => false,
    }
}

/// A value as it may be shown.
pub fn shown(key: &Key, value: &ConfigValue) -> Json {
    match (key.secrecy, key.shape, value) {
        (_, Shape::Table(keys), ConfigValue::Table(table)) => table
            .iter()
            .filter_map(|(name, value)| Some((schema::find(keys, name)?, value)))
            .map(|(key, value)| (key.name.to_owned(), shown(key, value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        (Secrecy::Secret | Secrecy::Credentials, ..) => MASKED.into(),
        // A name without a password is often one, too.
        (Secrecy::Password, _, ConfigValue::Text(address)) if address.contains('@') => {
            MASKED.into()
        }
        (Secrecy::Entries, _, ConfigValue::Table(table)) => table
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    ConfigValue::Text(text) if looks_secret(name, text) => MASKED.into(),
                    value => value.to_json(),
                };
                (name.clone(), value)
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        (Secrecy::Open | Secrecy::Password | Secrecy::Entries, _, value) => value.to_json(),
    }
}

/// `http://name:password@host`.
fn has_password(address: &str) -> bool {
    let after_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
    let who = after_scheme.rsplit_once('@').map(|(who, _)| who);
    who.is_some_and(|who| who.contains(':'))
}

/// Whether a credential stands somewhere in a value. What the provider's token is filled in for is none yet.
fn holds_credential(name: &str, value: &ConfigValue) -> bool {
    match value {
        ConfigValue::Text(text) => match serde_json::from_str::<Json>(text) {
            Ok(inner @ (Json::Object(_) | Json::Array(_))) => json_holds_credential(name, &inner),
            _ => is_credential(name, text),
        },
        ConfigValue::Number(_) | ConfigValue::Flag(_) => false,
        ConfigValue::List(items) => items.iter().any(|item| holds_credential(name, item)),
        ConfigValue::Table(table) => table
            .iter()
            .any(|(name, value)| holds_credential(name, value)),
    }
}

fn json_holds_credential(name: &str, value: &Json) -> bool {
    match value {
        Json::String(text) => is_credential(name, text),
        Json::Array(items) => items.iter().any(|item| json_holds_credential(name, item)),
        Json::Object(members) => members
            .iter()
            .any(|(name, value)| json_holds_credential(name, value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

fn is_credential(name: &str, text: &str) -> bool {
    !text.contains(PLACEHOLDER) && looks_secret(name, text)
}

#[cfg(test)]
mod tests {
    use crate::config::document::Document;

    #[test]
    fn one_list_says_what_is_secret() {
        let http = "kind = 'http'\nurl = 'https://gw.example/keys'\n";
        for (text, secret) in [
            ("client_secret = 's'".to_owned(), true),
            ("[profile.a]\nclient_secret = 's'".to_owned(), true),
            ("[exchange]\nclient_secret = 's'".to_owned(), true),
            ("[exchange]\nclient_id = 's'".to_owned(), false),
            (
                "proxy = 'http://ann:pw@proxy.example:8080'".to_owned(),
                true,
            ),
            ("proxy = 'http://ann@proxy.example:8080'".to_owned(), false),
            ("proxy = 'http://proxy.example:8080'".to_owned(), false),
            (
                format!("[exchange]\n{http}headers = {{ X-Api-Key = 'abc' }}"),
                true,
            ),
            (
                format!("[exchange]\n{http}headers = {{ Authorization = 'Bearer {{token}}' }}"),
                false,
            ),
            (
                format!("[exchange]\n{http}body = '{{\"password\":\"abc\"}}'"),
                true,
            ),
            (
                format!("[exchange]\n{http}body = {{ token = '{{token}}' }}"),
                false,
            ),
            ("[headers]\nX-Team = 'a'".to_owned(), false),
        ] {
            let document = Document::parse(text.as_bytes()).unwrap();
            assert_eq!(document.holds_a_secret(), secret, "{text}");
        }
    }
}
