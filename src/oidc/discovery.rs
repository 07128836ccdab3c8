//! What the issuer says about itself, and its keys: OpenID Connect Discovery 1.0, or RFC 8414 for plain OAuth servers.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::json::UniqueObject;
use super::keys::Keys;
use super::transport::http::{Http, HttpError};
use crate::clock;
use crate::config::address::{check_url, is_internal, is_loopback};
use crate::config::settings::{ClientAuth, Kind, Settings};
use crate::error::{Failure, Id, Result};
use crate::session::state::StateFiles;
use crate::text;

/// How long a fetched document is used for refreshes, in milliseconds. A sign-in always fetches it anew.
const KEPT_FOR: u64 = 24 * 60 * 60 * 1000;

/// Largest snapshot that is read from the state folder, in bytes.
const SNAPSHOT: u64 = 2 * 1024 * 1024;

/// The members of the discovery document that gatepass acts on. Unknown members are ignored.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    issuer: String,
    /// Where the browser is sent.
    pub authorization_endpoint: Option<Url>,
    /// Where codes and refresh tokens are redeemed.
    pub token_endpoint: Url,
    jwks_uri: Option<Url>,
    /// RFC 8628.
    pub device_authorization_endpoint: Option<Url>,
    /// RFC 7009.
    pub revocation_endpoint: Option<Url>,
    /// RFC 7591.
    pub registration_endpoint: Option<Url>,
    /// RFC 9126.
    pub pushed_authorization_request_endpoint: Option<Url>,
    /// RFC 9126: requests in the browser's address are refused.
    #[serde(default)]
    pub require_pushed_authorization_requests: bool,
    /// RFC 9207: the authorization response names its issuer.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    /// RFC 8414: signature algorithms of client assertions.
    pub token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// RFC 9449: signature algorithms of proofs.
    #[serde(default)]
    pub dpop_signing_alg_values_supported: Vec<String>,
    /// RFC 8705 section 5.
    #[serde(default)]
    mtls_endpoint_aliases: Aliases,
    /// Signature algorithms of ID tokens.
    #[serde(default)]
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// Scopes that the provider admits to.
    pub scopes_supported: Option<Vec<String>>,
}

/// Where a client that shows a certificate goes instead.
#[derive(Clone, Debug, Default, Deserialize)]
struct Aliases {
    token_endpoint: Option<Url>,
    device_authorization_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    pushed_authorization_request_endpoint: Option<Url>,
}

impl Metadata {
    pub(crate) fn parse(bytes: &[u8], settings: &Settings) -> Result<Self> {
        let wrong = |what: String| {
            Failure::untrusted(format!(
                "the discovery document of {} {what}",
                settings.issuer
            ))
        };
        let mut object = UniqueObject::parse(bytes).map_err(|error| match error.is_data() {
            true => wrong("is not a JSON object".to_owned()),
            false => not_json(&format!("the discovery document of {}", settings.issuer)),
        })?;
        // A member without a value is as good as none.
        object.0.retain(|_, value| !value.is_null() && *value != "");
        let mut metadata: Self = serde_json::from_value(object.0.into()).map_err(|error| {
            wrong(format!(
                "is malformed: {}",
                text::from_server(&error.to_string())
            ))
        })?;
        // Discovery section 4.3: the issuer is identical, code point by code point.
        let without_slash = |issuer: &str| issuer.trim_end_matches('/').to_owned();
        let template = settings.issuer_template()?;
        let is_named = metadata.issuer == settings.issuer
            || template.is_some_and(|template| metadata.issuer == template);
        if !is_named && without_slash(&metadata.issuer) == without_slash(&settings.issuer) {
            return Err(Failure::new(
                Id::UntrustedResponse,
                format!(
                    "the provider writes its issuer \"{}\"",
                    text::from_server(&metadata.issuer)
                ),
                "set `issuer` to exactly that: the slash at the end matters",
            )
            .told_by_provider());
        }
        if !is_named {
            return Err(wrong(format!(
                "names another issuer: \"{}\"",
                text::from_server(&metadata.issuer)
            )));
        }
        if settings.client_auth == ClientAuth::Tls {
            metadata.use_aliases();
        }
        if settings.kind == Kind::Oidc && metadata.jwks_uri.is_none() {
            return Err(wrong("names no keys (`jwks_uri`)".to_owned()));
        }
        let to_this_machine = Url::parse(&settings.issuer).is_ok_and(|url| is_loopback(&url));
        for (name, url) in metadata.endpoints() {
            check_url(url.as_str())
                .map_err(|reason| wrong(format!("has a `{name}` that {}", negated(&reason))))?;
            // Plain HTTP is for an issuer on this machine only; a remote issuer has no business here.
            if is_internal(url) && !to_this_machine {
                return Err(wrong(format!("has a `{name}` that is no public address")));
            }
        }
        Ok(metadata)
    }

    fn use_aliases(&mut self) {
        let aliases = std::mem::take(&mut self.mtls_endpoint_aliases);
        if let Some(url) = aliases.token_endpoint {
            self.token_endpoint = url;
        }
        for (endpoint, alias) in [
            (
                &mut self.device_authorization_endpoint,
                aliases.device_authorization_endpoint,
            ),
            (&mut self.revocation_endpoint, aliases.revocation_endpoint),
            (
                &mut self.pushed_authorization_request_endpoint,
                aliases.pushed_authorization_request_endpoint,
            ),
        ] {
            if alias.is_some() {
                *endpoint = alias;
            }
        }
    }

    fn endpoints(&self) -> Vec<(&'static str, &Url)> {
        [
            (
                "authorization_endpoint",
                self.authorization_endpoint.as_ref(),
            ),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", self.jwks_uri.as_ref()),
            ("registration_endpoint", self.registration_endpoint.as_ref()),
            (
                "device_authorization_endpoint",
                self.device_authorization_endpoint.as_ref(),
            ),
            ("revocation_endpoint", self.revocation_endpoint.as_ref()),
            (
                "pushed_authorization_request_endpoint",
                self.pushed_authorization_request_endpoint.as_ref(),
            ),
        ]
        .into_iter()
        .filter_map(|(name, url)| url.map(|url| (name, url)))
        .collect()
    }
}

/// Turns "is an https address" into "is not an https address".
fn negated(reason: &str) -> String {
    match reason.strip_prefix("is ") {
        Some(rest) => format!("is not {rest}"),
        None => reason.to_owned(),
    }
}

/// A provider as it described itself.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The discovery document.
    pub metadata: Metadata,
    /// The keys that sign ID tokens.
    pub keys: Keys,
    raw: RawSnapshot,
}

/// The two documents as they were fetched, kept in the state folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RawSnapshot {
    issuer: String,
    /// In milliseconds since 1970.
    fetched_at_ms: u64,
    metadata: Box<RawValue>,
    keys: Box<RawValue>,
}

impl Provider {
    /// Fetches both documents and keeps them for later refreshes.
    ///
    /// # Errors
    /// `unavailable` where the provider cannot be reached; `untrusted-response` where the document is not the
    /// configured issuer's (RFC 8414 section 3.3).
    pub fn fetch(http: &Http, settings: &Settings, files: &StateFiles) -> Result<Self> {
        let provider = Self::look(http, settings)?;
        provider.keep(files);
        Ok(provider)
    }

    /// Fetches both documents and keeps nothing.
    ///
    /// # Errors
    /// As [`Provider::fetch`].
    pub fn look(http: &Http, settings: &Settings) -> Result<Self> {
        let bytes = fetch_metadata(http, settings)?;
        let metadata = Metadata::parse(&bytes, settings)?;
        let (keys, raw_keys) = fetch_keys(http, &metadata, settings)?;
        let raw = RawSnapshot {
            issuer: settings.issuer.clone(),
            fetched_at_ms: clock::now_millis(),
            metadata: raw_json(bytes)?,
            keys: raw_keys,
        };
        Ok(Self {
            metadata,
            keys,
            raw,
        })
    }

    /// The discovery document as it was sent, for those who look at what gatepass itself does not act on.
    pub fn document(&self) -> serde_json::Value {
        serde_json::from_str(self.raw.metadata.get()).unwrap_or_default()
    }

    /// The kept documents, if they are recent and still pass every check.
    pub fn kept(settings: &Settings, files: &StateFiles) -> Option<Self> {
        let bytes = files.dir().read(&files.name("provider"), SNAPSHOT).ok()??;
        let raw: RawSnapshot = serde_json::from_slice(&bytes).ok()?;
        let age = clock::now_millis().checked_sub(raw.fetched_at_ms)?;
        if age > KEPT_FOR || raw.issuer != settings.issuer {
            return None;
        }
        Some(Self {
            metadata: Metadata::parse(raw.metadata.get().as_bytes(), settings).ok()?,
            keys: match settings.kind {
                Kind::Oidc => parse_keys(raw.keys.get().as_bytes()).ok()?,
                _ => Keys::default(),
            },
            raw,
        })
    }

    /// The kept documents, or fresh ones.
    ///
    /// # Errors
    /// As [`Provider::fetch`].
    pub fn kept_or_fetch(http: &Http, settings: &Settings, files: &StateFiles) -> Result<Self> {
        match Self::kept(settings, files) {
            Some(provider) => Ok(provider),
            None => Self::fetch(http, settings, files),
        }
    }

    /// Documents that were fetched since this moment, in milliseconds since 1970: by this process, by another one
    /// meanwhile, or now. A verdict on an answer never rests on what was kept for a day (OIDC Core section 10.1.1).
    ///
    /// # Errors
    /// As [`Provider::fetch`].
    pub fn fetched_since(
        began_ms: u64,
        http: &Http,
        settings: &Settings,
        files: &StateFiles,
    ) -> Result<Self> {
        match Self::kept(settings, files).filter(|kept| kept.raw.fetched_at_ms >= began_ms) {
            Some(kept) => Ok(kept),
            None => Self::fetch(http, settings, files),
        }
    }

    /// A snapshot that cannot be kept costs two requests at the next refresh, nothing else.
    fn keep(&self, files: &StateFiles) {
        let kept = serde_json::to_vec(&self.raw)
            .map_err(std::io::Error::from)
            .and_then(|bytes| files.dir().replace(&files.name("provider"), &bytes));
        if let Err(error) = kept {
            log::warn!("the provider's documents could not be kept: {error}");
        }
    }
}

/// Where the issuer describes itself, the likeliest place first.
pub fn metadata_urls(settings: &Settings) -> Result<Vec<Url>> {
    let no_address = || Failure::config("`issuer` is not an address", "gatepass config path");
    // Discovery section 4.1: a terminating `/` is removed before the well-known path is appended.
    let base = settings
        .issuer
        .strip_suffix('/')
        .unwrap_or(&settings.issuer);
    let appended = format!("{base}/.well-known/openid-configuration");
    let appended = Url::parse(&appended).map_err(|_| no_address())?;
    if settings.kind != Kind::OAuth {
        return Ok(vec![appended]);
    }
    // RFC 8414 section 3.1: the well-known path comes between host and path. Section 5: many servers have only the
    // other document.
    let mut inserted = Url::parse(base).map_err(|_| no_address())?;
    let path = inserted.path().trim_end_matches('/').to_owned();
    inserted.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Ok(vec![inserted, appended])
}

fn fetch_metadata(http: &Http, settings: &Settings) -> Result<Vec<u8>> {
    let mut urls = metadata_urls(settings)?.into_iter().peekable();
    while let Some(url) = urls.next() {
        match http.get_json(&url) {
            Ok(bytes) => return Ok(bytes),
            Err(HttpError::Status { status, .. })
                if status == StatusCode::NOT_FOUND && urls.peek().is_some() => {}
            Err(HttpError::Status { host, status }) if status == StatusCode::NOT_FOUND => {
                return Err(Failure::new(
                    Id::Unavailable,
                    format!("{host} has no provider at {url} (404)"),
                    "check `issuer`: it must be exactly what the provider calls itself",
                )
                .told_by_provider());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::internal("there is no address to ask"))
}

/// The issuer's keys; a plain OAuth server needs none, since it signs nothing that we check.
fn fetch_keys(
    http: &Http,
    metadata: &Metadata,
    settings: &Settings,
) -> Result<(Keys, Box<RawValue>)> {
    match &metadata.jwks_uri {
        Some(url) if settings.kind == Kind::Oidc => {
            let bytes = http.get_json(url)?;
            Ok((parse_keys(&bytes)?, raw_json(bytes)?))
        }
        _ => Ok((Keys::default(), raw_json(b"{}".to_vec())?)),
    }
}

fn raw_json(bytes: Vec<u8>) -> Result<Box<RawValue>> {
    String::from_utf8(bytes)
        .ok()
        .and_then(|text| RawValue::from_string(text).ok())
        .ok_or_else(|| Failure::untrusted("the provider sent something that is not JSON text"))
}

fn parse_keys(bytes: &[u8]) -> Result<Keys> {
    let keys = Keys::parse(bytes).map_err(|error| match error.is_data() {
        true => Failure::untrusted("the provider's key set is malformed"),
        false => not_json("the provider's key set"),
    })?;
    // Known before the user is sent to sign in: no ID token could be accepted.
    if keys.iter().next().is_none() {
        return Err(Failure::untrusted(
            "the provider's key set has no key that could sign an ID token",
        ));
    }
    Ok(keys)
}

/// Something that calls itself JSON and is none: a broken proxy, an answer cut short.
fn not_json(what: &str) -> Failure {
    Failure::new(
        Id::Unavailable,
        format!("{what} is not JSON"),
        "run it again in a few minutes",
    )
    .told_by_provider()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::config::profile::ProfileName;

    fn settings(issuer: &str) -> Settings {
        let text = format!("issuer = '{issuer}'\nclient_id = 'c'");
        crate::config::load(&Sources::of_text(&text), &ProfileName::default()).unwrap()
    }

    fn document(issuer: &str, token_endpoint: &str) -> String {
        format!(
            r#"{{"issuer":"{issuer}","token_endpoint":"{token_endpoint}","jwks_uri":"https://idp.example/keys","authorization_endpoint":"https://other.example/auth","x":[1]}}"#
        )
    }

    #[test]
    fn the_well_known_path_is_appended_once() {
        for (issuer, url) in [
            ("https://h", "https://h/.well-known/openid-configuration"),
            ("https://h/", "https://h/.well-known/openid-configuration"),
            (
                "https://h/a",
                "https://h/a/.well-known/openid-configuration",
            ),
            (
                "https://h/a/",
                "https://h/a/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(metadata_urls(&settings(issuer)).unwrap()[0].as_str(), url);
        }
    }

    #[test]
    fn a_plain_oauth_server_is_asked_at_both_places() {
        for (issuer, expected) in [
            (
                "https://h",
                "https://h/.well-known/oauth-authorization-server",
            ),
            (
                "https://h/a/",
                "https://h/.well-known/oauth-authorization-server/a",
            ),
        ] {
            let text = format!("kind = 'oauth'\nissuer = '{issuer}'");
            let settings =
                crate::config::load(&Sources::of_text(&text), &ProfileName::default()).unwrap();
            let urls = metadata_urls(&settings).unwrap();
            assert_eq!(urls[0].as_str(), expected);
            assert!(
                urls[1]
                    .path()
                    .ends_with("/.well-known/openid-configuration")
            );
        }
    }

    #[test]
    fn a_template_for_tenants_is_one_only_where_the_preset_says_so() {
        let text = "preset = 'entra'\nclient_id = 'c'\ntenants = ['t1']\n\
                    issuer = 'https://login.microsoftonline.com/organizations/v2.0'";
        let settings =
            crate::config::load(&Sources::of_text(text), &ProfileName::default()).unwrap();
        let named = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let document = document(named, "https://login.microsoftonline.com/t");
        assert!(Metadata::parse(document.as_bytes(), &settings).is_ok());
        let alone = Settings {
            preset: None,
            ..settings
        };
        assert!(Metadata::parse(document.as_bytes(), &alone).is_err());
    }

    #[test]
    fn the_issuer_is_compared_byte_for_byte() {
        let issuer = "https://idp.example";
        let parse = |named: &str| {
            Metadata::parse(
                document(named, "https://idp.example/t").as_bytes(),
                &settings(issuer),
            )
        };
        assert!(parse(issuer).is_ok());
        for other in [
            "https://idp.example/",
            "https://IDP.example",
            "https://idp.example:443",
            "https://idp.exampleINVALID",
        ] {
            assert_eq!(parse(other).unwrap_err().id.exit_code(), 8, "{other}");
        }
    }

    #[test]
    fn endpoints_are_https_and_nobody_sends_us_to_this_machine() {
        let issuer = "https://idp.example";
        let parse = |endpoint: &str| {
            Metadata::parse(document(issuer, endpoint).as_bytes(), &settings(issuer))
        };
        assert!(parse("https://elsewhere.example/t").is_ok());
        for endpoint in [
            "http://idp.example/t",
            "https://u:p@idp.example/t",
            "https://idp.example/t#f",
            "http://127.0.0.1:1/t",
            "https://localhost/t",
            "file:///etc/passwd",
            "/t",
        ] {
            assert_eq!(parse(endpoint).unwrap_err().id.exit_code(), 8, "{endpoint}");
        }
    }
}
