//! From a grant of the token endpoint to a token that may be printed.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::config::settings::{Settings, TokenChoice};
use crate::config::value::Value;
use crate::error::{Failure, Id, Result};
use crate::oidc::id_token::{self, Claims};
use crate::oidc::tokens::{self, Grant};
use crate::session::record::IssuedToken;
use crate::session::validity::Life;

/// Life of a token about which nothing is known, in seconds.
const UNKNOWN_LIFE: u64 = 300;

/// Claims that are kept for people to recognise their account, beside those that headers need.
const KEPT_CLAIMS: [&str; 5] = ["sub", "email", "name", "preferred_username", "upn"];

/// When a request was sent and its answer came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Before the request, in milliseconds since 1970: life is counted from here.
    pub asked_at_ms: u64,
    /// After the answer, in milliseconds since 1970.
    pub obtained_at_ms: u64,
}

impl Times {
    /// When it was asked for, in seconds since 1970.
    pub(super) fn asked_at(self) -> u64 {
        self.asked_at_ms / 1000
    }
}

/// The token to print, if the grant has the configured one.
///
/// `claims` are those of a validated ID token, or the ones kept from the sign-in.
pub(super) fn token_to_print(
    grant: &Grant,
    validated: Option<&Claims>,
    claims: &Map<String, Json>,
    times: Times,
    settings: &Settings,
) -> Result<Option<IssuedToken>> {
    let (value, expires_at_ms) = match settings.token {
        TokenChoice::AccessToken => {
            let token = grant.access_token.clone();
            let expires_at = grant
                .expires_in
                .map(|life| times.asked_at_ms.saturating_add(life.saturating_mul(1000)))
                .or_else(|| id_token::expiry_hint(&token).map(|at| at.saturating_mul(1000)))
                .unwrap_or(times.asked_at_ms + UNKNOWN_LIFE * 1000);
            (token, expires_at)
        }
        TokenChoice::IdToken => match (&grant.id_token, validated) {
            (Some(token), Some(claims)) => {
                (token.clone(), claims.expires_at().saturating_mul(1000))
            }
            _ => return Ok(None),
        },
    };
    tokens::check_printable(&value)?;
    Ok(Some(IssuedToken {
        value,
        life: Life {
            issued_at_ms: times.asked_at_ms,
            expires_at_ms,
        },
        obtained_at_ms: times.obtained_at_ms,
        headers: headers(&settings.headers, claims)?,
        digest: settings.token_digest.clone(),
    }))
}

/// The claims that are worth keeping: what people are shown, what headers are made of and what later tokens are
/// compared with.
pub(super) fn kept_claims(claims: &Claims, settings: &Settings) -> Map<String, Json> {
    let needed = |name: &str| {
        let placeholder = format!("{{{name}}}");
        KEPT_CLAIMS.contains(&name)
            || id_token::ORIGINAL.contains(&name)
            || settings
                .headers
                .values()
                .any(|template| template.contains(&placeholder))
    };
    claims
        .0
        .iter()
        .filter(|(name, value)| needed(name) && (value.is_string() || value.is_number()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether the account is one that the organisation allows.
pub(super) fn check_account(claims: &Claims, settings: &Settings) -> Result<()> {
    for (name, allowed) in &settings.required_claims {
        let given = match name.as_str() {
            "email_domain" => claims
                .0
                .get("email")
                .and_then(Json::as_str)
                .and_then(|email| email.rsplit_once('@'))
                .map(|(_, domain)| Json::from(domain.to_ascii_lowercase())),
            name => claims.0.get(name).cloned(),
        };
        if !given.is_some_and(|given| fits(&given, allowed)) {
            return Err(Failure::new(
                Id::SignInFailed,
                format!("this account is not an allowed one: `{name}` does not match"),
                "sign in with your organisation's account",
            )
            .from_provider());
        }
    }
    Ok(())
}

/// A claim fits an allowed value, or one of a list; a list claim fits if one of its values does.
fn fits(given: &Json, allowed: &Value) -> bool {
    match (given, allowed) {
        (_, Value::List(options)) => options.iter().any(|option| fits(given, option)),
        (Json::Array(values), _) => values.iter().any(|value| fits(value, allowed)),
        _ => *given == allowed.to_json(),
    }
}

/// Fills the placeholders of the configured headers.
fn headers(
    templates: &BTreeMap<String, String>,
    claims: &Map<String, Json>,
) -> Result<BTreeMap<String, String>> {
    templates
        .iter()
        .map(|(name, template)| filled(name, template, claims).map(|value| (name.clone(), value)))
        .collect()
}

/// Fills `{claim}` placeholders: only `{name}` with `[A-Za-z0-9_.:-]+` is one, so JSON values stay as they are.
fn filled(header: &str, template: &str, claims: &Map<String, Json>) -> Result<String> {
    let is_json = serde_json::from_str::<Json>(template)
        .is_ok_and(|value| value.is_object() || value.is_array());
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        let name = after[1..].split_once('}').map_or("", |(name, _)| name);
        let name_character =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
        if name.is_empty() || !name.bytes().all(name_character) {
            out.push('{');
            rest = &after[1..];
            continue;
        }
        let claim = claims.get(name).and_then(Json::as_str).unwrap_or_default();
        if claim.is_empty() || !claim.bytes().all(|byte| matches!(byte, 0x21..=0x7E)) {
            return Err(Failure::new(
                Id::UntrustedResponse,
                format!("header {header} needs the claim `{name}`, which the ID token does not have as plain text"),
                "gatepass login, or have your administrator add the claim to ID tokens",
            )
            .from_provider());
        }
        if is_json {
            let quoted = Json::from(claim).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        } else {
            out.push_str(claim);
        }
        rest = &after[name.len() + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: &str) -> Result<String, u8> {
        let Json::Object(claims) = json!({
            "sub": "s1", "email": "ann@example.com", "quote": "a\"b\\c", "space": "a b", "bad": "a\r\nb", "n": 5, "urn:x.y-z": "u"
        }) else {
            unreachable!()
        };
        filled("X-A", template, &claims).map_err(|failure| failure.id.exit_code())
    }

    #[test]
    fn placeholders_are_names_in_braces_and_nothing_else() {
        for (template, value) in [
            ("{email}", "ann@example.com"),
            ("user={sub};x", "user=s1;x"),
            ("{urn:x.y-z}", "u"),
            ("{}", "{}"),
            ("{ sub }", "{ sub }"),
            ("{", "{"),
            (
                r#"{"user":"{email}","a":{"b":1}}"#,
                r#"{"user":"ann@example.com","a":{"b":1}}"#,
            ),
            (r#"{"q":"{quote}"}"#, r#"{"q":"a\"b\\c"}"#),
            ("{quote}", "a\"b\\c"),
        ] {
            assert_eq!(fill(template).as_deref(), Ok(value), "{template}");
        }
        for template in ["{missing}", "{n}", "{bad}", "{space}"] {
            assert_eq!(fill(template), Err(8), "{template}");
        }
    }

    #[test]
    fn claims_fit_values_lists_and_the_mail_domain() {
        assert!(fits(&json!("a"), &Value::from("a")));
        assert!(!fits(&json!("A"), &Value::from("a")));
        assert!(fits(&json!(["x", "a"]), &Value::from("a")));
        let list = Value::List(vec![Value::from("b"), Value::from("a")]);
        assert!(fits(&json!("a"), &list));
        assert!(!fits(&json!("c"), &list));
        assert!(fits(&json!(true), &Value::Flag(true)));
        assert!(!fits(&json!("true"), &Value::Flag(true)));
    }
}
