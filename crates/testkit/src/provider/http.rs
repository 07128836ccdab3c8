//! A deliberately small HTTP/1.1 server: one thread and one request per connection.
//!
//! The usual servers always answer. Tests also need a peer that hangs up, never answers, or sends one byte at a
//! time, and that can be stopped while it does so.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

const HEAD_LIMIT: u64 = 256 * 1024;
const BODY_LIMIT: usize = 4 * 1024 * 1024;
/// Browsers open spare connections and send nothing on them.
const IDLE: Duration = Duration::from_secs(30);

/// Decoded name and value pairs of a query or a form, in the order they came.
pub type Pairs = Vec<(String, String)>;

/// Locks a mutex; a test that panicked elsewhere doesn't take the server down with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Pairs,
    pub(crate) headers: Pairs,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first header of this name, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The body's parameters, where the body is a form.
    pub(crate) fn form(&self) -> Pairs {
        let kind = self.header("content-type").unwrap_or_default();
        if kind
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded")
        {
            decode_pairs(&self.body)
        } else {
            Pairs::new()
        }
    }
}

pub(crate) fn find_header<'a>(headers: &'a Pairs, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

fn decode_pairs(encoded: &[u8]) -> Pairs {
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

/// An HTTP answer. `Content-Length`, `Date` and `Connection` are added when it is sent, unless they are there.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header names and values.
    pub headers: Pairs,
    /// The body as it goes over the wire.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without headers or body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Pairs::new(),
            body: Vec::new(),
        }
    }

    /// A JSON answer that caches must not keep, as RFC 6749 section 5.1 wants it.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status)
            .header("Content-Type", "application/json")
            .header("Cache-Control", "no-store")
            .body(value.to_string())
    }

    /// A plain HTML answer, such as a captive portal or a broken proxy gives.
    pub fn html(status: u16, page: &str) -> Self {
        Self::new(status)
            .header("Content-Type", "text/html; charset=utf-8")
            .header("Cache-Control", "no-store")
            .body(page)
    }

    /// An HTTP redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::new(status)
            .header("Location", location)
            .header("Cache-Control", "no-store")
    }

    /// An OAuth error answer (RFC 6749 section 5.2).
    pub fn oauth_error(status: u16, error: &str, description: &str) -> Self {
        Self::json(
            status,
            &serde_json::json!({"error": error, "error_description": description}),
        )
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// How an answer goes out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivery {
    /// Wait before the first byte.
    pub(crate) delay: Duration,
    /// Send the body one byte at a time with this pause.
    pub(crate) drip: Option<Duration>,
    /// Send this many spaces before the body, chunked, so that no `Content-Length` warns the client.
    pub(crate) padding: u64,
}

/// What a handler wants done with a connection.
pub(crate) enum Answer {
    Send(Response, Delivery),
    /// These bytes and nothing else.
    Raw(Vec<u8>),
    /// Close without a byte.
    Drop,
    /// Keep the connection open and silent until the server stops.
    Stall,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Send(response, Delivery::default())
    }
}

/// Tells waiting connections that the server stops.
#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn is_set(&self) -> bool {
        *lock(&self.stopped)
    }

    fn set(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let guard = lock(&self.stopped);
        drop(self.changed.wait_while(guard, |stopped| !*stopped));
    }

    /// Sleeps, but not beyond the end of the server.
    fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut guard = lock(&self.stopped);
        while !*guard {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            guard = self
                .changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// The connections that are open now, so that stopping can close them.
#[derive(Default)]
struct Connections {
    open: Mutex<HashMap<u64, TcpStream>>,
    next: AtomicU64,
}

impl Connections {
    fn add(&self, stream: &TcpStream) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if let Ok(copy) = stream.try_clone() {
            lock(&self.open).insert(id, copy);
        }
        id
    }

    fn remove(&self, id: u64) {
        lock(&self.open).remove(&id);
    }

    fn close_all(&self) {
        for (_, stream) in lock(&self.open).drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Takes a connection off the list even where a handler panics.
struct Listed<'a>(&'a Connections, u64);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

/// A running server; it stops when dropped.
pub(crate) struct Server {
    port: u16,
    stop: Arc<Stop>,
    connections: Arc<Connections>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves connections of `listener`, each on a thread of its own.
    pub(crate) fn serve<H>(listener: TcpListener, handler: H) -> Self
    where
        H: Fn(Request) -> Answer + Send + Sync + 'static,
    {
        let port = listener.local_addr().expect("a bound listener").port();
        let stop = Arc::new(Stop::default());
        let connections = Arc::new(Connections::default());
        let handler = Arc::new(handler);
        let acceptor = {
            let (stop, connections) = (Arc::clone(&stop), Arc::clone(&connections));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.is_set() {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (handler, stop, connections) = (
                        Arc::clone(&handler),
                        Arc::clone(&stop),
                        Arc::clone(&connections),
                    );
                    thread::spawn(move || {
                        let _listed = Listed(&connections, connections.add(&stream));
                        // Nobody is interested in a client that went away.
                        let _ = converse(&stream, &*handler, &stop);
                    });
                }
            })
        };
        Self {
            port,
            stop,
            connections,
            acceptor: Some(acceptor),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.set();
        // accept() has no other way to learn of it.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.connections.close_all();
    }
}

/// One connection: one request, one answer.
fn converse(
    stream: &TcpStream,
    handler: &dyn Fn(Request) -> Answer,
    stop: &Stop,
) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let (answer, without_body) = match read_request(stream)? {
        Ok(request) => {
            let head = request.method == "HEAD";
            (handler(request), head)
        }
        Err(status) => (Response::new(status).into(), false),
    };
    match answer {
        Answer::Send(response, delivery) => send(stream, response, delivery, without_body, stop),
        Answer::Raw(bytes) => (&*stream).write_all(&bytes),
        Answer::Drop => Ok(()),
        Answer::Stall => {
            stop.wait();
            Ok(())
        }
    }
}

/// Reads a request; the inner error is the status that refuses it.
fn read_request(stream: &TcpStream) -> io::Result<Result<Request, u16>> {
    let mut reader = BufReader::new(stream);
    let mut head = (&mut reader).take(HEAD_LIMIT);
    let first = read_line(&mut head)?;
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Ok(Err(400));
    };
    let mut headers = Pairs::new();
    loop {
        let line = read_line(&mut head)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Ok(Err(400));
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let body = if find_header(&headers, "transfer-encoding").is_some() {
        match read_chunks(&mut reader)? {
            Some(body) => body,
            None => return Ok(Err(413)),
        }
    } else {
        let length = match find_header(&headers, "content-length").map(str::parse) {
            None => 0,
            Some(Ok(length)) if length <= BODY_LIMIT => length,
            Some(Ok(_)) => return Ok(Err(413)),
            Some(Err(_)) => return Ok(Err(400)),
        };
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        body
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Ok(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: decode_pairs(query.as_bytes()),
        headers,
        body,
    }))
}

/// A chunked body (RFC 9112 section 7.1); nothing where it is too long.
fn read_chunks(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if body.len() + size > BODY_LIMIT {
            return Ok(None);
        }
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        if size == 0 {
            // Trailers, then the empty line.
            while !read_line(reader)?.is_empty() {}
            return Ok(Some(body));
        }
        read_line(reader)?;
    }
}

/// One line without its end. The end of the stream or of the limit in the middle of a head is an error.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn send(
    mut stream: &TcpStream,
    mut response: Response,
    delivery: Delivery,
    without_body: bool,
    stop: &Stop,
) -> io::Result<()> {
    stop.sleep(delivery.delay);
    let chunked = delivery.padding > 0;
    let has = |name| find_header(&response.headers, name).is_some();
    let mut extra = Pairs::new();
    if chunked {
        extra.push(("Transfer-Encoding".into(), "chunked".into()));
    } else if !has("content-length") && response.status != 204 {
        extra.push(("Content-Length".into(), response.body.len().to_string()));
    }
    if !has("date") {
        let now = std::time::SystemTime::now();
        extra.push(("Date".into(), httpdate::fmt_http_date(now)));
    }
    extra.push(("Connection".into(), "close".into()));
    response.headers.extend(extra);

    let mut head = format!(
        "HTTP/1.1 {} {}\r\n",
        response.status,
        reason(response.status)
    );
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");

    if without_body {
        return stream.write_all(head.as_bytes());
    }
    if chunked {
        stream.write_all(head.as_bytes())?;
        return send_padded(stream, &response.body, delivery.padding);
    }
    if let Some(pause) = delivery.drip {
        stream.write_all(head.as_bytes())?;
        for byte in &response.body {
            if stop.is_set() {
                break;
            }
            stream.write_all(std::slice::from_ref(byte))?;
            stop.sleep(pause);
        }
        return Ok(());
    }
    // One write, so that small answers travel in one segment.
    let mut whole = head.into_bytes();
    whole.extend_from_slice(&response.body);
    stream.write_all(&whole)
}

fn send_padded(mut stream: &TcpStream, body: &[u8], padding: u64) -> io::Result<()> {
    let block = vec![b' '; 64 * 1024];
    let mut left = padding;
    while left > 0 {
        let part = &block[..usize::try_from(left).map_or(block.len(), |n| n.min(block.len()))];
        write!(stream, "{:x}\r\n", part.len())?;
        stream.write_all(part)?;
        stream.write_all(b"\r\n")?;
        left -= part.len() as u64;
    }
    if !body.is_empty() {
        write!(stream, "{:x}\r\n", body.len())?;
        stream.write_all(body)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
