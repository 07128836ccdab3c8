//! The provider's keys: one that signs, and a key set as full as the OpenID Foundation's suite publishes it.

use std::sync::Arc;

use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use super::codes::{base64url, identifier, random_bytes};
use super::jwt::signing_input;
use super::script::Forgery;
use crate::run_keys;

/// The algorithm of the provider's signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// ECDSA with P-256.
    #[default]
    Es256,
    /// RSA PKCS #1 v1.5 with 2048 bits.
    Rs256,
}

impl Signing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// A private key and the name it is published under.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Arc<RsaKeyPair>),
}

impl SigningKey {
    fn ec() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a new P-256 key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
            .expect("the key just made");
        Self {
            kid: identifier(),
            pair: Pair::Ec(Box::new(pair)),
        }
    }

    fn rsa(number: usize) -> Self {
        Self {
            kid: identifier(),
            pair: Pair::Rsa(rsa_key(number)),
        }
    }

    fn algorithm(&self) -> Signing {
        match self.pair {
            Pair::Ec(_) => Signing::Es256,
            Pair::Rsa(_) => Signing::Rs256,
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair
                .sign(&random, message)
                .expect("an ECDSA signature")
                .as_ref()
                .to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("an RSA signature");
                signature
            }
        }
    }

    /// The public half as a JWK without `use`, `kid` and `alg`.
    fn public_members(&self) -> Value {
        match &self.pair {
            Pair::Ec(pair) => {
                // Uncompressed point: 04, x, y.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": base64url(public.n), "e": base64url(public.e)})
            }
        }
    }

    fn published(&self, usage: &str) -> Value {
        named(self.public_members(), &self.kid, usage)
    }

    /// What a naive library would take for an HMAC secret: the public key's own bytes.
    fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => RsaPublicKeyComponents::<Vec<u8>>::from(pair.public()).n,
        }
    }
}

/// RSA keys are slow to make, so all providers share them. The first is the forger's.
fn rsa_key(number: usize) -> Arc<RsaKeyPair> {
    let pair = RsaKeyPair::from_pkcs8(run_keys::rsa(number));
    Arc::new(pair.expect("a key of the run"))
}

const FORGERS_RSA_KEY: usize = 0;

/// What a token's signature depends on besides its claims.
pub(crate) struct Signer<'a> {
    pub(crate) signing: Signing,
    pub(crate) typ: &'a str,
    pub(crate) forgery: Option<&'a Forgery>,
    pub(crate) client_id: &'a str,
}

/// All keys of one provider.
pub(crate) struct Keys {
    ec: SigningKey,
    rsa: Option<SigningKey>,
    rotations: usize,
    /// Published for encryption; a token signed with it must be refused.
    encryption: SigningKey,
    decoys: Vec<Value>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            ec: SigningKey::ec(),
            rsa: None,
            rotations: 0,
            encryption: SigningKey::ec(),
            decoys: decoys(),
        }
    }

    /// New keys under new names; the old ones are no longer published.
    pub(crate) fn rotate(&mut self) {
        *self = Self {
            rotations: self.rotations + 1,
            ..Self::new()
        };
    }

    fn current(&mut self, signing: Signing) -> &SigningKey {
        match signing {
            Signing::Es256 => &self.ec,
            Signing::Rs256 => {
                let number = FORGERS_RSA_KEY + 1 + self.rotations;
                self.rsa.get_or_insert_with(|| SigningKey::rsa(number))
            }
        }
    }

    /// The JWK set. The signing key is neither first nor alone, and no key says its `alg`.
    pub(crate) fn jwks(&mut self, signing: Signing) -> Value {
        let current = self.current(signing).published("sig");
        let mut keys = self.decoys.clone();
        keys.insert(2, current);
        if signing == Signing::Rs256 {
            keys.insert(3, self.ec.published("sig"));
        }
        keys.push(self.encryption.published("enc"));
        json!({ "keys": keys })
    }

    /// Signs a token. `edit` may change the JOSE header before it is signed.
    pub(crate) fn sign(
        &mut self,
        signer: &Signer<'_>,
        claims: &Value,
        edit: &dyn Fn(&mut Value),
    ) -> String {
        let signing = signer.signing;
        let published_kid = self.current(signing).kid.clone();
        let stranger;
        let key = match signer.forgery {
            Some(Forgery::UnknownKey | Forgery::UnknownKid | Forgery::EmbeddedKey) => {
                stranger = match signing {
                    Signing::Es256 => SigningKey::ec(),
                    Signing::Rs256 => SigningKey::rsa(FORGERS_RSA_KEY),
                };
                &stranger
            }
            Some(Forgery::EncryptionKey) => &self.encryption,
            _ => self.current(signing),
        };
        let mut header = json!({"alg": key.algorithm().name(), "typ": signer.typ, "kid": key.kid});
        match signer.forgery {
            Some(Forgery::Unsigned(algorithm)) => header["alg"] = json!(algorithm),
            Some(Forgery::HmacOfClientId | Forgery::HmacOfPublicKey | Forgery::Hmac(_)) => {
                header["alg"] = json!("HS256");
            }
            Some(Forgery::EmbeddedKey) => header["jwk"] = key.public_members(),
            _ => {}
        }
        let public_bytes = key.public_bytes();
        let sign = |message: &[u8]| match signer.forgery {
            Some(Forgery::Unsigned(_)) => Vec::new(),
            Some(Forgery::HmacOfClientId) => hmac_sha256(signer.client_id.as_bytes(), message),
            Some(Forgery::HmacOfPublicKey) => hmac_sha256(&public_bytes, message),
            Some(Forgery::Hmac(secret)) => hmac_sha256(secret, message),
            Some(Forgery::FlippedBits) => {
                key.sign(message).iter().map(|byte| byte ^ 0x5A).collect()
            }
            _ => key.sign(message),
        };
        // The forger claims to be the published key, or a key that nobody publishes.
        if matches!(
            signer.forgery,
            Some(Forgery::UnknownKey | Forgery::EmbeddedKey)
        ) {
            header["kid"] = json!(published_kid);
        }
        edit(&mut header);
        let input = signing_input(&header, claims);
        let signature = sign(input.as_bytes());
        format!("{input}.{}", base64url(signature))
    }
}

fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, message).as_ref().to_vec()
}

fn named(mut key: Value, kid: &str, usage: &str) -> Value {
    key["kid"] = json!(kid);
    key["use"] = json!(usage);
    key
}

/// Keys that sign nothing. A client that stumbles over a curve or a purpose it doesn't know fails here already.
fn decoys() -> Vec<Value> {
    let random_rsa = || {
        let mut modulus = random_bytes::<256>();
        modulus[0] |= 0x80;
        modulus[255] |= 1;
        json!({"kty": "RSA", "n": base64url(modulus), "e": "AQAB"})
    };
    let ed25519 = {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a new key");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("the key just made");
        json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())})
    };
    // Some point of the curve is needed, and the generator is one that needs no arithmetic.
    let secp256k1 = json!({
        "kty": "EC",
        "crv": "secp256k1",
        "x": "eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g",
        "y": "SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg",
    });
    [
        (random_rsa(), "sig"),
        (random_rsa(), "sig"),
        (SigningKey::ec().public_members(), "sig"),
        (secp256k1, "sig"),
        (ed25519, "sig"),
        (random_rsa(), "enc"),
    ]
    .into_iter()
    .map(|(key, usage)| named(key, &identifier(), usage))
    .collect()
}
