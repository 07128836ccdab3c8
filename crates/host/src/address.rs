//! Which addresses a host may be sent to with a token.

use url::{Host, Url};

/// `https`, or `http` to this machine; no credentials, no fragment. The error says how the address is, as the end of
/// a sentence.
pub(crate) fn check(text: &str) -> Result<Url, &'static str> {
    let Ok(url) = Url::parse(text) else {
        return Err("is no address");
    };
    if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
        return Err("has characters in it that no address has");
    }
    match url.scheme() {
        "https" => (),
        "http" if is_loopback(&url) => (),
        _ => return Err("must begin with https:// (http:// only to this machine)"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has credentials in it");
    }
    if url.fragment().is_some() {
        return Err("has a fragment (`#…`) in it");
    }
    Ok(url)
}

/// A gateway's address, as the hosts of Anthropic's protocol want it: they append `/v1` themselves.
pub(crate) fn check_base(text: &str) -> Result<(), (&'static str, &'static str)> {
    let url = check(text).map_err(|what| {
        (
            what,
            "https://gateway.example.com, without a user name or `#…`",
        )
    })?;
    let path = url.path().trim_end_matches('/');
    if path.ends_with("/v1") || path.ends_with("/v1/messages") {
        return Err((
            "ends in /v1, which the host appends itself",
            "remove /v1 and what follows it",
        ));
    }
    Ok(())
}

/// Whether two addresses are on one host. What is no address is on none.
pub(crate) fn same_host(one: &str, other: &str) -> bool {
    let place = |text: &str| {
        let url = Url::parse(text).ok()?;
        Some((url.host_str()?.to_owned(), url.port_or_known_default()))
    };
    place(one).is_some_and(|one| Some(one) == place(other))
}

/// Whether an address is on one of these hosts, which are named without ports. What is no address is on none.
pub(crate) fn is_on_one_of(url: &str, hosts: &[String]) -> bool {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str);
    host.is_some_and(|host| hosts.iter().any(|other| other.eq_ignore_ascii_case(host)))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{check, check_base, same_host};

    #[test]
    fn a_port_is_a_host_of_its_own() {
        assert!(same_host("https://g.example/mcp", "https://g.example:443"));
        assert!(!same_host("https://g.example:8443", "https://g.example"));
        assert!(!same_host("https://g.example.evil", "https://g.example"));
        assert!(!same_host("nonsense", "nonsense"));
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        for (address, fits) in [
            ("https://gateway.example", true),
            ("https://gateway.example/llm", true),
            ("http://127.0.0.1:4000", true),
            ("http://[::1]:4000", true),
            ("http://localhost:4000", true),
            ("http://localhost.example", false),
            ("http://gateway.example", false),
            ("ftp://gateway.example", false),
            ("https://ann:pw@gateway.example", false),
            ("https://gateway.example/#a", false),
            ("https://gateway.example/a b", false),
            ("https:\\\\gateway.example", false),
            ("gateway.example", false),
            ("", false),
        ] {
            assert_eq!(check(address).is_ok(), fits, "{address}");
        }
    }

    #[test]
    fn hosts_append_the_version_themselves() {
        for (address, fits) in [
            ("https://gateway.example", true),
            ("https://gateway.example/v1/anthropic/0b1c", true),
            ("https://gateway.example/v1", false),
            ("https://gateway.example/v1/", false),
            ("https://gateway.example/v1/messages", false),
        ] {
            assert_eq!(check_base(address).is_ok(), fits, "{address}");
        }
    }
}
