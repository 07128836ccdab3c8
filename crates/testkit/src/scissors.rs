//! A wire between a client and a provider that a test cuts: before, in or after a request, in the head or in the body of
//! its answer.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// Longest wait for a client that has been told that the connection is over.
const DRAIN: Duration = Duration::from_secs(2);

/// What was sent gets through before a reset takes it away.
const ARRIVES: Duration = Duration::from_millis(5);

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Once it is open: nothing is read.
    BeforeRequest,
    /// After so many bytes of the request, at least one. The provider sees nothing of it.
    InRequest(usize),
    /// The provider has answered, and nothing of that gets through.
    AfterRequest,
    /// So many bytes of the answer's head get through, never all of it.
    InHead(usize),
    /// The head and so many bytes of the body get through, never all of it.
    InBody(usize),
}

/// How a connection ends that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a reset.
    Reset,
    /// By an end of file.
    Eof,
}

/// A cut: where, and how.
pub type Cut = (Place, End);

#[derive(Default)]
struct Shared {
    provider: AtomicU16,
    connections: AtomicUsize,
    stopped: AtomicBool,
    cuts: Mutex<VecDeque<Cut>>,
}

/// The wire. Every connection carries one request and its answer.
pub struct Scissors {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Scissors {
    /// A wire that leads nowhere yet.
    ///
    /// # Panics
    /// Where there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let shared = Arc::new(Shared::default());
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        // A client that went away is what some tests are about.
                        let _ = carry(stream, &shared);
                    });
                }
            })
        };
        Self {
            port,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// From now on it leads to this port of 127.0.0.1.
    pub fn lead_to(&self, port: u16) {
        self.shared.provider.store(port, Ordering::SeqCst);
    }

    /// What clients are told: the base of the provider's addresses.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next connections meet these cuts, in this order; those after them none.
    pub fn cut(&self, cuts: impl IntoIterator<Item = Cut>) {
        *self.cuts() = cuts.into_iter().collect();
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    fn cuts(&self) -> std::sync::MutexGuard<'_, VecDeque<Cut>> {
        self.shared
            .cuts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scissors {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // accept() has no other way to learn of it.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn carry(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let cut = shared
        .cuts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front();
    shared.connections.fetch_add(1, Ordering::SeqCst);
    client.set_nodelay(true)?;
    let (place, end) = match cut {
        Some((place, end)) => (Some(place), end),
        None => (None, End::Eof),
    };
    match place {
        Some(Place::BeforeRequest) => return finish(client, end),
        Some(Place::InRequest(bytes)) => {
            let mut some = vec![0; bytes.max(1)];
            let _ = client.read(&mut some)?;
            return finish(client, end);
        }
        _ => {}
    }
    let request = read_request(&mut client)?;
    let port = shared.provider.load(Ordering::SeqCst);
    let mut provider = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    provider.write_all(&request)?;
    let mut answer = Vec::new();
    provider.read_to_end(&mut answer)?;
    let head = end_of_head(&answer).unwrap_or(answer.len());
    let through = match place {
        Some(Place::AfterRequest) => 0,
        Some(Place::InHead(bytes)) => bytes.min(head.saturating_sub(1)),
        Some(Place::InBody(bytes)) => (head + bytes).min(answer.len().saturating_sub(1)),
        _ => answer.len(),
    };
    client.write_all(&answer[..through])?;
    if end == End::Reset && through > 0 {
        thread::sleep(ARRIVES);
    }
    finish(client, end)
}

fn finish(mut client: TcpStream, end: End) -> io::Result<()> {
    match end {
        End::Reset => SockRef::from(&client).set_linger(Some(Duration::ZERO)),
        End::Eof => {
            client.shutdown(Shutdown::Write)?;
            // What is not read would turn the end into a reset.
            client.set_read_timeout(Some(DRAIN))?;
            let mut rest = [0; 4096];
            while client.read(&mut rest)? > 0 {}
            Ok(())
        }
    }
}

/// Where the body begins.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut some = [0; 4096];
    loop {
        if let Some(head) = end_of_head(&request) {
            let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|length| length.trim().parse().ok())
                .unwrap_or(0);
            if request.len() >= head + length {
                return Ok(request);
            }
        }
        match client.read(&mut some)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => request.extend_from_slice(&some[..read]),
        }
    }
}
