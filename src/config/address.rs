//! Which addresses a configuration or a provider may name.

use std::net::Ipv4Addr;

use url::{Host, Url};

/// An address that gatepass may talk to or open: `https`, or `http` to this machine; no credentials, no fragment.
pub fn check_url(text: &str) -> Result<(), String> {
    let wrong = || "is an https address (http only to this machine)".to_owned();
    if text.len() > 2048 || text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
        return Err(wrong());
    }
    let url = Url::parse(text).map_err(|_| wrong())?;
    let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if !scheme_fits || !text.contains("://") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has credentials in it".to_owned());
    }
    if url.fragment().is_some() {
        return Err("has a fragment (`#…`) in it".to_owned());
    }
    Ok(())
}

/// The address of a proxy. Its connection carries only TLS to the provider, so plain `http` will do.
pub fn check_proxy(text: &str) -> Result<(), String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        _ => Err("is the address of a proxy, such as http://proxy.example.com:8080".to_owned()),
    }
}

/// A resource indicator (RFC 8707 section 2): an absolute URI without a fragment.
pub fn check_resource(text: &str) -> Result<(), String> {
    match Url::parse(text) {
        Ok(url) if url.fragment().is_none() && text.is_ascii() && !text.contains(' ') => Ok(()),
        _ => Err("is a list of absolute URIs without `#…`".to_owned()),
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
        return Err("has a query (`?…`) in it".to_owned());
    }
    if issuer.contains("/.well-known/") {
        return Err("is the address before /.well-known/, not the discovery document's".to_owned());
    }
    Ok(())
}

/// The host of an address, for people.
pub fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{check_issuer, check_proxy, check_resource, check_url};

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
        for proxy in ["proxy.corp:8080", "ftp://proxy.corp", "http:"] {
            assert!(check_proxy(proxy).is_err(), "{proxy}");
        }
        for uri in ["api://gateway", "https://gateway.example/", "urn:a:b"] {
            assert!(check_resource(uri).is_ok(), "{uri}");
        }
        for uri in ["gateway", "https://a/#b", "urn:ä"] {
            assert!(check_resource(uri).is_err(), "{uri}");
        }
    }
}
