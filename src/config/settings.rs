//! The effective configuration of one profile, typed and checked as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::address::{check_issuer, host_of};
use super::layers::{Layers, Source};
use super::profile::ProfileName;
use super::schema::{Effect, KEYS, Key};
use super::value::Value;
use crate::error::{Failure, Result};
use crate::secret::Secret;

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

/// The effective configuration of one profile.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which profile this is.
    pub profile: ProfileName,
    /// Whose sign-in this is, for people.
    pub display_name: String,
    /// Where people find help.
    pub support_url: Option<String>,
    /// Whom to ask.
    pub support_text: Option<String>,
    /// The issuer, byte for byte.
    pub issuer: String,
    /// The client's id at the issuer.
    pub client_id: String,
    /// Scopes that are asked for.
    pub scopes: Vec<String>,
    /// Which token is printed.
    pub token: TokenChoice,
    /// `audience` parameter.
    pub audience: Option<String>,
    /// RFC 8707 resource indicators.
    pub resource: Vec<String>,
    /// Account that the sign-in page should propose.
    pub login_hint: Option<String>,
    /// ID-token claims that must match.
    pub required_claims: BTreeMap<String, Value>,
    /// Extra parameters of the authorization request.
    pub authorize_params: BTreeMap<String, String>,
    /// Extra parameters of token requests.
    pub token_params: BTreeMap<String, String>,
    /// How people sign in.
    pub flow: Flow,
    /// Hosts that a verification address may have; the provider's own if empty.
    pub device_hosts: Vec<String>,
    /// Whether prompting is forbidden altogether.
    pub interactive: Interactive,
    /// The loopback redirect.
    pub redirect: Redirect,
    /// Browser command and arguments; the system's browser if empty.
    pub browser: Vec<String>,
    /// A secret that is not confidential (RFC 8252 section 8.5).
    pub client_secret: Option<Secret>,
    /// File that holds it.
    pub client_secret_file: Option<PathBuf>,
    /// How the client authenticates.
    pub client_auth: ClientAuth,
    /// Certificates added to the operating system's.
    pub ca_file: Option<PathBuf>,
    /// Explicit proxy.
    pub proxy: Option<String>,
    /// Hosts reached without a proxy.
    pub no_proxy: Vec<String>,
    /// Seconds of life that a printed token has at least.
    pub min_validity: u64,
    /// How long an interactive host call may wait for the person.
    pub interactive_timeout: Duration,
    /// How long a sign-in stays open.
    pub sign_in_timeout: Duration,
    /// Headers for the gateway, as templates.
    pub headers: BTreeMap<String, String>,
    /// How the gateway wants the token.
    pub auth_scheme: AuthScheme,
    /// The gateway.
    pub gateway_url: Option<String>,
    /// Where the token to print is cached.
    pub cache: CacheChoice,
    /// Whether pushed authorization requests may be used.
    pub par: bool,
    /// Whether signing out revokes.
    pub revoke_on_logout: bool,
    /// Seconds that the provider keeps a session, if the organisation says so.
    pub session_lifetime: Option<u64>,
    /// Digest of every effective value that can change a token (hexadecimal SHA-256).
    pub token_digest: String,
}

impl Settings {
    /// Turns the sources' values into one checked configuration.
    pub fn resolve(layers: &Layers<'_>, profile: &ProfileName) -> Result<Self> {
        let values = Values(layers);
        let issuer = values.required_text("issuer")?;
        check_issuer(&issuer)
            .map_err(|reason| values.wrong("issuer", format!("`issuer` {reason}")))?;
        let client_secret = values.text("client_secret").map(Secret::new);
        let client_secret_file = values.text("client_secret_file").map(PathBuf::from);
        let has_secret = client_secret.is_some() || client_secret_file.is_some();
        if client_secret.is_some() && client_secret_file.is_some() {
            return Err(values.wrong(
                "client_secret_file",
                "`client_secret` and `client_secret_file` contradict each other",
            ));
        }
        let settings = Self {
            profile: profile.clone(),
            display_name: values
                .text("display_name")
                .or_else(|| host_of(&issuer))
                .unwrap_or_else(|| issuer.clone()),
            support_url: values.text("support_url"),
            support_text: values.text("support_text"),
            client_id: values.required_text("client_id")?,
            scopes: values.texts("scopes"),
            token: match values.word("token").as_str() {
                "id_token" => TokenChoice::IdToken,
                _ => TokenChoice::AccessToken,
            },
            audience: values.text("audience"),
            resource: values.texts("resource"),
            login_hint: values.text("login_hint"),
            required_claims: values.table("required_claims"),
            authorize_params: values.text_table("authorize_params"),
            token_params: values.text_table("token_params"),
            flow: match values.word("flow").as_str() {
                "browser" => Flow::Browser,
                "device" => Flow::Device,
                _ => Flow::Auto,
            },
            device_hosts: values.texts("device_hosts"),
            interactive: match values.word("interactive").as_str() {
                "never" => Interactive::Never,
                _ => Interactive::Auto,
            },
            redirect: values.redirect()?,
            browser: values.texts("browser"),
            client_auth: values.client_auth(has_secret)?,
            client_secret,
            client_secret_file,
            ca_file: values.text("ca_file").map(PathBuf::from),
            proxy: values.text("proxy"),
            no_proxy: values.texts("no_proxy"),
            min_validity: values.number("min_validity").unwrap_or(420),
            interactive_timeout: values.seconds("interactive_timeout", 55),
            sign_in_timeout: values.seconds("sign_in_timeout", 600),
            headers: values.text_table("headers"),
            auth_scheme: match values.word("auth_scheme").as_str() {
                "x-api-key" => AuthScheme::XApiKey,
                _ => AuthScheme::Bearer,
            },
            gateway_url: values.text("gateway_url"),
            cache: match values.word("cache").as_str() {
                "keychain" => CacheChoice::Keychain,
                "file" => CacheChoice::File,
                "none" => CacheChoice::None,
                _ => CacheChoice::Auto,
            },
            par: values.word("par") != "never",
            revoke_on_logout: values.flag("revoke_on_logout", true),
            session_lifetime: values.number("session_lifetime"),
            token_digest: token_digest(layers),
            issuer,
        };
        settings.check(&values)?;
        Ok(settings)
    }

    /// Rules that no single key can be checked for.
    fn check(&self, values: &Values<'_, '_>) -> Result<()> {
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err(values.wrong("scopes", "`scopes` must contain \"openid\""));
        }
        // RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
        let scope_character = |b: u8| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        if let Some(scope) = self
            .scopes
            .iter()
            .find(|scope| !scope.bytes().all(scope_character))
        {
            return Err(values.wrong("scopes", format!("`scopes` cannot contain \"{scope}\"")));
        }
        for (key, params) in [
            ("authorize_params", &self.authorize_params),
            ("token_params", &self.token_params),
        ] {
            if let Some(name) = params.keys().find(|name| is_own_parameter(name)) {
                return Err(values.wrong(
                    key,
                    format!("`{key}` must not set `{name}`: gatepass sets it itself"),
                ));
            }
        }
        if self.proxy.is_none() && !self.no_proxy.is_empty() {
            return Err(values.wrong(
                "no_proxy",
                "`no_proxy` belongs to `proxy`, which is not set; the environment's proxy has its own NO_PROXY",
            ));
        }
        check_headers(&self.headers).map_err(|reason| values.wrong("headers", reason))?;
        if self.client_auth == ClientAuth::None
            && (self.client_secret.is_some() || self.client_secret_file.is_some())
        {
            return Err(values.wrong(
                "client_auth",
                "`client_auth` is \"none\" and a client secret is set: they contradict each other",
            ));
        }
        Ok(())
    }

    /// The settings that are enough to end a session which no configuration names any more.
    pub fn of_session(profile: &ProfileName, issuer: &str, client_id: &str) -> Option<Self> {
        let layers = Layers::of_session(issuer, client_id);
        Self::resolve(&layers, profile).ok()
    }

    /// Name under which this profile's files are kept: it depends on profile, issuer and client.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.profile.as_str(), &self.issuer, &self.client_id] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hex(&hash.finalize()[..16])
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Parameters that gatepass sets itself; configuration must not be able to replace them.
fn is_own_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(
        name.as_str(),
        "state"
            | "nonce"
            | "redirect_uri"
            | "response_type"
            | "response_mode"
            | "request"
            | "request_uri"
            | "grant_type"
            | "scope"
            | "refresh_token"
            | "device_code"
    ) || name.starts_with("code")
        || name.starts_with("client_")
}

/// Header names are tokens, unique without regard to case, and none that the host or the transport sets.
fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), String> {
    let mut seen = Vec::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if name.parse::<http::HeaderName>().is_err() {
            return Err(format!(
                "`headers` has a name that no header can have: \"{name}\""
            ));
        }
        let reserved = lower.starts_with("content-")
            || matches!(
                lower.as_str(),
                "authorization"
                    | "proxy-authorization"
                    | "proxy-authenticate"
                    | "x-api-key"
                    | "host"
                    | "cookie"
                    | "connection"
                    | "proxy-connection"
                    | "keep-alive"
                    | "te"
                    | "trailer"
                    | "transfer-encoding"
                    | "upgrade"
            );
        if reserved {
            return Err(format!("`headers` must not set {name}"));
        }
        if seen.contains(&lower) {
            return Err(format!("`headers` sets {name} twice"));
        }
        seen.push(lower);
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(format!(
                "`headers` gives {name} a value that is not visible ASCII"
            ));
        }
    }
    Ok(())
}

fn token_digest(layers: &Layers<'_>) -> String {
    let mut hash = Sha256::new();
    for key in KEYS.iter().filter(|key| key.effect == Effect::OnToken) {
        if let Some((value, _)) = layers.effective(key) {
            hash.update(key.name);
            hash.update(b"=");
            hash.update(value.to_json().to_string());
            hash.update(b"\n");
        }
    }
    hex(&hash.finalize())
}

/// What to do about a value that cannot be right.
const CORRECT: &str = "correct that value (`gatepass config path` names the file)";

/// Typed access to the effective values. The shapes were checked when the values were read.
struct Values<'l, 'f>(&'l Layers<'f>);

impl Values<'_, '_> {
    fn get(&self, name: &str) -> Option<(Cow<'_, Value>, Source)> {
        Key::find(name).and_then(|key| self.0.effective(key))
    }

    fn value(&self, name: &str) -> Option<Value> {
        self.get(name).map(|(value, _)| value.into_owned())
    }

    /// A configuration error that says where the value stands.
    fn wrong(&self, name: &str, what: impl AsRef<str>) -> Failure {
        match self.get(name) {
            Some((_, source)) => Failure::config(format!("{source}: {}", what.as_ref()), CORRECT),
            None => Failure::config(what, CORRECT),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn required_text(&self, name: &str) -> Result<String> {
        self.text(name).ok_or_else(|| {
            Failure::config(
                format!("`{name}` is not configured"),
                "gatepass config init --issuer URL --client-id ID",
            )
        })
    }

    fn word(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn seconds(&self, name: &str, otherwise: u64) -> Duration {
        Duration::from_secs(self.number(name).unwrap_or(otherwise))
    }

    fn flag(&self, name: &str, otherwise: bool) -> bool {
        match self.value(name) {
            Some(Value::Flag(flag)) => flag,
            _ => otherwise,
        }
    }

    fn texts(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(items)) => items
                .into_iter()
                .filter_map(|item| match item {
                    Value::Text(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn table(&self, name: &str) -> BTreeMap<String, Value> {
        match self.value(name) {
            Some(Value::Table(table)) => table,
            _ => BTreeMap::new(),
        }
    }

    fn text_table(&self, name: &str) -> BTreeMap<String, String> {
        self.table(name)
            .into_iter()
            .filter_map(|(name, value)| match value {
                Value::Text(text) => Some((name, text)),
                _ => None,
            })
            .collect()
    }

    fn redirect(&self) -> Result<Redirect> {
        let path = self
            .text("redirect_path")
            .unwrap_or_else(|| "/callback".to_owned());
        let path_character =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
        let odd = path.contains("//") || path.split('/').any(|part| part == "." || part == "..");
        if !path.starts_with('/') || odd || path.len() > 200 || !path.bytes().all(path_character) {
            return Err(self.wrong(
                "redirect_path",
                "`redirect_path` is a path such as \"/callback\"",
            ));
        }
        let ports: Vec<u16> = match self.value("redirect_ports") {
            Some(Value::List(items)) => items
                .into_iter()
                .filter_map(|item| match item {
                    Value::Number(port) => u16::try_from(port).ok(),
                    _ => None,
                })
                .collect(),
            _ => vec![0],
        };
        if ports.is_empty() {
            return Err(self.wrong("redirect_ports", "`redirect_ports` lists no port"));
        }
        Ok(Redirect {
            host: match self.word("redirect_host").as_str() {
                "localhost" => RedirectHost::Localhost,
                "[::1]" => RedirectHost::Ipv6,
                _ => RedirectHost::Ipv4,
            },
            ports,
            path,
            response_mode: match self.word("response_mode").as_str() {
                "form_post" => ResponseMode::FormPost,
                _ => ResponseMode::Query,
            },
        })
    }

    fn client_auth(&self, has_secret: bool) -> Result<ClientAuth> {
        match self.word("client_auth").as_str() {
            "client_secret_basic" | "client_secret_post" if !has_secret => Err(self.wrong(
                "client_auth",
                "`client_auth` needs `client_secret` or `client_secret_file`",
            )),
            "client_secret_basic" => Ok(ClientAuth::SecretBasic),
            "client_secret_post" => Ok(ClientAuth::SecretPost),
            "" if has_secret => Ok(ClientAuth::SecretBasic),
            _ => Ok(ClientAuth::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UserFile;
    use crate::config::document::Document;

    const REQUIRED: &str = "issuer = 'https://idp.example/'\nclient_id = 'desktop'\n";

    fn resolve(more: &str) -> Result<Settings> {
        let source = format!("{REQUIRED}{more}");
        let file = UserFile {
            path: "config.toml".into(),
            document: Some(Document::parse(source.as_bytes()).unwrap()),
        };
        let profile = ProfileName::default();
        Settings::resolve(&Layers::new(&file, &profile)?, &profile)
    }

    #[test]
    fn defaults_are_those_of_the_interface() {
        let settings = resolve("").unwrap();
        assert_eq!(settings.issuer, "https://idp.example/");
        assert_eq!(settings.display_name, "idp.example");
        assert_eq!(
            settings.scopes,
            ["openid", "profile", "email", "offline_access"]
        );
        assert_eq!(settings.min_validity, 420);
        assert_eq!(settings.redirect.ports, [0]);
        assert_eq!(settings.redirect.path, "/callback");
        assert_eq!(settings.client_auth, ClientAuth::None);
        assert_eq!(settings.interactive_timeout.as_secs(), 55);
        assert_eq!(settings.sign_in_timeout.as_secs(), 600);
        assert_eq!(settings.cache, CacheChoice::Auto);
    }

    #[test]
    fn contradictions_are_refused() {
        let cases = [
            "scopes = ['profile']",
            "scopes = ['openid', 'a b']",
            "[authorize_params]\nstate = 'x'",
            "[authorize_params]\ncode_challenge = 'x'",
            "[authorize_params]\nClient_ID = 'x'",
            "[token_params]\ngrant_type = 'password'",
            "client_secret = 'a'\nclient_secret_file = '/b'",
            "client_secret = 'a'\nclient_auth = 'none'",
            "client_auth = 'client_secret_post'",
            "redirect_path = 'callback'",
            "redirect_path = '/a?b'",
            "redirect_path = '//evil.example/cb'",
            "redirect_path = '/a/../b'",
            "no_proxy = ['a.example']",
            "redirect_ports = []",
            "[headers]\nAuthorization = 'x'",
            "[headers]\nContent-Length = '1'",
            "[headers]\n'X A' = '1'",
            "[headers]\nX-A = '1'\nx-a = '2'",
            "[headers]\nX-A = 'ü'",
        ];
        for case in cases {
            assert!(resolve(case).is_err(), "{case}");
        }
    }

    #[test]
    fn the_digest_changes_with_what_changes_a_token_and_with_nothing_else() {
        let base = resolve("").unwrap().token_digest;
        assert_eq!(base, resolve("").unwrap().token_digest);
        for more in [
            "audience = 'x'",
            "token = 'id_token'",
            "[headers]\nX-A = '{email}'",
            "scopes = ['openid']",
        ] {
            assert_ne!(base, resolve(more).unwrap().token_digest, "{more}");
        }
        for more in [
            "min_validity = 5",
            "browser = ['firefox']",
            "cache = 'none'",
        ] {
            assert_eq!(base, resolve(more).unwrap().token_digest, "{more}");
        }
    }

    #[test]
    fn files_are_keyed_by_profile_issuer_and_client() {
        let a = resolve("").unwrap();
        let mut b = a.clone();
        b.client_id = "other".to_owned();
        assert_ne!(a.key(), b.key());
        assert_eq!(a.key().len(), 32);
    }
}
