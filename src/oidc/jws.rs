//! Private keys that gatepass signs with, and what it signs: JSON Web Signatures (RFC 7515).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value as Json, json};

/// A private key.
pub(super) enum SigningKey {
    /// RSA, 2048 bits and more.
    Rsa(RsaKeyPair),
    /// Elliptic curve P-256.
    P256(EcdsaKeyPair),
    /// Elliptic curve P-384.
    P384(EcdsaKeyPair),
    /// Edwards curve 25519.
    Ed25519(Ed25519KeyPair),
}

/// The operating system gave no random numbers, or the key cannot sign.
#[derive(Debug, thiserror::Error)]
#[error("signing failed")]
pub(super) struct NotSigned;

impl SigningKey {
    /// Reads a PKCS#8 key in PEM form. Nothing in the error comes from the file.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem)
            .map_err(|_| "it holds no PKCS#8 private key in PEM form (`BEGIN PRIVATE KEY`)")?;
        Self::from_pkcs8(der.secret_pkcs8_der()).ok_or(
            "its key is none of RSA (2048 to 4096 bits), P-256, P-384 and Ed25519, or damaged",
        )
    }

    /// Reads a PKCS#8 key.
    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let random = SystemRandom::new();
        let curve = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, &random);
        if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
            return Some(Self::Rsa(key));
        }
        if let Ok(key) = curve(&ECDSA_P256_SHA256_FIXED_SIGNING) {
            return Some(Self::P256(key));
        }
        if let Ok(key) = curve(&ECDSA_P384_SHA384_FIXED_SIGNING) {
            return Some(Self::P384(key));
        }
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .ok()
            .map(Self::Ed25519)
    }

    /// The algorithms (RFC 7518, RFC 8037, RFC 9864) that the key can be used with, the usual one first.
    pub(super) fn algorithms(&self) -> &'static [&'static str] {
        match self {
            Self::Rsa(_) => &["RS256", "PS256"],
            Self::P256(_) => &["ES256"],
            Self::P384(_) => &["ES384"],
            Self::Ed25519(_) => &["EdDSA", "Ed25519"],
        }
    }

    /// Signs claims. The header names the algorithm, which is one of the key's.
    pub(super) fn sign(&self, header: &Json, claims: &Json) -> Result<String, NotSigned> {
        let part = |value: &Json| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.signature(header["alg"].as_str(), message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signature(&self, algorithm: Option<&str>, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    Some("PS256") => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(encoding, &random, message, &mut signature)
                    .map_err(|_| NotSigned)?;
                Ok(signature)
            }
            Self::P256(key) | Self::P384(key) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| NotSigned),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }

    /// The public half of a P-256 key as a JWK (RFC 7517), its members in the order of RFC 7638.
    pub(super) fn p256_jwk(&self) -> Option<Json> {
        let Self::P256(key) = self else { return None };
        // An uncompressed point: 4, x, y.
        let (x, y) = key.public_key().as_ref().get(1..)?.split_at_checked(32)?;
        let number = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        Some(json!({"crv": "P-256", "kty": "EC", "x": number(x), "y": number(y)}))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.algorithms()[0])
    }
}

/// A new `jti`: 128 random bits.
pub(super) fn unique_id() -> Result<String, NotSigned> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| NotSigned)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

    /// A fresh P-256 key in PEM form.
    pub(crate) fn p256_pem() -> String {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .unwrap();
        pem(der.as_ref())
    }

    fn pem(der: &[u8]) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }

    #[test]
    fn signatures_verify_with_the_public_half() {
        let ed25519 = pem(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .unwrap()
            .as_ref());
        for pem in [p256_pem(), ed25519] {
            let key = SigningKey::from_pem(pem.as_bytes()).unwrap();
            let algorithm = key.algorithms()[0];
            let jws = key
                .sign(&json!({"alg": algorithm}), &json!({"a": 1}))
                .unwrap();
            let (message, signature) = jws.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let verified = match &key {
                SigningKey::P256(pair) => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key())
                        .verify(message.as_bytes(), &signature)
                }
                SigningKey::Ed25519(pair) => UnparsedPublicKey::new(&ED25519, pair.public_key())
                    .verify(message.as_bytes(), &signature),
                other => unreachable!("{other:?}"),
            };
            assert!(verified.is_ok(), "{algorithm}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_apart_from_an_unknown_one() {
        for (pem, why) in [
            (String::new(), "PEM"),
            ("junk".to_owned(), "PEM"),
            (p256_pem().replace("PRIVATE KEY", "PUBLIC KEY"), "PEM"),
            (pem(b"junk"), "none of"),
        ] {
            let said = SigningKey::from_pem(pem.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{pem}: {said}");
        }
    }
}
