//! The issuer's keys (RFC 7517, RFC 7518) and the algorithms of its signatures (RFC 7515, RFC 8037).
//!
//! Only algorithms that prove who signed: asymmetric ones. Nothing in a token can bring a key with it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p521::ecdsa::signature::Verifier;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::json::UniqueObject;

/// Most keys of one set that are read.
const KEYS: usize = 100;

/// An algorithm by which an ID token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// RSA, PKCS #1 v1.5, with SHA-384.
    Rs384,
    /// RSA, PKCS #1 v1.5, with SHA-512.
    Rs512,
    /// RSA, PSS, with SHA-256.
    Ps256,
    /// RSA, PSS, with SHA-384.
    Ps384,
    /// RSA, PSS, with SHA-512.
    Ps512,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// ECDSA on P-521.
    Es512,
    /// Ed25519, by its old name or the one of RFC 9864.
    EdDsa,
}

impl Algorithm {
    /// The algorithm of this name, which is written exactly so.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// `at_hash` of a token (OIDC Core section 3.1.3.6): the left half of the digest that belongs to the algorithm.
    pub fn half_hash(self, token: &str) -> String {
        let digest = match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => Sha256::digest(token).to_vec(),
            Self::Rs384 | Self::Ps384 | Self::Es384 => Sha384::digest(token).to_vec(),
            Self::Rs512 | Self::Ps512 | Self::Es512 | Self::EdDsa => Sha512::digest(token).to_vec(),
        };
        URL_SAFE_NO_PAD.encode(&digest[..digest.len() / 2])
    }
}

/// What a public key is made of.
#[derive(Clone, Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    // Points in the uncompressed form: 04, x, y.
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A public key that may verify signatures.
#[derive(Clone, Debug)]
pub struct VerificationKey {
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

impl VerificationKey {
    /// A key from its JWK; `None` where it is not for signatures or of a kind that is not known here.
    fn parse(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let absent = |name: &str| jwk.get(name).is_none_or(Value::is_null);
        if !absent("use") && text("use") != Some("sig") {
            return None;
        }
        if let Some(Value::Array(operations)) = jwk.get("key_ops")
            && !operations.iter().any(|one| one == "verify")
        {
            return None;
        }
        let algorithm = match text("alg") {
            Some(name) => Some(Algorithm::named(name)?),
            None if absent("alg") => None,
            None => return None,
        };
        let bytes = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(text(name)?.trim_end_matches('='))
                .ok()
        };
        let point = |length: usize| {
            let mut point = vec![4];
            for coordinate in [bytes("x")?, bytes("y")?] {
                // Some providers leave leading zeros out, against RFC 7518 section 6.2.1.2.
                point.resize(point.len() + length.checked_sub(coordinate.len())?, 0);
                point.extend(coordinate);
            }
            Some(point)
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let significant = |number: Vec<u8>| -> Vec<u8> {
                    number.into_iter().skip_while(|byte| *byte == 0).collect()
                };
                Material::Rsa {
                    n: significant(bytes("n")?),
                    e: significant(bytes("e")?),
                }
            }
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("EC", Some("P-521")) => Material::P521(point(66)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
            _ => return None,
        };
        Some(Self {
            id: text("kid").map(str::to_owned),
            algorithm,
            material,
        })
    }

    /// Its name, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether this key made this signature by this algorithm. An algorithm for another kind of key never fits,
    /// and RSA keys of less than 2048 bits (RFC 7518 section 3.3) prove nothing.
    pub fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.is_some_and(|only| only != algorithm) {
            return false;
        }
        let rsa = |n: &[u8], e: &[u8], by: &'static signature::RsaParameters| {
            RsaPublicKeyComponents { n, e }
                .verify(by, message, signature)
                .is_ok()
        };
        let other = |key: &[u8], by: &'static dyn signature::VerificationAlgorithm| {
            UnparsedPublicKey::new(by, key)
                .verify(message, signature)
                .is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { n, e }, Algorithm::Rs256) => {
                rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA256)
            }
            (Material::Rsa { n, e }, Algorithm::Rs384) => {
                rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA384)
            }
            (Material::Rsa { n, e }, Algorithm::Rs512) => {
                rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA512)
            }
            (Material::Rsa { n, e }, Algorithm::Ps256) => {
                rsa(n, e, &signature::RSA_PSS_2048_8192_SHA256)
            }
            (Material::Rsa { n, e }, Algorithm::Ps384) => {
                rsa(n, e, &signature::RSA_PSS_2048_8192_SHA384)
            }
            (Material::Rsa { n, e }, Algorithm::Ps512) => {
                rsa(n, e, &signature::RSA_PSS_2048_8192_SHA512)
            }
            (Material::P256(point), Algorithm::Es256) => {
                other(point, &signature::ECDSA_P256_SHA256_FIXED)
            }
            (Material::P384(point), Algorithm::Es384) => {
                other(point, &signature::ECDSA_P384_SHA384_FIXED)
            }
            (Material::P521(point), Algorithm::Es512) => by_p521(point, message, signature),
            (Material::Ed25519(key), Algorithm::EdDsa) => other(key, &signature::ED25519),
            _ => false,
        }
    }
}

/// The one curve that ring does not have.
fn by_p521(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
    let signature = p521::ecdsa::Signature::from_slice(signature);
    key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
}

/// The keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<VerificationKey>);

impl Keys {
    /// Reads a key set. Keys of unknown kinds and malformed ones are left out: a provider may publish keys for other
    /// purposes.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct JwkSet<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: JwkSet<'_> = serde_json::from_slice(bytes)?;
        let keys = set.keys.into_iter().take(KEYS).filter_map(|key| {
            let jwk = UniqueObject::parse(key.get().as_bytes()).ok()?;
            VerificationKey::parse(&jwk.0)
        });
        Ok(Self(keys.collect()))
    }

    /// The keys.
    pub fn iter(&self) -> std::slice::Iter<'_, VerificationKey> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Keys};

    fn keys(json: &str) -> usize {
        Keys::parse(json.as_bytes()).unwrap().0.len()
    }

    const EC: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

    #[test]
    fn only_keys_for_signatures_are_taken() {
        for (more, taken) in [
            ("", 1),
            (r#","use":"sig""#, 1),
            (r#","use":null"#, 1),
            (r#","use":"enc""#, 0),
            (r#","use":"SIG""#, 0),
            (r#","use":["sig"]"#, 0),
            (r#","alg":"ES256""#, 1),
            (r#","alg":"ECDH-ES""#, 0),
            (r#","alg":"none""#, 0),
            (r#","alg":1"#, 0),
            (r#","key_ops":["verify"]"#, 1),
            (r#","key_ops":["deriveKey"]"#, 0),
            (r#","kid":"a","kid":"b""#, 0),
            (r#","x5c":["junk"],"unknown":{"a":1}"#, 1),
        ] {
            assert_eq!(
                keys(&format!(r#"{{"keys":[{{{EC}{more}}}]}}"#)),
                taken,
                "{more}"
            );
        }
    }

    #[test]
    fn what_is_unknown_or_malformed_is_left_out_and_the_others_stay() {
        let good = format!("{{{EC}}}");
        for bad in [
            "1",
            "null",
            "{}",
            r#"{"kty":"oct","k":"AAAA"}"#,
            r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#,
            r#"{"kty":"EC","crv":"P-256","x":"AA"}"#,
            r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#,
            r#"{"kty":"OKP","crv":"Ed448","x":"AA"}"#,
            r#"{"kty":"RSA","n":"not base64!","e":"AQAB"}"#,
            r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#,
        ] {
            assert_eq!(
                keys(&format!(r#"{{"keys":[{bad},{good}],"x":1}}"#)),
                1,
                "{bad}"
            );
        }
        for set in [r#"{"keys":1}"#, "{}", "[]", r#"{"keys":[],"keys":[]}"#] {
            assert!(Keys::parse(set.as_bytes()).is_err(), "{set}");
        }
    }

    #[test]
    fn symmetric_algorithms_and_none_have_no_name_here() {
        for name in [
            "none", "None", "nOnE", "NONE", "HS256", "HS384", "HS512", "rs256", "RS1", "ES256K",
            "", "RS256 ",
        ] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }

    /// The example of OIDC Core 1.0, appendix A.3.
    #[test]
    fn a_half_hash_is_as_the_standard_says() {
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(Algorithm::Rs256.half_hash(token), "77QmUPtjPfzWtF2AnpK9RQ");
        for (algorithm, length) in [
            (Algorithm::Ps384, 32),
            (Algorithm::Es512, 43),
            (Algorithm::EdDsa, 43),
        ] {
            assert_eq!(algorithm.half_hash(token).len(), length);
        }
    }
}
