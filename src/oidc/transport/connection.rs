//! What every connection has in common, whichever certificates are trusted on it: no redirects, the proxy of the rules,
//! a bounded wait.

use std::time::Duration;

use reqwest::Proxy;
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::redirect::Policy;
use url::Url;

use super::proxy::Proxies;
use crate::config::address::is_loopback;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// What every client has in common, whomever it trusts.
pub(super) fn builder(proxies: &Proxies, address: Option<&Url>) -> ClientBuilder {
    // Two calls in one process are one too many, which changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let to_this_machine = address.is_some_and(is_loopback);
    let builder = Client::builder()
        .user_agent(concat!("gatepass/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .https_only(!to_this_machine)
        .referer(false)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(5));
    // One place decides, so that messages name the proxy that was really used.
    let proxies = proxies.clone();
    let proxy = Proxy::custom(move |url| proxies.route(url).map(|route| route.address().clone()));
    builder.no_proxy().proxy(proxy)
}
