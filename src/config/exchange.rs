//! The table `[exchange]`: how the provider's token becomes the gateway's.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;
use url::Url;

use super::address::{check_resource, check_url};
use super::choice::TokenChoice;
use super::header_names::check_headers;
use super::value::Value;
use crate::secret::Secret;
use crate::text;

/// How the provider's token becomes the gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Token exchange at an OAuth token endpoint (RFC 8693).
    Token(TokenExchange),
    /// A gateway's own endpoint that gives out keys.
    Http(HttpExchange),
}

/// RFC 8693 section 2.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenExchange {
    /// Where to ask.
    pub token_url: Url,
    /// `audience`: the service by name.
    pub audience: Vec<String>,
    /// `resource`: the service by address.
    pub resource: Vec<String>,
    /// `scope`.
    pub scope: Option<String>,
    /// Which of the provider's tokens is exchanged.
    pub subject: TokenChoice,
    /// `requested_token_type`.
    pub requested_token_type: Option<String>,
    /// The client there, if it is one.
    pub client_id: Option<String>,
    /// Its secret, sent by HTTP Basic.
    pub client_secret: Option<Secret>,
}

/// One request that gives a key.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpExchange {
    /// Where to ask: literal, without placeholders.
    pub url: Url,
    /// With which method.
    pub method: Method,
    /// Headers; `{token}` may stand in `Authorization` only.
    pub headers: BTreeMap<String, String>,
    /// JSON; `{token}` only as a whole string value.
    pub body: Option<Json>,
    /// Which of the provider's tokens is sent.
    pub subject: TokenChoice,
    /// Where in the answer the key is (RFC 6901).
    pub token_pointer: String,
    /// Where in the answer its end is.
    pub expiry: Expiry,
}

/// Headers and body may hold secrets of the organisation's.
impl fmt::Debug for HttpExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpExchange")
            .field("url", &self.url.as_str())
            .field("method", &self.method)
            .field("token_pointer", &self.token_pointer)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// HTTP methods that can ask for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`, without a body.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
}

/// How the end of a key's life is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// In the answer.
    In {
        /// Where (RFC 6901).
        pointer: String,
        /// How it is written.
        format: ExpiryFormat,
        /// What holds where the answer does not say it, in seconds.
        otherwise: Option<u64>,
    },
    /// Always after so many seconds.
    After(u64),
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryFormat {
    /// Seconds from now.
    Seconds,
    /// Seconds since 1970.
    Epoch,
    /// Milliseconds since 1970.
    EpochMillis,
    /// RFC 3339.
    Rfc3339,
}

/// Every key of the table, for the nearest one to a mistyped one.
const KEYS: [&str; 17] = [
    "kind",
    "token_url",
    "audience",
    "resource",
    "scope",
    "subject",
    "requested_token_type",
    "client_id",
    "client_secret",
    "url",
    "method",
    "headers",
    "body",
    "token_pointer",
    "expiry_pointer",
    "expiry_format",
    "lifetime",
];

/// Longest life that may be configured, in seconds.
const LONGEST: u64 = 400 * 86_400;

/// What stands for the provider's token.
pub const PLACEHOLDER: &str = "{token}";

impl Exchange {
    /// Reads the table. The error names the key.
    pub fn parse(table: &BTreeMap<String, Value>) -> Result<Self, String> {
        let fields = Fields(table);
        match fields.word("kind")?.unwrap_or("rfc8693") {
            "rfc8693" => {
                fields.only(&KEYS[..9], "rfc8693")?;
                fields.token_exchange().map(Self::Token)
            }
            "http" => {
                fields.only(&[&["kind", "subject"], &KEYS[9..17]].concat(), "http")?;
                fields.http_exchange().map(Self::Http)
            }
            other => Err(format!(
                "`exchange.kind` knows no \"{}\"; it is \"rfc8693\" or \"http\"",
                text::printable(other, 80)
            )),
        }
    }

    /// Where the provider's token is sent.
    pub fn url(&self) -> &Url {
        match self {
            Self::Token(exchange) => &exchange.token_url,
            Self::Http(exchange) => &exchange.url,
        }
    }

    /// Which of the provider's tokens is sent.
    pub fn subject(&self) -> TokenChoice {
        match self {
            Self::Token(exchange) => exchange.subject,
            Self::Http(exchange) => exchange.subject,
        }
    }
}

struct Fields<'t>(&'t BTreeMap<String, Value>);

impl<'t> Fields<'t> {
    /// Refuses keys that mean nothing here.
    fn only(&self, known: &[&str], kind: &str) -> Result<(), String> {
        for name in self.0.keys() {
            if !known.contains(&name.as_str()) {
                let shown = text::printable(name, 80);
                return Err(match text::nearest(name, known.iter().copied()) {
                    Some(near) => {
                        format!("`exchange` has no key `{shown}`; did you mean `{near}`?")
                    }
                    None if KEYS.contains(&name.as_str()) => {
                        format!("`exchange.{shown}` does not belong to kind = \"{kind}\"")
                    }
                    None => format!("`exchange` has no key `{shown}`"),
                });
            }
        }
        Ok(())
    }

    fn word(&self, name: &str) -> Result<Option<&'t str>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) if !text.is_empty() && !text.contains(char::is_control) => {
                Ok(Some(text))
            }
            Some(_) => Err(format!("`exchange.{name}` is a string")),
        }
    }

    fn owned(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.word(name)?.map(str::to_owned))
    }

    /// A string or a list of them.
    fn words(&self, name: &str) -> Result<Vec<String>, String> {
        match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(Value::List(items)) => items
                .iter()
                .map(|item| match item {
                    Value::Text(text) if !text.is_empty() => Ok(text.clone()),
                    _ => Err(format!(
                        "`exchange.{name}` is a string or a list of strings"
                    )),
                })
                .collect(),
            Some(_) => Ok(self.owned(name)?.into_iter().collect()),
        }
    }

    fn address(&self, name: &str) -> Result<Url, String> {
        let text = self
            .word(name)?
            .ok_or_else(|| format!("`exchange.{name}` is missing"))?;
        if text.contains(['{', '}']) {
            return Err(format!(
                "`exchange.{name}` is literal: it has no placeholders"
            ));
        }
        check_url(text).map_err(|why| format!("`exchange.{name}` {why}"))?;
        Url::parse(text).map_err(|_| format!("`exchange.{name}` is no address"))
    }

    fn subject(&self) -> Result<TokenChoice, String> {
        match self.word("subject")?.unwrap_or("access_token") {
            "access_token" => Ok(TokenChoice::AccessToken),
            "id_token" => Ok(TokenChoice::IdToken),
            _ => Err("`exchange.subject` is \"access_token\" or \"id_token\"".to_owned()),
        }
    }

    fn token_exchange(&self) -> Result<TokenExchange, String> {
        let resource = self.words("resource")?;
        for uri in &resource {
            check_resource(uri).map_err(|why| format!("`exchange.resource` {why}"))?;
        }
        let client_id = self.owned("client_id")?;
        let client_secret = self.word("client_secret")?.map(Secret::new);
        if client_secret.is_some() && client_id.is_none() {
            return Err("`exchange.client_secret` needs `exchange.client_id`".to_owned());
        }
        Ok(TokenExchange {
            token_url: self.address("token_url")?,
            audience: self.words("audience")?,
            resource,
            scope: self.owned("scope")?,
            subject: self.subject()?,
            requested_token_type: self.owned("requested_token_type")?,
            client_id,
            client_secret,
        })
    }

    fn http_exchange(&self) -> Result<HttpExchange, String> {
        let method = match self.word("method")?.unwrap_or("POST") {
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "GET" => Method::Get,
            _ => return Err("`exchange.method` is \"POST\", \"PUT\" or \"GET\"".to_owned()),
        };
        let headers = self.headers()?;
        let body = self.body()?;
        if method == Method::Get && body.is_some() {
            return Err("`exchange.body` does not go with the method GET".to_owned());
        }
        let in_header = headers.values().any(|value| value.contains(PLACEHOLDER));
        let in_body = body.as_ref().is_some_and(holds_placeholder);
        if !in_header && !in_body {
            return Err(format!(
                "`exchange` sends no token: put {PLACEHOLDER} into `body` or into the header Authorization"
            ));
        }
        Ok(HttpExchange {
            url: self.address("url")?,
            method,
            headers,
            body,
            subject: self.subject()?,
            token_pointer: self
                .pointer("token_pointer")?
                .ok_or("`exchange.token_pointer` is missing")?,
            expiry: self.expiry()?,
        })
    }

    fn headers(&self) -> Result<BTreeMap<String, String>, String> {
        let table = match self.0.get("headers") {
            None => return Ok(BTreeMap::new()),
            Some(Value::Table(table)) => table,
            Some(_) => return Err("`exchange.headers` is a table of strings".to_owned()),
        };
        let mut headers = BTreeMap::new();
        for (name, value) in table {
            let Value::Text(value) = value else {
                return Err("`exchange.headers` is a table of strings".to_owned());
            };
            let is_authorization = name.eq_ignore_ascii_case("authorization");
            if value.contains(PLACEHOLDER) && !is_authorization {
                return Err(format!(
                    "`exchange.headers`: {PLACEHOLDER} may stand in Authorization only"
                ));
            }
            headers.insert(name.clone(), value.clone());
        }
        let mut others = headers.clone();
        // The credential's own header and an API key are what such endpoints ask for.
        others.retain(|name, _| {
            !["authorization", "x-api-key", "content-type", "accept"]
                .iter()
                .any(|own| name.eq_ignore_ascii_case(own))
        });
        check_headers(&others).map_err(|why| format!("`exchange.headers`: {why}"))?;
        for value in headers.values() {
            if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err("`exchange.headers` has a value that is not visible ASCII".to_owned());
            }
        }
        Ok(headers)
    }

    /// JSON text or a table.
    fn body(&self) -> Result<Option<Json>, String> {
        let body = match self.0.get("body") {
            None => return Ok(None),
            Some(Value::Text(text)) => serde_json::from_str(text)
                .map_err(|error| format!("`exchange.body` is not JSON: {error}"))?,
            Some(value) => value.to_json(),
        };
        if holds_part(&body) {
            return Err(format!(
                "`exchange.body` has {PLACEHOLDER} within a longer string; it stands for a whole value"
            ));
        }
        Ok(Some(body))
    }

    fn pointer(&self, name: &str) -> Result<Option<String>, String> {
        match self.word(name)? {
            // RFC 6901 section 3: `~` only as `~0` or `~1`.
            Some(pointer) if pointer.starts_with('/') => {
                let well_escaped = pointer
                    .split('~')
                    .skip(1)
                    .all(|rest| rest.starts_with(['0', '1']));
                if well_escaped {
                    Ok(Some(pointer.to_owned()))
                } else {
                    Err(format!("`exchange.{name}` is no JSON pointer (RFC 6901)"))
                }
            }
            Some(_) => Err(format!(
                "`exchange.{name}` is a JSON pointer such as \"/key\""
            )),
            None => Ok(None),
        }
    }

    fn expiry(&self) -> Result<Expiry, String> {
        let lifetime = match self.0.get("lifetime") {
            None => None,
            Some(Value::Number(seconds)) if (1..=LONGEST).contains(seconds) => Some(*seconds),
            Some(_) => return Err("`exchange.lifetime` is a number of seconds".to_owned()),
        };
        let format = match self.word("expiry_format")? {
            None | Some("seconds") => ExpiryFormat::Seconds,
            Some("epoch") => ExpiryFormat::Epoch,
            Some("epoch_ms") => ExpiryFormat::EpochMillis,
            Some("rfc3339") => ExpiryFormat::Rfc3339,
            Some(_) => {
                return Err(
                    "`exchange.expiry_format` is \"seconds\", \"epoch\", \"epoch_ms\" or \"rfc3339\""
                        .to_owned(),
                );
            }
        };
        match (self.pointer("expiry_pointer")?, lifetime) {
            (Some(pointer), otherwise) => Ok(Expiry::In {
                pointer,
                format,
                otherwise,
            }),
            (None, Some(seconds)) => Ok(Expiry::After(seconds)),
            (None, None) => {
                Err("`exchange` needs `expiry_pointer` or `lifetime`: keys must end".to_owned())
            }
        }
    }
}

/// Whether the placeholder is one of the body's values.
fn holds_placeholder(body: &Json) -> bool {
    match body {
        Json::String(text) => text == PLACEHOLDER,
        Json::Array(items) => items.iter().any(holds_placeholder),
        Json::Object(members) => members.values().any(holds_placeholder),
        _ => false,
    }
}

/// Whether the placeholder is part of a longer string, or of a name.
fn holds_part(body: &Json) -> bool {
    let within = |text: &str| text != PLACEHOLDER && text.contains(PLACEHOLDER);
    match body {
        Json::String(text) => within(text),
        Json::Array(items) => items.iter().any(holds_part),
        Json::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains(PLACEHOLDER) || holds_part(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::Document;

    fn parse(text: &str) -> Result<Exchange, String> {
        let document = Document::parse(format!("[exchange]\n{text}").as_bytes())
            .map_err(|problem| problem.what)?;
        match &document.top["exchange"].value {
            Value::Table(table) => Exchange::parse(table),
            _ => Err("no table".to_owned()),
        }
    }

    #[test]
    fn both_kinds_are_read() {
        let Ok(Exchange::Token(exchange)) = parse(
            "token_url = 'https://sts.example/token'\naudience = 'gw'\nresource = ['https://gw.example']\n\
             subject = 'id_token'\nclient_id = 'c'\nclient_secret = 's'",
        ) else {
            panic!("a token exchange");
        };
        assert_eq!(exchange.audience, ["gw"]);
        assert_eq!(exchange.subject, TokenChoice::IdToken);
        let Ok(Exchange::Http(exchange)) = parse(
            "kind = 'http'\nurl = 'https://gw.example/keys'\nbody = '{\"t\":\"{token}\",\"n\":1}'\n\
             token_pointer = '/data/key'\nexpiry_pointer = '/data/ends'\nexpiry_format = 'epoch_ms'",
        ) else {
            panic!("an http exchange");
        };
        assert_eq!(exchange.method, Method::Post);
        assert_eq!(exchange.token_pointer, "/data/key");
        assert!(!format!("{exchange:?}").contains("{token}"));
    }

    #[test]
    fn what_could_leak_or_loop_is_refused() {
        let http =
            "kind = 'http'\nurl = 'https://gw.example/keys'\ntoken_pointer = '/k'\nlifetime = 60\n";
        let cases = [
            ("kind = 'smoke'", "`exchange.kind`"),
            ("audience = 'x'", "`exchange.token_url` is missing"),
            ("token_url = 'http://sts.example/t'", "https address"),
            ("token_url = 'https://sts.example/{token}'", "literal"),
            (
                "token_url = 'https://sts.example/t'\nclient_secret = 's'",
                "needs `exchange.client_id`",
            ),
            (
                "token_url = 'https://sts.example/t'\nurl = 'https://a'",
                "does not belong",
            ),
            (
                "token_urll = 'https://sts.example/t'",
                "did you mean `token_url`",
            ),
            (
                "kind = 'http'\nurl = 'https://gw.example'\nbody = '{\"t\":\"{token}\"}'\ntoken_pointer = '/k'",
                "keys must end",
            ),
            (&format!("{http}body = '{{\"t\":1}}'"), "sends no token"),
            (
                &format!("{http}body = '{{\"t\":\"x{{token}}\"}}'"),
                "whole value",
            ),
            (&format!("{http}body = '{{'"), "not JSON"),
            (
                &format!("{http}headers = {{ X-Token = '{{token}}' }}"),
                "Authorization only",
            ),
            (
                &format!("{http}headers = {{ Host = 'x', Authorization = 'Bearer {{token}}' }}"),
                "must not set Host",
            ),
            (
                &format!("{http}method = 'GET'\nbody = '{{\"t\":\"{{token}}\"}}'"),
                "does not go",
            ),
            (&format!("{http}method = 'DELETE'"), "`exchange.method`"),
        ];
        for (text, expected) in cases {
            let why = parse(text).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
        let pointer = "kind = 'http'\nurl = 'https://gw.example'\nheaders = { Authorization = 'Bearer {token}' }\nlifetime = 1\n";
        for bad in ["key", "/a~2", "/a~"] {
            assert!(
                parse(&format!("{pointer}token_pointer = '{bad}'")).is_err(),
                "{bad}"
            );
        }
        assert!(parse(&format!("{pointer}token_pointer = '/a~1b'")).is_ok());
    }
}
