//! A second question to a proxy that let nobody through, to say what it wants. Nothing of the request is ever sent.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::proxy::Route;
use crate::text;

/// Longest time for each step of the look.
const STEP: Duration = Duration::from_secs(3);

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
pub(super) fn ask_proxy(route: &Route, url: &Url) -> Option<ProxyAnswer> {
    tunnel(route, url).ok()
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, STEP) {
            Ok(stream) => {
                stream.set_read_timeout(Some(STEP))?;
                stream.set_write_timeout(Some(STEP))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tunnel(route: &Route, url: &Url) -> io::Result<ProxyAnswer> {
    let proxy = route.address();
    let unknown = || io::Error::from(io::ErrorKind::Unsupported);
    if proxy.scheme() != "http" {
        return Err(unknown());
    }
    let host = proxy.host_str().ok_or_else(unknown)?;
    let mut stream = connect(host, proxy.port_or_known_default().unwrap_or(80))?;
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
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    // The whole answer gets one step's time, however slowly it comes.
    let ends = Instant::now() + STEP;
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        let left = ends
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
            .ok_or(io::ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(left))?;
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
}
