//! A second question to a proxy that did not let us through, to say what it wants. Nothing of the request is ever sent.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::proxy::Route;
use crate::caller::Deadline;
use crate::text;

/// Longest time for the whole look, whatever is left to the caller.
const PROBE: Duration = Duration::from_secs(3);

/// Largest answer of a proxy that is read, in bytes.
const HEAD: usize = 16 * 1024;

/// What a proxy says to a request for a tunnel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProxyAnswer {
    /// Its status.
    pub status: u16,
    /// The ways of signing in that it offers, such as `Basic`, `Negotiate`, `NTLM`.
    pub schemes: Vec<String>,
}

/// Asks an `http` proxy for a tunnel to that host. A tunnel that it grants is closed at once.
pub(super) fn ask_proxy(route: &Route, url: &Url, deadline: Deadline) -> Option<ProxyAnswer> {
    tunnel(route, url, deadline.at_most(PROBE)).ok()
}

/// What is left, for calls that take no time at all for no limit.
fn left(deadline: Deadline) -> io::Result<Duration> {
    let left = deadline.left();
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// The system's resolver has no deadline of its own.
fn addresses(host: &str, port: u16, deadline: Deadline) -> io::Result<Vec<SocketAddr>> {
    let name = host.trim_matches(['[', ']']).to_owned();
    let (answer, wait) = mpsc::channel();
    thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        let _ = answer.send(found.map(Iterator::collect));
    });
    wait.recv_timeout(left(deadline)?)
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn connect(host: &str, port: u16, deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses(host, port, deadline)? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tunnel(route: &Route, url: &Url, deadline: Deadline) -> io::Result<ProxyAnswer> {
    let proxy = route.address();
    let unknown = || io::Error::from(io::ErrorKind::Unsupported);
    if proxy.scheme() != "http" {
        return Err(unknown());
    }
    let host = proxy.host_str().ok_or_else(unknown)?;
    let mut stream = connect(host, proxy.port_or_known_default().unwrap_or(80), deadline)?;
    let to = format!(
        "{}:{}",
        url.host_str().ok_or_else(unknown)?,
        url.port_or_known_default().unwrap_or(443)
    );
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if route.has_password() {
        let pair = format!(
            "{}:{}",
            decoded(proxy.username()),
            decoded(proxy.password().unwrap_or_default())
        );
        request.push_str(&format!(
            "Proxy-Authorization: Basic {}\r\n",
            STANDARD.encode(pair)
        ));
    }
    request.push_str("\r\n");
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    // However slowly the answer comes, byte by byte.
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        stream.set_read_timeout(Some(left(deadline)?))?;
        if stream.read(&mut byte)? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    Ok(parse_answer(&String::from_utf8_lossy(&head)))
}

fn decoded(text: &str) -> String {
    // The form decoder reads `+` as a space, which an address does not.
    let pair = format!("v={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn parse_answer(head: &str) -> ProxyAnswer {
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let schemes = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split_whitespace().next())
        .map(|scheme| text::printable(scheme.trim_end_matches(','), 20))
        .collect();
    ProxyAnswer { status, schemes }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_proxys_answer_names_the_ways_in() {
        let answer = parse_answer(
            "HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\nX: y\r\nProxy-Authenticate: Basic realm=\"a: b\"\r\n\r\n",
        );
        assert_eq!(answer.status, 407);
        assert_eq!(answer.schemes, ["Negotiate", "NTLM", "Basic"]);
        assert_eq!(parse_answer(""), ProxyAnswer::default());
        assert_eq!(parse_answer("junk\r\n").status, 0);
    }

    /// A proxy that says this, a byte at a time with that pause.
    fn slow_proxy(answer: &'static str, pause: Duration) -> Route {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for byte in answer.bytes() {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                thread::sleep(pause);
            }
        });
        Route::to(Url::parse(&format!("http://127.0.0.1:{port}")).unwrap())
    }

    #[test]
    fn a_slow_refusal_gets_no_more_time_than_there_is() {
        const ANSWER: &str = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n";
        let url = Url::parse("https://idp.example/").unwrap();
        let ask = |pause: u64, left: u64| {
            let proxy = slow_proxy(ANSWER, Duration::from_millis(pause));
            let started = Instant::now();
            let answer = ask_proxy(&proxy, &url, Deadline::after(Duration::from_millis(left)));
            (answer, started.elapsed())
        };
        // Each byte comes soon enough; all of them would take five seconds.
        let (answer, took) = ask(100, 30_000);
        assert_eq!(answer, None);
        assert!(
            (PROBE..PROBE + Duration::from_secs(1)).contains(&took),
            "{took:?}"
        );
        // A caller that has less gives less.
        let (answer, took) = ask(100, 400);
        assert_eq!(answer, None);
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(ask(0, 0).0, None);
        // Slow and in time.
        let (answer, _) = ask(10, 30_000);
        assert_eq!(answer.unwrap().status, 407);
    }
}
