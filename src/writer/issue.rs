//! From a grant of the token endpoint to a token that may be printed.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::config::exchange::Exchange;
use crate::config::settings::{Settings, TokenChoice};
use crate::config::template;
use crate::config::value::ConfigValue;
use crate::error::{Failure, Id, Result};
use crate::oidc::exchange::{End, Exchanged};
use crate::oidc::id_token::{self, Claims};
use crate::oidc::tokens::{self, Grant};
use crate::secret::Secret;
use crate::session::record::{IssuedToken, ProviderToken, missing_header};
use crate::session::validity::Life;

/// Life of a token without `expires_in` and without `exp`, in seconds.
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

/// One of the provider's tokens with its life, if the grant has it. An ID token only counts if it was validated.
fn provider_token(
    choice: TokenChoice,
    settings: &Settings,
    grant: &Grant,
    validated: Option<&Claims>,
    times: Times,
) -> Option<ProviderToken> {
    let (value, expires_at_ms) = match choice {
        TokenChoice::AccessToken => {
            let token = grant.access_token.clone();
            let expires_at = expiry(grant.expires_in, &token, times);
            (token, expires_at)
        }
        TokenChoice::IdToken => {
            let (token, claims) = grant.id_token.as_ref().zip(validated)?;
            (token.clone(), claims.expires_at().saturating_mul(1000))
        }
    };
    Some(ProviderToken {
        value,
        life: Life {
            issued_at_ms: times.asked_at_ms,
            expires_at_ms,
        },
        digest: settings.token_digest.clone(),
    })
}

/// When an access token ends: by `expires_in`, else by the `exp` of a JWT, else after [`UNKNOWN_LIFE`].
fn expiry(expires_in: Option<u64>, token: &Secret, times: Times) -> u64 {
    expires_in
        .map(|life| times.asked_at_ms.saturating_add(life.saturating_mul(1000)))
        .or_else(|| id_token::expiry_hint(token).map(|at| at.saturating_mul(1000)))
        .unwrap_or(times.asked_at_ms + UNKNOWN_LIFE * 1000)
}

/// What a token is printed with.
#[derive(Clone, Copy, Debug)]
pub(super) struct IssueContext<'a> {
    /// The effective configuration.
    pub settings: &'a Settings,
    /// Claims of a validated ID token, or the ones kept from the sign-in.
    pub claims: &'a Map<String, Json>,
    /// The user's secrets for the gateway.
    pub secret_headers: &'a BTreeMap<String, Secret>,
    /// When it was asked for.
    pub times: Times,
}

impl IssueContext<'_> {
    fn token(&self, value: Secret, life: Life) -> Result<IssuedToken> {
        tokens::check_printable(&value)?;
        Ok(IssuedToken {
            value,
            life,
            obtained_at_ms: self.times.obtained_at_ms,
            headers: headers(self.settings, self.claims, self.secret_headers)?,
            digest: self.settings.token_digest.clone(),
        })
    }

    /// The token to print, if the grant has the configured one.
    ///
    /// # Errors
    /// `untrusted-response` where what would be printed is no token, or a header cannot be made of the claims.
    pub(super) fn of_grant(
        &self,
        grant: &Grant,
        validated: Option<&Claims>,
    ) -> Result<Option<IssuedToken>> {
        provider_token(
            self.settings.token,
            self.settings,
            grant,
            validated,
            self.times,
        )
        .map(|token| self.token(token.value, token.life))
        .transpose()
    }

    /// The token to print, from the gateway's own issuer.
    ///
    /// # Errors
    /// `untrusted-response` where a header cannot be made of the claims.
    pub(super) fn of_exchange(&self, exchanged: Exchanged) -> Result<IssuedToken> {
        let expires_at_ms = match exchanged.end {
            End::At(at_ms) => at_ms,
            End::In(seconds) => expiry(seconds, &exchanged.token, self.times),
        };
        let life = Life {
            issued_at_ms: self.times.asked_at_ms,
            expires_at_ms,
        };
        self.token(exchanged.token, life)
    }
}

/// The provider's token that is exchanged, if the grant has it.
pub(super) fn token_to_exchange(
    exchange: &Exchange,
    settings: &Settings,
    grant: &Grant,
    validated: Option<&Claims>,
    times: Times,
) -> Option<ProviderToken> {
    provider_token(exchange.subject(), settings, grant, validated, times)
}

/// The claims that are worth keeping: what people are shown, what headers are made of and what later tokens are
/// compared with.
pub(super) fn kept_claims(claims: &Claims, settings: &Settings) -> Map<String, Json> {
    let needed = |name: &str| {
        KEPT_CLAIMS.contains(&name)
            || id_token::ORIGINAL.contains(&name)
            || settings
                .headers
                .values()
                .any(|value| template::claims(value).any(|claim| claim == name))
    };
    // A refresh may bring no ID token, and who is allowed is looked at again all the same.
    let required = |name: &str| {
        settings
            .required_claims
            .keys()
            .any(|key| match key.as_str() {
                "email_domain" => name == "email_verified",
                key => key == name,
            })
    };
    claims
        .0
        .iter()
        .filter(|(name, value)| {
            required(name) || (needed(name) && (value.is_string() || value.is_number()))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether the account is one that the organisation allows.
///
/// # Errors
/// `sign-in-failed` where it is not (`required_claims`).
pub(super) fn check_account(claims: &Claims, settings: &Settings) -> Result<()> {
    for (name, allowed) in &settings.required_claims {
        let given = match name.as_str() {
            // An address that the provider itself does not vouch for names no domain.
            "email_domain" => claims
                .0
                .get("email")
                .filter(|_| claims.0.get("email_verified") != Some(&Json::Bool(false)))
                .and_then(Json::as_str)
                .and_then(|email| email.rsplit_once('@'))
                .map(|(_, domain)| Json::from(domain.to_ascii_lowercase())),
            name => claims.0.get(name).cloned(),
        };
        if !given.is_some_and(|given| fits(&given, allowed)) {
            return Err(Failure::new(
                Id::SignInFailed,
                format!(
                    "the account {} is not an allowed one: `{name}` does not match",
                    claims.account()
                ),
                "sign in with your organisation's account",
            )
            .told_by_provider());
        }
    }
    Ok(())
}

/// A claim fits an allowed value, or one of a list; a list claim fits if one of its values does.
fn fits(given: &Json, allowed: &ConfigValue) -> bool {
    match (given, allowed) {
        (_, ConfigValue::List(options)) => options.iter().any(|option| fits(given, option)),
        (Json::Array(values), _) => values.iter().any(|value| fits(value, allowed)),
        _ => *given == allowed.to_json(),
    }
}

/// The configured headers with their claims filled in, and the user's own secret ones.
fn headers(
    settings: &Settings,
    claims: &Map<String, Json>,
    secret_headers: &BTreeMap<String, Secret>,
) -> Result<BTreeMap<String, Secret>> {
    let mut headers = BTreeMap::new();
    for (name, template) in &settings.headers {
        let value = template::fill(template, claims).map_err(|claim| {
            Failure::new(
                Id::UntrustedResponse,
                format!("header {name} needs the claim `{claim}`, which the ID token does not have as plain text"),
                "gatepass login, or have your administrator add the claim to ID tokens",
            )
            .told_by_provider()
        })?;
        headers.insert(name.clone(), Secret::new(value));
    }
    for name in &settings.secret_headers {
        let secret = secret_headers
            .get(name)
            .ok_or_else(|| crate::reader::sign_in_required(&missing_header(name)))?;
        headers.insert(name.clone(), secret.clone());
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mail_domain_counts_only_where_the_provider_vouches_for_the_address() {
        let text = "issuer = 'https://idp.example'\nclient_id = 'c'\n[required_claims]\nemail_domain = 'example.com'";
        let settings = crate::config::load(
            &crate::config::Sources::of_text(text),
            &crate::config::profile::ProfileName::default(),
        )
        .unwrap();
        for (claims, allowed) in [
            (json!({"email": "a@Example.com"}), true),
            (
                json!({"email": "a@example.com", "email_verified": true}),
                true,
            ),
            (
                json!({"email": "a@example.com", "email_verified": false}),
                false,
            ),
            (json!({"email": "a@example.com.evil.test"}), false),
            (json!({"email": "example.com"}), false),
            (json!({}), false),
        ] {
            let Json::Object(claims) = claims else {
                unreachable!()
            };
            let claims = Claims(claims);
            assert_eq!(
                check_account(&claims, &settings).is_ok(),
                allowed,
                "{claims:?}"
            );
            // What was kept says the same later.
            let kept = Claims(kept_claims(&claims, &settings));
            assert_eq!(check_account(&kept, &settings).is_ok(), allowed, "{kept:?}");
        }
    }

    #[test]
    fn claims_fit_values_lists_and_the_mail_domain() {
        assert!(fits(&json!("a"), &ConfigValue::from("a")));
        assert!(!fits(&json!("A"), &ConfigValue::from("a")));
        assert!(fits(&json!(["x", "a"]), &ConfigValue::from("a")));
        let list = ConfigValue::List(vec![ConfigValue::from("b"), ConfigValue::from("a")]);
        assert!(fits(&json!("a"), &list));
        assert!(!fits(&json!("c"), &list));
        assert!(fits(&json!(true), &ConfigValue::Flag(true)));
        assert!(!fits(&json!("true"), &ConfigValue::Flag(true)));
    }
}
