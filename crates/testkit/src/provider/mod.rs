//! An OpenID provider for demonstrations and tests.
//!
//! It is a real one: authorization code with PKCE, refresh tokens with rotation and reuse detection, device flow,
//! revocation, signed tokens. A script makes it misbehave in ways that real ones won't on request:
//!
//! ```no_run
//! use gatepass_testkit::provider::{Fault, Hook, Provider, Settings, When};
//!
//! let provider = Provider::start(Settings { auto_approve: true, ..Settings::default() });
//! // Every ID token has another issuer.
//! provider.script(Hook::Token, Fault::claims(|claims| claims["iss"] = "https://other.test".into()));
//! // The first refresh takes effect, but its answer gets lost.
//! provider.script_times(Hook::RefreshGrant, ..1, Fault::Drop(When::After));
//! ```

mod authorization_request;
mod authorize;
pub mod client;
mod clients;
pub(crate) mod codes;
mod device;
mod discovery;
mod engine;
mod error;
mod grants;
pub(crate) mod http;
pub mod jwt;
mod keys;
mod mint;
mod pages;
mod params;
mod script;
mod seen;
mod settings;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::port;

use engine::Engine;
use grants::Grant;
pub use http::{Pairs, Response};
use http::{Server, lock};
pub use keys::Signing;
use mint::IdToken;
use script::Faults;
pub use script::{Fault, Forgery, Hook, When};
pub(crate) use seen::Log;
pub use seen::Seen;
pub use settings::Settings;

/// A running provider on 127.0.0.1; it stops, and closes every connection, when dropped.
pub struct Provider {
    engine: Arc<Engine>,
    server: Server,
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Provider({})", self.issuer())
    }
}

impl Provider {
    /// Starts a provider.
    pub fn start(settings: Settings) -> Self {
        let listener = port::listen(settings.port);
        let address = listener.local_addr().expect("a bound listener");
        let base = settings.base.clone();
        let base = base.unwrap_or_else(|| format!("http://{address}"));
        let engine = Arc::new(Engine::new(base, settings));
        let server = {
            let engine = Arc::clone(&engine);
            Server::serve(listener, move |request| engine.handle(request))
        };
        Self { engine, server }
    }

    /// The issuer, exactly as metadata and tokens have it.
    pub fn issuer(&self) -> String {
        self.engine.issuer(&self.engine.settings())
    }

    /// The URL of a path of this provider, such as `/token`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.engine.base)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Changes the settings for requests from now on.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.engine.settings));
    }

    /// Every request at this hook meets this fault from now on.
    pub fn script(&self, hook: Hook, fault: Fault) {
        self.script_times(hook, .., fault);
    }

    /// Some requests at this hook meet this fault: `..1` the next one, `1..` all but the next one, `2..=2` the third.
    pub fn script_times(&self, hook: Hook, times: impl RangeBounds<usize>, fault: Fault) {
        lock(&self.engine.script).add(hook, &times, fault);
    }

    /// The provider behaves well again.
    pub fn clear_script(&self) {
        lock(&self.engine.script).clear();
    }

    /// All requests in the order of their arrival, the answered and the unanswered ones.
    pub fn requests(&self) -> Vec<Seen> {
        self.engine.log.all()
    }

    /// Forgets the requests so far. Secrets are kept.
    pub fn clear_requests(&self) {
        self.engine.log.clear();
    }

    /// How many requests came for this path.
    pub fn count(&self, path: &str) -> usize {
        self.engine.log.count(|seen| seen.path == path)
    }

    /// How many token requests had this `grant_type`.
    pub fn token_grants(&self, grant_type: &str) -> usize {
        self.engine
            .log
            .count(|seen| seen.path == "/token" && seen.parameter("grant_type") == Some(grant_type))
    }

    /// Waits until `n` requests came for this path, and says whether they did in time.
    pub fn wait_for(&self, path: &str, n: usize, timeout: Duration) -> bool {
        self.engine.log.wait(n, timeout, |seen| seen.path == path)
    }

    /// How many sign-ins were revoked because a code or a refresh token was used twice. Revocations that a client
    /// asked for don't count.
    pub fn families_revoked(&self) -> usize {
        lock(&self.engine.grants).thefts()
    }

    /// Whether the provider would accept this refresh token now.
    pub fn refresh_token_lives(&self, refresh_token: &str) -> bool {
        lock(&self.engine.grants).is_live(refresh_token)
    }

    /// Every code, device code, access token, ID token and refresh token issued so far, for scans for leaks.
    pub fn issued_secrets(&self) -> Vec<String> {
        self.engine.secrets()
    }

    /// All refresh tokens end: `invalid_grant`.
    pub fn revoke_all(&self) {
        lock(&self.engine.grants).revoke_all();
    }

    /// New signing keys; the old ones are no longer published.
    pub fn rotate_keys(&self) {
        lock(&self.engine.keys).rotate();
    }

    /// Signs any claims in the form of an access token.
    pub fn sign(&self, claims: &Value) -> String {
        let token = self
            .engine
            .sign_access_token(claims, &self.engine.settings());
        self.engine.remember(&token);
        token
    }

    /// Signs the default account in without any request: the answer that the token endpoint would give.
    pub fn issue_tokens(&self, client_id: &str, scope: &str) -> Value {
        let settings = self.engine.settings();
        let grant = Grant {
            client_id: client_id.to_owned(),
            account: settings.account.clone(),
            scope: scope.to_owned(),
            nonce: None,
            auth_time: settings.now(),
            audience: Vec::new(),
        };
        let redeemed = lock(&self.engine.grants).open_family(grant.clone(), &settings);
        self.engine.tokens(
            &redeemed,
            &grant,
            &settings,
            &Faults::default(),
            IdToken::WithoutNonce,
        )
    }

    /// The user codes of the device flow that wait for a person.
    pub fn pending_user_codes(&self) -> Vec<String> {
        lock(&self.engine.grants).pending_user_codes()
    }

    /// A person confirms the device as the default account. False where the code doesn't wait.
    pub fn confirm_device(&self, user_code: &str) -> bool {
        let settings = self.engine.settings();
        lock(&self.engine.grants).decide_device(user_code, Some(&settings.account), settings.now())
    }

    /// A person refuses the device. False where the code doesn't wait.
    pub fn refuse_device(&self, user_code: &str) -> bool {
        lock(&self.engine.grants).decide_device(user_code, None, 0)
    }
}
