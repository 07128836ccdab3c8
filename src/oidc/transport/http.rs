//! HTTP to the provider: `https` only (loopback excepted), no redirects, bounded in time and size.

use std::error::Error as StdError;
use std::io::Read;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use oauth2::{HttpRequest, HttpResponse};
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::{Certificate, Identity};
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use super::certificate;
use super::connection;
use super::proxy::{Proxies, Route};
use super::proxy_probe;
use crate::caller::Deadline;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::oidc::sent_secrets::SentSecrets;
use crate::platform::files::{self, Access};
use crate::platform::paths;
use crate::text;

/// Longest wait for a whole answer.
const TOTAL: Duration = Duration::from_secs(30);

/// Longest look at a certificate that was refused.
const EXAMINE: Duration = Duration::from_secs(5);

/// First and longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How often a name is looked up that the name servers do not know, or about which they say nothing.
const LOOK_UPS: u32 = 2;

/// Largest answer that is read, in bytes.
const BODY: u64 = 1024 * 1024;

/// What is looked at in an answer's head.
const KEPT_HEADERS: [HeaderName; 8] = [
    HeaderName::from_static(DPOP_NONCE),
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::DATE,
    header::AGE,
    header::LOCATION,
    header::TRANSFER_ENCODING,
    header::WWW_AUTHENTICATE,
];

/// Largest file of certificates that is read, in bytes.
const CERTIFICATES: u64 = 4 * 1024 * 1024;

/// Why there is no answer that could be understood. None of these says anything about the session.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent: no address, no route, no connection.
    #[error("cannot connect to {host}: {why}")]
    NotSent {
        /// Who was to be reached.
        host: String,
        /// Why not.
        why: String,
    },
    /// Nothing was sent: the name has no address, or the name servers do not answer.
    #[error("cannot find {host}: {why}")]
    NoAddress {
        /// Who was to be reached.
        host: String,
        /// Why not.
        why: String,
    },
    /// The proxy lets no program through, or not this one; nothing was sent.
    #[error("the proxy {proxy} does not let gatepass through to {host}: {why}")]
    Proxy {
        /// The proxy, without name and password.
        proxy: String,
        /// Who was to be reached.
        host: String,
        /// Why not.
        why: String,
        /// What can be done.
        remedy: &'static str,
    },
    /// The server's certificate or the TLS handshake was refused; nothing was sent.
    #[error("no secure connection to {host}: {why}")]
    Tls {
        /// Who was to be reached.
        host: String,
        /// Why not.
        why: String,
        /// What can be done.
        remedy: &'static str,
    },
    /// The request may have arrived, but there is no answer.
    #[error("no answer from {host}: {why}")]
    NoAnswer {
        /// Who was asked.
        host: String,
        /// Why there is none.
        why: String,
    },
    /// Part of the request was sent, and then the connection ended: reset, closed, or in the middle of the answer.
    #[error("the connection to {host} ended before the whole answer had come: {why}")]
    Lost {
        /// Who was asked.
        host: String,
        /// How it ended.
        why: String,
    },
    /// A status that means "not now".
    #[error("{host} answers {status}")]
    Status {
        /// Who answered.
        host: String,
        /// With what.
        status: StatusCode,
    },
    /// Something else than the protocol's JSON: a captive portal, a proxy's page.
    #[error("{host} sent something that is not JSON")]
    NotJson {
        /// Who answered.
        host: String,
    },
    /// An object that does not say that it is JSON. What it says may still be worth keeping.
    #[error("{host} sent something that does not say that it is JSON")]
    NotDeclared {
        /// Who answered.
        host: String,
        /// What it said.
        answer: Box<HttpResponse>,
    },
    /// A longer answer than the protocol ever needs.
    #[error("{host} sent more than a megabyte")]
    TooLarge {
        /// Who answered.
        host: String,
    },
}

/// A captive portal: a hotel's network answers in place of every server until the user has signed in to it.
const PORTAL: &str = "open any web page: a network sign-in page may be in the way";

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let remedy = match &error {
            HttpError::NotSent { .. } | HttpError::NoAddress { .. } => {
                "check the network (VPN, proxy), then run it again"
            }
            HttpError::Proxy { remedy, .. } | HttpError::Tls { remedy, .. } => remedy,
            HttpError::NotJson { .. } | HttpError::NotDeclared { .. } => PORTAL,
            HttpError::Status { status, .. }
                if status.is_redirection()
                    || *status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED =>
            {
                PORTAL
            }
            _ => "run it again in a few minutes",
        };
        let failure = Self::new(Id::Unavailable, error.to_string(), remedy);
        match error {
            HttpError::NotSent { .. }
            | HttpError::NoAddress { .. }
            | HttpError::Proxy { .. }
            | HttpError::Tls { .. } => failure,
            _ => failure.told_by_provider(),
        }
    }
}

/// The header with which a provider hands out its nonce (RFC 9449 section 8).
pub const DPOP_NONCE: &str = "dpop-nonce";

/// A client for one run and one deadline.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    /// The one that shows a certificate, if one is configured. Only the provider's endpoints for clients see it.
    with_certificate: Option<Client>,
    proxies: Proxies,
    deadline: Deadline,
    /// Until when a connection that fails is tried again.
    connect_until: Deadline,
    /// Longest wait for a whole answer.
    answer_within: Duration,
}

impl Http {
    /// A client for the configured issuer. Its requests end at the deadline at the latest. Only endpoints that ask
    /// for the client's certificate are shown this identity ([`Http::oauth_request_with_certificate`]).
    ///
    /// # Errors
    ///
    /// `config`: `ca_file`, `proxy`, the identity or the system's certificates cannot be used.
    pub fn new(
        settings: &Settings,
        identity: Option<Identity>,
        deadline: Deadline,
    ) -> Result<Self> {
        let url = Url::parse(&settings.issuer).ok();
        Self::to(settings, url.as_ref(), identity, deadline)
    }

    /// A client for one address, such as the gateway's: plain HTTP and no proxy only if it is this machine.
    ///
    /// # Errors
    ///
    /// `config`: `ca_file`, `proxy` or the system's certificates cannot be used.
    pub fn for_url(settings: &Settings, url: &Url, deadline: Deadline) -> Result<Self> {
        Self::to(settings, Some(url), None, deadline)
    }

    fn to(
        settings: &Settings,
        url: Option<&Url>,
        identity: Option<Identity>,
        deadline: Deadline,
    ) -> Result<Self> {
        let proxies = Proxies::new(settings);
        if let Some(url) = url {
            proxies.check(url)?;
        }
        let builder = || trusting(settings, &proxies, url);
        let with_certificate = identity
            .map(|identity| build(builder()?.identity(identity)))
            .transpose()?;
        Ok(Self {
            client: build(builder()?)?,
            with_certificate,
            proxies,
            deadline,
            connect_until: Deadline::after(Duration::ZERO),
            answer_within: TOTAL,
        })
    }

    /// The same client, trying again until then what failed before a byte was sent: a laptop that has just
    /// woken up needs a moment. What was sent is never sent again.
    #[must_use]
    pub fn connecting_until(self, connect_until: Deadline) -> Self {
        Self {
            connect_until,
            ..self
        }
    }

    /// The same client, waiting at most this long for a whole answer.
    #[must_use]
    pub fn answering_within(self, answer_within: Duration) -> Self {
        Self {
            answer_within,
            ..self
        }
    }

    /// The same client, of whose wait for an answer the time since then is over, in milliseconds since the machine
    /// started ([`clock::uptime_millis`]).
    #[must_use]
    pub fn waiting_since(&self, began_ms: u64) -> Self {
        let over = clock::uptime_millis().saturating_sub(began_ms);
        let answer_within = self
            .answer_within
            .saturating_sub(Duration::from_millis(over));
        Self {
            answer_within,
            ..self.clone()
        }
    }

    /// Sends one request and gives its answer, whatever it is: for those who look at the answer itself.
    pub fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send_by(&self.client, request)
    }

    /// Fetches a JSON document.
    pub fn get_json(&self, url: &Url) -> Result<Vec<u8>, HttpError> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(url.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|error| HttpError::NotSent {
                host: host(url),
                why: error.to_string(),
            })?;
        let response = self.send_by(&self.client, request)?;
        if response.status() != StatusCode::OK {
            return Err(HttpError::Status {
                host: host(url),
                status: response.status(),
            });
        }
        if !is_json(&response) {
            return Err(HttpError::NotJson { host: host(url) });
        }
        Ok(response.into_body())
    }

    /// Sends one request and reads its answer, whatever its status.
    fn send_by(&self, client: &Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut pause = PAUSES.0;
        let mut look_ups = 1;
        loop {
            match self.send_once(client, request.clone()) {
                Err(error) if self.may_connect_again(&error, pause, &mut look_ups) => {
                    log::debug!("{error}, trying again");
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSES.1);
                }
                result => return result,
            }
        }
    }

    /// Whether an attempt that has sent nothing is made again. Name servers that are silent are asked twice at most:
    /// each look-up takes its time, and every caller waits.
    fn may_connect_again(&self, error: &HttpError, pause: Duration, look_ups: &mut u32) -> bool {
        let may = match error {
            HttpError::NotSent { .. } => true,
            HttpError::NoAddress { .. } => {
                *look_ups += 1;
                *look_ups <= LOOK_UPS
            }
            _ => false,
        };
        may && self.connect_until.left() > pause
    }

    fn failed(&self, error: &reqwest::Error, url: &Url) -> HttpError {
        let host = host(url);
        let why = cause(error);
        let route = self.proxies.route(url);
        // A handshake that failed has sent nothing; a record that is broken later says nothing of the kind.
        if error.is_connect() && is_tls(error) {
            return self.untrusted(error, url);
        }
        match route {
            Some(route) if error.is_connect() => by_proxy(error, url, &route, self.deadline),
            None if error.is_connect() && is_look_up(error) => HttpError::NoAddress { host, why },
            None if error.is_connect() => HttpError::NotSent { host, why },
            _ if error.is_timeout() => HttpError::NoAnswer {
                host,
                why: "it took too long".to_owned(),
            },
            _ => HttpError::Lost { host, why },
        }
    }

    /// Why a certificate is not trusted, and who could help.
    fn untrusted(&self, error: &reqwest::Error, url: &Url) -> HttpError {
        let problem = causes(error).find_map(|cause| match cause.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(problem)) => Some(problem),
            _ => None,
        });
        let (why, remedy) = match problem {
            Some(CertificateError::UnknownIssuer) => (
                match certificate::look_through(&self.proxies, url, self.deadline.at_most(EXAMINE))
                {
                    Some(seen) => format!(
                        "its certificate was issued by \"{}\", which this machine does not trust",
                        seen.issuer
                    ),
                    None => "this machine does not trust the issuer of its certificate".to_owned(),
                },
                "if your network inspects TLS, configure its certificate as `ca_file`",
            ),
            Some(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => ("its certificate is for another host".to_owned(), PORTAL),
            Some(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => (
                cause(error),
                "check this machine's date and time; if they are right, tell the provider's administrator",
            ),
            _ => (
                cause(error),
                "if your network inspects TLS, configure its certificate as `ca_file`",
            ),
        };
        HttpError::Tls {
            host: host(url),
            why,
            remedy,
        }
    }

    fn send_once(&self, client: &Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|error| HttpError::NotSent {
            host: String::new(),
            why: error.to_string(),
        })?;
        let host = host(&url);
        // An exception may spare the issuer alone, and not where its endpoints are.
        self.proxies
            .check(&url)
            .map_err(|failure| HttpError::NotSent {
                host: host.clone(),
                why: failure.what,
            })?;
        let started = std::time::Instant::now();
        let time = self.deadline.left().min(self.answer_within);
        let response = client
            .request(parts.method.clone(), url.clone())
            .headers(parts.headers)
            .timeout(time.max(Duration::from_millis(1)))
            .body(body)
            .send()
            .map_err(|error| self.failed(&error, &url))?;
        let status = response.status();
        let kept: Vec<_> = KEPT_HEADERS
            .into_iter()
            .filter_map(|name| Some((name.clone(), response.headers().get(&name)?.clone())))
            .collect();
        if response.headers().contains_key(header::CONTENT_ENCODING) {
            // None was asked for; what expands while it is read has no bound.
            return Err(HttpError::NotJson { host });
        }
        let mut body = Vec::new();
        response
            .take(BODY + 1)
            .read_to_end(&mut body)
            .map_err(|error| cut_short(&error, &host))?;
        log::debug!(
            "{} {host}{} answered {} with {} bytes after {} ms",
            parts.method,
            url.path(),
            status.as_u16(),
            body.len(),
            started.elapsed().as_millis()
        );
        if body.len() as u64 > BODY {
            return Err(HttpError::TooLarge { host });
        }
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        answer.headers_mut().extend(kept);
        Ok(answer)
    }

    /// Sends a request and reads its answer, if it is one that means more than "not now".
    pub fn request(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.request_by(&self.client, request)
    }

    fn request_by(&self, client: &Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let response = self.send_by(client, request)?;
        let status = response.status();
        let not_now = status.is_redirection()
            || status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            // A part of an answer, without a request for a part.
            || status == StatusCode::PARTIAL_CONTENT;
        if not_now {
            return Err(HttpError::Status { host, status });
        }
        Ok(response)
    }

    /// Sends a request to one of the OAuth endpoints and sorts out what is no answer in the protocol's terms.
    ///
    /// What is left for the caller: 200 with JSON, and 4xx with JSON or with nothing.
    pub fn oauth_request(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.oauth_request_by(&self.client, request)
    }

    /// The same, showing the client's certificate if one is configured (RFC 8705).
    pub fn oauth_request_with_certificate(
        &self,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let client = self.with_certificate.as_ref().unwrap_or(&self.client);
        self.oauth_request_by(client, request)
    }

    fn oauth_request_by(
        &self,
        client: &Client,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let sent = SentSecrets::of(&request);
        let mut response = self.request_by(client, request)?;
        let status = response.status();
        if response.body().is_empty() {
            return Ok(response);
        }
        match crate::oidc::json::UniqueObject::parse(response.body()) {
            Ok(mut object) => {
                if status.is_success() && object.0.get("error").is_some_and(|e| e.is_string()) {
                    // Some providers send errors with 200.
                    *response.status_mut() = StatusCode::BAD_REQUEST;
                }
                // A gateway or firewall in between speaks JSON too, but not OAuth's.
                if !status.is_success() && !object.0.get("error").is_some_and(|e| e.is_string()) {
                    return Err(HttpError::Status { host, status });
                }
                // Errors often come without the right type; a success must have it.
                if !response.status().is_success() {
                    sent.taken_out_of(&mut object);
                    *response.body_mut() =
                        serde_json::Value::Object(object.0).to_string().into_bytes();
                    response.headers_mut().insert(
                        header::CONTENT_TYPE,
                        HeaderValue::from_static("application/json"),
                    );
                } else if !is_json(&response) {
                    let answer = Box::new(response);
                    return Err(HttpError::NotDeclared { host, answer });
                }
                if status.is_success() {
                    *response.status_mut() = StatusCode::OK;
                }
                Ok(response)
            }
            Err(error) if status.is_success() && is_json(&response) && error.is_data() => {
                // JSON, but no object or with a repeated member: understood and refused by the caller.
                Ok(response)
            }
            // Nothing announced how long it is, and it ends in the middle of a member.
            Err(error) if status.is_success() && error.is_eof() && !is_delimited(&response) => {
                let why = "it ends in the middle".to_owned();
                Err(HttpError::Lost { host, why })
            }
            Err(_) => Err(HttpError::NotJson { host }),
        }
    }
}

/// Why an answer's body could not be read to its end: the time was over, or the connection was.
fn cut_short(error: &std::io::Error, host: &str) -> HttpError {
    let timed_out = error.kind() == std::io::ErrorKind::TimedOut
        || causes(error).any(|cause| {
            cause
                .downcast_ref::<reqwest::Error>()
                .is_some_and(reqwest::Error::is_timeout)
        });
    let host = host.to_owned();
    let why = text::from_server(&error.to_string());
    if timed_out {
        HttpError::NoAnswer { host, why }
    } else {
        HttpError::Lost { host, why }
    }
}

/// Whether an answer said where it ends (RFC 9112 section 6.3).
fn is_delimited(response: &HttpResponse) -> bool {
    let headers = response.headers();
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// A client for those who send something: it trusts the system's certificates and the configured ones.
fn trusting(
    settings: &Settings,
    proxies: &Proxies,
    address: Option<&Url>,
) -> Result<ClientBuilder> {
    let builder = connection::builder(proxies, address);
    let added = match &settings.ca_file {
        Some(path) => certificates(path)?,
        None => Vec::new(),
    };
    // On Linux the usual way to find the system's certificates lets `SSL_CERT_FILE` replace them: a
    // program that starts us could choose whom we trust. So they are read from where the system keeps them.
    Ok(if cfg!(target_os = "linux") {
        let mut all = system_certificates()?;
        all.extend(added);
        builder.tls_certs_only(all)
    } else {
        builder.tls_certs_merge(added)
    })
}

fn build(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| {
        Failure::config(
            format!("cannot set up HTTPS: {}", cause(&error)),
            "check `ca_file`, `client_cert_file`, `client_key_file`, `proxy` and the system's certificates",
        )
    })
}

fn host(url: &Url) -> String {
    text::from_server(url.host_str().unwrap_or_default())
}

fn is_json(response: &HttpResponse) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim())
        .is_some_and(|kind| {
            kind.eq_ignore_ascii_case("application/json")
                || kind.to_ascii_lowercase().ends_with("+json")
        })
}

/// Whether the name could not be looked up. The connector says so in words only.
fn is_look_up(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.to_string().contains("dns error"))
}

fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.is::<rustls::Error>())
}

/// What went wrong between us and a proxy, or between it and the host.
fn by_proxy(error: &reqwest::Error, url: &Url, route: &Route, deadline: Deadline) -> HttpError {
    let refused = |why: String, remedy| HttpError::Proxy {
        proxy: route.to_string(),
        host: host(url),
        why,
        remedy,
    };
    let said = |what: &str| causes(error).any(|cause| cause.to_string().contains(what));
    if said("proxy authorization required") {
        let schemes = proxy_probe::ask_proxy(route, url, deadline)
            .unwrap_or_default()
            .schemes;
        let offers = |name: &str| {
            schemes
                .iter()
                .any(|scheme| scheme.eq_ignore_ascii_case(name))
        };
        let asks = match schemes.join(", ") {
            schemes if schemes.is_empty() => "it asks for a sign-in (407)".to_owned(),
            schemes => format!("it asks for a sign-in by {schemes} (407)"),
        };
        return if !schemes.is_empty() && !offers("Basic") {
            refused(
                format!("{asks}, which gatepass cannot do"),
                "have the provider's host exempted from the proxy's sign-in, or set `proxy` to a local proxy that signs in",
            )
        } else if route.has_password() {
            refused(
                format!("{asks} and does not take the given name and password"),
                "correct name and password in `proxy` (or HTTPS_PROXY)",
            )
        } else {
            refused(
                asks,
                "put name and password into `proxy`: http://NAME:PASSWORD@HOST:PORT",
            )
        };
    }
    if said("tunnel error: unsuccessful") {
        let why = match proxy_probe::ask_proxy(route, url, deadline) {
            Some(answer) if answer.status > 0 => format!("it answers {}", answer.status),
            _ => "it refuses".to_owned(),
        };
        return refused(
            why,
            "have the proxy's administrator allow the provider's host",
        );
    }
    HttpError::NotSent {
        host: format!("{} through the proxy {route}", host(url)),
        why: cause(error),
    }
}

/// An error and all that caused it, in order. An I/O error hides its cause inside itself, perhaps in another one.
fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'e (dyn StdError + 'static) = *error;
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

/// The innermost cause, which is what helps; the outer ones repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut text = "the request failed".to_owned();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text::from_server(&text)
}

/// The certificates that this Linux system trusts. One that cannot be understood is left out: the others are
/// none the worse for it.
fn system_certificates() -> Result<Vec<Certificate>> {
    let unusable = |why: String| {
        Failure::config(
            format!("the system's certificates cannot be read: {why}"),
            "install the package ca-certificates",
        )
    };
    let path = paths::system_certificates()
        .ok_or_else(|| unusable("no known file is there".to_owned()))?;
    // Root's file in a place that only root can write. In a container its owner may look like another user.
    let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut usable = rustls::RootCertStore::empty();
    let mut found = Vec::new();
    let mut left_out = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let parsed = certificate
            .ok()
            .filter(|certificate| usable.add(certificate.clone()).is_ok())
            .and_then(|certificate| Certificate::from_der(&certificate).ok());
        match parsed {
            Some(certificate) => found.push(certificate),
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        log::debug!("{left_out} of the system's certificates cannot be understood");
    }
    Ok(found)
}

fn certificates(path: &std::path::Path) -> Result<Vec<Certificate>> {
    let unusable = |why: String| {
        Failure::config(
            format!(
                "the certificates in {} cannot be used: {why}",
                path.display()
            ),
            "give `ca_file` a PEM file that only you or root may change",
        )
    };
    let bytes = files::read(path, Access::OwnerWrites, CERTIFICATES)
        .map_err(|reason| unusable(reason.to_string()))?
        .ok_or_else(|| unusable("there is no such file".to_owned()))?;
    let certificates =
        Certificate::from_pem_bundle(&bytes).map_err(|_| unusable("it is not PEM".to_owned()))?;
    if certificates.is_empty() {
        return Err(unusable("it has no certificate in it".to_owned()));
    }
    Ok(certificates)
}
