//! The way to the provider: proxy, names, TLS, its clock, and what it says of itself.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use http::{HeaderMap, Method, Request, header};
use serde_json::Value as Json;
use url::{Host, Url};

use super::{Chain, CheckResult};
use crate::caller::Deadline;
use crate::clock;
use crate::config::address::is_loopback;
use crate::config::settings::{ClientAuth, Flow, Kind, Settings};
use crate::error::{Failure, Id};
use crate::oidc::client_auth;
use crate::oidc::discovery::{Provider, metadata_urls};
use crate::oidc::transport::certificate;
use crate::oidc::transport::http::{Http, HttpError};
use crate::oidc::transport::proxy::Proxies;
use crate::text;

/// Longest time for one step.
const STEP: Duration = Duration::from_secs(10);

/// A certificate that ends sooner than this is a warning, in seconds.
const ENDS_SOON: u64 = 14 * 86_400;

/// Seconds by which this machine's clock may be off before tokens are refused (as `oidc/id_token` does), and
/// before that is a warning.
const CLOCK: (u64, u64) = (60, 30);

/// Looks at everything up to the provider's documents, which it gives back if they are good.
pub(super) fn check(settings: &Settings, chain: &mut Chain<'_>) -> Option<Provider> {
    let is_key = settings.kind == Kind::Key;
    // A user who pastes a key has no provider; then the way to the gateway is looked at.
    let target = if is_key {
        settings.gateway_url.as_deref()
    } else {
        Some(settings.issuer.as_str())
    };
    let Some(target) = target.and_then(|target| Url::parse(target).ok()) else {
        for id in ["proxy", "dns", "tls", "clock", "discovery"] {
            chain.found(id, CheckResult::skipped("`gateway_url` is not configured"));
        }
        return None;
    };
    let proxy = Proxy::towards(settings, &target);
    let proxy = match proxy {
        Ok(proxy) => proxy,
        Err(failure) => {
            chain.found("proxy", failure);
            for id in ["dns", "tls", "clock", "discovery"] {
                chain.found(id, CheckResult::skipped("the proxy cannot be used"));
            }
            return None;
        }
    };
    chain.found("proxy", proxy_answers(proxy.as_ref(), &target));
    let first_hop = proxy.as_ref().map_or_else(
        || (host_of(&target), target.port_or_known_default()),
        |proxy| (proxy.host.clone(), Some(proxy.port)),
    );
    let resolved = resolves(&first_hop.0, first_hop.1.unwrap_or(443));
    let is_known = !matches!(resolved, CheckResult::Failed(_));
    chain.found("dns", resolved);
    if !is_known {
        // One cause is told once.
        for id in ["tls", "clock", "discovery"] {
            chain.found(id, CheckResult::skipped("the name cannot be looked up"));
        }
        return None;
    }
    let sent_at = clock::now();
    let http = match Http::for_url(settings, &target, Deadline::after(STEP)) {
        Ok(http) => http,
        Err(failure) => {
            chain.found("tls", failure);
            unreached(chain);
            return None;
        }
    };
    let address = match metadata_urls(settings) {
        Ok(urls) if !is_key => urls.into_iter().next().unwrap_or_else(|| target.clone()),
        _ => target.clone(),
    };
    let answer = look(&http, &address);
    chain.found("tls", tls(settings, &target, answer.as_ref().err()));
    let Ok(headers) = answer else {
        unreached(chain);
        return None;
    };
    chain.found("clock", same_time(&headers, sent_at));
    if is_key {
        let why = "the key is pasted: no provider is asked";
        chain.found("discovery", CheckResult::skipped(why));
        return None;
    }
    let looked = client_auth::provider_http(settings, Deadline::after(STEP))
        .and_then(|http| Provider::look(&http, settings));
    match looked {
        Ok(provider) => {
            chain.found("discovery", offers(settings, &provider));
            Some(provider)
        }
        Err(failure) => {
            chain.found("discovery", failure);
            None
        }
    }
}

fn unreached(chain: &mut Chain<'_>) {
    for id in ["clock", "discovery"] {
        chain.found(id, CheckResult::skipped("the provider cannot be reached"));
    }
}

/// Asks for a page and gives the head of the answer, whatever it is.
fn look(http: &Http, address: &Url) -> Result<HeaderMap, HttpError> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(address.as_str())
        .header(header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|error| HttpError::NotSent {
            host: text::from_server(&host_of(address)),
            why: error.to_string(),
        })?;
    http.send(request).map(|answer| answer.headers().clone())
}

/// The proxy that requests to an address take.
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// Who says so.
    source: &'static str,
}

impl Proxy {
    /// The same decision that the HTTP client makes.
    pub(super) fn towards(settings: &Settings, address: &Url) -> Result<Option<Self>, Failure> {
        let proxies = Proxies::new(settings);
        proxies.check(address)?;
        Ok(proxies.route(address).map(|route| Self {
            host: route.host().to_owned(),
            port: route.port(),
            source: proxies.source(),
        }))
    }

    /// For people; a password in the address is not shown.
    pub(super) fn shown(&self) -> String {
        format!("{}:{} ({})", self.host, self.port, self.source)
    }
}

fn proxy_answers(proxy: Option<&Proxy>, issuer: &Url) -> CheckResult {
    let Some(proxy) = proxy else {
        return CheckResult::ok(if is_loopback(issuer) {
            "none: it is on this machine"
        } else {
            "none"
        });
    };
    let shown = proxy.shown();
    let connected = addresses(&proxy.host, proxy.port).and_then(|addresses| {
        let mut why = "it has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, STEP / 3) {
                Ok(_) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    });
    match connected {
        Ok(()) => CheckResult::ok(shown),
        Err(why) => Failure::new(
            Id::Unavailable,
            format!("the proxy {shown} cannot be reached: {why}"),
            "check the proxy's address, and whether this network has one (VPN)",
        )
        .into(),
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// Looks a name up, for a bounded time: the system's resolver has no deadline of its own.
fn addresses(host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, String> {
    // A URL writes IPv6 addresses in brackets.
    let name = host.trim_matches(['[', ']']).to_owned();
    let (answer, wait) = mpsc::channel();
    thread::spawn(move || {
        let found = (name.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect::<Vec<_>>)
            .map_err(|error| error.to_string());
        let _ = answer.send(found);
    });
    wait.recv_timeout(STEP)
        .unwrap_or_else(|_| Err("the name server did not answer in time".to_owned()))
}

fn resolves(host: &str, port: u16) -> CheckResult {
    let shown = text::from_server(host);
    if !matches!(Host::parse(host), Ok(Host::Domain(_))) {
        return CheckResult::ok(format!("{shown} is an address: nothing to look up"));
    }
    match addresses(host, port) {
        Ok(found) => match found.split_first() {
            Some((first, [])) => CheckResult::ok(format!("{shown} is {}", first.ip())),
            Some((first, more)) => {
                CheckResult::ok(format!("{shown} is {} and {} more", first.ip(), more.len()))
            }
            None => unresolved(&shown, "it has no address"),
        },
        Err(why) => unresolved(&shown, &why),
    }
}

fn unresolved(host: &str, why: &str) -> CheckResult {
    Failure::new(
        Id::Unavailable,
        format!("the name {host} cannot be looked up: {why}"),
        "check the name, DNS and VPN; where only a proxy knows the internet, set `proxy`",
    )
    .into()
}

/// Who signed the certificate, and whether that is trusted here.
pub(super) fn tls(settings: &Settings, address: &Url, failed: Option<&HttpError>) -> CheckResult {
    let host = text::from_server(&host_of(address));
    if address.scheme() == "http" && failed.is_none() {
        return CheckResult::ok(format!(
            "{host} is this machine: plain HTTP, no certificate"
        ));
    }
    let is_tls = matches!(failed, Some(HttpError::Tls { .. }));
    if let Some(error) = failed.filter(|_| !is_tls) {
        return Failure::from(error.clone()).into();
    }
    let seen = certificate::look(settings, address, Deadline::after(STEP));
    let signed = seen
        .as_ref()
        .map_or_else(String::new, |seen| format!("signed by {}", seen.issuer));
    if let Some(HttpError::Tls { why, .. }) = failed {
        let what = if signed.is_empty() {
            format!("no secure connection to {host}: {why}")
        } else {
            format!("the certificate of {host} is not trusted here ({why}): {signed}")
        };
        return Failure::new(Id::Unavailable, what, distrust(why)).into();
    }
    let Some(seen) = &seen else {
        return CheckResult::ok(format!("{host} has a certificate that this system trusts"));
    };
    let end = text::moment(seen.not_after);
    if seen.not_after < clock::now() + ENDS_SOON {
        return CheckResult::warning(
            format!("the certificate of {host} ends soon, at {end}; {signed}"),
            "tell the administrator of that server",
        );
    }
    let by_own = match &settings.ca_file {
        Some(_) if !trusted_without_own(settings, address) => ", trusted because of `ca_file`",
        _ => "",
    };
    CheckResult::ok(format!("{host}: {signed}{by_own}, until {end}"))
}

/// What to do about a certificate that was refused for this reason.
fn distrust(why: &str) -> &'static str {
    let why = why.to_ascii_lowercase();
    if why.contains("expired") || why.contains("not valid yet") {
        "check this machine's clock, then tell the administrator of that server"
    } else if why.contains("not valid for name") {
        "check the address, then tell the administrator of that server: its certificate is for another name"
    } else {
        "ask your network's administrators for the certificate of that authority and set it as `ca_file`"
    }
}

/// Whether the system alone would trust the server.
fn trusted_without_own(settings: &Settings, address: &Url) -> bool {
    let system_alone = Settings {
        ca_file: None,
        ..settings.clone()
    };
    let request = Request::builder()
        .method(Method::HEAD)
        .uri(address.as_str())
        .body(Vec::new());
    let (Ok(http), Ok(request)) = (
        Http::for_url(&system_alone, address, Deadline::after(STEP)),
        request,
    ) else {
        return false;
    };
    !matches!(http.send(request), Err(HttpError::Tls { .. }))
}

/// This machine's clock against the provider's.
fn same_time(headers: &HeaderMap, sent_at: u64) -> CheckResult {
    let theirs = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    let Some(theirs) = theirs else {
        return CheckResult::skipped("the provider's answer has no date");
    };
    // A cache in between says how old the answer is.
    let age = headers
        .get(header::AGE)
        .and_then(|age| age.to_str().ok())
        .and_then(|age| age.parse::<u64>().ok())
        .unwrap_or(0);
    let theirs = theirs.as_secs().saturating_add(age);
    judge_clock(theirs, sent_at, clock::now())
}

/// The answer was made at `theirs`, somewhen between `sent` and `arrived` by this machine's clock.
fn judge_clock(theirs: u64, sent: u64, arrived: u64) -> CheckResult {
    let (off, direction) = if theirs < sent {
        (sent - theirs, "ahead of")
    } else {
        (theirs.saturating_sub(arrived), "behind")
    };
    let remedy = if cfg!(windows) {
        "w32tm /resync"
    } else if cfg!(target_os = "macos") {
        "switch on \"Set time and date automatically\""
    } else {
        "timedatectl set-ntp true"
    };
    let what = format!(
        "this machine's clock is {} {direction} the provider's",
        text::duration(off)
    );
    if off > CLOCK.0 {
        Failure::config(format!("{what}: tokens are refused"), remedy).into()
    } else if off > CLOCK.1 {
        CheckResult::warning(what, remedy)
    } else {
        CheckResult::ok("as the provider's, to the second or so")
    }
}

/// What the provider says it can do, against what the configuration needs.
fn offers(settings: &Settings, provider: &Provider) -> CheckResult {
    let metadata = &provider.metadata;
    let browser = metadata.authorization_endpoint.is_some();
    let codes = metadata.device_authorization_endpoint.is_some();
    let missing = match settings.flow {
        Flow::Browser if !browser => Some("no sign-in by browser, and `flow` asks for it"),
        Flow::Device if !codes => Some("no sign-in by device code, and `flow` asks for it"),
        Flow::Auto if !browser && !codes => Some("neither sign-in by browser nor by device code"),
        _ => None,
    };
    if let Some(missing) = missing {
        return Failure::config(
            format!("the provider offers {missing}"),
            "set `flow` to a way that the provider offers, or have it allowed there",
        )
        .into();
    }
    let document = provider.document();
    for (member, value, needed, what, remedy) in [
        (
            "scopes_supported",
            "offline_access",
            settings
                .scopes
                .iter()
                .any(|scope| scope == "offline_access"),
            "the provider does not list the scope offline_access: it may refuse it, or issue no refresh token",
            "leave offline_access out of `scopes` if sign-ins fail with invalid_scope",
        ),
        (
            "grant_types_supported",
            "refresh_token",
            true,
            "the provider does not list refresh tokens: people may have to sign in whenever a token ends",
            "have the refresh token grant allowed for this client at the provider",
        ),
        (
            "code_challenge_methods_supported",
            "S256",
            browser,
            "the provider lists PKCE methods, and S256 is not among them",
            "ask the provider's administrator to allow PKCE with S256",
        ),
        (
            "token_endpoint_auth_methods_supported",
            "none",
            settings.client_auth == ClientAuth::None
                && !settings
                    .preset
                    .is_some_and(|preset| preset.about().unlisted_public_clients),
            "the provider lists no public clients (token endpoint authentication \"none\")",
            "if sign-ins fail with invalid_client, set `client_secret_file`",
        ),
    ] {
        if needed && lists(&document, member).is_some_and(|list| !list.contains(&value)) {
            return CheckResult::warning(what, remedy);
        }
    }
    let mut offered = Vec::new();
    for (there, name) in [
        (browser, "browser"),
        (codes, "device code"),
        (metadata.revocation_endpoint.is_some(), "revocation"),
    ] {
        if there {
            offered.push(name);
        }
    }
    let pkce = match lists(&document, "code_challenge_methods_supported") {
        Some(_) => "PKCE with S256",
        None => "nothing said on PKCE",
    };
    CheckResult::ok(format!(
        "{} offers {}; {pkce}",
        settings.issuer,
        offered.join(", ")
    ))
}

fn lists<'d>(document: &'d Json, member: &str) -> Option<Vec<&'d str>> {
    let list = document.get(member)?.as_array()?;
    Some(list.iter().filter_map(Json::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_both_ends_of_the_request() {
        for (theirs, word) in [
            (1000, "ok"),
            (1002, "ok"),
            (970, "ok"),
            (969, "warning"),
            (1033, "warning"),
            (939, "failed"),
            (1063, "failed"),
        ] {
            assert_eq!(judge_clock(theirs, 1000, 1002).word(), word, "{theirs}");
        }
        assert!(judge_clock(500, 1000, 1000).what().contains("ahead"));
        assert!(judge_clock(1500, 1000, 1000).what().contains("behind"));
    }
}
