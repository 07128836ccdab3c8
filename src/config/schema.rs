//! The one list of configuration keys.
//!
//! Parsing, validation, nearest-key suggestions, `config show` and the table in the administrator's guide all
//! come from here. A key's place in the list is its place in what is shown.

use super::choice::{
    Audit, AuthScheme, CacheChoice, Choice as _, ClientAuth, ExchangeKind, ExpiryFormat, Flow,
    Interactive, Kind, LogLevel, Method, RedirectHost, ResponseMode, StoreChoice, TokenChoice,
    Usage, Wsl,
};
use super::preset::Preset;
use super::value::ConfigValue;
use BuiltIn::{Number, Ports, Unset, Word, Words};
use Effect::{Elsewhere, OnToken};
use Shape::{
    Choice, ClaimTable, Flag, Json, Path, Pointer, PortList, Proxy, Seconds, Table, Text, TextList,
    TextOrList, TextTable, UriList, UriOrList, Url,
};

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
    /// A string or a list of strings.
    TextOrList,
    /// An absolute URI without a fragment (RFC 8707), or a list of them.
    UriOrList,
    /// A JSON pointer (RFC 6901).
    Pointer,
    /// JSON: as text, or as a table.
    Json,
    /// A table with keys of its own.
    Table(&'static [&'static Key]),
}

/// What of a key's value other people must not see.
///
/// This is the one list of what is secret: files that others may read must not hold it, and it is masked where values
/// are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Nothing.
    Open,
    /// All of it.
    Secret,
    /// The password in an address.
    Password,
    /// All of it where a credential stands in it, as far as that can be told.
    Credentials,
    /// Entries that look like credentials are masked; they are not kept from the file.
    Entries,
}

/// What a change of the key's value means for tokens that are already cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A cached token may not be used any more.
    OnToken,
    /// Tokens stay as they are.
    Elsewhere,
}

/// The value that a key has if no source sets it.
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
    pub fn value(self) -> Option<ConfigValue> {
        match self {
            Self::Unset => None,
            Self::Word(word) => Some(word.into()),
            Self::Number(number) => Some(ConfigValue::Number(number)),
            Self::Flag(flag) => Some(ConfigValue::Flag(flag)),
            Self::Words(words) => Some(ConfigValue::List(
                words.iter().copied().map(ConfigValue::from).collect(),
            )),
            Self::Ports(ports) => Some(ConfigValue::List(
                ports
                    .iter()
                    .map(|port| ConfigValue::Number((*port).into()))
                    .collect(),
            )),
        }
    }
}

/// One configuration key.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in TOML.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// The built-in value.
    pub built_in: BuiltIn,
    /// What a change means for cached tokens.
    pub effect: Effect,
    /// What of its value other people must not see.
    pub secrecy: Secrecy,
    /// One sentence for people.
    pub about: &'static str,
}

impl Key {
    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        find(KEYS, name)
    }

    /// Whether all of its value is secret.
    pub fn is_secret(&self) -> bool {
        self.secrecy == Secrecy::Secret
    }

    const fn but(mut self, secrecy: Secrecy) -> Self {
        self.secrecy = secrecy;
        self
    }
}

/// The key of this name in a table.
pub fn find(keys: &[&'static Key], name: &str) -> Option<&'static Key> {
    keys.iter().copied().find(|key| key.name == name)
}

/// A row of the tables below.
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
        secrecy: Secrecy::Open,
        about,
    }
}

/// A table of keys, each of which has a name in code as well: what reads a key that is not there does not compile.
macro_rules! keys {
    ($(#[$about:meta])* $table:ident: $($name:ident = $key:expr;)+) => {
        $(pub(in crate::config) static $name: Key = $key;)+

        $(#[$about])*
        pub static $table: &[&Key] = &[$(&$name),+];
    };
}

const DAY: u64 = 86_400;

#[rustfmt::skip]
keys! {
/// Every key, in the order in which they are shown.
KEYS:
    KIND = key("kind", Choice(Kind::WORDS), Word("oidc"), OnToken, "what stands behind the gateway: an OpenID provider, a plain OAuth server, or a key that the person pastes");
    DISPLAY_NAME = key("display_name", Text, Unset, Elsewhere, "whose sign-in this is, shown to people; the issuer's host if unset");
    SUPPORT_URL = key("support_url", Url, Unset, Elsewhere, "where people find help");
    SUPPORT_TEXT = key("support_text", Text, Unset, Elsewhere, "whom to ask, shown after a failure's remedy");
    ISSUER = key("issuer", Url, Unset, OnToken, "the OpenID provider, byte for byte as its discovery document names itself");
    TENANTS = key("tenants", TextList, Unset, OnToken, "tenant ids that a multi-tenant issuer may vouch for");
    CLIENT_ID = key("client_id", Text, Unset, OnToken, "the client that the organisation registered for gatepass");
    PRESET = key("preset", Choice(&Preset::NAMES), Unset, OnToken, "defaults that suit a provider");
    SCOPES = key("scopes", TextList, Words(&["openid", "profile", "email", "offline_access"]), OnToken, "what is asked for");
    TOKEN = key("token", Choice(TokenChoice::WORDS), Word("access_token"), OnToken, "which token the gateway checks");
    AUDIENCE = key("audience", Text, Unset, OnToken, "sent as `audience` (Auth0 and Okta style)");
    RESOURCE = key("resource", UriList, Unset, OnToken, "RFC 8707 resource indicators, on every request");
    LOGIN_HINT = key("login_hint", Text, Unset, Elsewhere, "the account that the sign-in page should propose");
    REQUIRED_CLAIMS = key("required_claims", ClaimTable, Unset, OnToken, "ID-token claims that must match; otherwise the account is not an allowed one");
    TRUSTED_AUDIENCES = key("trusted_audiences", TextList, Unset, OnToken, "further audiences that an ID token may have beside the client");
    AUTHORIZE_PARAMS = key("authorize_params", TextTable, Unset, OnToken, "extra parameters of the authorization request").but(Secrecy::Entries);
    TOKEN_PARAMS = key("token_params", TextTable, Unset, OnToken, "extra parameters of token requests").but(Secrecy::Entries);
    FLOW = key("flow", Choice(Flow::WORDS), Word("auto"), Elsewhere, "how people sign in");
    DEVICE_HOSTS = key("device_hosts", TextList, Unset, Elsewhere, "hosts that a verification address may have; the provider's if unset");
    INTERACTIVE = key("interactive", Choice(Interactive::WORDS), Word("auto"), Elsewhere, "`never` forbids prompting altogether");
    REDIRECT_HOST = key("redirect_host", Choice(RedirectHost::WORDS), Word("127.0.0.1"), Elsewhere, "host of the loopback redirect");
    REDIRECT_PORTS = key("redirect_ports", PortList, Ports(&[0]), Elsewhere, "ports of the loopback redirect, tried in order; 0 is any free port");
    REDIRECT_PATH = key("redirect_path", Text, Word("/callback"), Elsewhere, "path of the loopback redirect; `/callback/NAME` for a profile with its own issuer beside another one at the top level");
    RESPONSE_MODE = key("response_mode", Choice(ResponseMode::WORDS), Word("query"), Elsewhere, "how the provider hands over the authorization response");
    BROWSER = key("browser", TextList, Unset, Elsewhere, "browser command and arguments; the address is appended as one argument");
    CLIENT_SECRET = key("client_secret", Text, Unset, Elsewhere, "for providers that ask a native client for one; not confidential").but(Secrecy::Secret);
    CLIENT_SECRET_FILE = key("client_secret_file", Path, Unset, Elsewhere, "file that holds the client secret");
    CLIENT_AUTH = key("client_auth", Choice(ClientAuth::WORDS), Unset, Elsewhere, "how the client authenticates; `none`, or basic if a secret is set");
    CLIENT_KEY_FILE = key("client_key_file", Path, Unset, Elsewhere, "private key of the client (PEM), readable by its owner alone");
    CLIENT_CERT_FILE = key("client_cert_file", Path, Unset, Elsewhere, "certificate of the client (PEM)");
    PAR = key("par", Choice(Usage::WORDS), Word("auto"), Elsewhere, "pushed authorization requests (RFC 9126)");
    DPOP = key("dpop", Choice(Usage::WORDS), Word("never"), OnToken, "refresh tokens bound to a key of the session (RFC 9449)");
    CA_FILE = key("ca_file", Path, Unset, Elsewhere, "PEM certificates, added to the operating system's trust store");
    PROXY = key("proxy", Proxy, Unset, Elsewhere, "HTTP proxy; the environment's, then the system's, if unset").but(Secrecy::Password);
    NO_PROXY = key("no_proxy", TextList, Unset, Elsewhere, "hosts, domains and address ranges reached without a proxy");
    MIN_VALIDITY = key("min_validity", Seconds(0, DAY), Number(420), Elsewhere, "seconds of life that a printed token has at least");
    INTERACTIVE_TIMEOUT = key("interactive_timeout", Seconds(5, 600), Number(55), Elsewhere, "seconds that an interactive host call may wait for the person");
    SIGN_IN_TIMEOUT = key("sign_in_timeout", Seconds(30, 3600), Number(600), Elsewhere, "seconds that a sign-in stays open");
    HEADERS = key("headers", TextTable, Unset, OnToken, "headers for the gateway; `{claim}` stands for a claim of the ID token").but(Secrecy::Entries);
    SECRET_HEADERS = key("secret_headers", TextList, Unset, OnToken, "headers whose per-person secrets are kept in the keychain");
    AUTH_SCHEME = key("auth_scheme", Choice(AuthScheme::WORDS), Word("bearer"), Elsewhere, "how the token is shown to the gateway");
    GATEWAY_URL = key("gateway_url", Url, Unset, Elsewhere, "the gateway, without `/v1`");
    STORE = key("store", Choice(StoreChoice::WORDS), Word("keychain"), Elsewhere, "where the session is kept");
    CACHE = key("cache", Choice(CacheChoice::WORDS), Word("auto"), Elsewhere, "where the short-lived token to print is kept");
    EXCHANGE = key("exchange", Table(exchange::KEYS), Unset, OnToken, "how the provider's token becomes the gateway's");
    REVOKE_ON_LOGOUT = key("revoke_on_logout", Flag, BuiltIn::Flag(true), Elsewhere, "whether signing out revokes at the provider");
    SESSION_LIFETIME = key("session_lifetime", Seconds(0, 400 * DAY), Unset, Elsewhere, "seconds that the provider keeps a session");
    SESSION_RENEW_BEFORE = key("session_renew_before", Seconds(0, 30 * DAY), Number(43200), Elsewhere, "last stretch of a session in which an interactive call signs in early");
    NOTIFY = key("notify", Flag, BuiltIn::Flag(true), Elsewhere, "desktop notification when a session ends in a silent call, and when a host's call opens a tab");
    WSL = key("wsl", Choice(Wsl::WORDS), Word("delegate"), Elsewhere, "in WSL, whether the installed Windows binary is used");
    AUDIT = key("audit", Choice(Audit::WORDS), Word("off"), Elsewhere, "lines in the system's log");
    LOG_LEVEL = key("log_level", Choice(LogLevel::WORDS), Word("off"), Elsewhere, "rotated log in the state folder");
}

/// The keys of the table `[exchange]`.
pub mod exchange {
    use super::super::choice::Choice as _;
    use super::{
        BuiltIn::{Unset, Word},
        Choice, DAY,
        Effect::OnToken,
        ExchangeKind, ExpiryFormat, Json, Key, Method, Pointer, Seconds, Secrecy, Text, TextOrList,
        TextTable, TokenChoice, UriOrList, Url, key,
    };

    #[rustfmt::skip]
    keys! {
    /// Every key, in the order in which they are shown.
    KEYS:
        KIND = key("kind", Choice(ExchangeKind::WORDS), Word("rfc8693"), OnToken, "how the gateway's token is got: token exchange (RFC 8693), or a gateway's own endpoint for keys");
        TOKEN_URL = key("token_url", Url, Unset, OnToken, "rfc8693: the token endpoint");
        AUDIENCE = key("audience", TextOrList, Unset, OnToken, "rfc8693: the service by name");
        RESOURCE = key("resource", UriOrList, Unset, OnToken, "rfc8693: the service by address");
        SCOPE = key("scope", Text, Unset, OnToken, "rfc8693: what is asked for");
        SUBJECT = key("subject", Choice(TokenChoice::WORDS), Word("access_token"), OnToken, "which of the provider's tokens is sent");
        REQUESTED_TOKEN_TYPE = key("requested_token_type", Text, Unset, OnToken, "rfc8693: the type of token that is asked for");
        CLIENT_ID = key("client_id", Text, Unset, OnToken, "rfc8693: the client at that endpoint");
        CLIENT_SECRET = key("client_secret", Text, Unset, OnToken, "rfc8693: its secret, sent by HTTP Basic").but(Secrecy::Secret);
        URL = key("url", Url, Unset, OnToken, "http: the address, without placeholders");
        METHOD = key("method", Choice(Method::WORDS), Word("POST"), OnToken, "http: the method");
        HEADERS = key("headers", TextTable, Unset, OnToken, "http: headers; {token} stands for the provider's token, in Authorization only").but(Secrecy::Credentials);
        BODY = key("body", Json, Unset, OnToken, "http: JSON; {token} stands for the provider's token, as a whole value only").but(Secrecy::Credentials);
        TOKEN_POINTER = key("token_pointer", Pointer, Unset, OnToken, "http: where in the answer the key is");
        EXPIRY_POINTER = key("expiry_pointer", Pointer, Unset, OnToken, "http: where in the answer its end is");
        EXPIRY_FORMAT = key("expiry_format", Choice(ExpiryFormat::WORDS), Word("seconds"), OnToken, "http: how that is written");
        LIFETIME = key("lifetime", Seconds(1, 400 * DAY), Unset, OnToken, "http: seconds that a key lives, where the answer does not say it");
    }
}

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
