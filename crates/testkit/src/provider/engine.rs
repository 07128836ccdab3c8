//! The shared state of a provider, and the way of a request through script, endpoint and answer.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use serde_json::Value;

use super::authorization_request::AuthorizationRequest;
use super::error::OauthError;
use super::grants::Grants;
use super::http::{Answer, Request, Response, find_header, lock};
use super::keys::Keys;
use super::pages;
use super::params::Params;
use super::script::{Faults, Hook, Script};
use super::seen::Log;
use super::settings::Settings;

/// Values shorter than this are no secrets that a scan for leaks could find.
const SHORTEST_SECRET: usize = 16;

/// One provider, without its server.
pub(crate) struct Engine {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    pub(crate) settings: Mutex<Settings>,
    pub(crate) keys: Mutex<Keys>,
    pub(crate) grants: Mutex<Grants>,
    pub(crate) script: Mutex<Script>,
    pub(crate) log: Log,
    /// Sign-in pages that are open, by their handle.
    pub(crate) pages: Mutex<HashMap<String, AuthorizationRequest>>,
    /// Pushed authorization requests, by their `request_uri`.
    pub(crate) pushed: Mutex<HashMap<String, Params>>,
    /// The `jti` of every assertion that was shown.
    pub(crate) assertions: Mutex<HashSet<String>>,
    secrets: Mutex<Vec<String>>,
}

/// One request with everything that decides its answer.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) query: Params,
    pub(crate) form: Params,
    /// The settings when the request came.
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
}

impl Engine {
    pub(crate) fn new(base: String, settings: Settings) -> Self {
        Self {
            base,
            settings: Mutex::new(settings),
            keys: Mutex::new(Keys::new()),
            grants: Mutex::default(),
            script: Mutex::default(),
            log: Log::default(),
            pages: Mutex::default(),
            pushed: Mutex::default(),
            assertions: Mutex::default(),
            secrets: Mutex::default(),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    pub(crate) fn issuer(&self, settings: &Settings) -> String {
        format!("{}{}", self.base, settings.issuer_path)
    }

    /// Keeps an issued secret for scans for leaks.
    pub(crate) fn remember(&self, secret: &str) {
        let mut secrets = lock(&self.secrets);
        if secret.len() >= SHORTEST_SECRET && !secrets.iter().any(|known| known == secret) {
            secrets.push(secret.to_owned());
        }
    }

    pub(crate) fn secrets(&self) -> Vec<String> {
        lock(&self.secrets).clone()
    }

    /// Answers one request.
    pub(crate) fn handle(&self, request: Request) -> Answer {
        self.log.record(&request);
        let settings = self.settings();
        let query = Params::from(request.query.clone());
        let form = Params::from(request.form());
        let hooks = self.hooks(&request, &form, &settings);
        let faults = lock(&self.script).strike(&hooks);
        if let Some(answer) = faults.instead() {
            return answer;
        }
        if faults.rotates_keys() {
            lock(&self.keys).rotate();
        }
        let call = Call {
            request,
            query,
            form,
            settings,
            faults,
        };
        let mut response = self.route(&call);
        if find_header(&response.headers, "date").is_none() {
            let date = httpdate::fmt_http_date(call.settings.clock());
            response = response.header("Date", &date);
        }
        call.faults.deliver(response)
    }

    fn hooks(&self, request: &Request, form: &Params, settings: &Settings) -> Vec<Hook> {
        let hook = match request.path.as_str() {
            "/jwks" => Hook::Keys,
            "/authorize" if settings.auto_approve => return vec![Hook::Authorize, Hook::Redirect],
            "/authorize" => Hook::Authorize,
            "/sign-in" => Hook::Redirect,
            "/token" => match form.get("grant_type") {
                Some("authorization_code") => Hook::CodeGrant,
                Some("refresh_token") => Hook::RefreshGrant,
                Some("urn:ietf:params:oauth:grant-type:device_code") => Hook::DeviceGrant,
                Some("urn:ietf:params:oauth:grant-type:token-exchange") => Hook::ExchangeGrant,
                _ => Hook::Token,
            },
            "/device_authorization" => Hook::Device,
            "/revoke" => Hook::Revocation,
            "/par" => Hook::Par,
            "/register" => Hook::Registration,
            path if self.is_metadata(path, settings) => Hook::Discovery,
            _ => return Vec::new(),
        };
        vec![hook]
    }

    fn route(&self, call: &Call) -> Response {
        let settings = &call.settings;
        let path = call.request.path.as_str();
        // HEAD is GET whose body the server leaves out.
        let method = match call.request.method.as_str() {
            "HEAD" => "GET",
            method => method,
        };
        match (method, path) {
            ("GET", "/") => pages::index(),
            ("GET", "/jwks") => {
                let jwks = lock(&self.keys).jwks(settings.signing);
                self.json(call, 200, jwks)
            }
            ("GET", "/authorize") => self.authorize(call),
            ("POST", "/sign-in") => self.sign_in(call),
            ("POST", "/token") => self.back_channel(call, Self::token),
            ("POST", "/revoke") => self.back_channel(call, Self::revoke),
            ("POST", "/device_authorization") if settings.device_flow => {
                self.back_channel(call, Self::device_authorization)
            }
            ("GET", "/device") if settings.device_flow => self.device_page(call),
            ("POST", "/device") if settings.device_flow => self.device_decision(call),
            ("POST", "/par") if settings.par => self.back_channel(call, Self::push),
            ("POST", "/register") if settings.registration => self.register(call),
            ("GET", path) if self.is_metadata(path, settings) => {
                self.json(call, 200, self.metadata(settings))
            }
            (
                _,
                "/authorize"
                | "/sign-in"
                | "/token"
                | "/revoke"
                | "/device_authorization"
                | "/device"
                | "/jwks",
            ) => Response::new(405),
            _ => Response::new(404),
        }
    }

    /// An endpoint that clients post forms to.
    fn back_channel(
        &self,
        call: &Call,
        endpoint: fn(&Self, &Call) -> Result<Response, OauthError>,
    ) -> Response {
        call.form
            .check_unique()
            .and_then(|()| endpoint(self, call))
            .unwrap_or_else(OauthError::into_response)
    }

    /// A successful JSON answer, as the script changes it.
    pub(crate) fn json(&self, call: &Call, status: u16, mut value: Value) -> Response {
        call.faults.edit_json(&mut value);
        for name in ["access_token", "refresh_token", "id_token", "device_code"] {
            if let Some(secret) = value[name].as_str() {
                self.remember(secret);
            }
        }
        Response::json(status, &value)
    }
}
