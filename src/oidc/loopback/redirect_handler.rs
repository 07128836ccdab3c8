//! Answering requests to the redirect: the first right response is handed on, and each request gets a page.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use tokio::sync::{Notify, oneshot};

use super::page::{self, Ending};
use super::request::{ARRIVAL, HEAD, RedirectEndpoint, RequestKind};
use super::response::{AuthorizationResult, Expected, read_parameters};
use crate::platform;

/// Longest body of a form post, in bytes.
pub(super) const FORM: usize = 64 * 1024;

/// An answer, and the browser that waits to be told how it ended.
#[derive(Debug)]
pub struct AuthorizationResponse {
    /// The authorization response's parameters.
    pub answer: AuthorizationResult,
    reply: oneshot::Sender<()>,
    ending: Arc<Mutex<Option<Ending>>>,
}

impl AuthorizationResponse {
    /// Has the browser show how the sign-in ended.
    pub fn tell(self, ending: Ending) {
        // Noted here and not by the connection: a user who reloads must find the end, too.
        if let Ok(mut ended) = self.ending.lock() {
            *ended = Some(ending);
        }
        // A browser that has gone away needs no page.
        let _ = self.reply.send(());
    }
}

/// Who sends a request.
pub(super) struct Peer {
    /// Our end of the connection and theirs.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    pub(super) has_claimed: Arc<AtomicBool>,
}

impl Peer {
    /// Whether it is another user's program. `state` stands in the browser's command line, which other users can
    /// read; without this they could finish the sign-in with an account of their own.
    fn is_a_stranger(&self) -> bool {
        self.ends
            .and_then(|(ours, theirs)| platform::connected_user(ours, theirs))
            .is_some_and(|user| !user.is_some_and(platform::is_us))
    }
}

/// What all connections share.
pub(super) struct RedirectHandler {
    pub(super) endpoint: RedirectEndpoint,
    pub(super) expected: Expected,
    /// Set by the first right response; there is no second one.
    pub(super) claimed: AtomicBool,
    /// Set once the sign-in has ended.
    pub(super) ending: Arc<Mutex<Option<Ending>>>,
    pub(super) page_fetched: Notify,
    responses: mpsc::Sender<AuthorizationResponse>,
}

impl RedirectHandler {
    pub(super) fn new(
        endpoint: RedirectEndpoint,
        expected: Expected,
        responses: mpsc::Sender<AuthorizationResponse>,
    ) -> Self {
        Self {
            endpoint,
            expected,
            claimed: AtomicBool::new(false),
            ending: Arc::default(),
            page_fetched: Notify::new(),
            responses,
        }
    }

    /// From now on a browser that brings the response is told that it is too late.
    pub(super) fn expire(&self) {
        self.claimed.store(true, Ordering::SeqCst);
        if let Ok(mut ended) = self.ending.lock() {
            ended.get_or_insert(Ending::Expired);
        }
    }

    /// An address as a request: the part before the path is its `Host`, as browsers send it.
    pub(super) fn visit(&self, address: &[u8]) -> Option<()> {
        if address.len() > HEAD.0 {
            return None;
        }
        let address = std::str::from_utf8(address).ok()?.trim();
        // Some browsers leave the scheme out of what is copied; what follows `#` they never send.
        let address = address.strip_prefix("http://").unwrap_or(address);
        let address = address.split('#').next()?;
        let (host, target) = address.split_at(address.find('/')?);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().ok()?);
        let RequestKind::Query(query) =
            self.endpoint
                .kind(&Method::GET, &target.parse().ok()?, &headers)
        else {
            return None;
        };
        let answer = read_parameters(query.as_bytes(), &self.expected)?;
        if self.claimed.swap(true, Ordering::SeqCst) {
            return None;
        }
        let response = AuthorizationResponse {
            answer,
            // The other browser waits for no page of ours.
            reply: oneshot::channel().0,
            ending: Arc::clone(&self.ending),
        };
        self.page_fetched.notify_one();
        self.responses.send(response).ok()
    }

    async fn respond(&self, parameters: &[u8], caller: &Peer) -> Reply {
        let Some(answer) = read_parameters(parameters, &self.expected) else {
            log::info!("a request to the redirect that is not the expected response was refused");
            return self.page(StatusCode::BAD_REQUEST, &Ending::NotExpected);
        };
        if self.claimed.swap(true, Ordering::SeqCst) {
            return match self.ended() {
                Some(_) => self.to_the_end(),
                None => self.page(StatusCode::GONE, &Ending::AlreadyUsed),
            };
        }
        caller.has_claimed.store(true, Ordering::SeqCst);
        let (reply, ended) = oneshot::channel();
        let response = AuthorizationResponse {
            answer,
            reply,
            ending: Arc::clone(&self.ending),
        };
        if self.responses.send(response).is_ok() {
            let _ = ended.await;
        }
        if let Ok(mut ended) = self.ending.lock() {
            // The sign-in has ended without telling how.
            ended.get_or_insert(Ending::Failed);
        }
        self.to_the_end()
    }

    fn ended(&self) -> Option<Ending> {
        self.ending.lock().ok().and_then(|ending| ending.clone())
    }

    fn to_the_end(&self) -> Reply {
        // Away from the address with the code in it, so that it stays out of the browser's history.
        let mut response = page_headers(Response::new(Full::default()));
        *response.status_mut() = StatusCode::SEE_OTHER;
        if let Ok(location) = self.endpoint.done_path.parse() {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }

    fn page(&self, status: StatusCode, ending: &Ending) -> Reply {
        let html = page::html(ending, &self.expected.parties);
        let mut response = page_headers(Response::new(Full::from(html)));
        *response.status_mut() = status;
        response.headers_mut().insert(
            header::CONTENT_LANGUAGE,
            header::HeaderValue::from_static("en"),
        );
        response
    }
}

type Reply = Response<Full<Bytes>>;

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    handler: Arc<RedirectHandler>,
    caller: Arc<Peer>,
) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    let mut kind = handler
        .endpoint
        .kind(&parts.method, &parts.uri, &parts.headers);
    if matches!(kind, RequestKind::Query(_) | RequestKind::Form) && caller.is_a_stranger() {
        log::warn!("another user of this machine tried to answer the sign-in");
        kind = RequestKind::Refused(StatusCode::FORBIDDEN);
    }
    Ok(match kind {
        RequestKind::Query(query) => handler.respond(query.as_bytes(), &caller).await,
        RequestKind::Form => {
            match tokio::time::timeout(ARRIVAL, Limited::new(body, FORM).collect()).await {
                Ok(Ok(form)) => handler.respond(&form.to_bytes(), &caller).await,
                _ => refusal(StatusCode::BAD_REQUEST),
            }
        }
        RequestKind::Done => match handler.ended() {
            Some(ending) => {
                handler.page_fetched.notify_one();
                handler.page(StatusCode::OK, &ending)
            }
            None => refusal(StatusCode::NOT_FOUND),
        },
        RequestKind::Refused(status) => refusal(status),
    })
}

fn refusal(status: StatusCode) -> Reply {
    let text = status.canonical_reason().unwrap_or("Refused");
    let mut response = page_headers(Response::new(Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn page_headers(mut response: Reply) -> Reply {
    let fixed = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("connection", "close"),
    ];
    for (name, value) in fixed {
        response
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }
    if let Ok(policy) = page::content_security_policy().parse() {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
