//! ID-token validation: OIDC Core 1.0 sections 3.1.3.7, 3.1.3.8 and 12.2, complete and always on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::discovery::Provider;
use super::json::UniqueObject;
use super::keys::{Algorithm, Keys, VerificationKey};
use super::transport::http::Http;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::session::state::StateFiles;
use crate::text;

/// How far the provider's clock may differ from ours, in seconds.
const LEEWAY: u64 = 60;

/// How old an ID token may be when the user has just signed in, in seconds.
const OLDEST: u64 = 600;

/// Largest ID token that is read, in bytes.
const LIMIT: usize = 64 * 1024;

/// Most keys that are tried for a token that does not name its key.
const TRIES: usize = 50;

/// Claims of the sign-in's token that section 12.2 compares those of later tokens with. They are kept for that.
pub const ORIGINAL: [&str; 2] = ["nonce", "auth_time"];

/// On what context the token was issued, which decides what it must say.
#[derive(Debug)]
pub enum ValidationContext<'a> {
    /// A sign-in with a browser: the nonce must come back.
    SignIn(&'a Secret),
    /// A sign-in with a device code, which has no nonce.
    DeviceSignIn,
    /// A refresh: it must be the same person and the same sign-in (section 12.2).
    Refresh {
        /// `sub` at sign-in.
        subject: &'a str,
        /// What was kept of the sign-in's token.
        original: &'a Map<String, Value>,
        /// The earliest `iat`, in seconds since 1970, where an older token would prove nothing.
        not_before: Option<u64>,
    },
}

/// The claims of a token that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(pub Map<String, Value>);

impl Claims {
    /// `sub`: a string, never empty.
    pub fn subject(&self) -> &str {
        self.0
            .get("sub")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The name that people know the account by, made safe to show.
    pub fn account(&self) -> String {
        let name = ["email", "preferred_username", "upn", "name"]
            .into_iter()
            .find_map(|claim| self.0.get(claim).and_then(Value::as_str));
        text::from_server(name.unwrap_or(self.subject()))
    }

    /// `exp`, in seconds since 1970.
    pub fn expires_at(&self) -> u64 {
        seconds(&self.0, "exp").unwrap_or(0)
    }
}

/// Why a token was not accepted, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Its algorithm is not the issuer's, or none of the issuer's keys has signed it: what is known of the issuer may
    /// be outdated.
    Signer(String),
    /// The issuer has signed it, for another person or another client.
    AnotherPerson(String),
    /// `iat`, `nbf` or `exp` do not fit this machine's clock.
    Times(String),
    /// Another check failed.
    Failed(String),
}

impl Rejection {
    /// What was wrong.
    pub(crate) fn what(&self) -> &str {
        match self {
            Self::Signer(what)
            | Self::AnotherPerson(what)
            | Self::Times(what)
            | Self::Failed(what) => what,
        }
    }
}

/// Validates the ID token of a sign-in with metadata and keys that were just fetched. If no key fits, they are fetched
/// once more.
///
/// `access_token` is the access token of the same answer, for `at_hash`.
///
/// # Errors
/// [`Id::UntrustedResponse`](crate::error::Id::UntrustedResponse) where a check fails.
pub fn validate(
    token: &Secret,
    access_token: &Secret,
    context: &ValidationContext<'_>,
    provider: &mut Provider,
    settings: &Settings,
    http: &Http,
    files: &StateFiles,
) -> Result<Claims> {
    let failed = |rejection: &Rejection| {
        Failure::untrusted(format!("the ID token was refused: {}", rejection.what()))
    };
    let judge_by = |provider: &Provider| {
        let now = clock::now();
        judge(token, access_token, context, provider, settings, now)
    };
    let judged = match judge_by(provider) {
        Err(Rejection::Signer(_)) => {
            *provider = Provider::fetch(http, settings, files)?;
            judge_by(provider)
        }
        judged => judged,
    };
    judged.map_err(|rejection| failed(&rejection))
}

/// Judges an ID token by the metadata and keys at hand, without network. `now` is in seconds since 1970.
pub(crate) fn judge(
    token: &Secret,
    access_token: &Secret,
    context: &ValidationContext<'_>,
    provider: &Provider,
    settings: &Settings,
    now: u64,
) -> Result<Claims, Rejection> {
    check(
        token.expose(),
        access_token.expose(),
        context,
        &provider.keys,
        &provider.metadata.id_token_signing_alg_values_supported,
        settings,
        now,
    )
}

/// Every check that needs no network.
pub(crate) fn check(
    raw: &str,
    access_token: &str,
    context: &ValidationContext<'_>,
    keys: &Keys,
    advertised: &[String],
    settings: &Settings,
    now: u64,
) -> Result<Claims, Rejection> {
    let failed = |what: &str| Rejection::Failed(what.to_owned());
    if raw.len() > LIMIT {
        return Err(failed("it is too large"));
    }
    let parts: Vec<&str> = raw.split('.').take(6).collect();
    let (header, claims, signature) = match parts[..] {
        [header, claims, signature] => (header, claims, signature),
        // Section 3.1.3.7, item 1: encryption was not negotiated.
        [_, _, _, _, _] => return Err(failed("it is encrypted, which gatepass did not ask for")),
        _ => return Err(failed("it is not a signed token")),
    };
    let header = object(header).ok_or_else(|| failed("its header is malformed"))?;
    let claims = object(claims).ok_or_else(|| failed("its claims are malformed"))?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| failed("its signature is malformed"))?;
    let signed = raw.rsplit_once('.').map_or("", |(signed, _)| signed);
    check_header(&header)?;
    let algorithm = algorithm(&header, advertised)?;
    check_signature(signed, &signature, &header, algorithm, keys)?;
    check_issuer(&claims, settings)?;
    check_person(&claims, context, settings)?;
    check_audience(&claims, settings)?;
    check_claims(&claims, context, settings)?;
    check_times(&claims, context, now)?;
    check_authentication(&claims, context, settings, now)?;
    check_access_token_hash(algorithm, &claims, access_token)?;
    Ok(Claims(claims))
}

/// What must not be in the header: following it would let the token choose its own key, or be read in another way
/// than it was signed (Core section 2, RFC 7515 section 4.1.11, RFC 7797 section 6).
fn check_header(header: &Map<String, Value>) -> Result<(), Rejection> {
    for name in ["jwk", "jku", "x5u", "x5c", "crit", "b64", "enc", "zip"] {
        if header.contains_key(name) {
            return Err(Rejection::Failed(format!("its header has `{name}`")));
        }
    }
    if header.get("typ").is_some_and(|kind| !is_jwt(kind)) || header.contains_key("cty") {
        return Err(Rejection::Failed(
            "it is a token of another kind (`typ`)".to_owned(),
        ));
    }
    Ok(())
}

/// RFC 7519 section 5.1: `JWT`, or the full media type, in any case.
fn is_jwt(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| {
        kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("application/jwt")
    })
}

/// The algorithm of the header, if it is one that the issuer advertises and that proves who signed: asymmetric,
/// and RS256 where nothing is advertised (section 3.1.3.7, items 7 and 8).
fn algorithm(header: &Map<String, Value>, advertised: &[String]) -> Result<Algorithm, Rejection> {
    let name = header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or_else(|| Rejection::Failed("it does not say how it is signed".to_owned()))?;
    let is_advertised =
        advertised.iter().any(|one| one == name) || (advertised.is_empty() && name == "RS256");
    match Algorithm::named(name) {
        Some(algorithm) if is_advertised => Ok(algorithm),
        Some(_) => Err(Rejection::Signer(format!(
            "the issuer does not say that it signs with {name}"
        ))),
        // Some providers sign so until they are given a key of their own; it proves nothing to a public client.
        None => Err(Rejection::Failed(format!(
            "its signature algorithm \"{}\" is not allowed; the provider must sign with a private key, such as RS256",
            text::from_server(name)
        ))),
    }
}

/// Whether one of the issuer's keys has signed the token. Neither `kid` nor `alg` of the header is believed: they
/// only choose among the issuer's keys, and the key must fit.
fn check_signature(
    signed: &str,
    signature: &[u8],
    header: &Map<String, Value>,
    algorithm: Algorithm,
    keys: &Keys,
) -> Result<(), Rejection> {
    let named = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => {
            return Err(Rejection::Failed(
                "its key has no proper name (`kid`)".to_owned(),
            ));
        }
    };
    let has_signed =
        |key: &&VerificationKey| key.has_signed(algorithm, signed.as_bytes(), signature);
    // Only keys of this name may have signed; keys without a name are candidates for every token, and a key set with
    // several keys and a token that names none is legitimate.
    let mut candidates = keys
        .iter()
        .filter(|key| named.is_none() || key.id().is_none() || key.id() == named)
        .take(TRIES);
    if candidates.any(|key| has_signed(&key)) {
        return Ok(());
    }
    // A name that is not known may be new; one that is known may name another key by now.
    let is_known = named.is_some() && keys.iter().any(|key| key.id() == named);
    Err(Rejection::Signer(
        if is_known {
            "its signature does not fit the issuer's keys"
        } else {
            "no key of the issuer has signed it"
        }
        .to_owned(),
    ))
}

/// An issuer for many tenants names the token's own one, which must be among the allowed ones.
fn check_tenant(
    claims: &Map<String, Value>,
    issuer: &str,
    template: &str,
    settings: &Settings,
) -> Result<(), Rejection> {
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    let Some(tenant) = claims.get("tid").and_then(Value::as_str) else {
        return failed("it names no tenant (`tid`)");
    };
    if !settings.tenants.iter().any(|allowed| allowed == tenant) {
        return failed("its tenant (`tid`) is not among the allowed ones (`tenants`)");
    }
    if issuer != template.replace("{tenantid}", tenant) {
        return failed("it comes from another issuer (`iss`)");
    }
    Ok(())
}

/// Who issued the token (item 2).
fn check_issuer(claims: &Map<String, Value>, settings: &Settings) -> Result<(), Rejection> {
    let issuer = claims
        .get("iss")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match settings.issuer_template() {
        Ok(None) if issuer == settings.issuer => Ok(()),
        Ok(Some(template)) => check_tenant(claims, issuer, &template, settings),
        _ => Err(Rejection::Failed(
            "it comes from another issuer (`iss`)".to_owned(),
        )),
    }
}

/// For which client and about whom it is: the client among the audiences (item 3), and at a refresh the same subject as
/// at the sign-in (section 12.2).
fn check_person(
    claims: &Map<String, Value>,
    context: &ValidationContext<'_>,
    settings: &Settings,
) -> Result<(), Rejection> {
    let ours = Value::from(settings.client_id.as_str());
    let names_us = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.contains(&ours),
        Some(audience) => *audience == ours,
        None => false,
    };
    if !names_us {
        return Err(Rejection::AnotherPerson(
            "it was issued for another client (`aud`)".to_owned(),
        ));
    }
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    match claims.get("sub").and_then(Value::as_str) {
        None | Some("") => failed("it names no account (`sub`)"),
        Some(subject) if subject.len() > 255 => failed("its `sub` is too long"),
        Some(subject) => match context {
            ValidationContext::Refresh {
                subject: before, ..
            } if subject != *before => Err(Rejection::AnotherPerson(
                "it names another person than the one who signed in (`sub`)".to_owned(),
            )),
            _ => Ok(()),
        },
    }
}

/// A further audience must be one that the organisation trusts (item 3).
fn check_audience(claims: &Map<String, Value>, settings: &Settings) -> Result<(), Rejection> {
    let is_trusted = |audience: &Value| {
        audience.as_str().is_some_and(|name| {
            name == settings.client_id
                || settings
                    .trusted_audiences
                    .iter()
                    .any(|trusted| trusted == name)
        })
    };
    match claims.get("aud") {
        Some(Value::Array(audiences)) if !audiences.iter().all(is_trusted) => Err(
            Rejection::Failed("it was issued for a further audience (`aud`)".to_owned()),
        ),
        _ => Ok(()),
    }
}

/// The nonce, and what is easily forgotten: `auth_time` and `azp`.
fn check_claims(
    claims: &Map<String, Value>,
    context: &ValidationContext<'_>,
    settings: &Settings,
) -> Result<(), Rejection> {
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    if let ValidationContext::SignIn(sent) = context {
        let given = claims.get("nonce").and_then(Value::as_str);
        if !given.is_some_and(|given| sent.equals(given)) {
            return failed("it answers another request (`nonce`)");
        }
    }
    if let ValidationContext::Refresh { original, .. } = context {
        // Both may be missing from a renewed token.
        let given = |name: &str| claims.get(name).filter(|value| !value.is_null());
        if given("nonce").is_some_and(|nonce| original.get("nonce") != Some(nonce)) {
            return failed("it answers another sign-in (`nonce`)");
        }
        // The person may have authenticated again in the same session with the provider: later is no fault.
        if given("auth_time").is_some() && original.contains_key("auth_time") {
            let (now, then) = (seconds(claims, "auth_time"), seconds(original, "auth_time"));
            if now.zip(then).is_none_or(|(now, then)| now < then) {
                return failed("it tells of an earlier sign-in (`auth_time`)");
            }
        }
    }
    match claims.get("azp") {
        None | Some(Value::Null) => Ok(()),
        Some(party) if party.as_str() == Some(&settings.client_id) => Ok(()),
        Some(_) => failed("it was issued to another client (`azp`)"),
    }
}

/// `exp`, `iat` and `nbf` (items 9 and 10).
fn check_times(
    claims: &Map<String, Value>,
    context: &ValidationContext<'_>,
    now: u64,
) -> Result<(), Rejection> {
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    let untimely = |what: &str| Err(Rejection::Times(what.to_owned()));
    let Some(end) = seconds(claims, "exp") else {
        return failed("it does not say when it ends (`exp`)");
    };
    let Some(issued_at) = seconds(claims, "iat") else {
        return failed("it does not say when it was issued (`iat`)");
    };
    let valid_from = match claims.contains_key("nbf") {
        true => match seconds(claims, "nbf") {
            Some(from) => from,
            None => return failed("it does not say from when on it is valid (`nbf`)"),
        },
        false => 0,
    };
    if now >= end.saturating_add(LEEWAY) {
        return untimely("it has expired, or the clocks differ by more than a minute");
    }
    if issued_at > now + LEEWAY {
        return untimely("it comes from the future (`iat`), or this machine's clock is slow");
    }
    let is_stale = match context {
        ValidationContext::Refresh { not_before, .. } => {
            not_before.is_some_and(|earliest| issued_at.saturating_add(LEEWAY) < earliest)
        }
        _ => issued_at.saturating_add(OLDEST) < now,
    };
    if is_stale {
        return untimely("it is too old (`iat`), or this machine's clock is fast");
    }
    if valid_from > now + LEEWAY {
        return untimely("it is not valid yet (`nbf`)");
    }
    Ok(())
}

/// What the configuration asked the provider for with `max_age` and `acr_values` (items 12 and 13).
fn check_authentication(
    claims: &Map<String, Value>,
    context: &ValidationContext<'_>,
    settings: &Settings,
    now: u64,
) -> Result<(), Rejection> {
    // Device authorization requests do not carry these parameters.
    if !matches!(context, ValidationContext::SignIn(_)) {
        return Ok(());
    }
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    let asked = |name: &str| {
        let value = settings.authorize_params.get(name);
        value.filter(|value| !value.is_empty())
    };
    if let Some(max_age) = asked("max_age") {
        let Some(authenticated_at) = seconds(claims, "auth_time") else {
            return failed("it does not say when the person authenticated (`auth_time`)");
        };
        let max_age: u64 = max_age.parse().unwrap_or(0);
        if authenticated_at
            .saturating_add(max_age)
            .saturating_add(LEEWAY)
            < now
        {
            return failed("the person authenticated too long ago (`auth_time`)");
        }
    }
    if let (Some(wanted), Some(given)) = (asked("acr_values"), claims.get("acr")) {
        let fits = |given: &str| wanted.split(' ').any(|one| one == given);
        if !given.as_str().is_some_and(fits) {
            return failed("the person authenticated in another way than was asked for (`acr`)");
        }
    }
    Ok(())
}

/// Section 3.1.3.8: where the token names the access token it came with, it must be that one.
fn check_access_token_hash(
    algorithm: Algorithm,
    claims: &Map<String, Value>,
    access_token: &str,
) -> Result<(), Rejection> {
    let Some(hash) = claims.get("at_hash").filter(|hash| !hash.is_null()) else {
        return Ok(());
    };
    if hash.as_str() == Some(&algorithm.half_hash(access_token)) {
        Ok(())
    } else {
        Err(Rejection::Failed(
            "it came with another access token (`at_hash`)".to_owned(),
        ))
    }
}

/// A JSON object in the encoding of a compact JWS.
fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    UniqueObject::parse(&bytes).ok().map(|object| object.0)
}

/// A claim in seconds since 1970; fractions are cut.
fn seconds(claims: &Map<String, Value>, name: &str) -> Option<u64> {
    let value = claims.get(name)?;
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|number| (0.0..1e15).contains(number))
            .map(|number| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "the range was checked"
                )]
                let whole = number as u64;
                whole
            })
    })
}

/// `exp` of a token that looks like a JWT. A hint only: the signature is not checked (OAuth 2.1 section 1.4
/// forbids a client to decide anything else by an access token's content).
pub fn expiry_hint(token: &Secret) -> Option<u64> {
    let mut parts = token.expose().split('.');
    let claims = object(parts.nth(1)?)?;
    (parts.count() == 1).then(|| seconds(&claims, "exp"))?
}

#[cfg(test)]
mod tests;
