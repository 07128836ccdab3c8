//! How a provider behaves while it behaves well.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::keys::Signing;

/// Settings of a provider. All but `port`, `base` and `issuer_path` may be changed while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Port on 127.0.0.1; 0 is any free port.
    pub port: u16,
    /// What clients are told in place of `http://127.0.0.1:PORT`, where somebody in between brings them here.
    pub base: Option<String>,
    /// What follows `http://127.0.0.1:PORT` in the issuer: nothing, `/`, `/tenant`, `/tenant/`.
    pub issuer_path: String,
    /// An authorization server without OpenID: metadata of RFC 8414 only, and never an ID token.
    pub oauth_only: bool,
    /// The only client that is known; `None` knows everybody.
    pub client_id: Option<String>,
    /// The only path of a redirect address that is registered; `None` knows every one.
    pub redirect_path: Option<String>,
    /// Secret that clients must show, by HTTP Basic or in the body.
    pub client_secret: Option<String>,
    /// Whether clients show an assertion (RFC 7523) with each token request, of which each counts only once.
    pub single_use_assertions: bool,
    /// Signature algorithm of all tokens.
    pub signing: Signing,

    /// Lifetime of access tokens.
    pub access_token_seconds: u64,
    /// Lifetime of ID tokens.
    pub id_token_seconds: u64,
    /// `aud` of access tokens, where the client asks for no `resource` or `audience`.
    pub audience: String,
    /// Further characters in each access token, in a claim.
    pub access_token_padding: usize,
    /// Further characters in each ID token, in a claim.
    pub id_token_padding: usize,
    /// Further characters in each refresh token.
    pub refresh_token_padding: usize,

    /// Whether sign-ins bring a refresh token.
    pub issue_refresh_token: bool,
    /// Whether each refresh brings a new refresh token and ends the old one.
    pub refresh_rotation: bool,
    /// Whether the second use of a consumed refresh token revokes all that came from the same sign-in.
    pub reuse_detection: bool,
    /// For how many seconds the second use of a consumed refresh token is forgiven: it is taken for a repeat whose first
    /// answer was lost.
    pub reuse_grace_seconds: u64,
    /// Whether a refresh brings an ID token.
    pub id_token_on_refresh: bool,
    /// How long a sign-in can be refreshed; sent as `refresh_expires_in`.
    pub session_seconds: Option<u64>,

    /// The account that signs in where nobody types a name.
    pub account: String,
    /// Whether the authorization endpoint redirects at once, without showing a page.
    pub auto_approve: bool,
    /// RFC 9207: advertise and send `iss` in the redirect.
    pub redirect_iss: bool,

    /// Whether there is a device authorization endpoint.
    pub device_flow: bool,
    /// `interval` of the device flow; a client that polls sooner is told to slow down.
    pub device_interval_seconds: u64,
    /// Clients must use PKCE for device codes as well, as Keycloak's "PKCE method" demands it.
    pub device_pkce: bool,
    /// Lifetime of device codes.
    pub device_expires_seconds: u64,

    /// RFC 9126: offer pushed authorization requests.
    pub par: bool,
    /// RFC 9126: refuse requests that were not pushed.
    pub par_required: bool,
    /// RFC 7591: offer registration of clients.
    pub registration: bool,
    /// How far the provider's clock is ahead of the machine's: `Date`, `iat`, `exp`, `auth_time`.
    pub clock_ahead_seconds: i64,
}

impl Settings {
    /// Whether the provider knows this client.
    pub(crate) fn knows(&self, client_id: &str) -> bool {
        self.client_id
            .as_ref()
            .is_none_or(|known| known == client_id)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            base: None,
            issuer_path: String::new(),
            oauth_only: false,
            client_id: None,
            redirect_path: None,
            client_secret: None,
            single_use_assertions: false,
            signing: Signing::default(),
            access_token_seconds: 300,
            id_token_seconds: 300,
            audience: "https://gateway.example.test".to_owned(),
            access_token_padding: 0,
            id_token_padding: 0,
            refresh_token_padding: 0,
            issue_refresh_token: true,
            refresh_rotation: true,
            reuse_detection: true,
            reuse_grace_seconds: 0,
            id_token_on_refresh: true,
            session_seconds: None,
            account: "alex@example.test".to_owned(),
            auto_approve: false,
            redirect_iss: true,
            device_flow: true,
            device_interval_seconds: 5,
            device_pkce: false,
            device_expires_seconds: 600,
            par: false,
            par_required: false,
            registration: false,
            clock_ahead_seconds: 0,
        }
    }
}

impl Settings {
    /// The provider's time, in seconds of the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        self.clock()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs())
    }

    /// The provider's time.
    pub(crate) fn clock(&self) -> SystemTime {
        let shift = Duration::from_secs(self.clock_ahead_seconds.unsigned_abs());
        if self.clock_ahead_seconds < 0 {
            SystemTime::now() - shift
        } else {
            SystemTime::now() + shift
        }
    }
}
