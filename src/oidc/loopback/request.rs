//! What a request to the redirect is, judged by everything but its parameters.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};

use crate::config::settings::ResponseMode;

/// Longest request line and headers, in bytes, and most headers.
pub(super) const HEAD: (usize, usize) = (24 * 1024, 64);

/// Longest time for a request to arrive.
pub(super) const ARRIVAL: Duration = Duration::from_secs(5);

/// Where the redirect is, and how the response comes to it.
#[derive(Debug)]
pub(super) struct RedirectEndpoint {
    /// Host and port, as browsers write them in `Host`.
    pub(super) authority: String,
    pub(super) path: String,
    /// Where the result page is.
    pub(super) done_path: String,
    pub(super) mode: ResponseMode,
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// The redirect, parameters in the query.
    Query(String),
    /// The redirect, parameters in the body.
    Form,
    /// A fetch of the result page.
    Done,
    /// Not for us.
    Refused(StatusCode),
}

impl RedirectEndpoint {
    pub(super) fn kind(
        &self,
        method: &Method,
        target: &http::Uri,
        headers: &HeaderMap,
    ) -> RequestKind {
        // Against DNS rebinding: a web page whose name points to this machine sends its own name here.
        let host_fits = only(headers, &header::HOST)
            .is_some_and(|host| host.as_bytes() == self.authority.as_bytes());
        if !host_fits || target.authority().is_some() || target.scheme().is_some() {
            // A rebound name or a proxy's request: it was meant for another server.
            return RequestKind::Refused(StatusCode::MISDIRECTED_REQUEST);
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            // No browser sends one; a sender that does wants two readers to see two bodies (request smuggling).
            return RequestKind::Refused(StatusCode::BAD_REQUEST);
        }
        if target.path() == self.done_path {
            return if method == Method::GET {
                RequestKind::Done
            } else {
                RequestKind::Refused(StatusCode::METHOD_NOT_ALLOWED)
            };
        }
        if target.path() != self.path {
            return RequestKind::Refused(StatusCode::NOT_FOUND);
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
            return RequestKind::Refused(StatusCode::SERVICE_UNAVAILABLE);
        }
        match (self.mode, method) {
            (ResponseMode::Query, &Method::GET) => {
                // A navigation has no origin; a script's request has one.
                let mut origins = headers.get_all(header::ORIGIN).iter();
                if origins.any(|origin| origin.as_bytes() != b"null") {
                    RequestKind::Refused(StatusCode::FORBIDDEN)
                } else {
                    RequestKind::Query(target.query().unwrap_or_default().to_owned())
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
                    RequestKind::Form
                } else {
                    RequestKind::Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                }
            }
            _ => RequestKind::Refused(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

/// The value of a header that is there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h header::HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}
