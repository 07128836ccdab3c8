//! Which addresses a configuration or a provider may name.

use std::net::Ipv4Addr;

use url::{Host, Url};

/// An address that gatepass may talk to or open: `https`, or `http` to this machine; no credentials, no fragment.
pub fn check_url(text: &str) -> Result<(), String> {
    let must = |what: &str| Err(format!("must {what}"));
    if text.len() > 2048 || text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
        return must("be an address of visible ASCII, without spaces");
    }
    let url = match Url::parse(text) {
        Ok(url) if text.contains("://") => url,
        _ => return must("start with https:// (http:// only for a loopback address)"),
    };
    let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if !scheme_fits || url.host_str().is_none_or(str::is_empty) {
        return must("start with https:// (http:// only for a loopback address)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return must("not have credentials in it");
    }
    if url.fragment().is_some() {
        return must("not have a fragment (`#…`) in it");
    }
    Ok(())
}

/// A JSON pointer (RFC 6901 section 3): `~` only as `~0` or `~1`.
pub fn check_pointer(text: &str) -> Result<(), String> {
    let well_escaped = text
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if text.starts_with('/') && well_escaped {
        Ok(())
    } else {
        Err("must be a JSON pointer (RFC 6901) such as \"/key\"".to_owned())
    }
}

/// The address of a proxy. Its connection carries only TLS to the provider, so plain `http` will do.
pub fn check_proxy(text: &str) -> Result<(), String> {
    match parse_proxy(text) {
        Ok(_) if text.contains("://") => Ok(()),
        Err(NotAProxy::Malformed) if text.contains('@') => Err(format!(
            "must be the address of a proxy; {SPECIAL_CHARACTERS}"
        )),
        _ => {
            Err("must be the address of a proxy, such as http://proxy.example.com:8080".to_owned())
        }
    }
}

/// What is mostly wrong with a proxy's address that has a password in it.
pub const SPECIAL_CHARACTERS: &str =
    "special characters of its name and password are written percent-encoded (/ is %2F)";

/// Why a text names no proxy that can be used. It never has a part of the text in it that may be secret.
#[derive(Debug, PartialEq, Eq)]
pub enum NotAProxy {
    /// One of a known kind that gatepass does not speak to.
    Kind(&'static str),
    /// It cannot be understood.
    Malformed,
}

/// Kinds of proxies that other programs know.
const OTHER_PROXIES: [&str; 6] = ["socks", "socks4", "socks4a", "socks5", "socks5h", "ftp"];

/// A proxy as people write it: without a scheme, `http` is meant.
pub fn parse_proxy(text: &str) -> Result<Url, NotAProxy> {
    let text = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url = Url::parse(&text).map_err(|_| NotAProxy::Malformed)?;
    if !matches!(url.scheme(), "http" | "https") {
        let known = OTHER_PROXIES.into_iter().find(|kind| *kind == url.scheme());
        return Err(known.map_or(NotAProxy::Malformed, NotAProxy::Kind));
    }
    // In `http://ann:12/34@proxy` the host would be "ann" and the port a part of the password.
    let rest = &url[url::Position::AfterPort..];
    if !url.has_host() || rest.contains('@') {
        return Err(NotAProxy::Malformed);
    }
    Ok(url)
}

/// A resource indicator (RFC 8707 section 2): an absolute URI without a fragment.
pub fn check_resource(text: &str) -> Result<(), String> {
    match Url::parse(text) {
        Ok(url) if url.fragment().is_none() && text.is_ascii() && !text.contains(' ') => Ok(()),
        _ => Err(
            "must be an absolute URI without `#…`, such as \"https://api.example.com\"".to_owned(),
        ),
    }
}

/// Whether an address names this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether an address can only mean this machine or its link, so that no remote provider may name it. (Private
/// ranges are where an organisation's own provider may well be.)
pub fn is_internal(url: &Url) -> bool {
    let odd = |address: Ipv4Addr| {
        address.is_loopback() || address.is_unspecified() || address.is_link_local()
    };
    match url.host() {
        Some(Host::Ipv4(address)) => odd(address),
        Some(Host::Ipv6(address)) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some_and(odd)
        }
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => true,
    }
}

/// The address of an issuer (RFC 8414 section 2): no query, and not the discovery document itself.
pub fn check_issuer(issuer: &str) -> Result<(), String> {
    check_url(issuer)?;
    if issuer.contains('?') {
        return Err("must not have a query (`?…`) in it".to_owned());
    }
    if issuer.contains("/.well-known/") {
        return Err(
            "must be the address before /.well-known/, not the discovery document's".to_owned(),
        );
    }
    Ok(())
}

/// The host of an address, for people.
pub fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{NotAProxy, check_issuer, check_proxy, check_resource, check_url, parse_proxy};

    #[test]
    fn addresses_are_https_or_this_machine() {
        let good = [
            "https://a",
            "https://a/b/",
            "http://127.0.0.1:9400",
            "http://[::1]:1",
            "http://localhost:1",
        ];
        let bad = [
            "http://a",
            "https://",
            "https:a",
            "ftp://a",
            "https://u:p@a",
            "https://u@a",
            "https://a/#x",
            "https://a b",
            "https://a\\b",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "-a",
            "//a",
            "http://127.0.0.1.evil.example",
            "https://ä.example",
        ];
        for url in good {
            assert!(check_url(url).is_ok(), "{url}");
        }
        for url in bad {
            assert!(check_url(url).is_err(), "{url}");
        }
        assert!(check_issuer("https://a?b").is_err());
        assert!(check_issuer("https://a/.well-known/openid-configuration").is_err());
    }

    #[test]
    fn proxies_and_resources_are_less_strict() {
        for proxy in ["http://proxy.corp:8080", "https://proxy.corp"] {
            assert!(check_proxy(proxy).is_ok(), "{proxy}");
        }
        for proxy in [
            "proxy.corp:8080",
            "ftp://proxy.corp",
            "http:",
            "http://ann:12/34@proxy.corp",
        ] {
            assert!(check_proxy(proxy).is_err(), "{proxy}");
        }
        for uri in ["api://gateway", "https://gateway.example/", "urn:a:b"] {
            assert!(check_resource(uri).is_ok(), "{uri}");
        }
        for uri in ["gateway", "https://a/#b", "urn:ä"] {
            assert!(check_resource(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_proxy_whose_address_can_be_read_in_two_ways_is_none() {
        for text in [
            "p:3128",
            "http://p:3128/",
            "https://ann:s%2F@p",
            "http://p/a",
        ] {
            assert!(parse_proxy(text).is_ok(), "{text}");
        }
        for text in [
            "http://ann:12/34@p:3128",
            "http://ann:12?34@p:3128",
            "http://ann:12#34@p:3128",
            "http://ann:12\\34@p:3128",
            "ann:12/34@p",
            "http://ann:pass/34@p:3128",
            "s3cret://ann@p",
            "http://p:port",
            "http://:3128",
            "http://a b",
            "http://",
        ] {
            assert_eq!(parse_proxy(text), Err(NotAProxy::Malformed), "{text}");
        }
        let socks = parse_proxy("socks5://ann:12/34@p");
        assert_eq!(socks, Err(NotAProxy::Kind("socks5")));
    }
}
