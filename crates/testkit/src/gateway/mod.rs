//! A gateway that verifies the bearer tokens it is shown, with the interfaces that hosts speak.

mod answers;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use answers::{Api, Reply};
use serde_json::{Value, json};

use crate::port;
use crate::provider::http::{Answer, Delivery, Request, Response, Server, lock};
use crate::provider::jwt::{Jwt, SignatureError};
use crate::provider::{Log, Seen, client};

pub use answers::ToolCall;

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
    /// The gateway takes it no longer, whatever its date says.
    Revoked,
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
            Self::Revoked => "the token is revoked",
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

/// One request that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// When it was answered.
    pub at: Instant,
    /// Its path.
    pub path: String,
    /// The token that it showed.
    pub token: Option<String>,
    /// The answer's status.
    pub status: u16,
}

/// What the model does in place of an answer, once.
#[derive(Clone, Debug)]
pub struct Step {
    /// The tool that it calls; the next request that offers it gets this.
    pub call: ToolCall,
    /// How long it thinks before.
    pub after: Duration,
    /// Whether the gateway takes the request's token no longer, once this is answered.
    pub then_revoked: bool,
}

/// What the gateway was told, and what it did.
#[derive(Default)]
struct Conduct {
    revoked: HashSet<String>,
    refuses_all: bool,
    steps: VecDeque<Step>,
    answered: Vec<Answered>,
}

/// A running gateway on 127.0.0.1; it stops when dropped.
pub struct Gateway {
    verifier: Arc<Verifier>,
    conduct: Arc<Mutex<Conduct>>,
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
        let conduct = Arc::new(Mutex::new(Conduct::default()));
        let log = Arc::new(Log::default());
        let server = {
            let (verifier, conduct, log) = (
                Arc::clone(&verifier),
                Arc::clone(&conduct),
                Arc::clone(&log),
            );
            Server::serve(port::listen(0), move |request| {
                log.record(&request);
                answer(&verifier, &conduct, &request)
            })
        };
        Self {
            verifier,
            conduct,
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

    /// From now on the gateway refuses this token, although it is good by its date.
    pub fn revoke(&self, token: &str) {
        lock(&self.conduct).revoked.insert(token.to_owned());
    }

    /// From now on the gateway refuses every token, or takes good ones again.
    pub fn refuse_everything(&self, refuses: bool) {
        lock(&self.conduct).refuses_all = refuses;
    }

    /// The model does this once; several such steps are done in their order.
    pub fn next_step(&self, step: Step) {
        lock(&self.conduct).steps.push_back(step);
    }

    /// The steps that no request has come for.
    pub fn steps_left(&self) -> usize {
        lock(&self.conduct).steps.len()
    }

    /// What was answered, in this order.
    pub fn answered(&self) -> Vec<Answered> {
        lock(&self.conduct).answered.clone()
    }

    /// What was answered to requests for models' answers, in this order.
    pub fn turns(&self) -> Vec<Answered> {
        let mut all = self.answered();
        all.retain(|one| Api::of(&one.path).is_some());
        all
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

fn answer(verifier: &Verifier, conduct: &Mutex<Conduct>, request: &Request) -> Answer {
    let token = bearer(request);
    let allowed = token.ok_or(Refusal::Missing).and_then(|token| {
        let claims = verifier.verify(token)?;
        let conduct = lock(conduct);
        if conduct.refuses_all || conduct.revoked.contains(token) {
            return Err(Refusal::Revoked);
        }
        Ok(claims)
    });
    let (response, delay) = match allowed {
        Ok(claims) => serve(conduct, request, &claims),
        Err(refusal) => (refuse(refusal), Duration::ZERO),
    };
    lock(conduct).answered.push(Answered {
        at: Instant::now(),
        path: request.path.clone(),
        token: token.map(str::to_owned),
        status: response.status,
    });
    let delivery = Delivery {
        delay,
        ..Delivery::default()
    };
    Answer::Send(response, delivery)
}

/// The answer to a request with a good token, and how long it takes.
fn serve(conduct: &Mutex<Conduct>, request: &Request, claims: &Value) -> (Response, Duration) {
    let at_once = |response| (response, Duration::ZERO);
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/models") => at_once(Response::json(200, &models())),
        ("POST", "/v1/messages/count_tokens") => {
            at_once(Response::json(200, &json!({"input_tokens": 1})))
        }
        // What OpenTelemetry's exporters send.
        ("POST", "/v1/metrics" | "/v1/logs" | "/v1/traces") => {
            at_once(Response::json(200, &json!({})))
        }
        ("POST", path) if path.starts_with("/mcp/") => at_once(mcp(&body)),
        ("POST", path) => match Api::of(path) {
            None => at_once(failure(404, "not_found_error", "no such endpoint")),
            Some(_) if !body.is_object() => at_once(failure(
                400,
                "invalid_request_error",
                "the body is not a JSON object",
            )),
            Some(api) => {
                let mut conduct = lock(conduct);
                let offered = |step: &mut Step| api.offers(&body, &step.call.name);
                match conduct.steps.pop_front_if(offered) {
                    Some(step) => {
                        if step.then_revoked {
                            conduct.revoked.extend(bearer(request).map(str::to_owned));
                        }
                        (api.answer(&body, &Reply::Call(&step.call)), step.after)
                    }
                    None => at_once(api.answer(&body, &Reply::Text(&greeting(claims)))),
                }
            }
        },
        // An MCP server without a stream of its own says so by this status.
        ("GET", path) if path.starts_with("/mcp/") => at_once(Response::new(405)),
        _ => at_once(failure(404, "not_found_error", "no such endpoint")),
    }
}

/// An MCP server without tools (Streamable HTTP).
fn mcp(request: &Value) -> Response {
    if request["id"].is_null() {
        return Response::new(202);
    }
    let result = match request["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "demo", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": []}),
        _ => json!({}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
    Response::json(200, &answer)
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
            "object": "model",
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
        "object": "list",
        "data": data,
        "has_more": false,
        "first_id": "demo-large",
        "last_id": "demo-small",
    })
}

/// What the model says: who asked.
fn greeting(claims: &Value) -> String {
    let caller = claims["email"]
        .as_str()
        .or(claims["sub"].as_str())
        .unwrap_or("somebody");
    format!("Hello {caller}, the gateway knows you.")
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
    fn every_interface_answers_whole_and_as_a_stream_and_calls_tools() {
        let provider = Provider::start(Settings::default());
        let gateway = Gateway::start(&provider.issuer(), AUDIENCE);
        let token = provider.sign(&claims(&provider, |_| {}));
        let header = format!("Bearer {token}");
        let ask = |path: &str, body: &Value| {
            let url = format!("{}{path}", gateway.url());
            post_json(&url, &[("Authorization", &header)], body).unwrap()
        };
        let tool = json!({"name": "look", "function": {"name": "look"}});
        for (path, whole, streamed) in [
            ("/v1/messages", "/content/0/text", "text_delta"),
            (
                "/v1/responses",
                "/output/0/content/0/text",
                "response.completed",
            ),
            (
                "/v1/chat/completions",
                "/choices/0/message/content",
                "[DONE]",
            ),
        ] {
            let answer = ask(path, &json!({"model": "m"})).json();
            let said = answer.pointer(whole).and_then(Value::as_str).unwrap();
            assert!(said.contains("alex@example.test"), "{answer}");
            let stream = ask(path, &json!({"stream": true})).text();
            assert!(
                stream.contains(streamed) && stream.contains("alex@"),
                "{stream}"
            );

            gateway.next_step(Step {
                call: ToolCall {
                    name: "look".to_owned(),
                    arguments: json!({"at": "it"}),
                },
                after: Duration::ZERO,
                then_revoked: false,
            });
            // A request that does not offer the tool leaves the step for another.
            assert!(!ask(path, &json!({})).text().contains("look"));
            assert_eq!(gateway.steps_left(), 1);
            let call = ask(path, &json!({"stream": true, "tools": [tool]})).text();
            assert!(
                call.contains("look") && call.contains("\\\"at\\\""),
                "{call}"
            );
            assert_eq!(gateway.steps_left(), 0);
        }
        gateway.revoke(&token);
        assert_eq!(ask("/v1/messages", &json!({})).status, 401);
        let turns = gateway.turns();
        assert_eq!(turns.len(), 13);
        assert_eq!(turns.last().unwrap().status, 401);
        assert_eq!(turns[0].token.as_deref(), Some(token.as_str()));
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
