//! Scripted misbehaviour: which requests meet which fault.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::http::{Answer, Delivery, Pairs, Response};

/// Where a fault can be hooked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Either metadata document.
    Discovery,
    /// The JWK set.
    Keys,
    /// The authorization endpoint, where the browser arrives.
    Authorize,
    /// The answer that sends the browser back to the client, after the page or at once with `auto_approve`.
    Redirect,
    /// The token endpoint, whatever the grant.
    Token,
    /// The token endpoint, grant `authorization_code`.
    CodeGrant,
    /// The token endpoint, grant `refresh_token`.
    RefreshGrant,
    /// The token endpoint, grant `urn:ietf:params:oauth:grant-type:device_code`: each poll is one request.
    DeviceGrant,
    /// The token endpoint, grant `urn:ietf:params:oauth:grant-type:token-exchange`.
    ExchangeGrant,
    /// The device authorization endpoint.
    Device,
    /// The revocation endpoint.
    Revocation,
    /// The pushed authorization request endpoint.
    Par,
    /// The client registration endpoint.
    Registration,
}

impl Hook {
    fn is_token(self) -> bool {
        matches!(
            self,
            Self::Token
                | Self::CodeGrant
                | Self::RefreshGrant
                | Self::DeviceGrant
                | Self::ExchangeGrant
        )
    }

    fn covers(self, other: Self) -> bool {
        self == other || (self == Self::Token && other.is_token())
    }
}

/// Whether a fault strikes before or after the request took effect (a code redeemed, a refresh token rotated).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The request has no effect.
    Before,
    /// The request has its full effect; only the answer suffers.
    After,
}

/// Wrong signatures for ID tokens.
#[derive(Clone, Debug)]
pub enum Forgery {
    /// The right signature with every byte XOR 0x5A, as the OpenID Foundation's suite does it.
    FlippedBits,
    /// Another key under the published `kid`.
    UnknownKey,
    /// Another key under a `kid` that is not published.
    UnknownKid,
    /// Another key under the published `kid`, with itself in the header's `jwk`.
    EmbeddedKey,
    /// The published key whose `use` is `enc`.
    EncryptionKey,
    /// No signature, and this value of `alg` (`none` in any spelling).
    Unsigned(&'static str),
    /// HS256 with the client identifier as the secret.
    HmacOfClientId,
    /// HS256 with the published key's bytes as the secret.
    HmacOfPublicKey,
    /// HS256 with this secret.
    Hmac(Vec<u8>),
}

type Edit<T> = Box<dyn Fn(&mut T) + Send + Sync>;

/// One way to misbehave. Several faults on one request add up.
pub enum Fault {
    /// Another answer.
    Reply(When, Response),
    /// The connection is closed without a byte.
    Drop(When),
    /// No answer while the provider lives.
    Stall(When),
    /// These bytes on the wire in place of an HTTP answer, after the request took effect.
    Raw(Vec<u8>),
    /// The request takes effect, and the answer comes after this time.
    Delay(Duration),
    /// The body comes one byte at a time with this pause.
    Drip(Duration),
    /// So many spaces before the body, chunked.
    Padding(u64),
    /// New signing keys are in use and published before the request takes effect.
    RotateKeys,
    /// Changes the finished answer: status, headers, body.
    Response(Edit<Response>),
    /// Changes the JSON of a successful answer.
    Json(Edit<Value>),
    /// Changes the ID token's claims before they are signed.
    Claims(Edit<Value>),
    /// Changes the ID token's JOSE header before it is signed.
    JoseHeader(Edit<Value>),
    /// Signs the ID token wrongly.
    Forge(Forgery),
    /// Changes the access token's claims before they are signed.
    AccessClaims(Edit<Value>),
    /// Changes the finished access token, before the ID token's `at_hash` is computed.
    AccessToken(Edit<String>),
    /// Changes the parameters of the redirect to the client.
    Redirect(Edit<Pairs>),
}

impl Fault {
    /// Another answer; the request has no effect.
    pub fn reply(response: Response) -> Self {
        Self::Reply(When::Before, response)
    }

    /// An answer with this status and an empty body; the request has no effect.
    pub fn status(status: u16) -> Self {
        Self::reply(Response::new(status))
    }

    /// An HTML page with status 200; the request has no effect.
    pub fn html(page: &str) -> Self {
        Self::reply(Response::html(200, page))
    }

    /// An HTTP redirect to elsewhere; the request has no effect.
    pub fn elsewhere(status: u16, location: &str) -> Self {
        Self::reply(Response::redirect(status, location))
    }

    /// An OAuth error with status 400; the request has no effect.
    pub fn oauth_error(error: &str) -> Self {
        Self::reply(Response::oauth_error(400, error, "as the script says"))
    }

    /// See [`Fault::Response`].
    pub fn response(edit: impl Fn(&mut Response) + Send + Sync + 'static) -> Self {
        Self::Response(Box::new(edit))
    }

    /// See [`Fault::Json`].
    pub fn json(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Json(Box::new(edit))
    }

    /// See [`Fault::Claims`].
    pub fn claims(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Claims(Box::new(edit))
    }

    /// See [`Fault::JoseHeader`].
    pub fn jose_header(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::JoseHeader(Box::new(edit))
    }

    /// See [`Fault::AccessClaims`].
    pub fn access_claims(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::AccessClaims(Box::new(edit))
    }

    /// See [`Fault::AccessToken`].
    pub fn access_token(edit: impl Fn(&mut String) + Send + Sync + 'static) -> Self {
        Self::AccessToken(Box::new(edit))
    }

    /// See [`Fault::Redirect`].
    pub fn redirect(edit: impl Fn(&mut Pairs) + Send + Sync + 'static) -> Self {
        Self::Redirect(Box::new(edit))
    }

    /// The redirect brings this error in place of a code; `state` and `iss` stay.
    pub fn redirect_error(error: &'static str) -> Self {
        Self::redirect(move |parameters| {
            parameters.retain(|(name, _)| name != "code");
            parameters.push(("error".to_owned(), error.to_owned()));
        })
    }

    /// Whether the fault can do anything at the hook. A test with a fault that never strikes proves nothing.
    fn fits(&self, hook: Hook) -> bool {
        match self {
            Self::Redirect(_) => hook == Hook::Redirect,
            Self::Json(_) => !matches!(hook, Hook::Authorize | Hook::Redirect | Hook::Revocation),
            Self::Claims(_)
            | Self::JoseHeader(_)
            | Self::Forge(_)
            | Self::AccessClaims(_)
            | Self::AccessToken(_) => hook.is_token(),
            _ => true,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(when, response) => {
                write!(formatter, "Reply({when:?}, {})", response.status)
            }
            Self::Drop(when) => write!(formatter, "Drop({when:?})"),
            Self::Stall(when) => write!(formatter, "Stall({when:?})"),
            Self::Raw(bytes) => write!(formatter, "Raw({} bytes)", bytes.len()),
            Self::Delay(time) => write!(formatter, "Delay({time:?})"),
            Self::Drip(pause) => write!(formatter, "Drip({pause:?})"),
            Self::Padding(spaces) => write!(formatter, "Padding({spaces})"),
            Self::RotateKeys => formatter.write_str("RotateKeys"),
            Self::Response(_) => formatter.write_str("Response"),
            Self::Json(_) => formatter.write_str("Json"),
            Self::Claims(_) => formatter.write_str("Claims"),
            Self::JoseHeader(_) => formatter.write_str("JoseHeader"),
            Self::Forge(forgery) => write!(formatter, "Forge({forgery:?})"),
            Self::AccessClaims(_) => formatter.write_str("AccessClaims"),
            Self::AccessToken(_) => formatter.write_str("AccessToken"),
            Self::Redirect(_) => formatter.write_str("Redirect"),
        }
    }
}

struct Rule {
    hook: Hook,
    times: (Bound<usize>, Bound<usize>),
    matched: usize,
    fault: Arc<Fault>,
}

/// The rules in force.
#[derive(Default)]
pub(crate) struct Script {
    rules: Vec<Rule>,
}

impl Script {
    pub(crate) fn add(&mut self, hook: Hook, times: &impl RangeBounds<usize>, fault: Fault) {
        assert!(fault.fits(hook), "{fault:?} has no effect at {hook:?}");
        self.rules.push(Rule {
            hook,
            times: (times.start_bound().cloned(), times.end_bound().cloned()),
            matched: 0,
            fault: Arc::new(fault),
        });
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The faults that a request at these hooks meets. Each rule counts the request once.
    pub(crate) fn strike(&mut self, hooks: &[Hook]) -> Faults {
        let mut faults = Vec::new();
        for rule in &mut self.rules {
            if hooks.iter().any(|hook| rule.hook.covers(*hook)) {
                if rule.times.contains(&rule.matched) {
                    faults.push(Arc::clone(&rule.fault));
                }
                rule.matched += 1;
            }
        }
        Faults(faults)
    }
}

/// The faults of one request.
#[derive(Default)]
pub(crate) struct Faults(Vec<Arc<Fault>>);

impl Faults {
    fn each(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().map(Arc::as_ref)
    }

    /// The answer of a fault that keeps the request from taking effect.
    pub(crate) fn instead(&self) -> Option<Answer> {
        self.each().find_map(|fault| match fault {
            Fault::Reply(When::Before, response) => Some(self.deliver(response.clone())),
            Fault::Drop(When::Before) => Some(Answer::Drop),
            Fault::Stall(When::Before) => Some(Answer::Stall),
            _ => None,
        })
    }

    pub(crate) fn rotates_keys(&self) -> bool {
        self.each().any(|fault| matches!(fault, Fault::RotateKeys))
    }

    pub(crate) fn edit_json(&self, value: &mut Value) {
        for fault in self.each() {
            if let Fault::Json(edit) = fault {
                edit(value);
            }
        }
    }

    pub(crate) fn edit_claims(&self, claims: &mut Value) {
        for fault in self.each() {
            if let Fault::Claims(edit) = fault {
                edit(claims);
            }
        }
    }

    pub(crate) fn edit_jose_header(&self, header: &mut Value) {
        for fault in self.each() {
            if let Fault::JoseHeader(edit) = fault {
                edit(header);
            }
        }
    }

    pub(crate) fn edit_access_claims(&self, claims: &mut Value) {
        for fault in self.each() {
            if let Fault::AccessClaims(edit) = fault {
                edit(claims);
            }
        }
    }

    pub(crate) fn edit_access_token(&self, token: &mut String) {
        for fault in self.each() {
            if let Fault::AccessToken(edit) = fault {
                edit(token);
            }
        }
    }

    pub(crate) fn edit_redirect(&self, parameters: &mut Pairs) {
        for fault in self.each() {
            if let Fault::Redirect(edit) = fault {
                edit(parameters);
            }
        }
    }

    pub(crate) fn forgery(&self) -> Option<&Forgery> {
        self.each().find_map(|fault| match fault {
            Fault::Forge(forgery) => Some(forgery),
            _ => None,
        })
    }

    /// Puts the finished answer on the wire, or what the script has in its place.
    pub(crate) fn deliver(&self, mut response: Response) -> Answer {
        let mut delivery = Delivery::default();
        let mut instead = None;
        for fault in self.each() {
            match fault {
                Fault::Reply(When::After, other) => response = other.clone(),
                Fault::Response(edit) => edit(&mut response),
                Fault::Delay(time) => delivery.delay += *time,
                Fault::Drip(pause) => delivery.drip = Some(*pause),
                Fault::Padding(spaces) => delivery.padding += spaces,
                Fault::Raw(bytes) => instead = Some(Answer::Raw(bytes.clone())),
                Fault::Drop(When::After) => instead = Some(Answer::Drop),
                Fault::Stall(When::After) => instead = Some(Answer::Stall),
                _ => {}
            }
        }
        instead.unwrap_or(Answer::Send(response, delivery))
    }
}
