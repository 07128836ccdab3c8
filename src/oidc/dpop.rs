//! Proof of possession (RFC 9449): ties the refresh token of a public client to a key of the session.
//!
//! What gatepass prints stays a bearer token, which any gateway can check. What is bound is the refresh token: read
//! out of a keychain and carried elsewhere it is of use only together with the key.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use url::{Position, Url};

use super::discovery::Metadata;
use super::jws::{NotSigned, SigningKey, unique_id};
use crate::clock;
use crate::config::settings::{ClientAuth, Settings, TokenChoice, Usage};
use crate::error::{Failure, Result};
use crate::secret::Secret;

/// The one algorithm that every provider with DPoP knows.
const ALGORITHM: &str = "ES256";

/// Longest nonce that is taken over from a provider, in bytes.
const NONCE: usize = 512;

/// Whether a new session gets a key of its own.
///
/// `auto` binds the refresh token where the provider offers it, the client has no other proof of who it is, and
/// what is printed is not the access token: that one is bound along with the refresh token by most providers, and a
/// gateway could not take it as a bearer token.
pub fn is_wanted(settings: &Settings, metadata: &Metadata) -> Result<bool> {
    let offered = metadata
        .dpop_signing_alg_values_supported
        .iter()
        .any(|algorithm| algorithm == ALGORITHM);
    match settings.dpop {
        Usage::Never => Ok(false),
        Usage::Always if !offered => Err(Failure::config(
            "`dpop` is \"always\" and the provider offers no proof of possession (RFC 9449) with ES256",
            "set `dpop` to \"auto\", or have the provider offer it",
        )),
        Usage::Always => Ok(true),
        Usage::Auto => {
            Ok(offered && settings.client_auth == ClientAuth::None && !is_shown(settings))
        }
    }
}

/// Whether the access token is shown to any server but the provider's own endpoints.
fn is_shown(settings: &Settings) -> bool {
    let shown = match &settings.exchange {
        Some(exchange) => exchange.subject(),
        None => settings.token,
    };
    shown == TokenChoice::AccessToken
}

/// Whether the access token itself is printed, so that it has to be a bearer token.
pub(super) fn is_printed(settings: &Settings) -> bool {
    settings.exchange.is_none() && settings.token == TokenChoice::AccessToken
}

/// The key of a session, and the provider's latest nonce.
pub struct Prover {
    key: SigningKey,
    /// Its public half (RFC 7517).
    jwk: Json,
    /// PKCS#8 in Base64, as the session record keeps it.
    stored: Secret,
    nonce: Mutex<Option<String>>,
}

impl Prover {
    /// A prover with a new key.
    pub fn generate() -> Result<Self> {
        let failed = || Failure::internal("no key could be made");
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| failed())?;
        Self::stored(&Secret::new(STANDARD_NO_PAD.encode(der.as_ref()))).ok_or_else(failed)
    }

    /// The prover of a stored session.
    pub fn stored(stored: &Secret) -> Option<Self> {
        let der = zeroize::Zeroizing::new(STANDARD_NO_PAD.decode(stored.expose()).ok()?);
        let key = SigningKey::from_pkcs8(&der)?;
        Some(Self {
            jwk: key.p256_jwk()?,
            key,
            stored: stored.clone(),
            nonce: Mutex::new(None),
        })
    }

    /// The key as the session record keeps it.
    pub fn to_store(&self) -> Secret {
        self.stored.clone()
    }

    /// RFC 7638, for `dpop_jkt`: the code is of use only together with the key, too.
    pub fn thumbprint(&self) -> String {
        thumbprint(self.jwk.clone())
    }

    /// A proof for one POST request.
    pub(super) fn proof(&self, url: &Url) -> Result<String, NotSigned> {
        let header = json!({"alg": ALGORITHM, "jwk": self.jwk, "typ": "dpop+jwt"});
        let mut claims = json!({
            "jti": unique_id()?,
            "htm": "POST",
            "htu": &url[..Position::AfterPath],
            "iat": clock::now(),
        });
        if let Ok(nonce) = self.nonce.lock()
            && let Some(nonce) = &*nonce
        {
            claims["nonce"] = Json::from(nonce.as_str());
        }
        self.key.sign(&header, &claims)
    }

    /// Takes over the nonce of an answer (RFC 9449 section 8). Says whether there was one.
    pub(super) fn learn(&self, nonce: Option<&str>) -> bool {
        // Section 8.1: NQCHAR, which is visible ASCII without quote and backslash.
        let usable = |nonce: &&str| {
            (1..=NONCE).contains(&nonce.len())
                && nonce
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
        };
        let (Some(nonce), Ok(mut latest)) = (nonce.filter(usable), self.nonce.lock()) else {
            return false;
        };
        *latest = Some(nonce.to_owned());
        true
    }
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prover").finish_non_exhaustive()
    }
}

/// RFC 7638 section 3: the required members in lexical order, without white space.
fn thumbprint(mut jwk: Json) -> String {
    jwk.sort_all_objects();
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(jws: &str, n: usize) -> Json {
        let part = jws.split('.').nth(n).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_proof_names_the_request_and_carries_the_public_half_only() {
        let prover = Prover::generate().unwrap();
        let url = Url::parse("https://idp.example/token?tenant=a").unwrap();
        let one = prover.proof(&url).unwrap();
        assert_eq!(part(&one, 0)["typ"], "dpop+jwt");
        let jwk = part(&one, 0)["jwk"].as_object().unwrap().clone();
        let names: Vec<&String> = jwk.keys().collect();
        assert_eq!(names, ["crv", "kty", "x", "y"]);
        assert_eq!(part(&one, 1)["htu"], "https://idp.example/token");
        assert_eq!(part(&one, 1)["htm"], "POST");
        assert!(part(&one, 1).get("nonce").is_none());

        assert!(prover.learn(Some("n-1")));
        for bad in [
            None,
            Some(""),
            Some("a b"),
            Some("a\"b"),
            Some(&*"x".repeat(513)),
        ] {
            assert!(!prover.learn(bad), "{bad:?}");
        }
        let next = prover.proof(&url).unwrap();
        assert_eq!(part(&next, 1)["nonce"], "n-1");
        assert_ne!(part(&next, 1)["jti"], part(&one, 1)["jti"]);
    }

    #[test]
    fn a_thumbprint_is_the_one_of_the_standard_whatever_the_order() {
        // The key and `jkt` of the examples in RFC 9449 sections 4.1 and 6.1.
        let jwk = json!({
            "kty": "EC",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
            "crv": "P-256",
        });
        assert_eq!(
            thumbprint(jwk),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
    }

    #[test]
    fn the_stored_key_is_the_same_key() {
        let prover = Prover::generate().unwrap();
        let again = Prover::stored(&prover.to_store()).unwrap();
        assert_eq!(again.thumbprint(), prover.thumbprint());
        assert_ne!(
            Prover::generate().unwrap().thumbprint(),
            prover.thumbprint()
        );
        assert_eq!(prover.thumbprint().len(), 43);
        for damaged in ["", "AAAA", "not base64"] {
            assert!(Prover::stored(&Secret::new(damaged)).is_none(), "{damaged}");
        }
    }
}
