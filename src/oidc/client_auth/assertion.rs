//! Client authentication by a signed assertion (`private_key_jwt`, RFC 7523 and its revision).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::key_files;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::oidc::discovery::Metadata;
use crate::oidc::jws::{NotSigned, SigningKey, unique_id};

/// RFC 7523 section 2.2.
const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Seconds for which an assertion is good. Each request has its own.
const LIFE: u64 = 60;

/// Makes assertions for one client at one provider.
#[derive(Debug)]
pub(super) struct Signer {
    key: SigningKey,
    header: Json,
    client_id: String,
    /// The issuer, as the only audience: an assertion that names an endpoint could be replayed elsewhere by a
    /// provider that lies about its endpoints (the revision of RFC 7523 forbids that form).
    audience: String,
}

impl Signer {
    /// Reads the configured key and chooses an algorithm that the provider accepts.
    pub(super) fn new(settings: &Settings, metadata: &Metadata) -> Result<Self> {
        let key = key_files::signing_key(settings)?;
        let accepted = metadata
            .token_endpoint_auth_signing_alg_values_supported
            .as_deref();
        let algorithm = choose(key.algorithms(), accepted).ok_or_else(|| {
            Failure::config(
                format!(
                    "the provider accepts no assertion signed with {}: it asks for {}",
                    key.algorithms().join(" or "),
                    accepted.unwrap_or_default().join(", ")
                ),
                "give `client_key_file` a key of a kind that the provider accepts",
            )
        })?;
        let mut header = json!({"alg": algorithm, "typ": "client-authentication+jwt"});
        // Some providers find the key by its certificate.
        if let Some(certificate) = key_files::certificate_of_assertions(settings)? {
            header["x5t#S256"] = URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)).into();
        }
        Ok(Self {
            key,
            header,
            client_id: settings.client_id.clone(),
            audience: settings.issuer.clone(),
        })
    }

    /// The parameters that authenticate one request. Never used for two: `jti` is good for one.
    pub(super) fn parameters(&self) -> Result<[(&'static str, String); 2], NotSigned> {
        let now = clock::now();
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": unique_id()?,
            "iat": now,
            "exp": now + LIFE,
        });
        Ok([
            ("client_assertion_type", KIND.to_owned()),
            ("client_assertion", self.key.sign(&self.header, &claims)?),
        ])
    }
}

/// The first algorithm of ours that is accepted. A provider that lists none is taken to accept the usual one.
fn choose(ours: &[&'static str], accepted: Option<&[String]>) -> Option<&'static str> {
    ours.iter()
        .copied()
        .find(|ours| accepted.is_none_or(|accepted| accepted.iter().any(|one| one == ours)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithm_is_one_that_both_know() {
        let accepts = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            choose(&["RS256", "PS256"], Some(&names))
        };
        assert_eq!(accepts(&["ES256", "PS256"]), Some("PS256"));
        assert_eq!(accepts(&["PS256", "RS256"]), Some("RS256"));
        assert_eq!(accepts(&["ES256", "HS256", "none"]), None);
        assert_eq!(accepts(&[]), None);
        assert_eq!(choose(&["ES256"], None), Some("ES256"));
    }

    #[test]
    fn each_request_has_its_own_short_lived_assertion_for_the_issuer_alone() {
        let pem = crate::oidc::jws::tests::p256_pem();
        let signer = Signer {
            key: SigningKey::from_pem(pem.as_bytes()).unwrap(),
            header: json!({"alg": "ES256"}),
            client_id: "desktop".to_owned(),
            audience: "https://idp.example/".to_owned(),
        };
        let claims = || -> Json {
            let [(_, kind), (_, assertion)] = signer.parameters().unwrap();
            assert_eq!(kind, KIND);
            let claims = assertion.split('.').nth(1).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
        };
        let (one, other) = (claims(), claims());
        assert_ne!(one["jti"], other["jti"]);
        assert_eq!(one["aud"], "https://idp.example/");
        assert_eq!(
            (&one["iss"], &one["sub"]),
            (&json!("desktop"), &json!("desktop"))
        );
        let life = one["exp"].as_u64().unwrap() - one["iat"].as_u64().unwrap();
        assert_eq!(life, LIFE);
    }
}
