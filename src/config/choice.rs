//! What a configuration chooses between.

/// What stands behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An OpenID provider.
    Oidc,
    /// An authorization server with RFC 8414 metadata and no ID tokens.
    OAuth,
    /// Nobody: the person pastes a key.
    Key,
}

/// Where the session is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// The operating system's keychain.
    Keychain,
    /// The Linux kernel's user keyring: in memory, gone after a restart.
    Keyutils,
    /// An owner-only file.
    File,
}

impl StoreChoice {
    /// As it is configured.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keychain => "keychain",
            Self::Keyutils => "keyutils",
            Self::File => "file",
        }
    }
}

/// Which of the provider's tokens is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenChoice {
    /// The access token.
    AccessToken,
    /// The ID token.
    IdToken,
}

/// How people sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Browser where one can be opened, else device code if the provider offers it.
    Auto,
    /// Authorization code with PKCE over a loopback redirect (RFC 8252).
    Browser,
    /// Device authorization grant (RFC 8628).
    Device,
}

/// How the provider hands over the authorization response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the redirect's query.
    Query,
    /// As a form that the browser posts (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

/// How the client shows who it is at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A public client: only its id, in the body.
    None,
    /// Secret in an HTTP Basic header.
    SecretBasic,
    /// Secret in the body.
    SecretPost,
    /// An assertion signed with the client's key (RFC 7523).
    PrivateKeyJwt,
    /// The client's certificate (RFC 8705).
    Tls,
}

/// Whether something that a provider may offer is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Where the provider's metadata offer it.
    Auto,
    /// Always; a provider without it is refused.
    Always,
    /// Never.
    Never,
}

/// How the gateway wants to be shown the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer,
    /// `x-api-key: …`.
    XApiKey,
}

/// Where the short-lived token to print is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheChoice {
    /// The first fast and private place that this machine has.
    Auto,
    /// An owner-only file.
    File,
    /// Only the session record in the keychain.
    Keychain,
    /// Nowhere: the session record is asked each time.
    None,
}

/// What is written to the system's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audit {
    /// Nothing.
    Off,
    /// Sign-ins, refusals, sign-outs.
    Changes,
    /// Each printed token too.
    All,
}

/// Whether gatepass may prompt at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interactive {
    /// As the caller allows.
    Auto,
    /// Never.
    Never,
}

/// Where the loopback redirect listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Host as it stands in the redirect URI.
    pub host: RedirectHost,
    /// Ports, tried in order; 0 is any free port.
    pub ports: Vec<u16>,
    /// Path, with its leading slash.
    pub path: String,
    /// How the response arrives.
    pub response_mode: ResponseMode,
}

/// Host of the loopback redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectHost {
    /// `127.0.0.1`, as RFC 8252 section 8.3 recommends.
    Ipv4,
    /// `[::1]`.
    Ipv6,
    /// `localhost`, listening on both families.
    Localhost,
}

impl RedirectHost {
    /// As it is written in a URI and in a `Host` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "127.0.0.1",
            Self::Ipv6 => "[::1]",
            Self::Localhost => "localhost",
        }
    }
}
