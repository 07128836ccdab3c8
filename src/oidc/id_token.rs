//! ID-token validation: OIDC Core 1.0 sections 3.1.3.7, 3.1.3.8 and 12.2, complete and always on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::discovery::Provider;
use super::http::Http;
use super::json::Object;
use super::keys::{Algorithm, Key, Keys};
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::session::state::StateFiles;
use crate::text;

/// How far the provider's clock may differ from ours, in seconds.
const LEEWAY: u64 = 60;

/// How old an ID token may be when somebody just signed in, in seconds.
const OLDEST: u64 = 600;

/// Largest ID token that is read, in bytes.
const LIMIT: usize = 64 * 1024;

/// Most keys that are tried for a token that does not name its key.
const TRIES: usize = 50;

/// Claims of the sign-in's token that section 12.2 compares those of later tokens with. They are kept for that.
pub const ORIGINAL: [&str; 2] = ["nonce", "auth_time"];

/// On what occasion the token was issued.
#[derive(Debug)]
pub enum Occasion<'a> {
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
#[derive(Debug)]
pub(crate) enum Rejection {
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
        Err(Rejection::UnknownKey) => provider.refetch_keys(http, settings, files)?,
    }
    check(provider).map_err(|rejection| match rejection {
        Rejection::UnknownKey => failed("no key of the issuer has signed it"),
        Rejection::Failed(what) => failed(&what),
    })
}

/// Every check that needs no network.
pub(crate) fn check(
    raw: &str,
    access_token: &str,
    occasion: &Occasion<'_>,
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
        [_, _, _, _, _] => return Err(failed("it is encrypted, which nobody asked for")),
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
    check_issue(&claims, settings, now)?;
    check_claims(&claims, occasion, settings, now)?;
    check_authentication(&claims, occasion, settings, now)?;
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
        Some(_) => Err(Rejection::Failed(format!(
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
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    let named = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => return failed("its key has no proper name (`kid`)"),
    };
    let has_signed = |key: &&Key| key.has_signed(algorithm, signed.as_bytes(), signature);
    // Only keys of this name may have signed; keys without a name are candidates for every token, and a key set with
    // several keys and a token that names none is legitimate.
    let mut candidates = keys
        .iter()
        .filter(|key| named.is_none() || key.id().is_none() || key.id() == named)
        .take(TRIES);
    if candidates.any(|key| has_signed(&key)) {
        return Ok(());
    }
    if named.is_some() && keys.iter().any(|key| key.id() == named) {
        return failed("its signature does not fit the issuer's keys");
    }
    // A name that is not known may be new; a provider that names no keys may have changed them.
    Err(Rejection::UnknownKey)
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

/// Who issued the token, for whom, and until when (items 2, 3 and 9).
fn check_issue(
    claims: &Map<String, Value>,
    settings: &Settings,
    now: u64,
) -> Result<(), Rejection> {
    let failed = |what: &str| Err(Rejection::Failed(what.to_owned()));
    let issuer = claims
        .get("iss")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match settings.issuer_template() {
        Ok(None) if issuer == settings.issuer => {}
        Ok(Some(template)) => check_tenant(claims, issuer, &template, settings)?,
        _ => return failed("it comes from another issuer (`iss`)"),
    }
    let ours = Value::from(settings.client_id.as_str());
    // One audience, or a list; a further audience must be one that the organisation trusts.
    let is_trusted = |audience: &Value| {
        *audience == ours
            || audience.as_str().is_some_and(|name| {
                settings
                    .trusted_audiences
                    .iter()
                    .any(|trusted| trusted == name)
            })
    };
    let for_us = match claims.get("aud") {
        Some(Value::Array(audiences)) => {
            audiences.contains(&ours) && audiences.iter().all(is_trusted)
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
            if let Occasion::Refresh {
                subject: before, ..
            } = occasion
                && subject != *before
            {
                return failed("it names somebody else than the person who signed in (`sub`)");
            }
        }
    }
    if let Occasion::SignIn(sent) = occasion {
        let given = claims.get("nonce").and_then(Value::as_str);
        if !given.is_some_and(|given| sent.equals(given)) {
            return failed("it answers another request (`nonce`)");
        }
    }
    if let Occasion::Refresh { original, .. } = occasion {
        // Both may be missing from a renewed token.
        let given = |name: &str| claims.get(name).filter(|value| !value.is_null());
        if given("nonce").is_some_and(|nonce| original.get("nonce") != Some(nonce)) {
            return failed("it answers another sign-in (`nonce`)");
        }
        if let (Some(now), Some(then)) = (given("auth_time"), original.get("auth_time"))
            && now != then
        {
            return failed("it tells of another sign-in (`auth_time`)");
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

/// What the configuration asked the provider for with `max_age` and `acr_values` (items 12 and 13).
fn check_authentication(
    claims: &Map<String, Value>,
    occasion: &Occasion<'_>,
    settings: &Settings,
    now: u64,
) -> Result<(), Rejection> {
    // Device authorization requests do not carry these parameters.
    if !matches!(occasion, Occasion::SignIn(_)) {
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
    let mut parts = token.expose().split('.');
    let claims = object(parts.nth(1)?)?;
    (parts.count() == 1).then(|| seconds(&claims, "exp"))?
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;
    use crate::config::Sources;
    use crate::config::profile::ProfileName;

    const NOW: u64 = 1_700_000_010;
    const ACCESS_TOKEN: &str = "an-access-token";

    fn settings(more: &str) -> Settings {
        let text = format!("issuer = 'https://idp.example'\nclient_id = 'c'\n{more}");
        crate::config::load(&Sources::of_text(&text), &ProfileName::default()).unwrap()
    }

    /// Somebody who signs with ES256 and publishes the key under the name `k`.
    struct Issuer {
        pair: EcdsaKeyPair,
    }

    impl Issuer {
        fn new() -> Self {
            let (random, by) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(by, &random).unwrap();
            Self {
                pair: EcdsaKeyPair::from_pkcs8(by, pkcs8.as_ref(), &random).unwrap(),
            }
        }

        fn jwk(&self, more: Value) -> Value {
            let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
            let mut jwk = json!({
                "kty": "EC", "crv": "P-256",
                "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
            });
            for (name, value) in more.as_object().unwrap() {
                jwk[name] = value.clone();
            }
            jwk
        }

        fn sign(&self, header: &str, claims: &str) -> String {
            let input = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            let input = input.join(".");
            let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes());
            format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
        }
    }

    fn keys(jwks: &[Value]) -> Keys {
        Keys::parse(json!({ "keys": jwks }).to_string().as_bytes()).unwrap()
    }

    fn claims() -> Value {
        json!({
            "iss": "https://idp.example", "sub": "s1", "aud": "c", "nonce": "n",
            "iat": 1_700_000_000, "exp": 1_700_000_300, "auth_time": 1_700_000_000,
        })
    }

    fn outcome(result: Result<Claims, Rejection>) -> &'static str {
        match result {
            Ok(_) => "accepted",
            Err(Rejection::UnknownKey) => "unknown key",
            Err(Rejection::Failed(_)) => "refused",
        }
    }

    fn check_at(raw: &str, keys: &Keys, occasion: &Occasion<'_>, more: &str) -> &'static str {
        let advertised = [
            "ES256".to_owned(),
            "RS256".to_owned(),
            "none".to_owned(),
            "HS256".to_owned(),
        ];
        outcome(check(
            raw,
            ACCESS_TOKEN,
            occasion,
            keys,
            &advertised,
            &settings(more),
            NOW,
        ))
    }

    fn check_sign_in(raw: &str, keys: &Keys) -> &'static str {
        check_at(raw, keys, &Occasion::SignIn(&Secret::new("n")), "")
    }

    /// Tokens and keys made by another program (node), each with the `at_hash` that belongs to its algorithm.
    #[test]
    fn further_audiences_are_refused_unless_the_organisation_trusts_them() {
        let check = |more: &str, audiences: Value| {
            let Value::Object(claims) = json!({
                "iss": "https://idp.example", "aud": audiences, "exp": NOW + 60
            }) else {
                return false;
            };
            check_issue(&claims, &settings(more), NOW).is_ok()
        };
        let trusting = "trusted_audiences = ['project']";
        assert!(check("", json!(["c"])));
        assert!(!check("", json!(["c", "project"])));
        assert!(check(trusting, json!(["project", "c"])));
        for others in [
            json!(["c", "project", "x"]),
            json!(["project"]),
            json!("project"),
            json!([]),
        ] {
            assert!(!check(trusting, others.clone()), "{others}");
        }
    }

    /// What the usual library says of a token, with the same keys at the same time.
    fn second_opinion(token: &str, jwk: &Value, algorithm: &str) -> Option<bool> {
        use openidconnect::core::{
            CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
        };
        use openidconnect::{ClientId, IssuerUrl, Nonce};
        let set: CoreJsonWebKeySet = serde_json::from_value(json!({"keys": [jwk]})).unwrap();
        let algorithm: CoreJwsSigningAlgorithm = serde_json::from_value(json!(algorithm)).ok()?;
        let issuer = IssuerUrl::new("https://idp.example".to_owned()).unwrap();
        let now = || chrono::DateTime::from_timestamp(NOW.cast_signed(), 0).unwrap();
        let verifier =
            CoreIdTokenVerifier::new_public_client(ClientId::new("c".to_owned()), issuer, set)
                .set_allowed_algs([algorithm])
                .set_time_fn(now);
        let token: CoreIdToken = token.parse().ok()?;
        Some(token.claims(&verifier, |_: Option<&Nonce>| Ok(())).is_ok())
    }

    #[test]
    fn what_the_usual_library_refuses_is_refused_here_too() {
        let made: Value = serde_json::from_str(include_str!("testdata/id_tokens.json")).unwrap();
        let mut agreed = 0;
        for one in made["tokens"].as_array().unwrap() {
            let (name, token) = (one["alg"].as_str().unwrap(), one["token"].as_str().unwrap());
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let (header, claims) = signed.split_once('.').unwrap();
            let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
            let mut flipped = bytes(signature);
            flipped[3] ^= 0x5A;
            let mut other = bytes(claims);
            let at = other.windows(4).position(|four| four == b"\"s1\"").unwrap();
            other[at + 2] = b'2';
            let variants = [
                token.to_owned(),
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(flipped)),
                format!("{signed}."),
                format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other)),
            ];
            for variant in variants {
                let ours = outcome(check(
                    &variant,
                    ACCESS_TOKEN,
                    &Occasion::DeviceSignIn,
                    &keys(std::slice::from_ref(&one["jwk"])),
                    &[name.to_owned()],
                    &settings(""),
                    NOW,
                ));
                match second_opinion(&variant, &one["jwk"], name) {
                    // It knows neither ES512 nor the new name of EdDSA.
                    None => {}
                    Some(false) if ["ES512", "Ed25519"].contains(&name) => {}
                    Some(false) => assert_eq!(ours, "refused", "{name} {variant}"),
                    Some(true) if ours == "accepted" => agreed += 1,
                    // Keys that are too short are no key here.
                    Some(true) => assert_eq!(one["jwk"]["kid"], "k-weak", "{name}"),
                }
            }
        }
        assert!(agreed >= 8, "{agreed}");
    }

    #[test]
    fn every_asymmetric_algorithm_is_understood() {
        let made: Value = serde_json::from_str(include_str!("testdata/id_tokens.json")).unwrap();
        let made = made["tokens"].as_array().unwrap();
        let all: Vec<Value> = made.iter().map(|one| one["jwk"].clone()).collect();
        let all = keys(&all);
        for one in made {
            let (name, token) = (one["alg"].as_str().unwrap(), one["token"].as_str().unwrap());
            let is_weak = one["jwk"]["kid"] == "k-weak";
            let check = |advertised: &[String], access_token| {
                outcome(check(
                    token,
                    access_token,
                    &Occasion::DeviceSignIn,
                    &all,
                    advertised,
                    &settings(""),
                    NOW,
                ))
            };
            let ours = [name.to_owned()];
            let expected = if is_weak { "refused" } else { "accepted" };
            assert_eq!(
                check(&ours, ACCESS_TOKEN),
                expected,
                "{name} {}",
                one["jwk"]["kid"]
            );
            assert_eq!(check(&ours, "another-token"), "refused", "{name}");
            assert_eq!(check(&["X".to_owned()], ACCESS_TOKEN), "refused", "{name}");
            let by_default = if name == "RS256" && !is_weak {
                "accepted"
            } else {
                "refused"
            };
            assert_eq!(check(&[], ACCESS_TOKEN), by_default, "{name}");
        }
    }

    #[test]
    fn headers_cannot_bring_a_key_or_change_the_reading() {
        let issuer = Issuer::new();
        let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
        let body = claims().to_string();
        for (header, expected) in [
            (r#"{"alg":"ES256","kid":"k"}"#, "accepted"),
            (r#"{"alg":"ES256"}"#, "accepted"),
            (
                r#"{"kid":"k","alg":"ES256","typ":"jwt","x5t":"abc","unknown":[1]}"#,
                "accepted",
            ),
            (r#"{"alg":"ES256","typ":"application/jwt"}"#, "accepted"),
            (r#"{"alg":"ES256","typ":"at+jwt"}"#, "refused"),
            (r#"{"alg":"ES256","typ":"logout+jwt"}"#, "refused"),
            (r#"{"alg":"ES256","typ":"dpop+jwt"}"#, "refused"),
            (r#"{"alg":"ES256","typ":null}"#, "refused"),
            (r#"{"alg":"ES256","cty":"JWT"}"#, "refused"),
            (r#"{"alg":"ES256","kid":"k","jwk":{}}"#, "refused"),
            (
                r#"{"alg":"ES256","kid":"k","jku":"https://idp.example/k"}"#,
                "refused",
            ),
            (
                r#"{"alg":"ES256","kid":"k","x5u":"https://idp.example/k"}"#,
                "refused",
            ),
            (r#"{"alg":"ES256","kid":"k","x5c":["AAAA"]}"#, "refused"),
            (r#"{"alg":"ES256","kid":"k","crit":[]}"#, "refused"),
            (r#"{"alg":"ES256","kid":"k","b64":false}"#, "refused"),
            (
                r#"{"alg":"ES256","kid":"k","b64":false,"crit":["b64"]}"#,
                "refused",
            ),
            (r#"{"alg":"ES256","kid":"k","enc":"A128GCM"}"#, "refused"),
            (r#"{"alg":"ES256","alg":"none","kid":"k"}"#, "refused"),
            (r#"{"alg":"none","alg":"ES256","kid":"k"}"#, "refused"),
            (r#"{"alg":"ES256","kid":"k","kid":"k"}"#, "refused"),
            (r#"{"alg":"ES256","kid":7}"#, "refused"),
            (r#"{"alg":"ES256","kid":null}"#, "refused"),
            (r#"{"alg":"ES256","kid":["k"]}"#, "refused"),
            (r#"{"alg":["ES256"],"kid":"k"}"#, "refused"),
            (r#"{"alg":"es256","kid":"k"}"#, "refused"),
            (r#"{"alg":"RS256","kid":"k"}"#, "refused"),
            (r#"{"alg":"HS256","kid":"k"}"#, "refused"),
            (r#"{"alg":"none","kid":"k"}"#, "refused"),
            (r#"{"kid":"k"}"#, "refused"),
            ("[]", "refused"),
            ("", "refused"),
            (r#"{"alg":"ES256","kid":"k"} "#, "accepted"),
            (r#"{"alg":"ES256","kid":"k"}{}"#, "refused"),
            (r#"{"alg":"ES256","kid":"other"}"#, "unknown key"),
        ] {
            assert_eq!(
                check_sign_in(&issuer.sign(header, &body), &keys),
                expected,
                "{header}"
            );
        }
    }

    #[test]
    fn a_token_has_three_parts_in_canonical_encoding() {
        let issuer = Issuer::new();
        let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
        let good = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &claims().to_string());
        assert_eq!(check_sign_in(&good, &keys), "accepted");
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (header, body) = signed.split_once('.').unwrap();
        for bad in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            format!("{signed}."),
            signed.to_owned(),
            format!("{good}="),
            format!("{good} "),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{good}."),
            format!("{good}.x"),
            format!("{header}.{body}.{body}.{signature}"),
            format!("{header}.a.b.c.{signature}"),
            format!(".{body}.{signature}"),
            format!("{header}..{signature}"),
            format!("{signed}.{}", &signature[..signature.len() - 2]),
            format!("{signed}.{signature}AAAA"),
            // An all-zero signature fits every message where a library does not look (CVE-2022-21449).
            format!("{signed}.{}", "A".repeat(86)),
            "x".repeat(100_000),
        ] {
            assert_eq!(check_sign_in(&bad, &keys), "refused", "{bad:.80}");
        }
    }

    #[test]
    fn keys_are_chosen_by_name_use_and_kind() {
        let (issuer, other) = (Issuer::new(), Issuer::new());
        let body = claims().to_string();
        let named = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &body);
        let unnamed = issuer.sign(r#"{"alg":"ES256"}"#, &body);
        let ours = |more| issuer.jwk(more);
        let theirs = |more| other.jwk(more);
        let oct = json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"});
        for (jwks, by_name, without_name) in [
            // oidcc-client-test-kid-absent-single-jwks, oidcc-client-test-kid-absent-multiple-jwks
            (vec![ours(json!({"kid": "k"}))], "accepted", "accepted"),
            (
                vec![theirs(json!({"kid": "a"})), ours(json!({"kid": "k"}))],
                "accepted",
                "accepted",
            ),
            (vec![ours(json!({}))], "accepted", "accepted"),
            (
                vec![theirs(json!({})), ours(json!({}))],
                "accepted",
                "accepted",
            ),
            (
                vec![theirs(json!({"kid": "k"})), ours(json!({"kid": "k"}))],
                "accepted",
                "accepted",
            ),
            (vec![theirs(json!({"kid": "k"}))], "refused", "unknown key"),
            // The right key under another name is not the one that the token names.
            (
                vec![theirs(json!({"kid": "k"})), ours(json!({"kid": "a"}))],
                "refused",
                "accepted",
            ),
            (vec![ours(json!({"kid": "a"}))], "unknown key", "accepted"),
            (vec![theirs(json!({}))], "unknown key", "unknown key"),
            (
                vec![ours(json!({"kid": "k", "use": "enc"}))],
                "unknown key",
                "unknown key",
            ),
            (
                vec![ours(json!({"kid": "k", "alg": "ES384"}))],
                "refused",
                "unknown key",
            ),
            (
                vec![ours(json!({"kid": "k", "alg": "ECDH-ES"}))],
                "unknown key",
                "unknown key",
            ),
            (
                vec![ours(json!({"kid": "k", "key_ops": ["sign"]}))],
                "unknown key",
                "unknown key",
            ),
            (
                vec![ours(json!({"kid": "k", "crv": "P-384"}))],
                "refused",
                "unknown key",
            ),
            (
                vec![ours(json!({"kid": "k", "crv": "secp256k1"}))],
                "unknown key",
                "unknown key",
            ),
            (vec![oct, ours(json!({"kid": "k"}))], "accepted", "accepted"),
            (vec![], "unknown key", "unknown key"),
        ] {
            let keys = keys(&jwks);
            assert_eq!(check_sign_in(&named, &keys), by_name, "{jwks:?}");
            assert_eq!(check_sign_in(&unnamed, &keys), without_name, "{jwks:?}");
        }
    }

    #[test]
    fn claims_are_those_of_this_sign_in() {
        let issuer = Issuer::new();
        let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
        let now = i64::try_from(NOW).unwrap();
        for (name, value, expected) in [
            ("iss", json!("https://idp.example1"), "refused"),
            ("iss", json!("https://idp.example/"), "refused"),
            ("iss", json!("https://IDP.example"), "refused"),
            ("iss", json!(["https://idp.example"]), "refused"),
            ("iss", Value::Null, "refused"),
            ("sub", json!(""), "refused"),
            ("sub", json!(7), "refused"),
            ("sub", Value::Null, "refused"),
            ("sub", json!("s".repeat(255)), "accepted"),
            ("sub", json!("s".repeat(256)), "refused"),
            ("aud", json!("c1"), "refused"),
            ("aud", json!("C"), "refused"),
            ("aud", json!(""), "refused"),
            ("aud", json!([]), "refused"),
            ("aud", json!(["c"]), "accepted"),
            ("aud", json!(["c", "c"]), "accepted"),
            ("aud", json!(["c", "d"]), "refused"),
            ("aud", json!(["d", "c"]), "refused"),
            ("aud", json!([["c"]]), "refused"),
            ("aud", json!(["c", null]), "refused"),
            ("aud", json!({"c": "c"}), "refused"),
            ("aud", Value::Null, "refused"),
            ("azp", json!("c"), "accepted"),
            ("azp", json!("d"), "refused"),
            ("azp", json!(""), "refused"),
            ("azp", json!(["c"]), "refused"),
            ("exp", json!(now - 59), "accepted"),
            ("exp", json!(now - 60), "refused"),
            ("exp", json!(now - 360), "refused"),
            ("exp", json!(0), "refused"),
            ("exp", json!(-1), "refused"),
            ("exp", json!("1900000000"), "refused"),
            ("exp", json!(true), "refused"),
            ("exp", json!(u64::MAX), "accepted"),
            ("exp", json!(1_900_000_000.5), "accepted"),
            ("exp", json!(1e300), "refused"),
            ("exp", Value::Null, "refused"),
            ("iat", json!(now + 60), "accepted"),
            ("iat", json!(now + 61), "refused"),
            ("iat", json!(u64::MAX), "refused"),
            ("iat", json!(now - 600), "accepted"),
            ("iat", json!(now - 601), "refused"),
            ("iat", json!("1700000000"), "refused"),
            ("iat", Value::Null, "refused"),
            ("nbf", json!(now + 60), "accepted"),
            ("nbf", json!(now + 61), "refused"),
            ("nbf", json!("soon"), "refused"),
            ("nonce", json!("n1"), "refused"),
            ("nonce", json!(""), "refused"),
            ("nonce", json!(["n"]), "refused"),
            ("nonce", Value::Null, "refused"),
            ("at_hash", Value::Null, "accepted"),
            ("at_hash", json!(""), "refused"),
            ("at_hash", json!(7), "refused"),
            (
                "at_hash",
                json!(Algorithm::Es256.half_hash(ACCESS_TOKEN)),
                "accepted",
            ),
            (
                "at_hash",
                json!(Algorithm::Es384.half_hash(ACCESS_TOKEN)),
                "refused",
            ),
            (
                "at_hash",
                json!(format!("{}=", Algorithm::Es256.half_hash(ACCESS_TOKEN))),
                "refused",
            ),
            ("groups", json!("g".repeat(10_000)), "accepted"),
            (
                "_claim_sources",
                json!({"src1": {"endpoint": "https://evil.example"}}),
                "accepted",
            ),
        ] {
            let mut changed = claims();
            changed[name] = value.clone();
            let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &changed.to_string());
            assert_eq!(check_sign_in(&token, &keys), expected, "{name} {value:.80}");
        }
        for name in ["iss", "sub", "aud", "exp", "iat", "nonce"] {
            let mut changed = claims();
            changed.as_object_mut().unwrap().remove(name);
            let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &changed.to_string());
            assert_eq!(check_sign_in(&token, &keys), "refused", "no {name}");
        }
        for more in [
            r#","nonce":"n""#,
            r#","aud":"c""#,
            r#","x":1e999"#,
            r#","x":"\ud800""#,
            r#","x":01"#,
            ",",
        ] {
            let text = claims().to_string().replacen('}', &format!("{more}}}"), 1);
            let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &text);
            assert_eq!(check_sign_in(&token, &keys), "refused", "{more}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let text = claims()
            .to_string()
            .replacen('}', &format!(",\"x\":{deep}}}"), 1);
        let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &text);
        assert_eq!(check_sign_in(&token, &keys), "refused", "deep");
    }

    #[test]
    fn a_renewed_token_tells_of_the_same_sign_in() {
        let issuer = Issuer::new();
        let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
        let check = |original: &Value, name: &str, value: Value| {
            let mut changed = claims();
            changed.as_object_mut().unwrap().remove("nonce");
            changed[name] = value;
            let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &changed.to_string());
            let occasion = Occasion::Refresh {
                subject: "s1",
                original: original.as_object().unwrap(),
            };
            check_at(&token, &keys, &occasion, "")
        };
        let original = json!({"nonce": "n", "auth_time": 1_700_000_000});
        for (name, value, expected) in [
            ("nonce", Value::Null, "accepted"),
            ("nonce", json!("n"), "accepted"),
            ("nonce", json!("other"), "refused"),
            ("auth_time", Value::Null, "accepted"),
            ("auth_time", json!(1_700_000_000), "accepted"),
            ("auth_time", json!(1_700_000_009), "refused"),
            ("auth_time", json!("1700000000"), "refused"),
            ("sub", json!("s11"), "refused"),
            ("sub", json!("S1"), "refused"),
            ("iss", json!("https://idp.example1"), "refused"),
            ("aud", json!(["d"]), "refused"),
            ("azp", json!("d"), "refused"),
            // A renewed token may be as old as the provider likes, as long as it is valid.
            ("iat", json!(1_600_000_000), "accepted"),
            ("iat", json!(1_800_000_000), "refused"),
            ("exp", json!(1_600_000_000), "refused"),
        ] {
            assert_eq!(
                check(&original, name, value.clone()),
                expected,
                "{name} {value}"
            );
        }
        // A sign-in by device code had no nonce, and its provider may not have told the time.
        assert_eq!(check(&json!({}), "nonce", json!("n")), "refused");
        assert_eq!(check(&json!({}), "auth_time", json!(5)), "accepted");
    }

    #[test]
    fn what_was_asked_about_the_authentication_is_checked() {
        let issuer = Issuer::new();
        let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
        for (asked, name, value, expected) in [
            ("max_age = '60'", "auth_time", json!(NOW - 120), "accepted"),
            ("max_age = '60'", "auth_time", json!(NOW - 121), "refused"),
            ("max_age = '60'", "auth_time", Value::Null, "refused"),
            ("max_age = '60'", "auth_time", json!("now"), "refused"),
            ("acr_values = 'a b'", "acr", json!("b"), "accepted"),
            ("acr_values = 'a b'", "acr", json!("a b"), "refused"),
            ("acr_values = 'a b'", "acr", json!("0"), "refused"),
            ("acr_values = 'a b'", "acr", json!(1), "refused"),
            ("prompt = 'login'", "acr", json!("0"), "accepted"),
        ] {
            let mut changed = claims();
            changed[name] = value.clone();
            let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &changed.to_string());
            let more = format!("[authorize_params]\n{asked}");
            let nonce = Secret::new("n");
            let outcome = check_at(&token, &keys, &Occasion::SignIn(&nonce), &more);
            assert_eq!(outcome, expected, "{asked} {value}");
        }
    }
}
