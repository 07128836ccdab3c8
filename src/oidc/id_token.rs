//! ID-token validation: OIDC Core 1.0 sections 3.1.3.7, 3.1.3.8 and 12.2, complete and always on.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKey, Nonce,
    NonceVerifier, SignatureVerificationError,
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
    let claims = part(raw, 1).ok_or_else(|| failed("its claims are malformed"))?;
    let token = CoreIdToken::from_str(raw).map_err(|_| failed("it is malformed"))?;
    let key = verify(&token, &header, occasion, keys, advertised, settings, now)?;
    check_claims(&claims, occasion, settings, now)?;
    check_access_token_hash(&token, &claims, access_token, key)?;
    Ok(Claims(claims))
}

/// Signature, issuer, audience, expiry and nonce. Gives the key that signed.
fn verify<'k>(
    token: &CoreIdToken,
    header: &Map<String, Value>,
    occasion: &Occasion<'_>,
    keys: &'k CoreJsonWebKeySet,
    advertised: &[String],
    settings: &Settings,
    now: u64,
) -> Result<&'k CoreJsonWebKey, Rejection> {
    let issuer = IssuerUrl::new(settings.issuer.clone())
        .map_err(|_| Rejection::Failed("the issuer is no address".to_owned()))?;
    let named = header.get("kid").and_then(Value::as_str);
    // One key at a time: a key set with several keys and a token that names none is legitimate.
    let candidates = keys
        .keys()
        .iter()
        .filter(|key| named.is_none() || key.key_id().map(|id| id.as_str()) == named)
        .take(KEYS);
    let algorithms = algorithms(advertised);
    let latest = at(now.saturating_sub(LEEWAY));
    let mut outcome = Rejection::UnknownKey;
    for key in candidates {
        let verifier = CoreIdTokenVerifier::new_public_client(
            ClientId::new(settings.client_id.clone()),
            issuer.clone(),
            CoreJsonWebKeySet::new(vec![key.clone()]),
        )
        .set_allowed_algs(algorithms.clone())
        .set_other_audience_verifier_fn(|_| false)
        .set_time_fn(move || latest);
        let nonce = |given: Option<&Nonce>| match occasion {
            Occasion::SignIn(sent) => sent
                .verify(given)
                .map_err(|_| "it answers another request (`nonce`)".to_owned()),
            Occasion::DeviceSignIn | Occasion::Refresh { .. } => Ok(()),
        };
        match token.claims(&verifier, nonce) {
            Ok(_) => return Ok(key),
            Err(error) => match rejection(&error) {
                // Another key may fit.
                Rejection::UnknownKey => {}
                Rejection::Failed(what) if is_signature(&error) => {
                    outcome = Rejection::Failed(what);
                }
                Rejection::Failed(what) => return Err(Rejection::Failed(what)),
            },
        }
    }
    Err(outcome)
}

fn is_signature(error: &ClaimsVerificationError) -> bool {
    matches!(
        error,
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::CryptoError(_))
    )
}

fn rejection(error: &ClaimsVerificationError) -> Rejection {
    use ClaimsVerificationError as E;
    let what = match error {
        E::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            return Rejection::UnknownKey;
        }
        E::SignatureVerification(SignatureVerificationError::NoSignature) => {
            "it is not signed".to_owned()
        }
        E::SignatureVerification(
            SignatureVerificationError::DisallowedAlg(_)
            | SignatureVerificationError::UnsupportedAlg(_),
        ) => "its signature algorithm is not allowed".to_owned(),
        E::SignatureVerification(_) => "its signature does not fit the issuer's keys".to_owned(),
        E::Expired(_) => "it has expired, or the clocks differ by more than a minute".to_owned(),
        E::InvalidAudience(_) => "it was issued for another client (`aud`)".to_owned(),
        E::InvalidIssuer(_) => "it comes from another issuer (`iss`)".to_owned(),
        E::InvalidNonce(reason) => reason.clone(),
        E::Unsupported(_) => "it is encrypted or of an unknown kind".to_owned(),
        _ => "a claim failed validation".to_owned(),
    };
    Rejection::Failed(what)
}

/// What the protocol library leaves to us: `azp`, `iat`, `nbf`, the subject.
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
    token: &CoreIdToken,
    claims: &Map<String, Value>,
    access_token: &str,
    key: &CoreJsonWebKey,
) -> Result<(), Rejection> {
    let Some(hash) = claims.get("at_hash") else {
        return Ok(());
    };
    let failed = || Rejection::Failed("it came with another access token (`at_hash`)".to_owned());
    let algorithm = token.signing_alg().map_err(|_| failed())?;
    let expected =
        AccessTokenHash::from_token(&AccessToken::new(access_token.to_owned()), algorithm, key)
            .map_err(|_| failed())?;
    if hash.as_str() == Some(expected.as_str()) {
        Ok(())
    } else {
        Err(failed())
    }
}

/// The signature algorithms that are accepted: the advertised ones, asymmetric only; RS256 where nothing is
/// advertised (section 3.1.3.7, item 7).
fn algorithms(advertised: &[String]) -> Vec<CoreJwsSigningAlgorithm> {
    use CoreJwsSigningAlgorithm as A;
    let accepted = [
        A::RsaSsaPkcs1V15Sha256,
        A::RsaSsaPkcs1V15Sha384,
        A::RsaSsaPkcs1V15Sha512,
        A::RsaSsaPssSha256,
        A::RsaSsaPssSha384,
        A::RsaSsaPssSha512,
        A::EcdsaP256Sha256,
        A::EcdsaP384Sha384,
        A::EdDsa,
    ];
    if advertised.is_empty() {
        return vec![A::RsaSsaPkcs1V15Sha256];
    }
    accepted
        .into_iter()
        .filter(|algorithm| {
            serde_json::to_value(algorithm)
                .ok()
                .and_then(|name| {
                    name.as_str()
                        .map(|name| advertised.iter().any(|a| a == name))
                })
                .unwrap_or(false)
        })
        .collect()
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

fn at(unix: u64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(i64::try_from(unix).unwrap_or(i64::MAX), 0).unwrap_or_default()
}
