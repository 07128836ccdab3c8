//! The one list of configuration keys.
//!
//! Parsing, validation, nearest-key suggestions, `config show` and the table in the administrator's guide all
//! come from here. A key's place in the list is its place in what is shown.

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any string without control characters.
    Text,
    /// An absolute URL: `https`, or `http` to a loopback address.
    Url,
    /// An absolute path.
    Path,
    /// A whole number of seconds within the bounds, both included.
    Seconds(u64, u64),
    /// A whole number within the bounds, both included.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of strings.
    TextList,
    /// Address of a proxy: `http` or `https`, any host.
    Proxy,
    /// A list of absolute URIs without a fragment (RFC 8707), of any scheme.
    UriList,
    /// A list of ports; 0 stands for any free port.
    PortList,
    /// A table of strings.
    TextTable,
    /// A table whose values are a string, a number, a flag or a list of those.
    ClaimTable,
    /// A table with its own keys, validated where it is used.
    Structure,
}

/// What a change of the key's value means for tokens that are already cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A cached token may not be used any more.
    OnToken,
    /// Tokens stay as they are.
    Elsewhere,
}

/// The value that a key has if nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// None.
    Unset,
    /// A string.
    Word(&'static str),
    /// A number.
    Number(u64),
    /// `true` or `false`.
    Flag(bool),
    /// A list of strings.
    Words(&'static [&'static str]),
    /// A list of ports.
    Ports(&'static [u16]),
}

impl BuiltIn {
    /// As any other value.
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Unset => None,
            Self::Word(word) => Some(word.into()),
            Self::Number(number) => Some(Value::Number(number)),
            Self::Flag(flag) => Some(Value::Flag(flag)),
            Self::Words(words) => Some(Value::List(
                words.iter().copied().map(Value::from).collect(),
            )),
            Self::Ports(ports) => Some(Value::List(
                ports
                    .iter()
                    .map(|port| Value::Number((*port).into()))
                    .collect(),
            )),
        }
    }
}

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Its name in TOML.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// The built-in value.
    pub built_in: BuiltIn,
    /// What a change means for cached tokens.
    pub effect: Effect,
    /// One sentence for people.
    pub about: &'static str,
}

impl Key {
    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Whether values of this key are masked when shown.
    pub fn is_secret(&self) -> bool {
        self.name == "client_secret"
    }
}

use super::value::Value;
use BuiltIn::{Number, Ports, Unset, Word, Words};
use Effect::{Elsewhere, OnToken};
use Shape::{
    Choice, ClaimTable, Flag, Path, PortList, Proxy, Seconds, Structure, Text, TextList, TextTable,
    UriList, Url,
};

/// A row of the table below.
const fn key(
    name: &'static str,
    shape: Shape,
    built_in: BuiltIn,
    effect: Effect,
    about: &'static str,
) -> Key {
    Key {
        name,
        shape,
        built_in,
        effect,
        about,
    }
}

const DAY: u64 = 86_400;

/// Every key, in the order in which they are shown.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key("kind", Choice(&["oidc", "oauth", "key"]), Word("oidc"), OnToken, "what stands behind the gateway: an OpenID provider, a plain OAuth server, or a key that the person pastes"),
    key("display_name", Text, Unset, Elsewhere, "whose sign-in this is, shown to people; the issuer's host if unset"),
    key("support_url", Url, Unset, Elsewhere, "where people find help"),
    key("support_text", Text, Unset, Elsewhere, "whom to ask, shown after a failure's remedy"),
    key("issuer", Url, Unset, OnToken, "the OpenID provider, byte for byte as its discovery document names itself"),
    key("tenants", TextList, Unset, OnToken, "tenant ids that a multi-tenant issuer may vouch for"),
    key("client_id", Text, Unset, OnToken, "the client that the organisation registered for gatepass"),
    key("preset", Choice(&["entra", "okta", "auth0", "google", "keycloak", "cognito", "ping", "authentik", "authelia", "dex", "zitadel", "gitlab"]), Unset, OnToken, "defaults that suit a provider"),
    key("scopes", TextList, Words(&["openid", "profile", "email", "offline_access"]), OnToken, "what is asked for"),
    key("token", Choice(&["access_token", "id_token"]), Word("access_token"), OnToken, "which token the gateway checks"),
    key("audience", Text, Unset, OnToken, "sent as `audience` (Auth0 and Okta style)"),
    key("resource", UriList, Unset, OnToken, "RFC 8707 resource indicators, on every request"),
    key("login_hint", Text, Unset, Elsewhere, "the account that the sign-in page should propose"),
    key("required_claims", ClaimTable, Unset, OnToken, "ID-token claims that must match; otherwise the account is not an allowed one"),
    key("trusted_audiences", TextList, Unset, OnToken, "further audiences that an ID token may have beside the client"),
    key("authorize_params", TextTable, Unset, OnToken, "extra parameters of the authorization request"),
    key("token_params", TextTable, Unset, OnToken, "extra parameters of token requests"),
    key("flow", Choice(&["auto", "browser", "device"]), Word("auto"), Elsewhere, "how people sign in"),
    key("device_hosts", TextList, Unset, Elsewhere, "hosts that a verification address may have; the provider's if unset"),
    key("interactive", Choice(&["auto", "never"]), Word("auto"), Elsewhere, "`never` forbids prompting altogether"),
    key("redirect_host", Choice(&["127.0.0.1", "localhost", "[::1]"]), Word("127.0.0.1"), Elsewhere, "host of the loopback redirect"),
    key("redirect_ports", PortList, Ports(&[0]), Elsewhere, "ports of the loopback redirect, tried in order; 0 is any free port"),
    key("redirect_path", Text, Word("/callback"), Elsewhere, "path of the loopback redirect"),
    key("response_mode", Choice(&["query", "form_post"]), Word("query"), Elsewhere, "how the provider hands over the authorization response"),
    key("browser", TextList, Unset, Elsewhere, "browser command and arguments; the address is appended as one argument"),
    key("client_secret", Text, Unset, Elsewhere, "for providers that ask a native client for one; not confidential"),
    key("client_secret_file", Path, Unset, Elsewhere, "file that holds the client secret"),
    key("client_auth", Choice(&["none", "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"]), Unset, Elsewhere, "how the client authenticates; `none`, or basic if a secret is set"),
    key("client_key_file", Path, Unset, Elsewhere, "private key of the client (PEM), readable by its owner alone"),
    key("client_cert_file", Path, Unset, Elsewhere, "certificate of the client (PEM)"),
    key("par", Choice(&["auto", "always", "never"]), Word("auto"), Elsewhere, "pushed authorization requests (RFC 9126)"),
    key("dpop", Choice(&["auto", "always", "never"]), Word("never"), OnToken, "refresh tokens bound to a key of the session (RFC 9449)"),
    key("ca_file", Path, Unset, Elsewhere, "PEM certificates, added to the operating system's trust store"),
    key("proxy", Proxy, Unset, Elsewhere, "HTTP proxy; the environment's, then the system's, if unset"),
    key("no_proxy", TextList, Unset, Elsewhere, "hosts, domains and address ranges reached without a proxy"),
    key("min_validity", Seconds(0, DAY), Number(420), Elsewhere, "seconds of life that a printed token has at least"),
    key("interactive_timeout", Seconds(5, 600), Number(55), Elsewhere, "seconds that an interactive host call may wait for the person"),
    key("sign_in_timeout", Seconds(30, 3600), Number(600), Elsewhere, "seconds that a sign-in stays open"),
    key("headers", TextTable, Unset, OnToken, "headers for the gateway; `{claim}` stands for a claim of the ID token"),
    key("secret_headers", TextList, Unset, OnToken, "headers whose per-person secrets are kept in the keychain"),
    key("auth_scheme", Choice(&["bearer", "x-api-key"]), Word("bearer"), Elsewhere, "how the token is shown to the gateway"),
    key("gateway_url", Url, Unset, Elsewhere, "the gateway, without `/v1`"),
    key("store", Choice(&["keychain", "keyutils", "file"]), Word("keychain"), Elsewhere, "where the session is kept"),
    key("cache", Choice(&["auto", "keychain", "file", "none"]), Word("auto"), Elsewhere, "where the short-lived token to print is kept"),
    key("exchange", Structure, Unset, OnToken, "how the provider's token becomes the gateway's"),
    key("revoke_on_logout", Flag, BuiltIn::Flag(true), Elsewhere, "whether signing out revokes at the provider"),
    key("session_lifetime", Seconds(0, 400 * DAY), Unset, Elsewhere, "seconds that the provider keeps a session"),
    key("session_renew_before", Seconds(0, 30 * DAY), Number(43200), Elsewhere, "last stretch of a session in which an interactive call signs in early"),
    key("notify", Flag, BuiltIn::Flag(true), Elsewhere, "desktop notification when a session ends in a silent call, and when a host's call opens a tab"),
    key("wsl", Choice(&["delegate", "separate"]), Word("delegate"), Elsewhere, "in WSL, whether the installed Windows binary is used"),
    key("audit", Choice(&["off", "changes", "all"]), Word("off"), Elsewhere, "lines in the system's log"),
    key("log_level", Choice(&["off", "error", "warn", "info", "debug"]), Word("off"), Elsewhere, "rotated log in the state folder"),
];

#[cfg(test)]
mod tests {
    use super::KEYS;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_every_key_says_what_it_is_for() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
        assert!(KEYS.iter().all(|key| key.about.len() > 10));
    }
}
