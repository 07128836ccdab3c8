//! ID-token validation: OIDC Core 1.0 sections 3.1.3.7, 3.1.3.8 and 12.2, complete and always on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{
    AccessToken, AccessTokenHash, JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyUse, Nonce,
    NonceVerifier,
};
use serde_json::{Map, Value};

use super::discovery::Provider;
use super::http::Http;
use super::json::Object;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::session::state::StateFiles;

/// How far the provider's clock may differ from ours, in seconds.
const LEEWAY: u64 = 60;

/// How old an ID token may be when somebody just signed in, in seconds.
const OLDEST: u64 = 600;

/// Largest ID token that is read, in bytes.
const LIMIT: usize = 64 * 1024;

/// Most keys that are tried for a token that does not name its key.
const KEYS: usize = 50;

/// On what occasion the token was issued.
#[derive(Debug)]
pub enum Occasion<'a> {
    /// A sign-in with a browser: the nonce must come back.
    SignIn(&'a Nonce),
    /// A sign-in with a device code, which has no nonce.
    DeviceSignIn,
    /// A refresh: it must be the same person (section 12.2).
    Refresh {
        /// `sub` at sign-in.
        subject: &'a str,
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

    /// `exp`, in seconds since 1970.
    pub fn expires_at(&self) -> u64 {
        seconds(&self.0, "exp").unwrap_or(0)
    }
}

/// Why a token was not accepted.
enum Rejection {
    /// No key of the issuer fits: the keys may be outdated.
    UnknownKey,
    /// A check was performed and failed.
    Failed(String),
}

/// Validates an ID token. If no known key fits, the issuer's keys are fetched once more.
///
/// `access_token` is the access token of the same answer, for `at_hash`.
pub fn validate(
    token: &Secret,
    access_token: &Secret,
    occasion: &Occasion<'_>,
    provider: &mut Provider,
    settings: &Settings,
    http: &Http,
    files: &StateFiles,
) -> Result<Claims> {
    let check = |provider: &Provider| {
        check(
            token.expose(),
            access_token.expose(),
            occasion,
            &provider.keys,
            &provider.metadata.id_token_signing_alg_values_supported,
            settings,
            clock::now(),
        )
    };
    let failed = |what: &str| Failure::untrusted(format!("the ID token was refused: {what}"));
    match check(provider) {
        Ok(claims) => return Ok(claims),
        Err(Rejection::Failed(what)) => return Err(failed(&what)),
        Err(Rejection::UnknownKey) => provider.refetch_keys(http, files)?,
    }
    check(provider).map_err(|rejection| match rejection {
        Rejection::UnknownKey => failed("no key of the issuer has signed it"),
        Rejection::Failed(what) => failed(&what),
    })
}

fn check(
    raw: &str,
    access_token: &str,
    occasion: &Occasion<'_>,
    keys: &CoreJsonWebKeySet,
    advertised: &[String],
    settings: &Settings,
    now: u64,
) -> Result<Claims, Rejection> {
    let failed = |what: &str| Rejection::Failed(what.to_owned());
    if raw.len() > LIMIT {
        return Err(failed("it is too large"));
    }
    let header = part(raw, 0).ok_or_else(|| failed("it is not a signed token"))?;
    // Core section 2: these must not be used; following one would let the token choose its own key.
    for name in ["jwk", "jku", "x5u", "crit"] {
        if header.contains_key(name) {
            return Err(Rejection::Failed(format!("its header has `{name}`")));
        }
    }
    if header.get("typ").is_some_and(|kind| !is_jwt(kind)) || header.contains_key("cty") {
        return Err(failed("it is a token of another kind (`typ`)"));
    }
    let claims = part(raw, 1).ok_or_else(|| failed("its claims are malformed"))?;
    let algorithm = algorithm(&header, advertised)?;
    let key = signing_key(raw, &header, &algorithm, keys)?;
    check_issue(&claims, settings, now)?;
    check_claims(&claims, occasion, settings, now)?;
    check_access_token_hash(&algorithm, &claims, access_token, key)?;
    Ok(Claims(claims))
}

/// RFC 7519 section 5.1: `JWT`, or the full media type, in any case.
fn is_jwt(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| {
        kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("application/jwt")
    })
}

/// The algorithm of the header, if it is one that the issuer advertises and that proves who signed: asymmetric,
/// and RS256 where nothing is advertised (section 3.1.3.7, items 7 and 8).
fn algorithm(
    header: &Map<String, Value>,
    advertised: &[String],
) -> Result<CoreJwsSigningAlgorithm, Rejection> {
    use CoreJwsSigningAlgorithm as A;
    let failed = |what: &str| Rejection::Failed(what.to_owned());
    let name = header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or_else(|| failed("it does not say how it is signed"))?;
    let is_advertised =
        advertised.iter().any(|one| one == name) || (advertised.is_empty() && name == "RS256");
    let algorithm = serde_json::from_value(name.into())
        .ok()
        .filter(|algorithm| {
            matches!(
                algorithm,
                A::RsaSsaPkcs1V15Sha256
                    | A::RsaSsaPkcs1V15Sha384
                    | A::RsaSsaPkcs1V15Sha512
                    | A::RsaSsaPssSha256
                    | A::RsaSsaPssSha384
                    | A::RsaSsaPssSha512
                    | A::EcdsaP256Sha256
                    | A::EcdsaP384Sha384
                    | A::EdDsa
            )
        });
    match algorithm {
        Some(algorithm) if is_advertised => Ok(algorithm),
        _ => Err(failed("its signature algorithm is not allowed")),
    }
}

/// The issuer's key that signed the token. Neither `kid` nor `alg` of the header is believed: they only choose
/// among the issuer's keys, and the key must fit.
fn signing_key<'k>(
    raw: &str,
    header: &Map<String, Value>,
    algorithm: &CoreJwsSigningAlgorithm,
    keys: &'k CoreJsonWebKeySet,
) -> Result<&'k CoreJsonWebKey, Rejection> {
    let failed = |what: &str| Rejection::Failed(what.to_owned());
    let (message, signature) = raw
        .rsplit_once('.')
        .ok_or_else(|| failed("it is not a signed token"))?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| failed("its signature is malformed"))?;
    let named = header.get("kid").and_then(Value::as_str);
    let may_sign = |key: &&CoreJsonWebKey| {
        let use_fits = key.key_use().is_none_or(JsonWebKeyUse::allows_signature);
        let algorithm_fits = match key.signing_alg() {
            JsonWebKeyAlgorithm::Algorithm(only) => only == algorithm,
            JsonWebKeyAlgorithm::Unspecified => true,
            JsonWebKeyAlgorithm::Unsupported => false,
        };
        use_fits && algorithm_fits
    };
    let mut candidates = keys
        .keys()
        .iter()
        .filter(may_sign)
        .filter(|key| named.is_none() || key.key_id().map(|id| id.as_str()) == named)
        .take(KEYS)
        .peekable();
    if candidates.peek().is_none() {
        return Err(Rejection::UnknownKey);
    }
    // A key set with several keys and a token that names none is legitimate, so each may try.
    let found = candidates.find(|key| {
        key.verify_signature(algorithm, message.as_bytes(), &signature)
            .is_ok()
    });
    match found {
        Some(key) => Ok(key),
        // A provider that names no keys may have changed them.
        None if named.is_none() => Err(Rejection::UnknownKey),
        None => Err(failed("its signature does not fit the issuer's keys")),
    }
}

/// Who issued the token, for whom, and until when (items 2, 3 and 9).
fn check_issue(
    claims: &Map<String, Value>,
    settings: &Settings,
    now: u64,
) -> Result<(), Rejection> {
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    if claims.get("iss").and_then(Value::as_str) != Some(&settings.issuer) {
        return failed("it comes from another issuer (`iss`)");
    }
    let ours = Value::from(settings.client_id.as_str());
    // One audience, or a list; a further audience is one that nobody said we may trust.
    let for_us = match claims.get("aud") {
        Some(Value::Array(audiences)) => {
            !audiences.is_empty() && audiences.iter().all(|audience| *audience == ours)
        }
        Some(audience) => *audience == ours,
        None => false,
    };
    if !for_us {
        return failed("it was issued for another client (`aud`)");
    }
    match seconds(claims, "exp") {
        Some(end) if now < end.saturating_add(LEEWAY) => Ok(()),
        Some(_) => failed("it has expired, or the clocks differ by more than a minute"),
        None => failed("it does not say when it ends (`exp`)"),
    }
}

/// The subject, the nonce, and what is easily forgotten: `azp`, `iat`, `nbf`.
fn check_claims(
    claims: &Map<String, Value>,
    occasion: &Occasion<'_>,
    settings: &Settings,
    now: u64,
) -> Result<(), Rejection> {
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    match claims.get("sub").and_then(Value::as_str) {
        None | Some("") => return failed("it names nobody (`sub`)"),
        Some(subject) if subject.len() > 255 => return failed("its `sub` is too long"),
        Some(subject) => {
            if let Occasion::Refresh { subject: before } = occasion
                && subject != *before
            {
                return failed("it names somebody else than the person who signed in (`sub`)");
            }
        }
    }
    if let Occasion::SignIn(sent) = occasion {
        let given = claims.get("nonce").and_then(Value::as_str);
        let given = given.map(|nonce| Nonce::new(nonce.to_owned()));
        // Compared by digest, so that the time it takes tells nothing.
        if sent.verify(given.as_ref()).is_err() {
            return failed("it answers another request (`nonce`)");
        }
    }
    match claims.get("azp") {
        None | Some(Value::Null) => {}
        Some(party) if party.as_str() == Some(&settings.client_id) => {}
        Some(_) => return failed("it was issued to another client (`azp`)"),
    }
    let Some(issued_at) = seconds(claims, "iat") else {
        return failed("it does not say when it was issued (`iat`)");
    };
    if issued_at > now + LEEWAY {
        return failed("it comes from the future (`iat`), or this machine's clock is slow");
    }
    if !matches!(occasion, Occasion::Refresh { .. }) && issued_at + OLDEST < now {
        return failed("it is too old (`iat`), or this machine's clock is fast");
    }
    if claims.contains_key("nbf") && seconds(claims, "nbf").is_none_or(|from| from > now + LEEWAY) {
        return failed("it is not valid yet (`nbf`)");
    }
    Ok(())
}

/// Section 3.1.3.8: where the token names the access token it came with, it must be that one.
fn check_access_token_hash(
    algorithm: &CoreJwsSigningAlgorithm,
    claims: &Map<String, Value>,
    access_token: &str,
    key: &CoreJsonWebKey,
) -> Result<(), Rejection> {
    let Some(hash) = claims.get("at_hash").filter(|hash| !hash.is_null()) else {
        return Ok(());
    };
    let expected =
        AccessTokenHash::from_token(&AccessToken::new(access_token.to_owned()), algorithm, key);
    if expected.is_ok_and(|expected| hash.as_str() == Some(expected.as_str())) {
        Ok(())
    } else {
        Err(Rejection::Failed(
            "it came with another access token (`at_hash`)".to_owned(),
        ))
    }
}

/// Header (0) or claims (1) of a compact JWS.
fn part(raw: &str, index: usize) -> Option<Map<String, Value>> {
    let mut parts = raw.split('.');
    let part = parts.nth(index)?;
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    Object::parse(&bytes).ok().map(|object| object.0)
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
    let claims = part(token.expose(), 1)?;
    (token.expose().split('.').count() == 3).then(|| seconds(&claims, "exp"))?
}
