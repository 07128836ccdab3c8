//! A gateway that gives out short-lived keys of its own for the provider's tokens, and takes nothing but these keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::gateway::{Refusal, Verifier, bearer, models, refuse};
use crate::port;
use crate::provider::http::{Request, Response, Server, lock};
use crate::provider::{Log, Seen, codes};

/// A running one on 127.0.0.1; it stops when dropped.
///
/// `POST /keys` with the provider's token and the body `{"purpose": …}` is answered with
/// `{"data": {"key": …, "expires_at": …}}`, in milliseconds since 1970. `GET /v1/models` takes the keys.
pub struct KeyDesk {
    desk: Arc<Desk>,
    server: Server,
}

struct Desk {
    verifier: Verifier,
    lifetime: Duration,
    keys: Mutex<BTreeMap<String, Instant>>,
    refuses: Mutex<Option<u16>>,
    log: Log,
}

impl fmt::Debug for KeyDesk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyDesk({})", self.url())
    }
}

impl KeyDesk {
    /// Starts one that takes this issuer's tokens for this audience, and whose keys live so long.
    pub fn start(issuer: &str, audience: &str, lifetime: Duration) -> Self {
        let desk = Arc::new(Desk {
            verifier: Verifier::new(issuer, audience),
            lifetime,
            keys: Mutex::default(),
            refuses: Mutex::default(),
            log: Log::default(),
        });
        let server = {
            let desk = Arc::clone(&desk);
            Server::serve(port::listen(0), move |request| {
                desk.log.record(&request);
                desk.answer(&request).into()
            })
        };
        Self { desk, server }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// Gives out no keys any more but this status, or keys again.
    pub fn refuse_with(&self, status: Option<u16>) {
        *lock(&self.desk.refuses) = status;
    }

    /// How many keys it has given out.
    pub fn given_out(&self) -> usize {
        lock(&self.desk.keys).len()
    }

    /// All requests in the order of their arrival.
    pub fn requests(&self) -> Vec<Seen> {
        self.desk.log.all()
    }
}

impl Desk {
    fn answer(&self, request: &Request) -> Response {
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/keys") => match *lock(&self.refuses) {
                Some(status) => Response::json(status, &json!({"message": "no keys today"})),
                None => self.mint(request),
            },
            ("GET", "/v1/models") => match bearer(request) {
                Some(key) if lock(&self.keys).get(key) > Some(&Instant::now()) => {
                    Response::json(200, &models())
                }
                Some(_) => refuse(Refusal::UnknownKey),
                None => refuse(Refusal::Missing),
            },
            _ => Response::json(404, &json!({"message": "no such endpoint"})),
        }
    }

    fn mint(&self, request: &Request) -> Response {
        let token = bearer(request).ok_or(Refusal::Missing);
        if let Err(refusal) = token.and_then(|token| self.verifier.verify(token)) {
            return refuse(refusal);
        }
        let purpose = serde_json::from_slice::<Value>(&request.body)
            .is_ok_and(|body| body["purpose"].is_string());
        if !purpose {
            return Response::json(400, &json!({"message": "what is the key for?"}));
        }
        let key = codes::secret("gk");
        lock(&self.keys).insert(key.clone(), Instant::now() + self.lifetime);
        let ends = SystemTime::now() + self.lifetime;
        let ends = ends.duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let ends = u64::try_from(ends.as_millis()).expect("this age");
        Response::json(201, &json!({"data": {"key": key, "expires_at": ends}}))
    }
}
