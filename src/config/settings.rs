//! The effective configuration of one profile, typed and checked as a whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::address::{check_issuer, host_of};
use super::choice::LogLevel;
pub use super::choice::{
    Audit, AuthScheme, CacheChoice, ClientAuth, Flow, Interactive, Kind, Redirect, RedirectHost,
    ResponseMode, StoreChoice, TokenChoice, Usage,
};
use super::digest::token_digest;
use super::effective::Effective;
use super::exchange::Exchange;
use super::header_names::check_headers;
use super::layers::Layers;
use super::preset::Preset;
use super::profile::ProfileName;
use super::redirect_path::PathOwner;
use super::schema::{self as key, Key};
use super::template;
use super::value::ConfigValue;
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::text::hex;

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
    pub required_claims: BTreeMap<String, ConfigValue>,
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
    /// Whether the policy has decided who signs people in.
    pub issuer_is_locked: bool,
    /// Hosts that a verification address may have; the provider's own if empty.
    pub device_hosts: Vec<String>,
    /// Whether prompting is forbidden altogether.
    pub interactive: Interactive,
    /// The loopback redirect.
    pub redirect: Redirect,
    /// Why the redirect has this path, as far as other issuers are concerned.
    pub redirect_path: PathOwner,
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
    /// How long an interactive host call may wait for the user.
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
    /// The only stores that the organisation allows, if it says so.
    pub allowed_stores: Option<Vec<String>>,
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
    /// Sessions from before this moment (seconds since 1970) are dropped: remote sign-out.
    pub session_not_before: Option<u64>,
    /// Why the organisation's policy disables gatepass at present.
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
        let values = Effective {
            layers,
            problems: RefCell::default(),
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

    fn read(values: &Effective<'_, '_>, profile: &ProfileName) -> Self {
        let kind = values.chosen(&key::KIND);
        let issuer = match kind {
            Kind::Key => String::new(),
            Kind::Oidc | Kind::OAuth => values.required_text(&key::ISSUER),
        };
        let client_id = match kind {
            Kind::Key => String::new(),
            Kind::OAuth => values.text(&key::CLIENT_ID).unwrap_or_default(),
            Kind::Oidc => values.required_text(&key::CLIENT_ID),
        };
        let client_secret = values.text(&key::CLIENT_SECRET).map(Secret::new);
        let client_secret_file = values.text(&key::CLIENT_SECRET_FILE).map(PathBuf::from);
        let has_secret = client_secret.is_some() || client_secret_file.is_some();
        let gateway_url = values.text(&key::GATEWAY_URL);
        let layers = values.layers;
        let policy = layers.policy;
        Self {
            profile: profile.clone(),
            kind,
            preset: layers.preset(),
            display_name: values
                .text(&key::DISPLAY_NAME)
                .or_else(|| host_of(&issuer))
                .or_else(|| gateway_url.as_deref().and_then(host_of))
                .unwrap_or_else(|| match kind {
                    Kind::Key => "your gateway".to_owned(),
                    Kind::Oidc | Kind::OAuth => issuer.clone(),
                }),
            support_url: values.text(&key::SUPPORT_URL),
            support_text: values.text(&key::SUPPORT_TEXT),
            tenants: values.texts(&key::TENANTS),
            client_id,
            scopes: values.scopes(kind),
            token: values.chosen(&key::TOKEN),
            audience: values.text(&key::AUDIENCE),
            resource: values.texts(&key::RESOURCE),
            login_hint: values.text(&key::LOGIN_HINT),
            required_claims: values.table(&key::REQUIRED_CLAIMS),
            trusted_audiences: values.texts(&key::TRUSTED_AUDIENCES),
            authorize_params: values.text_table(&key::AUTHORIZE_PARAMS),
            token_params: values.text_table(&key::TOKEN_PARAMS),
            flow: values.chosen(&key::FLOW),
            flow_is_locked: layers.is_frozen("flow"),
            issuer_is_locked: layers.is_frozen("issuer"),
            device_hosts: values.texts(&key::DEVICE_HOSTS),
            interactive: values.chosen(&key::INTERACTIVE),
            redirect: values.redirect(),
            redirect_path: PathOwner::of(layers),
            browser: values.texts(&key::BROWSER),
            client_auth: values.client_auth(has_secret),
            client_secret,
            client_secret_file,
            client_key_file: values.text(&key::CLIENT_KEY_FILE).map(PathBuf::from),
            client_cert_file: values.text(&key::CLIENT_CERT_FILE).map(PathBuf::from),
            ca_file: values.text(&key::CA_FILE).map(PathBuf::from),
            proxy: values.text(&key::PROXY),
            no_proxy: values.texts(&key::NO_PROXY),
            // A pasted key has no expiry.
            min_validity: match kind {
                Kind::Key => 0,
                Kind::Oidc | Kind::OAuth => values.seconds(&key::MIN_VALIDITY),
            },
            interactive_timeout: Duration::from_secs(values.seconds(&key::INTERACTIVE_TIMEOUT)),
            sign_in_timeout: Duration::from_secs(values.seconds(&key::SIGN_IN_TIMEOUT)),
            headers: values.text_table(&key::HEADERS),
            secret_headers: values.texts(&key::SECRET_HEADERS),
            auth_scheme: values.chosen(&key::AUTH_SCHEME),
            gateway_url,
            store: values.chosen(&key::STORE),
            cache: values.chosen(&key::CACHE),
            allowed_stores: policy.and_then(|policy| policy.allowed_stores.clone()),
            exchange: values.exchange(),
            par: values.chosen(&key::PAR),
            dpop: values.chosen(&key::DPOP),
            revoke_on_logout: values.flag(&key::REVOKE_ON_LOGOUT),
            session_lifetime: values.number(&key::SESSION_LIFETIME),
            notify: values.flag(&key::NOTIFY),
            session_renew_before: values.seconds(&key::SESSION_RENEW_BEFORE),
            session_not_before: policy.and_then(|policy| policy.session_not_before),
            disabled: policy.and_then(|policy| policy.disabled.clone()),
            audit: values.chosen(&key::AUDIT),
            log_level: values.chosen::<LogLevel>(&key::LOG_LEVEL).into(),
            token_digest: token_digest(layers),
            issuer,
        }
    }

    /// Rules that no single key can be checked for.
    fn check(&self, values: &Effective<'_, '_>) {
        let wrong = |key: &'static Key, what: &str| values.wrong(key, what);
        if self.kind != Kind::Key
            && !self.issuer.is_empty()
            && let Err(reason) = check_issuer(&self.issuer)
        {
            wrong(&key::ISSUER, &format!("`issuer` {reason}"));
        }
        if self.client_secret.is_some() && self.client_secret_file.is_some() {
            wrong(
                &key::CLIENT_SECRET_FILE,
                "`client_secret` and `client_secret_file` contradict each other",
            );
        }
        self.check_kind(values);
        // RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
        let scope_character = |b: u8| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        for scope in &self.scopes {
            if !scope.bytes().all(scope_character) {
                wrong(
                    &key::SCOPES,
                    &format!("`scopes` cannot contain \"{scope}\""),
                );
            }
        }
        for (key, params) in [
            (&key::AUTHORIZE_PARAMS, &self.authorize_params),
            (&key::TOKEN_PARAMS, &self.token_params),
        ] {
            for name in params.keys().filter(|name| is_own_parameter(name)) {
                let key_name = key.name;
                let what = format!("`{key_name}` must not set `{name}`: gatepass sets it itself");
                wrong(key, &what);
            }
        }
        if self.proxy.is_none() && !self.no_proxy.is_empty() {
            wrong(
                &key::NO_PROXY,
                "`no_proxy` belongs to `proxy`, which is not set; the environment's proxy has its own NO_PROXY",
            );
        }
        self.check_all_headers(values);
        self.check_client_auth(values);
        self.check_stores(values);
    }

    /// Everything that the way of client authentication needs is there, and nothing that it would ignore.
    fn check_client_auth(&self, values: &Effective<'_, '_>) {
        let has_secret = self.client_secret.is_some() || self.client_secret_file.is_some();
        let given = [
            ("client_secret", has_secret),
            ("client_key_file", self.client_key_file.is_some()),
            ("client_cert_file", self.client_cert_file.is_some()),
        ];
        // Which of them the way needs, and which it can use.
        let way = self.client_auth.as_str();
        let (needed, used) = match self.client_auth {
            ClientAuth::None => ([false; 3], [false; 3]),
            ClientAuth::SecretBasic | ClientAuth::SecretPost => {
                ([true, false, false], [true, false, false])
            }
            ClientAuth::PrivateKeyJwt => ([false, true, false], [false, true, true]),
            ClientAuth::Tls => ([false, true, true], [false, true, true]),
        };
        for (((name, given), needed), used) in given.into_iter().zip(needed).zip(used) {
            if needed && !given {
                values.wrong(
                    &key::CLIENT_AUTH,
                    format!("`client_auth` is \"{way}\", which needs `{name}`"),
                );
            }
            if given && !used {
                values.wrong(
                    &key::CLIENT_AUTH,
                    format!(
                        "`client_auth` is \"{way}\" and `{name}` is set: they contradict each other"
                    ),
                );
            }
        }
    }

    /// What makes no sense for this kind of server.
    fn check_kind(&self, values: &Effective<'_, '_>) {
        match self.kind {
            Kind::Oidc if !self.scopes.iter().any(|scope| scope == "openid") => {
                values.wrong(&key::SCOPES, "`scopes` must contain \"openid\"");
            }
            Kind::Oidc => {}
            Kind::OAuth | Kind::Key => {
                let kind = self.kind.as_str();
                let no_id_token = |key: &'static Key, what: &str| {
                    let why =
                        format!("{what} does not go with kind = \"{kind}\": there is no ID token");
                    values.wrong(key, why);
                };
                if self.token == TokenChoice::IdToken {
                    no_id_token(&key::TOKEN, "`token` = \"id_token\"");
                }
                if !self.required_claims.is_empty() {
                    no_id_token(&key::REQUIRED_CLAIMS, "`required_claims`");
                }
                if self
                    .headers
                    .values()
                    .any(|value| template::claims(value).next().is_some())
                {
                    no_id_token(&key::HEADERS, "a claim in `headers`");
                }
                let from_id_token =
                    |exchange: &Exchange| exchange.subject() == TokenChoice::IdToken;
                if self.exchange.as_ref().is_some_and(from_id_token) {
                    no_id_token(&key::EXCHANGE, "`exchange.subject` = \"id_token\"");
                }
            }
        }
        if self.kind == Kind::Key && self.exchange.is_some() {
            values.wrong(
                &key::EXCHANGE,
                "`exchange` does not go with kind = \"key\": a pasted key is printed as it is",
            );
        }
        if self.preset.is_none() && !self.tenants.is_empty() {
            values.wrong(&key::TENANTS,
                "`tenants` belongs to the issuer for several tenants of a `preset`, and none is set",
            );
        }
    }

    fn check_all_headers(&self, values: &Effective<'_, '_>) {
        if let Err(reason) = check_headers(&self.headers) {
            values.wrong(&key::HEADERS, reason.replace("%", "`headers`"));
        }
        let secret: BTreeMap<String, String> = self
            .secret_headers
            .iter()
            .map(|name| (name.clone(), String::new()))
            .collect();
        if let Err(reason) = check_headers(&secret) {
            values.wrong(
                &key::SECRET_HEADERS,
                reason.replace("%", "`secret_headers`"),
            );
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
                values.wrong(&key::SECRET_HEADERS, what);
            }
            seen.push(lower);
        }
    }

    fn check_stores(&self, values: &Effective<'_, '_>) {
        if self.store == StoreChoice::Keyutils && !cfg!(target_os = "linux") {
            values.wrong(&key::STORE, "`store` = \"keyutils\" is there on Linux only");
        }
        let Some(allowed) = values
            .layers
            .policy
            .and_then(|policy| policy.allowed_stores.as_ref())
        else {
            return;
        };
        let forbids = |store: &str| !allowed.iter().any(|name| name == store);
        let store = self.store.as_str();
        if forbids(store) {
            let what = format!("your organisation's policy does not allow `store` = \"{store}\"");
            values.wrong(&key::STORE, what);
        }
        // A token in a file is what such a rule is meant to prevent.
        if self.cache == CacheChoice::File && forbids("file") {
            values.wrong(
                &key::CACHE,
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

    /// Refuses what a preset knows that the provider refuses, or that ends in a token which no gateway can check.
    ///
    /// # Errors
    /// `config`.
    pub fn check_provider(&self) -> Result<()> {
        self.check_resource()?;
        self.check_scopes()?;
        self.check_audience()
    }

    fn check_scopes(&self) -> Result<()> {
        let Some(about) = self.preset.map(|preset| preset.about()) else {
            return Ok(());
        };
        let refused = about
            .refuses_scopes
            .iter()
            .find(|scope| self.scopes.contains(scope));
        match refused {
            Some(scope) => Err(Failure::config(
                format!("`scopes` must not have {scope}: {} refuses it", about.title),
                format!("remove {scope} from `scopes`"),
            )),
            None => Ok(()),
        }
    }

    fn check_resource(&self) -> Result<()> {
        let about = self.preset.map(|preset| preset.about());
        let refuses = about.and_then(|about| {
            let title = about.title;
            about.refuses_resource.map(|refuses| (title, refuses))
        });
        match refuses {
            Some((title, refuses))
                if !self.resource.is_empty() && self.issuer.ends_with(&refuses.issuer_ends) =>
            {
                Err(Failure::config(
                    format!(
                        "`resource` must not be set: {title} refuses it ({})",
                        refuses.error
                    ),
                    "remove `resource`, and name the gateway's API in `scopes`",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a gateway's address with a path that every host appends itself.
    ///
    /// # Errors
    /// `config`.
    pub fn check_gateway_url(&self) -> Result<()> {
        let Some(url) = self.gateway_url.as_deref() else {
            return Ok(());
        };
        let address = url.trim_end_matches('/');
        let root = ["/v1", "/v1/messages"]
            .iter()
            .find_map(|path| address.strip_suffix(path));
        match root {
            Some(root) => Err(Failure::config(
                format!(
                    "`gateway_url` must not end in /v1 or /v1/messages: hosts append that ({url})"
                ),
                format!("write gateway_url = \"{root}\""),
            )),
            None => Ok(()),
        }
    }

    /// Refuses what a preset knows to end in a token that no gateway of the organisation's can check.
    fn check_audience(&self) -> Result<()> {
        let Some(about) = self.preset.map(|preset| preset.about()) else {
            return Ok(());
        };
        if self.token == TokenChoice::IdToken {
            return Ok(());
        }
        let title = &about.title;
        let goes_to_a_gateway = self.gateway_url.is_some() && self.exchange.is_none();
        if about.access_tokens_are_its_own && goes_to_a_gateway {
            return Err(Failure::config(
                format!(
                    "every access token of {title} is for {title} itself: no gateway can check it"
                ),
                "set token = \"id_token\"",
            ));
        }
        if !about.own_audience {
            return Ok(());
        }
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

    /// Refuses to hand out anything where the organisation's policy disables gatepass (remote sign-out).
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

    /// Digest of everything that may decide whether a refresh succeeds, the files that the configuration names
    /// included. What the command line says of one call (`--min-validity`) is left out.
    ///
    /// Short, so that it is no help in guessing a secret that is in it.
    pub fn attempt_digest(&self) -> String {
        let same_for_every_call = Self {
            min_validity: 0,
            ..self.clone()
        };
        let mut hash = Sha256::new();
        hash.update(format!("{same_for_every_call:?}"));
        let exchange_secret = self.exchange.as_ref().and_then(Exchange::client_secret);
        for secret in [self.client_secret.as_ref(), exchange_secret] {
            hash.update(secret.map_or("", Secret::expose));
            hash.update([0]);
        }
        for path in [
            &self.client_secret_file,
            &self.client_key_file,
            &self.client_cert_file,
            &self.ca_file,
        ] {
            let about = path.as_ref().and_then(|path| path.metadata().ok());
            let changed = about.as_ref().and_then(|about| about.modified().ok());
            let changed = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            hash.update(changed.map_or(0, |at| at.as_nanos()).to_le_bytes());
            hash.update(about.map_or(0, |about| about.len()).to_le_bytes());
        }
        hex(&hash.finalize()[..8])
    }

    /// Name under which this profile's files are kept: it depends on profile, issuer and client.
    pub fn key(&self) -> String {
        key(&self.profile, &self.issuer, &self.client_id)
    }
}

/// Name under which the files of a profile's session are kept that belongs to this issuer and client.
pub fn key(profile: &ProfileName, issuer: &str, client_id: &str) -> String {
    let mut hash = Sha256::new();
    for part in [profile.as_str(), issuer, client_id] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize()[..16])
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

    /// What ends the pause after a refresh that has failed: any setting, and any file that one names.
    #[test]
    fn an_attempt_depends_on_every_setting_and_on_the_files_that_they_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "one").unwrap();
        let file = format!("client_secret_file = '{}'\n", path.display());
        let digest = |more: &str| resolve(more).unwrap().attempt_digest();
        let same = digest("");
        assert_eq!(digest(""), same);
        // A caller's own wish is none of the configuration's.
        assert_eq!(digest("min_validity = 7\n"), same);
        let others = [
            "client_secret = 'a'\n",
            "client_secret = 'b'\n",
            "client_secret = 'a'\nclient_auth = 'client_secret_post'\n",
            "[required_claims]\nemail = 'ann@example.com'\n",
            "notify = false\n",
            &file,
        ];
        let mut seen: Vec<String> = others.iter().map(|more| digest(more)).collect();
        seen.push(same);
        std::fs::write(&path, "another").unwrap();
        seen.push(digest(&file));
        let different: std::collections::BTreeSet<&String> = seen.iter().collect();
        assert_eq!(different.len(), seen.len());
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
