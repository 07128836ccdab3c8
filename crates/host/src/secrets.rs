//! What looks like a credential. A host's configuration and a policy are distributed in the clear.

use serde_json::Value;

use crate::plan::is_claim_name;

/// Whether a header or setting holds a credential, by its name or by how its value looks.
pub fn looks_secret(name: &str, value: &str) -> bool {
    const NAMES: [&str; 9] = [
        "authorization",
        "api-key",
        "apikey",
        "virtual-key",
        "access-key",
        "secret",
        "password",
        "cookie",
        "auth-token",
    ];
    const BEGINNINGS: [&str; 9] = [
        "sk-", "sk_", "arch_", "eyJ", "ghp_", "xoxb-", "Bearer ", "bearer ", "Basic ",
    ];
    let name = name.to_ascii_lowercase().replace('_', "-");
    let long_token = (name.ends_with("token") || name.ends_with("key"))
        && value.len() >= 20
        && !value.contains(' ');
    NAMES.iter().any(|part| name.contains(part))
        || BEGINNINGS.iter().any(|start| value.starts_with(start))
        || long_token
        || has_password(value)
        || query_holds_secret(value)
}

/// An address with such a parameter.
fn query_holds_secret(address: &str) -> bool {
    let parameters = address
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('?'))
        .map_or("", |(_, query)| query);
    parameters.split(['&', '#']).any(|parameter| {
        parameter
            .split_once('=')
            .is_some_and(|(name, value)| looks_secret(name, value))
    })
}

/// An address with name and password in it.
fn has_password(address: &str) -> bool {
    address.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .is_some_and(|(who, _)| who.contains(':'))
    })
}

/// The same for any value, however deep the credential lies in it.
pub fn holds_secret(name: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => looks_secret(name, &number.to_string()),
        // What is filled in later is none yet: `Bearer {token}`.
        Value::String(text) if is_to_be_filled(text) => false,
        Value::String(text) => {
            looks_secret(name, text)
                || within(text).is_some_and(|inner| holds_secret(name, &inner))
                || (name.to_ascii_lowercase().ends_with("headers") && lines_hold_secret(text))
        }
        Value::Array(items) => items.iter().any(|item| holds_secret(name, item)),
        Value::Object(object) => object.iter().any(|(name, value)| holds_secret(name, value)),
    }
}

/// Lists and objects travel as JSON text as well.
fn within(text: &str) -> Option<Value> {
    text.trim_start()
        .starts_with(['{', '['])
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// Headers in one string: `Name: value` on lines, or `name=value` between commas.
fn lines_hold_secret(text: &str) -> bool {
    text.split(['\n', ',']).any(|line| {
        line.split_once([':', '='])
            .is_some_and(|(name, value)| looks_secret(name.trim(), value.trim()))
    })
}

/// Whether nothing but placeholders is there, maybe after the name of a scheme.
fn is_to_be_filled(text: &str) -> bool {
    let value = text.strip_prefix("Bearer ").unwrap_or(text);
    let name = value
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(is_claim_name)
}

#[cfg(test)]
mod tests {
    use super::{holds_secret, looks_secret};
    use serde_json::Value;

    #[test]
    fn credentials_are_told_by_name_or_by_look() {
        for (name, value, secret) in [
            ("X-Archestra-Virtual-Key", "anything", true),
            ("X-Team", "sk-12345", true),
            ("X-Session-Token", "0123456789abcdef0123", true),
            ("api_key", "x", true),
            ("url", "https://ann:pw@proxy.example/x", true),
            ("url", "https://proxy.example/a:b@c", false),
            ("url", "https://ann@proxy.example", false),
            (
                "url",
                "https://gw.example/mint?a=b&subscription-key=0123456789abcdef0123",
                true,
            ),
            ("url", "https://gw.example/mint?api_key=x", true),
            ("url", "https://gw.example/mint?version=2024-10-21", false),
            (
                "Ocp-Apim-Subscription-Key",
                "0123456789abcdef0123456789abcdef",
                true,
            ),
            ("X-Functions-Key", "0123456789abcdef0123", true),
            ("X-Cache-Key", "team-a", false),
            ("X-Token-Budget", "500", false),
            ("X-Archestra-Agent-Id", "claude-desktop", false),
            ("X-TFY-METADATA", "{\"team\":\"a\"}", false),
        ] {
            assert_eq!(looks_secret(name, value), secret, "{name}");
        }
    }

    #[test]
    fn credentials_are_found_however_deep_they_lie() {
        for (name, value, secret) in [
            (
                "servers",
                r#"[{"name":"a","headers":{"Authorization":"x"}}]"#,
                true,
            ),
            ("servers", r#"[{"env":{"A":"sk-12345"}}]"#, true),
            ("deep", r#"{"a":[{"b":{"password":12345}}]}"#, true),
            ("text", r#""{\"X-Api-Key\":\"x\"}""#, true),
            ("otlpHeaders", r#""a=b,authorization=x""#, true),
            ("CUSTOM_HEADERS", r#""X-A: b\nX-Team: Bearer x""#, true),
            ("headers", r#"{"Authorization":"Bearer {token}"}"#, false),
            ("body", r#"{"api_key":"{token}"}"#, false),
            ("headers", r#"{"X-Api-Key":"a{token}"}"#, true),
            ("hosts", r#"["a.example","*"]"#, false),
            ("secretScanning", "true", false),
            ("note", r#""a=b, authorization=x""#, false),
        ] {
            assert_eq!(
                holds_secret(name, &serde_json::from_str::<Value>(value).unwrap()),
                secret,
                "{name} {value}"
            );
        }
    }
}
