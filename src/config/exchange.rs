//! The table `[exchange]`: how the provider's token becomes the gateway's.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;
use url::Url;

use super::choice::Choice;
pub use super::choice::{ExchangeKind, ExpiryFormat, Method, TokenChoice};
use super::document::any_of;
use super::header_names::check_headers;
use super::schema::exchange as key;
use super::schema::{BuiltIn, Key};
use super::value::ConfigValue;
use crate::secret::Secret;

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

/// What stands for the provider's token.
pub const PLACEHOLDER: &str = "{token}";

/// The keys that both kinds have.
static COMMON: [&Key; 2] = [&key::KIND, &key::SUBJECT];

/// The keys of token exchange.
static RFC8693: [&Key; 7] = [
    &key::TOKEN_URL,
    &key::AUDIENCE,
    &key::RESOURCE,
    &key::SCOPE,
    &key::REQUESTED_TOKEN_TYPE,
    &key::CLIENT_ID,
    &key::CLIENT_SECRET,
];

impl Exchange {
    /// Understands the table, whose values have the shapes that the schema asks for.
    ///
    /// # Errors
    /// What must be otherwise, with the key's name.
    pub fn parse(table: &BTreeMap<String, ConfigValue>) -> Result<Self, String> {
        let fields = Fields(table);
        match fields.choice(&key::KIND)? {
            ExchangeKind::Rfc8693 => {
                fields.only("rfc8693", |key| RFC8693.contains(&key))?;
                fields.token_exchange().map(Self::Token)
            }
            ExchangeKind::Http => {
                fields.only("http", |key| !RFC8693.contains(&key))?;
                fields.http_exchange().map(Self::Http)
            }
        }
    }

    /// Where the provider's token is sent.
    pub fn url(&self) -> &Url {
        match self {
            Self::Token(exchange) => &exchange.token_url,
            Self::Http(exchange) => &exchange.url,
        }
    }

    /// The secret with which gatepass shows the exchange's service who asks, if one is configured.
    pub fn client_secret(&self) -> Option<&Secret> {
        match self {
            Self::Token(exchange) => exchange.client_secret.as_ref(),
            Self::Http(_) => None,
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

struct Fields<'t>(&'t BTreeMap<String, ConfigValue>);

impl<'t> Fields<'t> {
    /// Refuses keys that mean nothing for this kind.
    fn only(&self, kind: &str, belongs: impl Fn(&'static Key) -> bool) -> Result<(), String> {
        for key in key::KEYS {
            if self.0.contains_key(key.name) && !COMMON.contains(key) && !belongs(key) {
                return Err(format!(
                    "`exchange.{}` does not belong to kind = \"{kind}\"",
                    key.name
                ));
            }
        }
        Ok(())
    }

    fn text(&self, key: &Key) -> Option<&'t str> {
        match self.0.get(key.name) {
            Some(ConfigValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn owned(&self, key: &Key) -> Option<String> {
        self.text(key).map(str::to_owned)
    }

    /// The value of a choice, or the one that is built in.
    fn choice<C: Choice>(&self, key: &Key) -> Result<C, String> {
        let built_in = match key.built_in {
            BuiltIn::Word(word) => Some(word),
            _ => None,
        };
        self.text(key)
            .or(built_in)
            .and_then(C::of_word)
            .ok_or_else(|| format!("`exchange.{}` must be {}", key.name, any_of(C::WORDS)))
    }

    /// A string or a list of them.
    fn texts(&self, key: &Key) -> Vec<String> {
        match self.0.get(key.name) {
            Some(ConfigValue::List(items)) => items
                .iter()
                .filter_map(|item| match item {
                    ConfigValue::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => self.owned(key).into_iter().collect(),
        }
    }

    fn address(&self, key: &Key) -> Result<Url, String> {
        let name = key.name;
        let text = self
            .text(key)
            .ok_or_else(|| format!("`exchange.{name}` is missing"))?;
        if text.contains(['{', '}']) {
            return Err(format!(
                "`exchange.{name}` must be literal: it has no placeholders"
            ));
        }
        Url::parse(text).map_err(|_| format!("`exchange.{name}` must be an address"))
    }

    fn token_exchange(&self) -> Result<TokenExchange, String> {
        let client_id = self.owned(&key::CLIENT_ID);
        let client_secret = self.text(&key::CLIENT_SECRET).map(Secret::new);
        if client_secret.is_some() && client_id.is_none() {
            return Err("`exchange.client_secret` needs `exchange.client_id`".to_owned());
        }
        Ok(TokenExchange {
            token_url: self.address(&key::TOKEN_URL)?,
            audience: self.texts(&key::AUDIENCE),
            resource: self.texts(&key::RESOURCE),
            scope: self.owned(&key::SCOPE),
            subject: self.choice(&key::SUBJECT)?,
            requested_token_type: self.owned(&key::REQUESTED_TOKEN_TYPE),
            client_id,
            client_secret,
        })
    }

    fn http_exchange(&self) -> Result<HttpExchange, String> {
        let method = self.choice(&key::METHOD)?;
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
            url: self.address(&key::URL)?,
            method,
            headers,
            body,
            subject: self.choice(&key::SUBJECT)?,
            token_pointer: self
                .owned(&key::TOKEN_POINTER)
                .ok_or("`exchange.token_pointer` is missing")?,
            expiry: self.expiry()?,
        })
    }

    fn headers(&self) -> Result<BTreeMap<String, String>, String> {
        let Some(ConfigValue::Table(table)) = self.0.get(key::HEADERS.name) else {
            return Ok(BTreeMap::new());
        };
        let mut headers = BTreeMap::new();
        for (name, value) in table {
            let ConfigValue::Text(value) = value else {
                continue;
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
        let body = match self.0.get(key::BODY.name) {
            None => return Ok(None),
            Some(ConfigValue::Text(text)) => serde_json::from_str(text)
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

    fn expiry(&self) -> Result<Expiry, String> {
        let lifetime = match self.0.get(key::LIFETIME.name) {
            Some(ConfigValue::Number(seconds)) => Some(*seconds),
            _ => None,
        };
        let format = self.choice(&key::EXPIRY_FORMAT)?;
        match (self.owned(&key::EXPIRY_POINTER), lifetime) {
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
            ConfigValue::Table(table) => Exchange::parse(table),
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
            ("kind = 'smoke'", "`exchange.kind` must be"),
            ("audience = 'x'", "`exchange.token_url` is missing"),
            ("token_url = 'http://sts.example/t'", "https://"),
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
                "has no key `token_urll`",
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
