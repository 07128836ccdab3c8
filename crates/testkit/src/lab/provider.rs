//! A certified OpenID provider.

use std::io::Write;
use std::process::{ChildStdin, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::process::{self, Part, Ready};
use crate::port;
use crate::run_keys;

/// How the provider behaves. Lifetimes are in seconds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The port; 0 is any free one.
    pub port: u16,
    /// Lifetime of access tokens.
    pub access_token: u32,
    /// Lifetime of ID tokens.
    pub id_token: u32,
    /// Lifetime of refresh tokens.
    pub refresh_token: u32,
    /// Lifetime of device codes.
    pub device_code: u32,
    /// Whether refresh tokens rotate; the use of an old one then ends the whole family.
    pub rotate: bool,
    /// Whether the device flow is offered.
    pub device: bool,
    /// Whether revocation is offered.
    pub revocation: bool,
    /// Whether pushed authorization requests are offered.
    pub par: bool,
    /// Whether requests that were not pushed are refused.
    pub par_required: bool,
    /// Members of the client's registration that differ, such as `token_endpoint_auth_method` and `jwks`.
    pub client: Value,
    /// Key and certificate (PEM) of a second address, with TLS, that asks clients for a certificate.
    pub tls: Option<(String, String)>,
    /// Whether proofs of possession need the provider's nonce.
    pub dpop_nonce: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            access_token: 3600,
            id_token: 3600,
            refresh_token: 86400,
            device_code: 120,
            rotate: true,
            device: true,
            revocation: true,
            par: true,
            par_required: false,
            client: json!({}),
            tls: None,
            dpop_nonce: false,
        }
    }
}

/// Panva's `oidc-provider`, which is certified, on a loopback port. It knows the native public client `gatepass`, issues
/// JWT access tokens for `https://gateway.example.test/`, and tells what it does.
#[derive(Debug)]
pub struct NodeProvider {
    issuer: String,
    commands: Mutex<ChildStdin>,
    record: Arc<Record>,
    part: Part,
}

#[derive(Debug, Default)]
struct Record {
    events: Mutex<Events>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Events {
    seen: Vec<Value>,
    secrets: Vec<(String, String)>,
}

impl NodeProvider {
    /// Starts it.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(settings: &Settings) -> Self {
        let settings = json!({
            "port": if settings.port == 0 { port::free() } else { settings.port },
            "accessToken": settings.access_token,
            "idToken": settings.id_token,
            "refreshToken": settings.refresh_token,
            "deviceCode": settings.device_code,
            "rotate": settings.rotate,
            "device": settings.device,
            "revocation": settings.revocation,
            "par": settings.par,
            "parRequired": settings.par_required,
            "client": settings.client,
            "tls": settings.tls.as_ref().map(|(key, certificate)| json!({"key": key, "certificate": certificate})),
            "dpopNonce": settings.dpop_nonce,
            "rsaKey": STANDARD.encode(run_keys::rsa(run_keys::RSA_OF_NODE)),
            "ecKey": STANDARD.encode(run_keys::p256()),
        });
        let mut command = Command::new(super::node());
        command
            .arg(super::scripts().join("provider.mjs"))
            .arg(settings.to_string());
        let Ready {
            part,
            commands,
            address: issuer,
            lines,
        } = process::ready("the provider (oidc-provider)", &command);
        let record = Arc::new(Record::default());
        let writer = Arc::clone(&record);
        thread::spawn(move || {
            for line in lines {
                let event: Value = serde_json::from_str(&line).expect("one event per line");
                let mut events = writer.events.lock().expect("never poisoned");
                if name(&event) == "secret" {
                    events
                        .secrets
                        .push((text(&event, "kind"), text(&event, "value")));
                } else {
                    events.seen.push(event);
                }
                writer.news.notify_all();
            }
        });
        Self {
            issuer,
            commands: Mutex::new(commands),
            record,
            part,
        }
    }

    /// Its issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How often something happened since the start or the last [`clear`](Self::clear): `grant.success`, `grant.error`,
    /// `grant.revoked`, `refresh_token.consumed`, `revocation.success`, `authorization.success`, …
    #[must_use]
    pub fn count(&self, event: &str) -> usize {
        self.events()
            .iter()
            .filter(|one| name(one) == event)
            .count()
    }

    /// Everything that happened since the start or the last [`clear`](Self::clear).
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.tell("sync", "sync");
        let events = self.record.events.lock().expect("never poisoned");
        events
            .seen
            .iter()
            .filter(|one| name(one) != "sync")
            .cloned()
            .collect()
    }

    /// The answered requests since the start or the last [`clear`](Self::clear), as `POST /token 200`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let requests = self
            .events()
            .into_iter()
            .filter(|one| name(one) == "request");
        requests
            .map(|one| {
                format!(
                    "{} {} {}",
                    text(&one, "method"),
                    text(&one, "path"),
                    one["status"]
                )
            })
            .collect()
    }

    /// Every token and code that it ever gave out.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.tell("sync", "sync");
        let events = self.record.events.lock().expect("never poisoned");
        events
            .secrets
            .iter()
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Those of one kind, in order: `access_token`, `refresh_token`, `id_token`, `code`, `device_code`.
    #[must_use]
    pub fn secrets_of(&self, kind: &str) -> Vec<String> {
        self.tell("sync", "sync");
        let events = self.record.events.lock().expect("never poisoned");
        events
            .secrets
            .iter()
            .filter(|(one, _)| one == kind)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Forgets what happened so far (not the secrets), so that the next counts are about what comes now.
    pub fn clear(&self) {
        self.tell("sync", "sync");
        self.record
            .events
            .lock()
            .expect("never poisoned")
            .seen
            .clear();
    }

    /// Waits until something happens, counted from the last [`clear`](Self::clear).
    #[must_use]
    pub fn wait_for(&self, event: &str, limit: Duration) -> bool {
        self.wait(limit, |events| {
            events.seen.iter().any(|one| name(one) == event)
        })
    }

    /// Refuses connections; what it knows stays.
    pub fn down(&self) {
        self.tell("down", "down");
    }

    /// Serves again at the same address.
    pub fn up(&self) {
        self.tell("up", "up");
    }

    /// Takes connections and answers nothing.
    pub fn pause(&self) {
        self.part.signal("STOP");
    }

    /// Answers again.
    pub fn resume(&self) {
        self.part.signal("CONT");
    }

    fn tell(&self, command: &str, answer: &str) {
        let count = |events: &Events| events.seen.iter().filter(|one| name(one) == answer).count();
        let before = count(&self.record.events.lock().expect("never poisoned"));
        writeln!(self.commands.lock().expect("never poisoned"), "{command}")
            .expect("the provider runs");
        let done = self.wait(process::ANSWERS, |events| count(events) > before);
        assert!(
            done,
            "the provider did not do: {command}; it said:\n{}",
            self.part.last_words()
        );
    }

    fn wait(&self, limit: Duration, satisfied: impl Fn(&Events) -> bool) -> bool {
        let ends = Instant::now() + limit;
        let mut events = self.record.events.lock().expect("never poisoned");
        while !satisfied(&events) {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            events = self
                .record
                .news
                .wait_timeout(events, left)
                .expect("never poisoned")
                .0;
        }
        true
    }
}

fn name(event: &Value) -> &str {
    event["event"].as_str().unwrap_or_default()
}

fn text(event: &Value, key: &str) -> String {
    event[key].as_str().unwrap_or_default().to_owned()
}
