//! Signed tokens (RFC 7519) and the verification of their signatures by a key set (RFC 7517).

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;

use super::codes::{base64url, from_base64url};

/// The parts of a compact JWS with a JSON payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// JOSE header.
    pub header: Value,
    /// Claims.
    pub claims: Value,
    signing_input: String,
    signature: Vec<u8>,
}

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// The key set has no such key.
    UnknownKey,
    /// The key is there, but it did not make this signature.
    Bad,
}

impl Jwt {
    /// Takes a token apart without verifying anything.
    pub fn decode(token: &str) -> Option<Self> {
        let (signing_input, signature) = token.rsplit_once('.')?;
        let (header, claims) = signing_input.split_once('.')?;
        let json = |part| serde_json::from_slice::<Value>(&from_base64url(part)?).ok();
        Some(Self {
            header: json(header).filter(Value::is_object)?,
            claims: json(claims).filter(Value::is_object)?,
            signing_input: signing_input.to_owned(),
            signature: from_base64url(signature)?,
        })
    }

    /// Verifies the signature with the key of `jwks` that the header's `kid` names; ES256 and RS256 only.
    pub fn verify_signature(&self, jwks: &Value) -> Result<(), SignatureError> {
        let kid = &self.header["kid"];
        let key = jwks["keys"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|key| kid.is_string() && key["kid"] == *kid && key["use"] != "enc")
            .ok_or(SignatureError::UnknownKey)?;
        let member = |name: &str| {
            key[name]
                .as_str()
                .and_then(from_base64url)
                .ok_or(SignatureError::UnknownKey)
        };
        // The key's type decides the algorithm: a header can't turn a public key into an HMAC secret.
        let message = self.signing_input.as_bytes();
        let verified = match (
            self.header["alg"].as_str(),
            key["kty"].as_str(),
            key["crv"].as_str(),
        ) {
            (Some("ES256"), Some("EC"), Some("P-256")) => {
                let point = [vec![4], member("x")?, member("y")?].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, &self.signature)
            }
            (Some("RS256"), Some("RSA"), _) => RsaPublicKeyComponents {
                n: member("n")?,
                e: member("e")?,
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, &self.signature),
            _ => return Err(SignatureError::Bad),
        };
        verified.map_err(|_| SignatureError::Bad)
    }
}

/// The two first parts of a token: what is signed.
pub(crate) fn signing_input(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        base64url(header.to_string()),
        base64url(claims.to_string())
    )
}
