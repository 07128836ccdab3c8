//! The loopback redirect (RFC 8252 section 7.3): a listener on this machine for one authorization response.
//!
//! Whichever program sends requests (port scanners, prefetching browsers, other programs of this machine, other web
//! pages), only a response with the right `state` ends the wait, and only once. Slow, huge and malformed requests are the
//! HTTP library's to refuse: it bounds header size and time, and the listener bounds connections.

mod connections;
pub mod page;
mod redirect_handler;
mod request;
mod response;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use oauth2::CsrfToken;
use tokio::sync::oneshot;

use crate::config::settings::{Redirect, RedirectHost, ResponseMode};
use crate::error::{Failure, Result};
use crate::platform;
pub use redirect_handler::AuthorizationResponse;
use redirect_handler::RedirectHandler;
use request::RedirectEndpoint;
#[cfg(any(test, fuzzing))]
pub use response::read_parameters;
pub use response::{AuthorizationResult, Expected};

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
    pub fn serve(self, expected: Expected) -> Result<LoopbackServer> {
        let (responses_in, responses) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let endpoint = RedirectEndpoint {
            authority: self.authority,
            // Not to be guessed, so that no other program uses up the page.
            done_path: format!(
                "{}/done-{}",
                self.path.trim_end_matches('/'),
                CsrfToken::new_random().secret()
            ),
            path: self.path,
            mode: self.mode,
        };
        let handler = Arc::new(RedirectHandler::new(endpoint, expected, responses_in));
        let sockets = self.sockets;
        let shared = Arc::clone(&handler);
        let thread = thread::Builder::new()
            .name("loopback".to_owned())
            .spawn(move || connections::listen(sockets, handler, stopped))
            .map_err(|error| Failure::internal(format!("no thread for the redirect: {error}")))?;
        Ok(LoopbackServer {
            handler: shared,
            responses,
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
        // A machine without IPv6 has only one `localhost`; one where another program holds the port on the
        // other family would hand that program our response.
        match v6(port) {
            Ok(second) => sockets.push(second),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => {}
        }
    }
    Ok((sockets, port))
}

/// A listener that answers.
pub struct LoopbackServer {
    handler: Arc<RedirectHandler>,
    responses: mpsc::Receiver<AuthorizationResponse>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LoopbackServer {
    /// Waits for the response, at most this long.
    pub fn wait(&self, time: Duration) -> Option<AuthorizationResponse> {
        self.responses.recv_timeout(time).ok()
    }

    /// Takes the address to which a browser was redirected, from the person in the place of that browser. It goes
    /// through everything that a request goes through. Whether it is the expected response; [`LoopbackServer::wait`] then
    /// has it.
    pub fn hand_over(&self, address: &[u8]) -> bool {
        self.handler.visit(address).is_some()
    }

    /// From now on a browser that brings the response is told that it is too late.
    pub fn expire(&self) {
        self.handler.expire();
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

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a request would be taken for, without a socket: for the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) fn judge(
    mode: ResponseMode,
    expected: &Expected,
    request: &http::Request<&[u8]>,
) -> Option<AuthorizationResult> {
    let endpoint = RedirectEndpoint {
        authority: "127.0.0.1:4711".to_owned(),
        path: "/callback".to_owned(),
        done_path: "/callback/done".to_owned(),
        mode,
    };
    match endpoint.kind(request.method(), request.uri(), request.headers()) {
        request::RequestKind::Query(query) => read_parameters(query.as_bytes(), expected),
        request::RequestKind::Form => read_parameters(request.body(), expected),
        request::RequestKind::Done | request::RequestKind::Refused(_) => None,
    }
}
