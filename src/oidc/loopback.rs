//! The loopback redirect (RFC 8252 section 7.3): a listener on this machine for one authorization response.
//!
//! Whatever knocks (port scanners, prefetching browsers, other programs of this machine, other web pages), only
//! a response with the right `state` ends the wait, and only once. Slow, huge and malformed requests are the
//! HTTP library's to refuse: it bounds header size and time, and the listener bounds connections.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use oauth2::CsrfToken;
use tokio::sync::oneshot;

use super::page::{self, Ending, Language, Parties};
use crate::config::settings::{Redirect, RedirectHost, ResponseMode};
use crate::error::{Failure, Result};
use crate::platform;
use crate::secret::Secret;

/// Longest request line and headers, in bytes, and most headers.
const HEAD: (usize, usize) = (24 * 1024, 64);

/// Longest body of a form post, in bytes.
const FORM: usize = 64 * 1024;

/// Longest time for a request to arrive.
const ARRIVAL: Duration = Duration::from_secs(5);

/// Most connections at a time; the oldest one gives way to a new one.
const CONNECTIONS: usize = 128;

/// How long the result page is there to be fetched after the end.
const PAGE: Duration = Duration::from_secs(2);

/// Longest authorization code that is accepted, in bytes.
const CODE: usize = 8 * 1024;

/// What the response to our authorization request must look like.
#[derive(Debug)]
pub struct Expected {
    /// Our `state`.
    pub state: Secret,
    /// The issuer, which RFC 9207's `iss` must equal.
    pub issuer: String,
    /// Whether the provider promised to send `iss`.
    pub issuer_required: bool,
    /// Whose sign-in this is, for the page.
    pub parties: Parties,
}

/// The authorization response.
#[derive(Debug)]
pub enum Answer {
    /// The person signed in.
    Code(Secret),
    /// The provider says no.
    Error {
        /// The OAuth error code.
        code: String,
        /// The provider's words.
        description: Option<String>,
    },
    /// The state is ours, but the response comes from another issuer or names none (RFC 9207 section 2.4).
    WrongIssuer,
}

/// An answer, and the browser that waits to be told how it ended.
#[derive(Debug)]
pub struct Arrival {
    /// What came.
    pub answer: Answer,
    reply: oneshot::Sender<()>,
    ending: Arc<Mutex<Option<Ending>>>,
}

impl Arrival {
    /// Tells the person at the browser how the sign-in ended.
    pub fn tell(self, ending: Ending) {
        // Noted here and not by the connection: a person who reloads must find the end, too.
        if let Ok(mut place) = self.ending.lock() {
            *place = Some(ending);
        }
        // A browser that has gone away needs no page.
        let _ = self.reply.send(());
    }
}

/// Bound sockets, not answering yet. The port is ours from here to the end.
#[derive(Debug)]
pub struct Loopback {
    sockets: Vec<TcpListener>,
    authority: String,
    path: String,
    mode: ResponseMode,
}

impl Loopback {
    /// Binds the first free port of the configured ones.
    pub fn bind(redirect: &Redirect) -> Result<Self> {
        for port in &redirect.ports {
            if let Ok((sockets, port)) = bind_port(redirect.host, *port) {
                let host = redirect.host.as_str();
                return Ok(Self {
                    sockets,
                    // Browsers leave the default port out of addresses and `Host`.
                    authority: if port == 80 {
                        host.to_owned()
                    } else {
                        format!("{host}:{port}")
                    },
                    path: redirect.path.clone(),
                    mode: redirect.response_mode,
                });
            }
        }
        let ports: Vec<String> = redirect.ports.iter().map(u16::to_string).collect();
        Err(Failure::config(
            format!(
                "every redirect port is taken on {}: {}",
                redirect.host.as_str(),
                ports.join(", ")
            ),
            "close the program that uses the port, or add another one to `redirect_ports`",
        ))
    }

    /// The redirect URI, exactly as it must be sent to the provider.
    pub fn redirect_uri(&self) -> String {
        format!("http://{}{}", self.authority, self.path)
    }

    /// Starts answering.
    pub fn serve(self, expected: Expected) -> Result<Running> {
        let (arrivals_in, arrivals) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let desk = Arc::new(Desk {
            authority: self.authority,
            // Not to be guessed, so that nobody else uses up the page.
            done_path: format!(
                "{}/done-{}",
                self.path.trim_end_matches('/'),
                CsrfToken::new_random().secret()
            ),
            path: self.path,
            mode: self.mode,
            expected,
            claimed: AtomicBool::new(false),
            ending: Arc::default(),
            page_fetched: tokio::sync::Notify::new(),
            arrivals: arrivals_in,
        });
        let sockets = self.sockets;
        let shared = Arc::clone(&desk);
        let thread = thread::Builder::new()
            .name("loopback".to_owned())
            .spawn(move || listen(sockets, desk, stopped))
            .map_err(|error| Failure::internal(format!("no thread for the redirect: {error}")))?;
        Ok(Running {
            desk: shared,
            arrivals,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// Binds one port on the address families that the host name stands for.
fn bind_port(host: RedirectHost, port: u16) -> std::io::Result<(Vec<TcpListener>, u16)> {
    let bind = platform::exclusive_listener;
    let v4 = |port| bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let v6 = |port| bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let first = match host {
        RedirectHost::Ipv4 | RedirectHost::Localhost => v4(port)?,
        RedirectHost::Ipv6 => v6(port)?,
    };
    let port = first.local_addr()?.port();
    let mut sockets = vec![first];
    if host == RedirectHost::Localhost {
        // A machine without IPv6 has only one `localhost`; one where somebody else holds the port on the
        // other family would hand them our response.
        match v6(port) {
            Ok(second) => sockets.push(second),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => {}
        }
    }
    Ok((sockets, port))
}

/// A listener that answers.
pub struct Running {
    desk: Arc<Desk>,
    arrivals: mpsc::Receiver<Arrival>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Waits for the response, at most this long.
    pub fn wait(&self, time: Duration) -> Option<Arrival> {
        self.arrivals.recv_timeout(time).ok()
    }

    /// Takes the address to which a browser was redirected, from the person in the place of that browser. It goes
    /// through everything that a request goes through. Whether it is the expected response; [`Running::wait`] then
    /// has it.
    pub fn hand_over(&self, address: &[u8]) -> bool {
        self.desk.visit(address).is_some()
    }

    /// From now on whoever brings the response is told that it is too late.
    pub fn expire(&self) {
        self.desk.claimed.store(true, Ordering::SeqCst);
        if let Ok(mut place) = self.desk.ending.lock() {
            place.get_or_insert(Ending::Expired);
        }
    }

    /// Closes the port, after the browser had a moment to fetch the result page.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// What all connections share.
struct Desk {
    authority: String,
    path: String,
    done_path: String,
    mode: ResponseMode,
    expected: Expected,
    /// Set by the first right response; there is no second one.
    claimed: AtomicBool,
    /// Set once the sign-in has ended.
    ending: Arc<Mutex<Option<Ending>>>,
    page_fetched: tokio::sync::Notify,
    arrivals: mpsc::Sender<Arrival>,
}

/// What a request would be taken for, without a socket: for the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) fn judge(
    mode: ResponseMode,
    expected: Expected,
    request: &Request<&[u8]>,
) -> Option<Answer> {
    let (arrivals, _) = mpsc::channel();
    let desk = Desk {
        authority: "127.0.0.1:4711".to_owned(),
        path: "/callback".to_owned(),
        done_path: "/callback/done".to_owned(),
        mode,
        expected,
        claimed: AtomicBool::new(false),
        ending: Arc::default(),
        page_fetched: tokio::sync::Notify::new(),
        arrivals,
    };
    match desk.kind(request.method(), request.uri(), request.headers()) {
        Kind::Query(query) => read_parameters(query.as_bytes(), &desk.expected),
        Kind::Form => read_parameters(request.body(), &desk.expected),
        Kind::Done | Kind::Refused(_) => None,
    }
}

fn listen(sockets: Vec<TcpListener>, desk: Arc<Desk>, stopped: oneshot::Receiver<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
    else {
        return;
    };
    runtime.block_on(async {
        let connections = Arc::new(Mutex::new(VecDeque::new()));
        let mut accepting = Vec::new();
        for socket in sockets {
            let ready = socket
                .set_nonblocking(true)
                .and_then(|()| tokio::net::TcpListener::from_std(socket));
            match ready {
                Ok(socket) => accepting.push(tokio::spawn(accept(
                    socket,
                    Arc::clone(&desk),
                    Arc::clone(&connections),
                ))),
                Err(error) => log::warn!("a redirect socket cannot be used: {error}"),
            }
        }
        // Ends when the owner drops its side.
        let _ = stopped.await;
        // A browser that brought the response is being told the end, perhaps at this very moment.
        if desk.claimed.load(Ordering::SeqCst) {
            let _ = tokio::time::timeout(PAGE, desk.page_fetched.notified()).await;
            // The page was handed to the connection; let it leave.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(50));
}

/// A connection that is open.
struct Connection {
    task: tokio::task::AbortHandle,
    /// Set once it has brought the response: its browser waits to be told the end.
    has_claimed: Arc<AtomicBool>,
}

type Connections = Arc<Mutex<VecDeque<Connection>>>;

async fn accept(socket: tokio::net::TcpListener, desk: Arc<Desk>, connections: Connections) {
    loop {
        let Ok((stream, peer)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let has_claimed = Arc::new(AtomicBool::new(false));
        let caller = Arc::new(Caller {
            ends: stream.local_addr().ok().map(|ours| (ours, peer)),
            has_claimed: Arc::clone(&has_claimed),
        });
        let desk = Arc::clone(&desk);
        let task = tokio::spawn(async move {
            let service =
                service_fn(move |request| answer(request, Arc::clone(&desk), Arc::clone(&caller)));
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ARRIVAL)
                .max_buf_size(HEAD.0)
                .max_headers(HEAD.1)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        if let Ok(mut open) = connections.lock() {
            open.retain(|connection: &Connection| !connection.task.is_finished());
            // Whoever crowds us crowds out one another, and never the browser that has brought the response.
            if open.len() >= CONNECTIONS
                && let Some(oldest) = open
                    .iter()
                    .position(|connection| !connection.has_claimed.load(Ordering::SeqCst))
                && let Some(oldest) = open.remove(oldest)
            {
                oldest.task.abort();
            }
            open.push_back(Connection {
                task: task.abort_handle(),
                has_claimed,
            });
        }
    }
}

/// Who sends a request.
struct Caller {
    /// Our end of the connection and theirs.
    ends: Option<(SocketAddr, SocketAddr)>,
    has_claimed: Arc<AtomicBool>,
}

impl Caller {
    /// Whether it is another user's program. `state` stands in the browser's command line, which other users can
    /// read; without this they could finish the sign-in with an account of their own.
    fn is_a_stranger(&self) -> bool {
        self.ends
            .and_then(|(ours, theirs)| platform::connected_user(ours, theirs))
            .is_some_and(|user| !user.is_some_and(platform::is_us))
    }
}

/// What a request is, judged by everything but its parameters.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// The redirect, parameters in the query.
    Query(String),
    /// The redirect, parameters in the body.
    Form,
    /// A fetch of the result page.
    Done,
    /// Not for us.
    Refused(StatusCode),
}

impl Desk {
    fn kind(&self, method: &Method, target: &http::Uri, headers: &HeaderMap) -> Kind {
        let host_fits = only(headers, &header::HOST)
            .is_some_and(|host| host.as_bytes() == self.authority.as_bytes());
        if !host_fits || target.authority().is_some() || target.scheme().is_some() {
            // A rebound name or a proxy's request: this is not who they meant.
            return Kind::Refused(StatusCode::MISDIRECTED_REQUEST);
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            // No browser sends one, and whoever does wants two readers to see two bodies.
            return Kind::Refused(StatusCode::BAD_REQUEST);
        }
        if target.path() == self.done_path {
            return if method == Method::GET {
                Kind::Done
            } else {
                Kind::Refused(StatusCode::METHOD_NOT_ALLOWED)
            };
        }
        if target.path() != self.path {
            return Kind::Refused(StatusCode::NOT_FOUND);
        }
        let speculative = ["sec-purpose", "purpose", "x-moz"].iter().any(|name| {
            let mut values = headers.get_all(*name).iter();
            values.any(|value| {
                let value = value.to_str().unwrap_or_default();
                value.to_ascii_lowercase().contains("prefetch")
            })
        });
        if speculative {
            // The browser asks again when the person really goes there.
            return Kind::Refused(StatusCode::SERVICE_UNAVAILABLE);
        }
        match (self.mode, method) {
            (ResponseMode::Query, &Method::GET) => {
                // A navigation has no origin; a script's request has one.
                let mut origins = headers.get_all(header::ORIGIN).iter();
                if origins.any(|origin| origin.as_bytes() != b"null") {
                    Kind::Refused(StatusCode::FORBIDDEN)
                } else {
                    Kind::Query(target.query().unwrap_or_default().to_owned())
                }
            }
            (ResponseMode::FormPost, &Method::POST) => {
                let is_form = only(headers, &header::CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|value| value.split(';').next())
                    .is_some_and(|kind| {
                        kind.trim()
                            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
                    });
                if is_form {
                    Kind::Form
                } else {
                    Kind::Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                }
            }
            _ => Kind::Refused(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

/// The value of a header that is there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h header::HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The answer in a redirect's parameters, or `None` if it is not a response to our request.
///
/// `state` comes before everything else, also before `error`: whoever does not know it has no say.
pub fn read_parameters(parameters: &[u8], expected: &Expected) -> Option<Answer> {
    let mut state = None;
    let mut code = None;
    let mut error = None;
    let mut description = None;
    let mut issuer = None;
    for (name, value) in url::form_urlencoded::parse(parameters) {
        let place = match &*name {
            "state" => &mut state,
            "code" => &mut code,
            "error" => &mut error,
            "error_description" => &mut description,
            "iss" => &mut issuer,
            _ => continue,
        };
        // RFC 6749 section 3.1: parameters must not repeat.
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    if !expected.state.equals(&state?) {
        return None;
    }
    match issuer {
        Some(issuer) if issuer != expected.issuer => return Some(Answer::WrongIssuer),
        None if expected.issuer_required => return Some(Answer::WrongIssuer),
        _ => {}
    }
    match (code, error) {
        (Some(code), None) => {
            let fine =
                (1..=CODE).contains(&code.len()) && code.bytes().all(|b| matches!(b, 0x20..=0x7E));
            fine.then(|| Answer::Code(Secret::new(code)))
        }
        (None, Some(code)) => Some(Answer::Error { code, description }),
        _ => None,
    }
}

impl Desk {
    /// An address as a request: the part before the path is its `Host`, as browsers send it.
    fn visit(&self, address: &[u8]) -> Option<()> {
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
        let Kind::Query(query) = self.kind(&Method::GET, &target.parse().ok()?, &headers) else {
            return None;
        };
        let answer = read_parameters(query.as_bytes(), &self.expected)?;
        if self.claimed.swap(true, Ordering::SeqCst) {
            return None;
        }
        let arrival = Arrival {
            answer,
            // The other browser waits for no page of ours.
            reply: oneshot::channel().0,
            ending: Arc::clone(&self.ending),
        };
        self.page_fetched.notify_one();
        self.arrivals.send(arrival).ok()
    }
}

type Reply = Response<Full<Bytes>>;

async fn answer(
    request: Request<Incoming>,
    desk: Arc<Desk>,
    caller: Arc<Caller>,
) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    let language = parts.headers.get(header::ACCEPT_LANGUAGE);
    let language = Language::wanted(language.map(header::HeaderValue::as_bytes));
    let mut kind = desk.kind(&parts.method, &parts.uri, &parts.headers);
    if matches!(kind, Kind::Query(_) | Kind::Form) && caller.is_a_stranger() {
        log::warn!("another user of this machine tried to answer the sign-in");
        kind = Kind::Refused(StatusCode::FORBIDDEN);
    }
    Ok(match kind {
        Kind::Query(query) => desk.respond(query.as_bytes(), language, &caller).await,
        Kind::Form => match tokio::time::timeout(ARRIVAL, Limited::new(body, FORM).collect()).await
        {
            Ok(Ok(form)) => desk.respond(&form.to_bytes(), language, &caller).await,
            _ => refusal(StatusCode::BAD_REQUEST),
        },
        Kind::Done => match desk.ended() {
            Some(ending) => {
                desk.page_fetched.notify_one();
                desk.page(StatusCode::OK, &ending, language)
            }
            None => refusal(StatusCode::NOT_FOUND),
        },
        Kind::Refused(status) => refusal(status),
    })
}

impl Desk {
    async fn respond(&self, parameters: &[u8], language: Language, caller: &Caller) -> Reply {
        let Some(answer) = read_parameters(parameters, &self.expected) else {
            log::info!("a request to the redirect that is not the expected response was refused");
            return self.page(StatusCode::BAD_REQUEST, &Ending::NotExpected, language);
        };
        if self.claimed.swap(true, Ordering::SeqCst) {
            return match self.ended() {
                Some(_) => self.to_the_end(),
                None => self.page(StatusCode::GONE, &Ending::AlreadyUsed, language),
            };
        }
        caller.has_claimed.store(true, Ordering::SeqCst);
        let (reply, ended) = oneshot::channel();
        let arrival = Arrival {
            answer,
            reply,
            ending: Arc::clone(&self.ending),
        };
        if self.arrivals.send(arrival).is_ok() {
            let _ = ended.await;
        }
        if let Ok(mut place) = self.ending.lock() {
            // Whoever should have told the end has gone without a word.
            place.get_or_insert(Ending::Failed);
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
        if let Ok(location) = self.done_path.parse() {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }

    fn page(&self, status: StatusCode, ending: &Ending, language: Language) -> Reply {
        let html = page::html(ending, &self.expected.parties, language);
        let mut response = page_headers(Response::new(Full::from(html)));
        *response.status_mut() = status;
        response.headers_mut().insert(
            header::CONTENT_LANGUAGE,
            header::HeaderValue::from_static(language.code()),
        );
        response
    }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn expected(issuer_required: bool) -> Expected {
        Expected {
            state: Secret::new("s-t-a-t-e"),
            issuer: "https://idp.example".to_owned(),
            issuer_required,
            parties: Parties {
                organisation: "Example".to_owned(),
                ..Parties::default()
            },
        }
    }

    #[test]
    fn state_decides_before_everything_else() {
        let read =
            |query: &str, required| match read_parameters(query.as_bytes(), &expected(required)) {
                None => "nothing",
                Some(Answer::Code(_)) => "code",
                Some(Answer::Error { .. }) => "error",
                Some(Answer::WrongIssuer) => "wrong issuer",
            };
        for (query, required, result) in [
            ("code=c&state=s-t-a-t-e", false, "code"),
            (
                "state=s-t-a-t-e&code=c&session_state=x&scope=openid",
                false,
                "code",
            ),
            ("error=access_denied&state=s-t-a-t-e", false, "error"),
            ("error=access_denied", false, "nothing"),
            ("error=access_denied&state=s-t-a-t-e1", false, "nothing"),
            ("code=c", false, "nothing"),
            ("code=c&state=", false, "nothing"),
            ("code=c&state[]=s-t-a-t-e", false, "nothing"),
            ("code=c&state=s-t-a-t-e&state=s-t-a-t-e", false, "nothing"),
            ("code=c&code=d&state=s-t-a-t-e", false, "nothing"),
            ("code=c&error=e&state=s-t-a-t-e", false, "nothing"),
            ("state=s-t-a-t-e", false, "nothing"),
            ("code=&state=s-t-a-t-e", false, "nothing"),
            ("code=a%00b&state=s-t-a-t-e", false, "nothing"),
            (
                "code=c&state=s-t-a-t-e&iss=https%3A%2F%2Fidp.example",
                true,
                "code",
            ),
            (
                "code=c&state=s-t-a-t-e&iss=https%3A%2F%2Fidp.example1",
                false,
                "wrong issuer",
            ),
            (
                "error=e&state=s-t-a-t-e&iss=https%3A%2F%2Fevil.example",
                false,
                "wrong issuer",
            ),
            ("code=c&state=s-t-a-t-e", true, "wrong issuer"),
        ] {
            assert_eq!(read(query, required), result, "{query} {required}");
        }
    }

    struct Listener {
        running: Running,
        port: u16,
    }

    fn listener(mode: ResponseMode) -> Listener {
        let redirect = Redirect {
            host: RedirectHost::Ipv4,
            ports: vec![0],
            path: "/callback".to_owned(),
            response_mode: mode,
        };
        let loopback = Loopback::bind(&redirect).unwrap();
        let port = loopback.redirect_uri()["http://127.0.0.1:".len()..]
            .split('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        Listener {
            running: loopback.serve(expected(false)).unwrap(),
            port,
        }
    }

    fn raw(port: u16, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn get(port: u16, target: &str, host: &str) -> String {
        raw(
            port,
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
        )
    }

    #[test]
    fn wrong_requests_never_end_the_wait_and_the_right_one_ends_it_once() {
        let Listener { running, port } = listener(ResponseMode::Query);
        let host = format!("127.0.0.1:{port}");
        let good = "/callback?code=c&state=s-t-a-t-e";
        let status = |answer: String| answer.split(' ').nth(1).unwrap_or_default().to_owned();
        for (target, host, expected) in [
            ("/favicon.ico", &host[..], "404"),
            ("/", &host, "404"),
            ("/callback/", &host, "404"),
            ("/callback/done", &host, "404"),
            ("/callback?error=access_denied", &host, "400"),
            ("/callback?code=c&state=wrong", &host, "400"),
            (good, "evil.example", "421"),
            (good, &format!("localhost:{port}"), "421"),
            (&format!("http://{host}{good}"), &host, "421"),
        ] {
            assert_eq!(status(get(port, target, host)), expected, "{target} {host}");
        }
        for method in ["POST", "HEAD", "PUT", "OPTIONS", "DELETE"] {
            let request =
                format!("{method} {good} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(status(raw(port, request.as_bytes())), "405", "{method}");
        }
        let prefetch = format!(
            "GET {good} HTTP/1.1\r\nHost: {host}\r\nSec-Purpose: prefetch;prerender\r\n\r\n"
        );
        assert_eq!(status(raw(port, prefetch.as_bytes())), "503");
        let twice = format!("GET {good} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n");
        assert_ne!(status(raw(port, twice.as_bytes())), "303");
        assert!(running.wait(Duration::from_millis(50)).is_none());

        let browser = thread::spawn({
            let host = host.clone();
            move || get(port, good, &host)
        });
        let arrival = running.wait(Duration::from_secs(5)).unwrap();
        assert!(matches!(&arrival.answer, Answer::Code(code) if code.expose() == "c"));
        // The first one is still being worked on; a second one is told so.
        assert_eq!(status(get(port, good, &host)), "410");
        arrival.tell(Ending::SignedIn {
            account: "ann@example.com".to_owned(),
            awaited: true,
        });
        let redirect = browser.join().unwrap();
        assert!(redirect.starts_with("HTTP/1.1 303"), "{redirect}");
        let end = redirect
            .split("location: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next())
            .unwrap();
        assert!(end.starts_with("/callback/done-"));
        // Reloading the address with the code leads to the end as well.
        assert!(get(port, good, &host).starts_with("HTTP/1.1 303"));
        let page = get(port, end, &host);
        for words in [
            "You are signed in",
            "ann@example.com",
            "Example",
            "lang=\"en\"",
        ] {
            assert!(page.contains(words), "{words}");
        }
        let in_german = raw(
            port,
            format!(
                "GET {end} HTTP/1.1\r\nHost: {host}\r\nAccept-Language: de-CH, en;q=0.5\r\n\r\n"
            )
            .as_bytes(),
        );
        assert!(
            in_german.contains("Sie sind angemeldet") && in_german.contains("content-language: de")
        );
        for header in ["no-store", "no-referrer", "nosniff", "default-src 'none'"] {
            assert!(page.contains(header), "{header}");
        }
        running.close();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn an_address_that_is_handed_over_is_judged_like_a_request() {
        let Listener { running, port } = listener(ResponseMode::Query);
        let base = format!("http://127.0.0.1:{port}/callback");
        let long = format!("{base}?code={}&state=s-t-a-t-e", "c".repeat(HEAD.0));
        for wrong in [
            "",
            "x",
            "/",
            "code=c&state=s-t-a-t-e",
            &base,
            &format!("{base}?code=c&state=wrong"),
            &format!("{base}?error=access_denied"),
            &format!("{base}?code=c&code=d&state=s-t-a-t-e"),
            &format!("{base}?code=c#&state=s-t-a-t-e"),
            &format!("{base}/x?code=c&state=s-t-a-t-e"),
            &format!("https://127.0.0.1:{port}/callback?code=c&state=s-t-a-t-e"),
            &format!("http://localhost:{port}/callback?code=c&state=s-t-a-t-e"),
            &format!(
                "http://127.0.0.1:{}/callback?code=c&state=s-t-a-t-e",
                port ^ 1
            ),
            &format!("http://a@127.0.0.1:{port}/callback?code=c&state=s-t-a-t-e"),
            &format!("http://http://127.0.0.1:{port}/callback?code=c&state=s-t-a-t-e"),
            &long,
        ] {
            assert!(!running.hand_over(wrong.as_bytes()), "{wrong}");
        }
        assert!(!running.hand_over(b"\xff"));
        assert!(running.wait(Duration::from_millis(20)).is_none());
        let right = format!(" {}?state=s-t-a-t-e&code=c#_=_\r", &base["http://".len()..]);
        assert!(running.hand_over(right.as_bytes()));
        assert!(!running.hand_over(right.as_bytes()), "once");
        let arrival = running.wait(Duration::from_secs(1)).unwrap();
        assert!(matches!(&arrival.answer, Answer::Code(code) if code.expose() == "c"));
        arrival.tell(Ending::Refused);
        let started = std::time::Instant::now();
        running.close();
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "no browser is waited for"
        );

        let Listener { running, port } = listener(ResponseMode::FormPost);
        let address = format!("http://127.0.0.1:{port}/callback?code=c&state=s-t-a-t-e");
        assert!(
            !running.hand_over(address.as_bytes()),
            "a form has no address"
        );
    }

    #[test]
    fn who_comes_too_late_is_told() {
        let Listener { running, port } = listener(ResponseMode::Query);
        let host = format!("127.0.0.1:{port}");
        running.expire();
        let redirect = get(port, "/callback?code=c&state=s-t-a-t-e", &host);
        let end = redirect
            .split("location: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next())
            .unwrap();
        assert!(get(port, end, &host).contains("This sign-in has expired"));
        let other = get(port, "/callback?code=c&state=x", &host);
        assert!(other.starts_with("HTTP/1.1 400"), "{other}");
        assert!(running.wait(Duration::from_millis(20)).is_none());
    }

    #[test]
    fn slow_huge_and_malformed_requests_do_not_delay_the_right_one() {
        let Listener { running, port } = listener(ResponseMode::Query);
        let host = format!("127.0.0.1:{port}");
        let mut slow = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let _ = stream.write_all(b"GET /call");
            slow.push(stream);
        }
        let long = format!(
            "GET /callback?{} HTTP/1.1\r\nHost: {host}\r\n\r\n",
            "x".repeat(100_000)
        );
        for junk in [
            long.as_bytes(),
            b"\x16\x03\x01\x02\x00",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0\0\0\0\r\n\r\n",
        ] {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                let _ = stream.write_all(junk);
            }
        }
        let started = std::time::Instant::now();
        let browser = thread::spawn(move || get(port, "/callback?code=c&state=s-t-a-t-e", &host));
        let arrival = running.wait(Duration::from_secs(5)).unwrap();
        assert!(started.elapsed() < Duration::from_secs(1));
        arrival.tell(Ending::Refused);
        assert!(browser.join().unwrap().starts_with("HTTP/1.1 303"));
    }

    #[test]
    fn form_post_takes_forms_only() {
        let Listener { running, port } = listener(ResponseMode::FormPost);
        let host = format!("127.0.0.1:{port}");
        assert!(get(port, "/callback?code=c&state=s-t-a-t-e", &host).starts_with("HTTP/1.1 405"));
        let body = "code=c&state=s-t-a-t-e";
        let post = |kind: &str| {
            format!(
                "POST /callback HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        assert!(raw(port, post("text/plain").as_bytes()).starts_with("HTTP/1.1 415"));
        let good = post("application/x-www-form-urlencoded");
        let browser = thread::spawn(move || raw(port, good.as_bytes()));
        running
            .wait(Duration::from_secs(5))
            .unwrap()
            .tell(Ending::Expired);
        assert!(browser.join().unwrap().starts_with("HTTP/1.1 303"));
    }

    #[test]
    fn a_taken_port_is_not_shared() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let redirect = |ports| Redirect {
            host: RedirectHost::Ipv4,
            ports,
            path: "/callback".to_owned(),
            response_mode: ResponseMode::Query,
        };
        let failure = Loopback::bind(&redirect(vec![port])).unwrap_err();
        assert_eq!(failure.id.exit_code(), 3);
        assert!(Loopback::bind(&redirect(vec![port, 0])).is_ok());
    }

    #[test]
    fn only_exactly_our_address_is_ours() {
        let Listener { running, port } = listener(ResponseMode::Query);
        let good = "/callback?code=c&state=s-t-a-t-e";
        let ours = format!("127.0.0.1:{port}");
        let status = |request: String| {
            let answer = raw(port, request.as_bytes());
            answer.split(' ').nth(1).unwrap_or("none").to_owned()
        };
        for host in [
            String::new(),
            "127.0.0.1".to_owned(),
            format!("127.0.0.1:{}", port ^ 1),
            format!("127.0.0.1:0{port}"),
            format!("127.0.0.1.:{port}"),
            format!("127.1:{port}"),
            format!("2130706433:{port}"),
            format!("[::1]:{port}"),
            format!("[::ffff:127.0.0.1]:{port}"),
            format!("LOCALHOST:{port}"),
            format!("a@{ours}"),
            format!("{ours}, evil.example"),
            format!("evil.example:{port}"),
        ] {
            let request = format!("GET {good} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(status(request), "421", "{host}");
        }
        for (head, expected) in [
            (format!("GET {good} HTTP/1.1\r\n"), "421"),
            (format!("GET {good} HTTP/1.0\r\n"), "421"),
            (
                format!("GET http://{ours}{good} HTTP/1.1\r\nHost: {ours}\r\n"),
                "421",
            ),
            (
                format!("GET https://evil.example{good} HTTP/1.1\r\nHost: {ours}\r\n"),
                "421",
            ),
            (
                format!("CONNECT {ours} HTTP/1.1\r\nHost: {ours}\r\n"),
                "421",
            ),
            (format!("OPTIONS * HTTP/1.1\r\nHost: {ours}\r\n"), "404"),
            (
                format!("GET /%63allback?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
                "404",
            ),
            (
                format!("GET //callback?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
                "404",
            ),
            (
                format!("GET /x/../callback?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
                "404",
            ),
            (
                format!("GET /Callback?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
                "404",
            ),
            (
                format!("GET /callback;x?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
                "404",
            ),
            (
                format!("GET /callback%3Fcode=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
                "404",
            ),
            (
                format!("GET {good} HTTP/1.1\r\nHost: {ours}\r\nTransfer-Encoding: chunked\r\n"),
                "400",
            ),
            (
                format!(
                    "GET {good} HTTP/1.1\r\nHost: {ours}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
                ),
                "400",
            ),
            (
                format!("GET {good} HTTP/1.1\r\nHost: {ours}\r\nOrigin: https://evil.example\r\n"),
                "403",
            ),
            (
                format!(
                    "GET {good} HTTP/1.1\r\nHost: {ours}\r\nOrigin: null\r\nOrigin: https://evil.example\r\n"
                ),
                "403",
            ),
            (
                format!(
                    "GET {good} HTTP/1.1\r\nHost: {ours}\r\nPurpose: x\r\nPurpose: Prefetch\r\n"
                ),
                "503",
            ),
            (format!("get {good} HTTP/1.1\r\nHost: {ours}\r\n"), "405"),
            (format!("GET {good} HTTP/2.0\r\nHost: {ours}\r\n"), "400"),
            (format!("GET {good}\r\n"), "400"),
        ] {
            assert_eq!(status(format!("{head}\r\n")), expected, "{head}");
        }
        assert!(running.wait(Duration::from_millis(50)).is_none());
    }

    #[test]
    fn nothing_of_a_request_comes_back_and_every_answer_is_guarded() {
        let Listener { running, port } = listener(ResponseMode::Query);
        let ours = format!("127.0.0.1:{port}");
        let canary = "c4n4ry";
        for target in [
            format!("/{canary}"),
            format!("/callback?{canary}={canary}"),
            format!("/callback?error={canary}&error_description=%3Cscript%3E{canary}%3C/script%3E"),
            format!("/callback?state={canary}&error_uri=https://{canary}.example"),
            format!("/callback?redirect=//{canary}.example"),
        ] {
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: {ours}\r\nCookie: {canary}\r\nOrigin: null\r\nAccept-Language: {canary}\r\n\r\n"
            );
            let answer = raw(port, request.as_bytes()).to_ascii_lowercase();
            assert!(answer.starts_with("http/1.1 40"), "{answer}");
            assert!(!answer.contains(canary), "{target}: {answer}");
            for guard in [
                "cache-control: no-store",
                "referrer-policy: no-referrer",
                "x-content-type-options: nosniff",
                "content-security-policy: default-src 'none'",
                "cross-origin-opener-policy: same-origin",
                "connection: close",
            ] {
                assert!(answer.contains(guard), "{target}: {guard}");
            }
            for never in ["access-control-", "location:", "set-cookie:"] {
                assert!(!answer.contains(never), "{target}: {never}");
            }
        }
        // What is no address at all is the HTTP library's to refuse, without a word.
        let request = format!("GET /callback?<{canary}> HTTP/1.1\r\nHost: {ours}\r\n\r\n");
        let answer = raw(port, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("\r\n\r\n"));
        assert!(!answer.contains(canary));
        drop(running);
    }

    #[test]
    fn a_crowd_cannot_push_out_the_browser_that_brought_the_response() {
        let Listener { running, port } = listener(ResponseMode::Query);
        let host = format!("127.0.0.1:{port}");
        let browser = thread::spawn(move || get(port, "/callback?code=c&state=s-t-a-t-e", &host));
        let arrival = running.wait(Duration::from_secs(5)).unwrap();
        let crowd: Vec<TcpStream> = (0..CONNECTIONS * 2)
            .filter_map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
                stream.write_all(b"GET /").ok()?;
                Some(stream)
            })
            .collect();
        assert_eq!(crowd.len(), CONNECTIONS * 2);
        // One more that is answered: by then the whole crowd has been let in.
        let last = get(port, "/favicon.ico", "x");
        assert!(last.starts_with("HTTP/1.1 421"), "{last}");
        arrival.tell(Ending::Refused);
        assert!(browser.join().unwrap().starts_with("HTTP/1.1 303"));
    }

    #[test]
    fn of_many_right_responses_at_once_one_counts() {
        let Listener { running, port } = listener(ResponseMode::Query);
        let browsers: Vec<_> = (0..50)
            .map(|number| {
                let target = format!("/callback?code=c{number}&state=s-t-a-t-e");
                thread::spawn(move || get(port, &target, &format!("127.0.0.1:{port}")))
            })
            .collect();
        let arrival = running.wait(Duration::from_secs(5)).unwrap();
        assert!(running.wait(Duration::from_millis(300)).is_none());
        arrival.tell(Ending::Refused);
        let answers: Vec<String> = browsers
            .into_iter()
            .map(|one| one.join().unwrap())
            .collect();
        assert!(answers.iter().all(|answer| {
            answer.starts_with("HTTP/1.1 303") || answer.starts_with("HTTP/1.1 410")
        }));
        assert!(running.wait(Duration::from_millis(50)).is_none());
    }

    #[test]
    fn bodies_are_bounded_in_time_and_size_and_read_from_forms_alone() {
        let Listener { running, port } = listener(ResponseMode::FormPost);
        let host = format!("127.0.0.1:{port}");
        let form = "application/x-www-form-urlencoded";
        let post = |headers: &str, body: &str| {
            let request = format!("POST /callback HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n{body}");
            raw(port, request.as_bytes())
        };
        let good = "code=c&state=s-t-a-t-e";
        let length = good.len();
        for (headers, body, expected) in [
            (format!("Content-Length: {length}\r\n"), good, "415"),
            (
                format!(
                    "Content-Type: {form}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n"
                ),
                good,
                "415",
            ),
            (
                format!(
                    "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n"
                ),
                good,
                "415",
            ),
            (
                format!("Content-Type: {form}\r\nTransfer-Encoding: chunked\r\n"),
                "16\r\ncode=c&state=s-t-a-t-e\r\n0\r\n\r\n",
                "400",
            ),
            (
                format!(
                    "Content-Type: {form}\r\nContent-Length: 3\r\nContent-Length: {length}\r\n"
                ),
                good,
                "400",
            ),
            (
                format!("Content-Type: {form}\r\nContent-Length: -1\r\n"),
                good,
                "400",
            ),
            (
                format!("Content-Type: {form}\r\nContent-Length: 999999999\r\n"),
                "",
                "400",
            ),
            (
                format!("Content-Type: {form}\r\nContent-Length: 9\r\n"),
                "state=s-t",
                "400",
            ),
            (
                format!("Content-Type: {form}\r\nContent-Length: 24\r\n"),
                "error=e&state=s-t-a-t-e1",
                "400",
            ),
        ] {
            let answer = post(&headers, body);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {expected}")),
                "{headers}: {answer}"
            );
        }
        let huge = format!("{good}&x={}", "x".repeat(FORM));
        let answer = post(
            &format!("Content-Type: {form}\r\nContent-Length: {}\r\n", huge.len()),
            &huge,
        );
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
        // The query of a form's address is not read.
        let request = format!(
            "POST /callback?{good} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {form}\r\nContent-Length: 0\r\n\r\n"
        );
        assert!(raw(port, request.as_bytes()).starts_with("HTTP/1.1 4"));
        assert!(running.wait(Duration::from_millis(50)).is_none());
        let browser = thread::spawn({
            let request = format!(
                "POST /callback HTTP/1.1\r\nHost: {host}\r\nOrigin: https://idp.example\r\nContent-Type: {form}; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{good}"
            );
            move || raw(port, request.as_bytes())
        });
        running
            .wait(Duration::from_secs(5))
            .unwrap()
            .tell(Ending::Refused);
        assert!(browser.join().unwrap().starts_with("HTTP/1.1 303"));
    }

    #[test]
    fn a_port_that_somebody_has_on_every_address_is_taken() {
        for everywhere in ["0.0.0.0:0", "[::]:0"] {
            let Ok(taken) = TcpListener::bind(everywhere) else {
                continue;
            };
            let port = taken.local_addr().unwrap().port();
            for host in [RedirectHost::Ipv4, RedirectHost::Localhost] {
                let redirect = Redirect {
                    host,
                    ports: vec![port],
                    path: "/callback".to_owned(),
                    response_mode: ResponseMode::Query,
                };
                assert!(Loopback::bind(&redirect).is_err(), "{everywhere} {host:?}");
            }
        }
    }
}
