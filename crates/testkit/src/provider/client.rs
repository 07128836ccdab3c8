//! A raw HTTP/1.1 client over plain TCP for tests: no redirects, no pooling, no interpretation.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::http::{Pairs, find_header};

const TIMEOUT: Duration = Duration::from_secs(30);

/// What the server answered, as it came (a chunked body is put together).
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header names and values.
    pub headers: Pairs,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics where it is something else.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// One parameter of the URL in `Location`.
    pub fn location_parameter(&self, name: &str) -> Option<String> {
        let location = Url::parse(self.header("location")?).ok()?;
        location
            .query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// Sends a GET request.
pub fn get(url: &str) -> io::Result<Reply> {
    send("GET", url, &[], b"")
}

/// Sends a GET request with further headers.
pub fn get_with(url: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
    send("GET", url, headers, b"")
}

/// Posts a form.
pub fn post_form(url: &str, form: &[(&str, &str)]) -> io::Result<Reply> {
    post_form_with(url, &[], form)
}

/// Posts a form with further headers.
pub fn post_form_with(
    url: &str,
    headers: &[(&str, &str)],
    form: &[(&str, &str)],
) -> io::Result<Reply> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let mut headers = headers.to_vec();
    headers.push(("Content-Type", "application/x-www-form-urlencoded"));
    send("POST", url, &headers, body.as_bytes())
}

/// Posts JSON with further headers.
pub fn post_json(url: &str, headers: &[(&str, &str)], body: &Value) -> io::Result<Reply> {
    let mut headers = headers.to_vec();
    headers.push(("Content-Type", "application/json"));
    send("POST", url, &headers, body.to_string().as_bytes())
}

/// Sends any request to an `http` URL. A `Host` header in `headers` takes the place of the right one.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let url = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
    let host = url.host_str().ok_or_else(|| invalid("no host"))?;
    let port = url
        .port_or_known_default()
        .ok_or_else(|| invalid("no port"))?;
    if url.scheme() != "http" {
        return Err(invalid("only http"));
    }
    let mut head = format!("{method} {}", url.path());
    if let Some(query) = url.query() {
        head.push_str(&format!("?{query}"));
    }
    head.push_str(" HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.push_str(&format!("Host: {host}:{port}\r\n"));
    }
    if method != "GET" || !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");

    let mut stream = connect(host, port)?;
    let mut whole = head.into_bytes();
    whole.extend_from_slice(body);
    stream.write_all(&whole)?;
    read_reply(BufReader::new(stream), method == "HEAD")
}

/// `localhost` may stand for either family: the first address that answers is taken.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = (bare, port).to_socket_addrs()?.collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_reply(mut reader: impl BufRead, without_body: bool) -> io::Result<Reply> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let status_line = read_line(&mut reader)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(malformed)?;
    let mut headers = Pairs::new();
    loop {
        let line = read_line(&mut reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut body = Vec::new();
    if without_body || matches!(status, 204 | 304) {
        // Such answers have none.
    } else if find_header(&headers, "transfer-encoding").is_some() {
        loop {
            let size = read_line(&mut reader)?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(|_| malformed())?;
            (&mut reader).take(size).read_to_end(&mut body)?;
            read_line(&mut reader)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = find_header(&headers, "content-length") {
        body = vec![0; length.parse().map_err(|_| malformed())?];
        reader.read_exact(&mut body)?;
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok(Reply {
        status,
        headers,
        body,
    })
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
