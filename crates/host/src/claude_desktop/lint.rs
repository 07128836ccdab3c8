//! Claude Desktop's settings.

use serde_json::Value;

use super::keys::{self, Deprecation, KEYS, KeyType};
use crate::address::check_base;
use crate::lint::{
    ANOTHER_HOST, Context, Encoding, HostSettings, LintReport, Severity, another_host, is_ours,
    is_placeholder, program,
};
use crate::secrets::looks_secret;
use crate::value::{Members, Object, kind, structure};
use crate::{LOOK_AHEAD, nearest};

use Severity::{Error, Warning};

const HELPER: &str = "inferenceCredentialHelper";
const KIND: &str = "inferenceCredentialKind";
const TTL: &str = "inferenceCredentialHelperTtlSec";
const TIMEOUT: &str = "inferenceCredentialHelperTimeoutSec";
const BASE_URL: &str = "inferenceGatewayBaseUrl";
const API_KEY: &str = "inferenceGatewayApiKey";
const HEADERS: &str = "inferenceCustomHeaders";

pub(super) fn check(settings: &HostSettings, context: &Context, report: &mut LintReport) {
    EntryCheck {
        settings,
        context,
        report,
    }
    .all();
}

struct EntryCheck<'a> {
    settings: &'a HostSettings,
    context: &'a Context,
    report: &'a mut LintReport,
}

impl EntryCheck<'_> {
    fn add(
        &mut self,
        severity: Severity,
        key: &str,
        what: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        let line = self.settings.line(key);
        let key = format!("{}{key}", self.settings.prefix);
        self.report.add(severity, key, line, what, remedy);
    }

    fn all(&mut self) {
        for (name, value, _) in &self.settings.values {
            self.key(name, value);
        }
        self.provider();
        self.credential();
        self.times();
        self.headers(HEADERS);
        self.models();
        self.servers();
        self.telemetry();
    }

    /// One key by itself: is it known, and is its value of the right type?
    fn key(&mut self, name: &str, value: &Value) {
        if let Some(old) = keys::old(name) {
            let since = old.since.map(|since| format!(" (since {since})"));
            let since = since.unwrap_or_default();
            let (severity, what) = match old.fate {
                Deprecation::Gone => (Error, "is no longer read"),
                Deprecation::Renamed => (Warning, "is deprecated"),
            };
            self.add(severity, name, format!("{what}{since}"), old.instead);
        } else if name.contains('.') {
            self.add(
                Error,
                name,
                "keys with a dot are never read",
                "write the object as a whole",
            );
        } else if keys::kind(name).is_none() {
            self.unknown(name);
        }
        let mut texts = Vec::new();
        leaves(value, &mut texts);
        if texts.iter().any(|text| is_placeholder(text)) {
            self.add(
                Error,
                name,
                "holds a placeholder that was meant to be replaced",
                "write the real value, or remove the key",
            );
        }
        if let Some(kind) = keys::kind(name)
            && let Err((severity, what, remedy)) = fits(value, kind, self.settings.encoding)
        {
            self.add(severity, name, what, remedy);
        }
        let program_key = keys::kind(name) == Some(KeyType::Program);
        if let (true, Value::String(path)) = (program_key, value) {
            let target = if name == "inferenceCredentialHelperWindows" {
                Some(crate::Target::Windows)
            } else {
                self.settings.target
            };
            if let Err((what, remedy)) = program(path, target, self.context) {
                self.add(Error, name, what, remedy);
            }
            self.profile_of(name, path);
        }
    }

    fn unknown(&mut self, name: &str) {
        let near = if name.starts_with("inference") {
            nearest(name, KEYS.iter().map(|(known, _)| *known))
        } else {
            KEYS.iter()
                .map(|(known, _)| *known)
                .find(|known| known.eq_ignore_ascii_case(name))
        };
        match near {
            Some(near) => self.add(
                Error,
                name,
                "is no key of Claude Desktop",
                format!("did you mean {near}?"),
            ),
            None if name.starts_with("inference") => self.add(
                Warning,
                name,
                "is no key of Claude Desktop that gatepass knows",
                "see the app's configuration reference; a newer app may know it",
            ),
            None => (),
        }
    }

    /// A link `gatepass-NAME` chooses a profile, which must be one.
    fn profile_of(&mut self, key: &str, path: &str) {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let name = name.strip_suffix(".exe").unwrap_or(name);
        let name = name.strip_suffix(crate::HEADERS_LINK).unwrap_or(name);
        if let Some(profile) = name.strip_prefix("gatepass-")
            && !self.context.profiles.is_empty()
            && !self.context.profiles.iter().any(|known| known == profile)
        {
            self.add(
                Warning,
                key,
                format!("chooses the profile {profile}, which is not configured here"),
                "gatepass config show --profile NAME shows a configured one",
            );
        }
    }

    fn provider(&mut self) {
        let provider = self.settings.text("inferenceProvider");
        if provider.is_none() {
            self.add(
                Error,
                "inferenceProvider",
                "is missing: the app stays with Anthropic's own service",
                "set it to gateway",
            );
        }
        if provider == Some("gateway") || self.settings.get(BASE_URL).is_some() {
            self.gateway();
        }
    }

    fn gateway(&mut self) {
        match self.settings.text(BASE_URL) {
            None => self.add(
                Error,
                BASE_URL,
                "is missing",
                "the gateway's address, without /v1",
            ),
            Some(url) => {
                if let Err((what, remedy)) = check_base(url) {
                    self.add(Error, BASE_URL, what, remedy);
                }
            }
        }
        match self.settings.text("inferenceGatewayAuthScheme") {
            Some("sso") => self.add(
                Error,
                "inferenceGatewayAuthScheme",
                "\"sso\" is no longer read (since 2026-10-07)",
                "use bearer, and inferenceCredentialKind = helper-script",
            ),
            Some("auto") => self.add(
                Error,
                "inferenceGatewayAuthScheme",
                "\"auto\" is no longer read (since 2026-10-07)",
                "use bearer",
            ),
            _ => (),
        }
    }

    /// Where the credential comes from: exactly one source, and named.
    fn credential(&mut self) {
        let has = |name: &str| self.settings.get(name).is_some();
        let helper = has(HELPER) || has("inferenceCredentialHelperWindows");
        let others: Vec<&str> = [
            "inferenceGatewayOidc",
            "inferenceIdpOidc",
            "inferenceBedrockProfile",
            "inferenceBedrockBearerToken",
            "inferenceVertexCredentialsFile",
            "inferenceFoundryApiKey",
            "inferenceAnthropicApiKey",
        ]
        .into_iter()
        .filter(|name| has(name))
        .collect();
        if helper && has(API_KEY) {
            self.add(Error, API_KEY, "stands beside a credential helper: some builds send it as it is and never run the helper", "remove it; if it is a real key, gatepass config import FILE takes it into the keychain");
        } else if has(API_KEY) {
            self.add(
                Warning,
                API_KEY,
                "a key lies in this file in the clear",
                "gatepass config import FILE takes it into the keychain",
            );
        }
        match self.settings.text(KIND) {
            Some("oauth") => self.add(
                Error,
                KIND,
                "\"oauth\" is no longer read (since 2026-10-07)",
                "use helper-script with gatepass, or interactive",
            ),
            Some("helper-script") if !helper => self.add(
                Error,
                HELPER,
                "is missing, and the credential kind is helper-script",
                "the path of gatepass",
            ),
            Some("helper-script") => {
                if let Some(other) = others.first() {
                    self.add(
                        Warning,
                        other,
                        "is another credential, which helper-script leaves unused",
                        "remove it",
                    );
                }
            }
            Some(kind) if helper && keys::CREDENTIAL_KINDS.contains(&kind) => self.add(
                Error,
                KIND,
                format!("is \"{kind}\", so the helper is never run"),
                "set it to helper-script",
            ),
            None if helper => match others.first() {
                Some(other) => self.add(
                    Error,
                    KIND,
                    format!("is missing, and {other} is a second credential: the app chooses one"),
                    "set it to helper-script, and remove the other",
                ),
                None => self.add(
                    Warning,
                    KIND,
                    "is missing: the app guesses where the credential comes from",
                    "set it to helper-script",
                ),
            },
            None if others.len() + usize::from(has(API_KEY)) > 1 => self.add(
                Error,
                KIND,
                "is missing, and there is more than one credential",
                "set it, and keep one of them",
            ),
            _ => (),
        }
        if has("inferenceCredentialHelperArgs")
            && self
                .settings
                .structure("inferenceCredentialHelperArgs")
                .is_none_or(|args| !is_list_of_texts(&args))
        {
            self.add(
                Error,
                "inferenceCredentialHelperArgs",
                "is no list of strings",
                "[\"--profile\",\"NAME\"]",
            );
        }
        if has("inferenceCredentialHelperWindows") && !has(HELPER) {
            self.add(
                Warning,
                "inferenceCredentialHelperWindows",
                "stands without inferenceCredentialHelper; builds before 2.2553 do not know it",
                "set both",
            );
        }
    }

    /// How long the app keeps a token and how long it waits for one.
    fn times(&mut self) {
        if self.settings.get(HELPER).is_none() {
            return;
        }
        let lifetime = self.context.token_lifetime;
        match (self.settings.get(TTL).is_some(), self.settings.number(TTL)) {
            (true, Some(ttl)) if ttl <= LOOK_AHEAD => self.add(Error, TTL, format!("is {ttl}: at 120 or less the app no longer looks before each turn whether the token has ended"), "set it to 121 or more"),
            (true, Some(ttl)) => {
                if let Some(life) = lifetime.filter(|life| ttl > *life) {
                    self.add(Error, TTL, format!("is {ttl}, and the provider's tokens live {life} seconds"), format!("set it to {}", crate::time_to_live(lifetime)));
                } else if let Some(least) = self.context.min_validity.filter(|least| ttl + LOOK_AHEAD > *least) {
                    self.add(Warning, TTL, format!("is {ttl}, and gatepass's tokens have {least} seconds left at least: the app may use one that has ended"), format!("set it to {} or less, or min_validity to {}", least.saturating_sub(LOOK_AHEAD), ttl + LOOK_AHEAD));
                }
            }
            (true, None) => (),
            (false, _) => match lifetime {
                Some(life) if life < 3600 => self.add(Error, TTL, format!("is missing: the app keeps a token for an hour, and yours live {life} seconds"), format!("set it to {}", crate::time_to_live(lifetime))),
                _ => self.add(Warning, TTL, "is missing: the app keeps a token for an hour", "set it to 300"),
            },
        }
        if let (Some(timeout), Some(wait)) = (
            self.settings.number(TIMEOUT).or(Some(60)),
            self.context.interactive_timeout,
        ) && timeout < wait + 5
        {
            self.add(
                Warning,
                TIMEOUT,
                format!("is {timeout}, and gatepass waits up to {wait} seconds for the person"),
                format!("set it to {}", (wait + 5).min(600)),
            );
        }
    }

    /// Headers are distributed in the clear.
    fn headers(&mut self, key: &str) {
        let Some(Value::Object(headers)) = self.settings.structure(key) else {
            return;
        };
        for (name, value) in headers.iter() {
            match value {
                Value::String(value) if looks_secret(name, value) => self.add(
                    Error,
                    key,
                    format!("{name} looks like a credential, and this file is not secret"),
                    "let gatepass keep it: secret_headers in its configuration",
                ),
                Value::String(_) => (),
                other => self.add(
                    Error,
                    key,
                    format!("{name} is {}, not a string", kind(other)),
                    "write the value in quotes",
                ),
            }
            if name.parse::<http::HeaderName>().is_err() {
                self.add(
                    Error,
                    key,
                    format!("\"{name}\" cannot be the name of a header"),
                    "letters, digits and - only",
                );
            }
        }
    }

    fn models(&mut self) {
        let Some(models @ Value::Array(_)) = self.settings.structure("inferenceModels") else {
            return;
        };
        let names = super::model_names(&models);
        if models
            .as_array()
            .is_some_and(|models| names.len() < models.len())
        {
            self.add(
                Error,
                "inferenceModels",
                "has an entry without a name",
                "a list of names, or of objects with `name`",
            );
        }
        if !names
            .iter()
            .any(|name| name.to_ascii_lowercase().contains("haiku"))
        {
            self.add(
                Warning,
                "inferenceModels",
                "names no Haiku: sub-agents in Cowork need one",
                "add the gateway's Haiku model",
            );
        }
    }

    fn servers(&mut self) {
        let Some(Value::Array(servers)) = self.settings.structure("managedMcpServers") else {
            return;
        };
        for server in servers.iter().filter_map(Value::as_object) {
            self.server(server);
        }
    }

    /// Whether telemetry takes the gateway's token to another host.
    fn telemetry(&mut self) {
        const KEY: &str = "otlpEndpoint";
        let gateway = self.settings.text(BASE_URL);
        let gateway = gateway.or(self.context.gateway_url.as_deref());
        if let (Some(path), Some(url)) = (
            self.settings.text("otlpHeadersHelper"),
            self.settings.text(KEY),
        ) && is_ours(path)
            && let Some((severity, what)) = another_host(url, gateway, self.context)
        {
            self.add(severity, KEY, what, ANOTHER_HOST);
        }
    }

    fn server(&mut self, server: &Object) {
        const KEY: &str = "managedMcpServers";
        let name = server.text("name").unwrap_or("an entry without a name");
        let built_in = server.get("server").is_some();
        if server.get("name").is_none() {
            self.add(Error, KEY, "has an entry without a name", "add `name`");
        }
        match server.text("transport") {
            None if !built_in => self.add(
                Error,
                KEY,
                format!("{name} has no transport"),
                "\"http\", \"sse\" or \"stdio\"",
            ),
            Some("http" | "sse") if server.get("url").is_none() => {
                self.add(Error, KEY, format!("{name} has no url"), "add `url`")
            }
            _ => (),
        }
        let gateway = self.settings.text(BASE_URL);
        let gateway = gateway.or(self.context.gateway_url.as_deref());
        if let (Some(path), Some(url)) = (server.text("headersHelper"), server.text("url"))
            && is_ours(path)
            && let Some((severity, what)) = another_host(url, gateway, self.context)
        {
            self.add(severity, KEY, format!("{name}: {what}"), ANOTHER_HOST);
        }
        if let Some(path) = server.text("headersHelper") {
            if let Err((what, remedy)) = program(path, self.settings.target, self.context) {
                self.add(Error, KEY, format!("{name}: {what}"), remedy);
            } else if is_plain_gatepass(path) {
                self.add(Error, KEY, format!("{name}: the app runs {path} without arguments and gets a bare token, not headers"), format!("name a link to gatepass whose name ends in {}", crate::HEADERS_LINK));
            }
            if server.get("oauth").is_some() {
                self.add(Warning, KEY, format!("{name} has both oauth and headersHelper: the helper never gives the Authorization header then"), "keep one of them");
            }
        }
        for (header, value) in server
            .get("headers")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if looks_secret(header, value.as_str().unwrap_or_default()) {
                self.add(
                    Error,
                    KEY,
                    format!(
                        "{name}: {header} looks like a credential, and this file is not secret"
                    ),
                    "use headersHelper",
                );
            }
        }
    }
}

/// Whether a path leads to gatepass under a name that prints a bare token.
fn is_plain_gatepass(path: &str) -> bool {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let name = name.strip_suffix(".exe").unwrap_or(name);
    (name == "gatepass" || name.starts_with("gatepass-")) && !name.ends_with(crate::HEADERS_LINK)
}

fn is_list_of_texts(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| items.iter().all(|item| item.as_str().is_some()))
}

/// Every string in a value.
fn leaves<'v>(value: &'v Value, into: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        Value::Object(object) => object.values().for_each(|value| leaves(value, into)),
        _ => (),
    }
}

type TypeMismatch = (Severity, String, String);

/// Whether a value has the type that its key takes, in the form that the encoding wants.
fn fits(value: &Value, wanted: KeyType, encoding: Encoding) -> Result<(), TypeMismatch> {
    let wrong = |what: String, remedy: &str| Err((Error, what, remedy.to_owned()));
    match (encoding, value) {
        (Encoding::Plist, Value::Bool(_) | Value::Number(_)) if wanted != KeyType::Any => {
            return wrong(
                format!("is {}; in a profile every value is a string", kind(value)),
                "write <string>…</string>",
            );
        }
        (Encoding::Plist, Value::Array(_) | Value::Object(_))
            if matches!(wanted, KeyType::List | KeyType::Object | KeyType::Headers) =>
        {
            return Err((
                Warning,
                format!(
                    "is {}, which only newer builds read from a profile",
                    kind(value)
                ),
                "write it as JSON text in a <string>".to_owned(),
            ));
        }
        (Encoding::Registry, Value::Number(_))
            if !matches!(wanted, KeyType::Whole(..) | KeyType::Flag | KeyType::Any) =>
        {
            return wrong(
                "is a REG_DWORD, and the key takes no number".to_owned(),
                "use REG_SZ",
            );
        }
        _ => (),
    }
    let text = value.as_str();
    let structure = structure(value);
    match wanted {
        KeyType::Any => Ok(()),
        KeyType::Text | KeyType::Url | KeyType::Program => match text {
            Some("") => wrong("is empty".to_owned(), "give it a value, or remove it"),
            Some(_) => Ok(()),
            None => wrong(
                format!("is {}, not a string", kind(value)),
                "write it in quotes",
            ),
        },
        KeyType::Choice(words) => match text {
            Some(word) if words.contains(&word) || matches!(word, "sso" | "auto" | "oauth") => {
                Ok(())
            }
            Some(word) => match nearest(word, words.iter().copied()) {
                Some(near) => wrong(
                    format!("knows no \"{word}\""),
                    &format!("did you mean \"{near}\"?"),
                ),
                None => wrong(
                    format!("knows no \"{word}\""),
                    &format!("one of: {}", words.join(", ")),
                ),
            },
            None => wrong(
                format!("is {}, not a string", kind(value)),
                &format!("one of: {}", words.join(", ")),
            ),
        },
        KeyType::Flag => match value {
            Value::Bool(_) => Ok(()),
            Value::String(text) if text == "true" || text == "false" => Ok(()),
            Value::Number(number)
                if encoding == Encoding::Registry && number.as_u64().is_some_and(|n| n <= 1) =>
            {
                Ok(())
            }
            _ => wrong("is neither true nor false".to_owned(), "true or false"),
        },
        KeyType::Whole(least, most) => {
            let number = match value {
                Value::Number(number) => number.as_u64(),
                Value::String(text) => text.parse().ok(),
                _ => None,
            };
            match number {
                Some(number) if (least..=most).contains(&number) => Ok(()),
                Some(number) => wrong(
                    format!("is {number}"),
                    &format!("a whole number from {least} to {most}"),
                ),
                None => wrong(
                    "is no whole number".to_owned(),
                    "a number of seconds, such as 300",
                ),
            }
        }
        KeyType::List => match structure {
            Some(Value::Array(_)) => Ok(()),
            _ => wrong(
                "is no list".to_owned(),
                if encoding == Encoding::Native {
                    "write [\"…\"]"
                } else {
                    "write JSON text such as [\"…\"]"
                },
            ),
        },
        KeyType::Object => match structure {
            Some(Value::Object(_)) => Ok(()),
            _ => wrong("is no object".to_owned(), "write {\"name\":\"value\"}"),
        },
        KeyType::Headers => match structure {
            Some(Value::Object(_)) => Ok(()),
            _ => wrong(
                "is no JSON object; the forms Name=value and lists are no longer read".to_owned(),
                "write {\"Name\":\"value\"}",
            ),
        },
    }
}
