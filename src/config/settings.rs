//! The effective configuration of one profile, typed and checked as a whole.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::address::{check_issuer, host_of};
use super::exchange::Exchange;
use super::layers::{Layers, Source};
use super::preset::Preset;
use super::profile::ProfileName;
use super::schema::{Effect, KEYS};
use super::template;
use super::value::Value;
use crate::error::{Failure, Result};
use crate::secret::Secret;

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

/// The effective configuration of one profile.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which profile this is.
    pub profile: ProfileName,
    /// What stands behind the gateway.
    pub kind: Kind,
    /// What gatepass knows about the provider, if the configuration names it.
    pub preset: Option<Preset>,
    /// Whose sign-in this is, for people.
    pub display_name: String,
    /// Where people find help.
    pub support_url: Option<String>,
    /// Whom to ask.
    pub support_text: Option<String>,
    /// The issuer, byte for byte; empty where there is none (`kind = "key"`).
    pub issuer: String,
    /// Tenants that a multi-tenant issuer may vouch for.
    pub tenants: Vec<String>,
    /// The client's id at the issuer; empty where gatepass registers itself at each sign-in (RFC 7591), and for keys.
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
    /// Audiences that an ID token may have beside the client.
    pub trusted_audiences: Vec<String>,
    /// Extra parameters of the authorization request.
    pub authorize_params: BTreeMap<String, String>,
    /// Extra parameters of token requests.
    pub token_params: BTreeMap<String, String>,
    /// How people sign in.
    pub flow: Flow,
    /// Whether the policy has decided how people sign in.
    pub flow_is_locked: bool,
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
    /// File that holds the client's private key.
    pub client_key_file: Option<PathBuf>,
    /// File that holds the client's certificate.
    pub client_cert_file: Option<PathBuf>,
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
    /// Headers whose per-person secrets are kept with the session.
    pub secret_headers: Vec<String>,
    /// How the gateway wants the token.
    pub auth_scheme: AuthScheme,
    /// The gateway.
    pub gateway_url: Option<String>,
    /// Where the session is kept.
    pub store: StoreChoice,
    /// Where the token to print is cached.
    pub cache: CacheChoice,
    /// How the provider's token becomes the gateway's.
    pub exchange: Option<Exchange>,
    /// Whether authorization requests are pushed.
    pub par: Usage,
    /// Whether refresh tokens are bound to a key.
    pub dpop: Usage,
    /// Whether signing out revokes.
    pub revoke_on_logout: bool,
    /// Seconds that the provider keeps a session, if the organisation says so.
    pub session_lifetime: Option<u64>,
    /// Whether desktop notifications are shown.
    pub notify: bool,
    /// Last stretch of a session, in seconds, in which an interactive call signs in early.
    pub session_renew_before: u64,
    /// Sessions from before this moment (seconds since 1970) are dropped: sign-out from afar.
    pub session_not_before: Option<u64>,
    /// Why the organisation does not let anybody use gatepass at present.
    pub disabled: Option<String>,
    /// What is written to the system's log.
    pub audit: Audit,
    /// What is kept in the log in the state folder.
    pub log_level: log::LevelFilter,
    /// Digest of every effective value that can change a token (hexadecimal SHA-256).
    pub token_digest: String,
}

impl Settings {
    /// Turns the sources' values into one checked configuration.
    pub fn resolve(layers: &Layers<'_>, profile: &ProfileName) -> Result<Self> {
        Self::resolve_all(layers, profile).map_err(|mut problems| problems.swap_remove(0))
    }

    /// The same, with every problem instead of the first.
    pub fn resolve_all(layers: &Layers<'_>, profile: &ProfileName) -> Result<Self, Vec<Failure>> {
        let values = Values {
            layers,
            problems: RefCell::default(),
            next: Cell::default(),
        };
        let settings = Self::read(&values, profile);
        settings.check(&values);
        let problems = values.problems.into_inner();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }

    fn read(values: &Values<'_, '_>, profile: &ProfileName) -> Self {
        let kind = match values.word("kind").as_str() {
            "oauth" => Kind::OAuth,
            "key" => Kind::Key,
            _ => Kind::Oidc,
        };
        let issuer = match kind {
            Kind::Key => String::new(),
            _ => values.required_text("issuer"),
        };
        let client_id = match kind {
            Kind::Key => String::new(),
            Kind::OAuth => values.word("client_id"),
            Kind::Oidc => values.required_text("client_id"),
        };
        let client_secret = values.text("client_secret").map(Secret::new);
        let client_secret_file = values.text("client_secret_file").map(PathBuf::from);
        let has_secret = client_secret.is_some() || client_secret_file.is_some();
        let gateway_url = values.text("gateway_url");
        let layers = values.layers;
        let policy = layers.policy;
        Self {
            profile: profile.clone(),
            kind,
            preset: layers.preset(),
            display_name: values
                .text("display_name")
                .or_else(|| host_of(&issuer))
                .or_else(|| gateway_url.as_deref().and_then(host_of))
                .unwrap_or_else(|| match kind {
                    Kind::Key => "your gateway".to_owned(),
                    _ => issuer.clone(),
                }),
            support_url: values.text("support_url"),
            support_text: values.text("support_text"),
            tenants: values.texts("tenants"),
            client_id,
            scopes: values.scopes(kind),
            token: match values.word("token").as_str() {
                "id_token" => TokenChoice::IdToken,
                _ => TokenChoice::AccessToken,
            },
            audience: values.text("audience"),
            resource: values.texts("resource"),
            login_hint: values.text("login_hint"),
            required_claims: values.table("required_claims"),
            trusted_audiences: values.texts("trusted_audiences"),
            authorize_params: values.text_table("authorize_params"),
            token_params: values.text_table("token_params"),
            flow: match values.word("flow").as_str() {
                "browser" => Flow::Browser,
                "device" => Flow::Device,
                _ => Flow::Auto,
            },
            flow_is_locked: layers.is_frozen("flow"),
            device_hosts: values.texts("device_hosts"),
            interactive: match values.word("interactive").as_str() {
                "never" => Interactive::Never,
                _ => Interactive::Auto,
            },
            redirect: values.redirect(),
            browser: values.texts("browser"),
            client_auth: values.client_auth(has_secret),
            client_secret,
            client_secret_file,
            client_key_file: values.text("client_key_file").map(PathBuf::from),
            client_cert_file: values.text("client_cert_file").map(PathBuf::from),
            ca_file: values.text("ca_file").map(PathBuf::from),
            proxy: values.text("proxy"),
            no_proxy: values.texts("no_proxy"),
            // A pasted key has no expiry.
            min_validity: match kind {
                Kind::Key => 0,
                _ => values.number("min_validity").unwrap_or(420),
            },
            interactive_timeout: values.seconds("interactive_timeout", 55),
            sign_in_timeout: values.seconds("sign_in_timeout", 600),
            headers: values.text_table("headers"),
            secret_headers: values.texts("secret_headers"),
            auth_scheme: match values.word("auth_scheme").as_str() {
                "x-api-key" => AuthScheme::XApiKey,
                _ => AuthScheme::Bearer,
            },
            gateway_url,
            store: match values.word("store").as_str() {
                "keyutils" => StoreChoice::Keyutils,
                "file" => StoreChoice::File,
                _ => StoreChoice::Keychain,
            },
            cache: match values.word("cache").as_str() {
                "keychain" => CacheChoice::Keychain,
                "file" => CacheChoice::File,
                "none" => CacheChoice::None,
                _ => CacheChoice::Auto,
            },
            exchange: values.exchange(),
            par: values.usage("par"),
            dpop: values.usage("dpop"),
            revoke_on_logout: values.flag("revoke_on_logout", true),
            session_lifetime: values.number("session_lifetime"),
            notify: values.flag("notify", true),
            session_renew_before: values.number("session_renew_before").unwrap_or(43_200),
            session_not_before: policy.and_then(|policy| policy.session_not_before),
            disabled: policy.and_then(|policy| policy.disabled.clone()),
            audit: match values.word("audit").as_str() {
                "changes" => Audit::Changes,
                "all" => Audit::All,
                _ => Audit::Off,
            },
            // The key's words are the levels' own names.
            log_level: values
                .word("log_level")
                .parse()
                .unwrap_or(log::LevelFilter::Off),
            token_digest: token_digest(layers),
            issuer,
        }
    }

    /// Rules that no single key can be checked for.
    fn check(&self, values: &Values<'_, '_>) {
        let wrong = |key: &str, what: &str| values.wrong(key, what);
        if self.kind != Kind::Key
            && !self.issuer.is_empty()
            && let Err(reason) = check_issuer(&self.issuer)
        {
            wrong("issuer", &format!("`issuer` {reason}"));
        }
        if self.client_secret.is_some() && self.client_secret_file.is_some() {
            wrong(
                "client_secret_file",
                "`client_secret` and `client_secret_file` contradict each other",
            );
        }
        self.check_kind(values);
        // RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
        let scope_character = |b: u8| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        for scope in &self.scopes {
            if !scope.bytes().all(scope_character) {
                wrong("scopes", &format!("`scopes` cannot contain \"{scope}\""));
            }
        }
        for (key, params) in [
            ("authorize_params", &self.authorize_params),
            ("token_params", &self.token_params),
        ] {
            for name in params.keys().filter(|name| is_own_parameter(name)) {
                let what = format!("`{key}` must not set `{name}`: gatepass sets it itself");
                wrong(key, &what);
            }
        }
        if self.proxy.is_none() && !self.no_proxy.is_empty() {
            wrong(
                "no_proxy",
                "`no_proxy` belongs to `proxy`, which is not set; the environment's proxy has its own NO_PROXY",
            );
        }
        self.check_all_headers(values);
        self.check_client_auth(values);
        self.check_stores(values);
    }

    /// Everything that the way of client authentication needs is there, and nothing that it would ignore.
    fn check_client_auth(&self, values: &Values<'_, '_>) {
        let has_secret = self.client_secret.is_some() || self.client_secret_file.is_some();
        let given = [
            ("client_secret", has_secret),
            ("client_key_file", self.client_key_file.is_some()),
            ("client_cert_file", self.client_cert_file.is_some()),
        ];
        // Which of them the way needs, and which it can use.
        let (way, needed, used) = match self.client_auth {
            ClientAuth::None => ("none", [false; 3], [false; 3]),
            ClientAuth::SecretBasic => (
                "client_secret_basic",
                [true, false, false],
                [true, false, false],
            ),
            ClientAuth::SecretPost => (
                "client_secret_post",
                [true, false, false],
                [true, false, false],
            ),
            ClientAuth::PrivateKeyJwt => {
                ("private_key_jwt", [false, true, false], [false, true, true])
            }
            ClientAuth::Tls => ("tls_client_auth", [false, true, true], [false, true, true]),
        };
        for (((name, given), needed), used) in given.into_iter().zip(needed).zip(used) {
            if needed && !given {
                values.wrong(
                    "client_auth",
                    format!("`client_auth` is \"{way}\", which needs `{name}`"),
                );
            }
            if given && !used {
                values.wrong(
                    "client_auth",
                    format!(
                        "`client_auth` is \"{way}\" and `{name}` is set: they contradict each other"
                    ),
                );
            }
        }
    }

    /// What makes no sense for this kind of server.
    fn check_kind(&self, values: &Values<'_, '_>) {
        match self.kind {
            Kind::Oidc if !self.scopes.iter().any(|scope| scope == "openid") => {
                values.wrong("scopes", "`scopes` must contain \"openid\"");
            }
            Kind::Oidc => {}
            Kind::OAuth | Kind::Key => {
                let kind = if self.kind == Kind::Key {
                    "key"
                } else {
                    "oauth"
                };
                let no_id_token = |key: &str, what: &str| {
                    let why =
                        format!("{what} does not go with kind = \"{kind}\": there is no ID token");
                    values.wrong(key, why);
                };
                if self.token == TokenChoice::IdToken {
                    no_id_token("token", "`token` = \"id_token\"");
                }
                if !self.required_claims.is_empty() {
                    no_id_token("required_claims", "`required_claims`");
                }
                if self
                    .headers
                    .values()
                    .any(|value| template::claims(value).next().is_some())
                {
                    no_id_token("headers", "a claim in `headers`");
                }
                let from_id_token =
                    |exchange: &Exchange| exchange.subject() == TokenChoice::IdToken;
                if self.exchange.as_ref().is_some_and(from_id_token) {
                    no_id_token("exchange", "`exchange.subject` = \"id_token\"");
                }
            }
        }
        if self.kind == Kind::Key && self.exchange.is_some() {
            values.wrong(
                "exchange",
                "`exchange` does not go with kind = \"key\": a pasted key is printed as it is",
            );
        }
        if self.preset.is_none() && !self.tenants.is_empty() {
            values.wrong(
                "tenants",
                "`tenants` belongs to the issuer for several tenants of a `preset`, and none is set",
            );
        }
    }

    fn check_all_headers(&self, values: &Values<'_, '_>) {
        if let Err(reason) = check_headers(&self.headers) {
            values.wrong("headers", reason.replace("%", "`headers`"));
        }
        let secret: BTreeMap<String, String> = self
            .secret_headers
            .iter()
            .map(|name| (name.clone(), String::new()))
            .collect();
        if let Err(reason) = check_headers(&secret) {
            values.wrong("secret_headers", reason.replace("%", "`secret_headers`"));
        }
        let mut seen: Vec<String> = self
            .headers
            .keys()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        for name in &self.secret_headers {
            let lower = name.to_ascii_lowercase();
            if seen.contains(&lower) {
                let what = format!("`secret_headers` names {name}, which is set already");
                values.wrong("secret_headers", what);
            }
            seen.push(lower);
        }
    }

    fn check_stores(&self, values: &Values<'_, '_>) {
        if self.store == StoreChoice::Keyutils && !cfg!(target_os = "linux") {
            values.wrong("store", "`store` = \"keyutils\" is there on Linux only");
        }
        let Some(allowed) = values
            .layers
            .policy
            .and_then(|policy| policy.allowed_stores.as_ref())
        else {
            return;
        };
        let forbids = |store: &str| !allowed.iter().any(|name| name == store);
        let store = values.word("store");
        if forbids(&store) {
            let what = format!("your organisation's policy does not allow `store` = \"{store}\"");
            values.wrong("store", what);
        }
        // A token in a file is what such a rule is meant to prevent.
        if self.cache == CacheChoice::File && forbids("file") {
            values.wrong(
                "cache",
                "your organisation's policy does not allow files, and `cache` is \"file\"",
            );
        }
    }

    /// The issuer that the provider's documents and tokens name, with `{tenantid}` in it, where the preset knows that
    /// the configured one stands for many tenants. The allowed ones must be listed then.
    pub fn issuer_template(&self) -> Result<Option<String>> {
        let Some(about) = self.preset.map(|preset| preset.about()) else {
            return Ok(None);
        };
        let templated = about.template_issuers.contains(&self.issuer);
        match (templated, self.tenants.is_empty()) {
            (true, true) => Err(Failure::config(
                "this `issuer` vouches for every tenant, and `tenants` lists none",
                "list your tenant's id in `tenants`, or use its own issuer",
            )),
            (true, false) => Ok(about.issuer_template),
            (false, true) => Ok(None),
            (false, false) => Err(Failure::config(
                "`tenants` is set, and `issuer` is not one for several tenants",
                "remove `tenants`, or use the provider's issuer for several tenants",
            )),
        }
    }

    /// Refuses what a preset knows to end in a token that no gateway of the organisation's can check.
    pub fn check_audience(&self) -> Result<()> {
        let Some(about) = self.preset.map(|preset| preset.about()) else {
            return Ok(());
        };
        if !about.own_audience || self.token == TokenChoice::IdToken {
            return Ok(());
        }
        let title = &about.title;
        let hint = about.api_scope_hint.as_deref().unwrap_or_default();
        match &about.org_issuer {
            Some(path) if self.issuer.contains(path.as_str()) => Ok(()),
            Some(_) => Err(Failure::config(
                format!(
                    "an access token of this issuer is for {title} itself: no gateway can check it"
                ),
                format!("use {hint}, or set token = \"id_token\""),
            )),
            None => {
                let names_an_api = self.audience.is_some()
                    || !self.resource.is_empty()
                    || self
                        .scopes
                        .iter()
                        .any(|scope| !about.default_scopes_only.contains(scope));
                if names_an_api {
                    return Ok(());
                }
                Err(Failure::config(
                    format!(
                        "with these `scopes` {title} issues an access token for its own API: no gateway can check it"
                    ),
                    format!(
                        "add your gateway's scope ({hint}) to `scopes`, or set token = \"id_token\""
                    ),
                ))
            }
        }
    }

    /// The same settings as this client of the authorization server.
    #[must_use]
    pub fn as_client(&self, client_id: &str, client_secret: Option<&Secret>) -> Self {
        Self {
            client_id: client_id.to_owned(),
            client_secret: client_secret.cloned(),
            client_auth: match client_secret {
                Some(_) => ClientAuth::SecretBasic,
                None => ClientAuth::None,
            },
            ..self.clone()
        }
    }

    /// Whether gatepass registers itself at the authorization server (RFC 7591).
    pub fn registers_itself(&self) -> bool {
        self.kind == Kind::OAuth && self.client_id.is_empty()
    }

    /// Refuses to hand out anything where the organisation has switched gatepass off.
    pub fn check_enabled(&self) -> Result<()> {
        match &self.disabled {
            None => Ok(()),
            Some(why) if why.is_empty() => Err(Failure::config(
                "your organisation has switched gatepass off",
                "ask your administrator",
            )),
            Some(why) => Err(Failure::config(
                format!("your organisation has switched gatepass off: {why}"),
                "ask your administrator",
            )),
        }
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
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    out
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
///
/// In the error `%` stands for the key that names them.
pub(crate) fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), String> {
    let mut seen = Vec::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if name.parse::<http::HeaderName>().is_err() {
            return Err(format!("% has a name that no header can have: \"{name}\""));
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
            return Err(format!("% must not set {name}"));
        }
        if seen.contains(&lower) {
            return Err(format!("% sets {name} twice"));
        }
        seen.push(lower);
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(format!("% gives {name} a value that is not visible ASCII"));
        }
    }
    Ok(())
}

/// Adds a value to a digest, so that no two values add the same bytes.
fn add(hash: &mut Sha256, value: &Value) {
    let mut text = |kind: &[u8], text: &str| {
        hash.update(kind);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    match value {
        Value::Text(value) => text(b"s", value),
        Value::Number(number) => {
            hash.update(b"n");
            hash.update(number.to_le_bytes());
        }
        Value::Flag(flag) => hash.update(if *flag { b"t" } else { b"f" }),
        Value::List(items) => {
            hash.update(b"[");
            items.iter().for_each(|item| add(hash, item));
            hash.update(b"]");
        }
        Value::Table(table) => {
            hash.update(b"{");
            for (name, value) in table {
                add(hash, &Value::Text(name.clone()));
                add(hash, value);
            }
            hash.update(b"}");
        }
    }
}

fn token_digest(layers: &Layers<'_>) -> String {
    let mut hash = Sha256::new();
    for key in KEYS.iter().filter(|key| key.effect == Effect::OnToken) {
        if let Some((value, _)) = layers.effective(key) {
            hash.update(key.name);
            hash.update(b"=");
            add(&mut hash, &value);
        }
    }
    // Sign-out from afar makes every cached token worthless.
    if let Some(moment) = layers.policy.and_then(|policy| policy.session_not_before) {
        hash.update(moment.to_le_bytes());
    }
    hex(&hash.finalize())
}

/// What to do about a value that cannot be right.
const CORRECT: &str = "correct that value (`gatepass config path` names the file)";

/// Typed access to the effective values. The shapes were checked when the values were read; what is wrong all the
/// same is collected.
struct Values<'l, 'f> {
    layers: &'l Layers<'f>,
    problems: RefCell<Vec<Failure>>,
    /// Where in the list the next key probably is: they are asked for in its order, more or less.
    next: Cell<usize>,
}

impl Values<'_, '_> {
    fn get(&self, name: &str) -> Option<(Cow<'_, Value>, Source)> {
        let from = self.next.get();
        let (before, after) = KEYS.split_at_checked(from)?;
        let mut candidates = after.iter().chain(before);
        let offset = candidates.position(|key| key.name == name)?;
        let at = (from + offset) % KEYS.len();
        self.next.set(at + 1);
        self.layers.effective(KEYS.get(at)?)
    }

    fn value(&self, name: &str) -> Option<Value> {
        self.get(name).map(|(value, _)| value.into_owned())
    }

    /// Notes a configuration error, with the place where the value stands.
    fn wrong(&self, name: &str, what: impl AsRef<str>) {
        let failure = match self.get(name) {
            Some((_, source)) => {
                let remedy = match source {
                    Source::LockedPolicy | Source::DefaultPolicy => {
                        "ask your administrator to correct the policy"
                    }
                    Source::CommandLine => "correct that option",
                    _ => CORRECT,
                };
                Failure::config(format!("{source}: {}", what.as_ref()), remedy)
            }
            None => Failure::config(what, CORRECT),
        };
        self.problems.borrow_mut().push(failure);
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn required_text(&self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.problems.borrow_mut().push(Failure::config(
                format!("`{name}` is not configured"),
                "gatepass config init --issuer URL --client-id ID",
            ));
            String::new()
        })
    }

    /// The scopes; what is built in is for OpenID providers.
    fn scopes(&self, kind: Kind) -> Vec<String> {
        match self.get("scopes") {
            Some((_, Source::BuiltIn)) if kind != Kind::Oidc => Vec::new(),
            _ => self.texts("scopes"),
        }
    }

    fn exchange(&self) -> Option<Exchange> {
        let Some(Value::Table(table)) = self.value("exchange") else {
            return None;
        };
        Exchange::parse(&table)
            .map_err(|reason| self.wrong("exchange", reason.replace('%', "`exchange.headers`")))
            .ok()
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

    fn redirect(&self) -> Redirect {
        let path = self
            .text("redirect_path")
            .unwrap_or_else(|| "/callback".to_owned());
        let path_character =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
        let odd = path.contains("//") || path.split('/').any(|part| part == "." || part == "..");
        if !path.starts_with('/') || odd || path.len() > 200 || !path.bytes().all(path_character) {
            self.wrong(
                "redirect_path",
                "`redirect_path` is a path such as \"/callback\"",
            );
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
            self.wrong("redirect_ports", "`redirect_ports` lists no port");
        }
        Redirect {
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
        }
    }

    fn client_auth(&self, has_secret: bool) -> ClientAuth {
        match self.word("client_auth").as_str() {
            "client_secret_basic" => ClientAuth::SecretBasic,
            "client_secret_post" => ClientAuth::SecretPost,
            "private_key_jwt" => ClientAuth::PrivateKeyJwt,
            "tls_client_auth" => ClientAuth::Tls,
            "" if has_secret => ClientAuth::SecretBasic,
            _ => ClientAuth::None,
        }
    }

    fn usage(&self, name: &str) -> Usage {
        match self.word(name).as_str() {
            "always" => Usage::Always,
            "never" => Usage::Never,
            _ => Usage::Auto,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    const REQUIRED: &str = "issuer = 'https://idp.example/'\nclient_id = 'desktop'\n";

    fn resolve(more: &str) -> Result<Settings> {
        crate::config::load(
            &Sources::of_text(&format!("{REQUIRED}{more}")),
            &ProfileName::default(),
        )
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
            "client_auth = 'private_key_jwt'",
            "client_auth = 'private_key_jwt'\nclient_key_file = '/k'\nclient_secret = 'a'",
            "client_auth = 'tls_client_auth'\nclient_cert_file = '/c'",
            "client_auth = 'tls_client_auth'\nclient_key_file = '/k'",
            "client_key_file = '/k'",
            "client_cert_file = '/c'",
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
            "secret_headers = ['Authorization']",
            "secret_headers = ['X-A']\n[headers]\nx-a = '1'",
            "kind = 'oauth'\ntoken = 'id_token'",
            "kind = 'oauth'\n[required_claims]\nemail_domain = 'a'",
            "kind = 'key'\n[headers]\nX-A = '{email}'",
            "kind = 'key'\n[exchange]\ntoken_url = 'https://a.example/t'",
            "tenants = ['a']",
            "[exchange]\naudience = 'x'",
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
