//! A gateway that verifies the bearer tokens it is shown, in the shape of the Anthropic API.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::provider::http::{Answer, Request, Response, Server, listen, lock};
use crate::provider::jwt::{Jwt, SignatureError};
use crate::provider::{Log, Seen, client};

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There was no token.
    Missing,
    /// Not a signed token, or one without the claims that a gateway needs.
    Malformed,
    /// The issuer has no key for it.
    UnknownKey,
    /// The signature is not the issuer's.
    BadSignature,
    /// Another issuer's token.
    WrongIssuer,
    /// A token for somebody else.
    WrongAudience,
    /// The token has expired.
    Expired,
    /// The issuer's keys could not be had.
    NoKeys,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "there is no token",
            Self::Malformed => "the token is malformed",
            Self::UnknownKey => "the token's key is unknown",
            Self::BadSignature => "the token's signature is wrong",
            Self::WrongIssuer => "the token is from another issuer",
            Self::WrongAudience => "the token is for another audience",
            Self::Expired => "the token has expired",
            Self::NoKeys => "the issuer's keys are not available",
        })
    }
}

/// Verifies tokens of one issuer for one audience.
pub(crate) struct Verifier {
    issuer: String,
    audience: String,
    jwks: Mutex<Option<Value>>,
}

impl Verifier {
    /// Of this issuer, for this audience.
    pub(crate) fn new(issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            jwks: Mutex::default(),
        }
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Value, Refusal> {
        let jwt = Jwt::decode(token).ok_or(Refusal::Malformed)?;
        self.verify_signature(&jwt)?;
        let claims = jwt.claims;
        if claims["iss"] != self.issuer.as_str() {
            return Err(Refusal::WrongIssuer);
        }
        let is_audience = |value: &Value| value == self.audience.as_str();
        let audience = &claims["aud"];
        if !is_audience(audience)
            && !audience
                .as_array()
                .is_some_and(|all| all.iter().any(is_audience))
        {
            return Err(Refusal::WrongAudience);
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970")
            .as_secs();
        match claims["exp"].as_u64() {
            None => Err(Refusal::Malformed),
            Some(expiry) if expiry <= now => Err(Refusal::Expired),
            Some(_) => Ok(claims),
        }
    }

    /// Tries the keys at hand, and fetches new ones once where the token's key is not among them.
    fn verify_signature(&self, jwt: &Jwt) -> Result<(), Refusal> {
        let known = lock(&self.jwks).clone();
        if let Some(jwks) = known {
            match jwt.verify_signature(&jwks) {
                Ok(()) => return Ok(()),
                Err(SignatureError::Bad) => return Err(Refusal::BadSignature),
                Err(SignatureError::UnknownKey) => {}
            }
        }
        let jwks = self.fetch_keys().ok_or(Refusal::NoKeys)?;
        let verified = jwt.verify_signature(&jwks);
        *lock(&self.jwks) = Some(jwks);
        verified.map_err(|error| match error {
            SignatureError::UnknownKey => Refusal::UnknownKey,
            SignatureError::Bad => Refusal::BadSignature,
        })
    }

    fn fetch_keys(&self) -> Option<Value> {
        let issuer = self.issuer.trim_end_matches('/');
        let metadata = fetch_json(&format!("{issuer}/.well-known/openid-configuration"))?;
        if metadata["issuer"] != self.issuer.as_str() {
            return None;
        }
        fetch_json(metadata["jwks_uri"].as_str()?)
    }
}

fn fetch_json(url: &str) -> Option<Value> {
    let reply = client::get(url).ok()?;
    if reply.status != 200 {
        return None;
    }
    serde_json::from_slice(&reply.body).ok()
}

/// A running gateway on 127.0.0.1; it stops when dropped.
pub struct Gateway {
    verifier: Arc<Verifier>,
    log: Arc<Log>,
    server: Server,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Gateway({})", self.url())
    }
}

impl Gateway {
    /// Starts a gateway that accepts this issuer's tokens for this audience, on any free port.
    pub fn start(issuer: &str, audience: &str) -> Self {
        let verifier = Arc::new(Verifier::new(issuer, audience));
        let log = Arc::new(Log::default());
        let server = {
            let (verifier, log) = (Arc::clone(&verifier), Arc::clone(&log));
            Server::serve(listen(0), move |request| {
                log.record(&request);
                answer(&verifier, &request)
            })
        };
        Self {
            verifier,
            log,
            server,
        }
    }

    /// The base URL, without `/v1`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// The claims of a token that the gateway accepts.
    pub fn verify(&self, token: &str) -> Result<Value, Refusal> {
        self.verifier.verify(token)
    }

    /// All requests in the order of their arrival.
    pub fn requests(&self) -> Vec<Seen> {
        self.log.all()
    }

    /// Waits until `n` requests came for this path, and says whether they did in time.
    pub fn wait_for(&self, path: &str, n: usize, timeout: Duration) -> bool {
        self.log.wait(n, timeout, |seen| seen.path == path)
    }
}

fn answer(verifier: &Verifier, request: &Request) -> Answer {
    let claims = match bearer(request)
        .ok_or(Refusal::Missing)
        .and_then(|token| verifier.verify(token))
    {
        Ok(claims) => claims,
        Err(refusal) => return refuse(refusal).into(),
    };
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/models") => Response::json(200, &models()),
        ("POST", "/v1/messages") => match serde_json::from_slice::<Value>(&request.body) {
            Ok(body @ Value::Object(_)) => Response::json(200, &message(&body, &claims)),
            _ => failure(
                400,
                "invalid_request_error",
                "the body is not a JSON object",
            ),
        },
        _ => failure(404, "not_found_error", "no such endpoint"),
    }
    .into()
}

/// The token of `Authorization: Bearer`, or of `x-api-key` as Anthropic's clients also send it.
pub(crate) fn bearer(request: &Request) -> Option<&str> {
    match request.header("authorization") {
        Some(header) => {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        }
        None => request.header("x-api-key"),
    }
}

/// RFC 6750 section 3: a request without a token learns no error code.
pub(crate) fn refuse(refusal: Refusal) -> Response {
    let challenge = match refusal {
        Refusal::Missing => "Bearer realm=\"gatepass demo gateway\"".to_owned(),
        _ => format!("Bearer error=\"invalid_token\", error_description=\"{refusal}\""),
    };
    failure(401, "authentication_error", &refusal.to_string())
        .header("WWW-Authenticate", &challenge)
}

fn failure(status: u16, kind: &str, message: &str) -> Response {
    let error = json!({"type": kind, "message": message});
    Response::json(status, &json!({"type": "error", "error": error}))
}

pub(crate) fn models() -> Value {
    let model = |id: &str, name: &str| {
        json!({
            "type": "model",
            "id": id,
            "display_name": name,
            "created_at": "2025-01-01T00:00:00Z",
        })
    };
    let data = [
        model("demo-large", "Demo Large"),
        model("demo-small", "Demo Small"),
    ];
    json!({
        "data": data,
        "has_more": false,
        "first_id": "demo-large",
        "last_id": "demo-small",
    })
}

/// An assistant's answer that says who asked.
fn message(body: &Value, claims: &Value) -> Value {
    let caller = claims["email"]
        .as_str()
        .or(claims["sub"].as_str())
        .unwrap_or("somebody");
    let text = format!("Hello {caller}, the gateway knows you.");
    json!({
        "id": "msg_demo",
        "type": "message",
        "role": "assistant",
        "model": body["model"].as_str().unwrap_or("demo-large"),
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": null,
        "usage": {"input_tokens": 1, "output_tokens": 8},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::client::{Reply, get, get_with, post_json};
    use crate::provider::{Provider, Settings, Signing};

    const AUDIENCE: &str = "https://gateway.example.test";

    fn claims(provider: &Provider, change: impl FnOnce(&mut Value)) -> Value {
        let tokens = provider.issue_tokens("app", "openid");
        let mut claims = Jwt::decode(tokens["access_token"].as_str().unwrap())
            .unwrap()
            .claims;
        change(&mut claims);
        claims
    }

    fn models_with(gateway: &Gateway, token: &str) -> Reply {
        let header = format!("Bearer {token}");
        let url = format!("{}/v1/models?limit=5", gateway.url());
        get_with(&url, &[("Authorization", &header)]).unwrap()
    }

    #[test]
    fn good_tokens_of_both_algorithms() {
        for signing in [Signing::Es256, Signing::Rs256] {
            let provider = Provider::start(Settings {
                signing,
                issuer_path: "/".to_owned(),
                ..Settings::default()
            });
            let gateway = Gateway::start(&provider.issuer(), AUDIENCE);
            let token = provider.sign(&claims(&provider, |_| {}));
            let reply = models_with(&gateway, &token);
            assert_eq!(reply.status, 200);
            assert_eq!(reply.json()["data"][0]["type"], "model");

            let url = format!("{}/v1/messages", gateway.url());
            let question = json!({"model": "demo-small", "max_tokens": 1, "messages": []});
            let answer = post_json(&url, &[("x-api-key", &token)], &question)
                .unwrap()
                .json();
            assert_eq!(answer["model"], "demo-small");
            let text = answer["content"][0]["text"].as_str().unwrap();
            assert!(text.contains("alex@example.test"));
            assert!(gateway.wait_for("/v1/messages", 1, Duration::ZERO));
            assert_eq!(gateway.requests().len(), 2);
            assert_eq!(provider.count("/jwks"), 1, "the keys are kept");
        }
    }

    #[test]
    fn bad_tokens_are_told_apart() {
        let provider = Provider::start(Settings::default());
        let gateway = Gateway::start(&provider.issuer(), AUDIENCE);
        let signed = |change: fn(&mut Value)| provider.sign(&claims(&provider, change));
        let good = signed(|_| {});
        let (rest, signature) = good.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let flipped = format!("{rest}.{first}{}", &signature[1..]);
        let another = signed(|claims| claims["email"] = "root@example.test".into());
        let stolen = format!("{}.{signature}", another.rsplit_once('.').unwrap().0);
        for (token, refusal) in [
            (signed(|claims| claims["exp"] = 1.into()), Refusal::Expired),
            (
                signed(|claims| claims["aud"] = json!(["app", "other"])),
                Refusal::WrongAudience,
            ),
            (
                signed(|claims| claims["iss"] = "http://127.0.0.1:1".into()),
                Refusal::WrongIssuer,
            ),
            (stolen, Refusal::BadSignature),
            (format!("{rest}."), Refusal::BadSignature),
            (flipped, Refusal::BadSignature),
            (rest.to_owned(), Refusal::Malformed),
            ("opaque".to_owned(), Refusal::Malformed),
        ] {
            assert_eq!(gateway.verify(&token), Err(refusal), "{token}");
            let reply = models_with(&gateway, &token);
            assert_eq!(reply.status, 401);
            let challenge = reply.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer error=\"invalid_token\""));
            assert_eq!(reply.json()["error"]["type"], "authentication_error");
        }
        assert_eq!(models_with(&gateway, &good).status, 200);

        let missing = get(&format!("{}/v1/models", gateway.url())).unwrap();
        assert_eq!(missing.status, 401);
        assert!(missing.header("www-authenticate").is_some());
    }

    #[test]
    fn keys_change_and_issuers_go_away() {
        let provider = Provider::start(Settings::default());
        let gateway = Gateway::start(&provider.issuer(), AUDIENCE);
        let old = provider.sign(&claims(&provider, |_| {}));
        assert!(gateway.verify(&old).is_ok());
        provider.rotate_keys();
        let new = provider.sign(&claims(&provider, |_| {}));
        assert!(gateway.verify(&new).is_ok());
        assert_eq!(gateway.verify(&old), Err(Refusal::UnknownKey));
        drop(provider);
        assert!(gateway.verify(&new).is_ok());
        assert_eq!(gateway.verify(&old), Err(Refusal::NoKeys));
    }
}
