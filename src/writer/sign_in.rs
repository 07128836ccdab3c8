//! Signing in: browser or device code, validation, and only then a new session in place of the old one.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use url::Url;

use super::issue::{self, Company, Times};
use super::probe::probe;
use super::{Budget, Writer};
use crate::audit;
use crate::caller::{Deadline, Host};
use crate::clock;
use crate::config::settings::{Kind, ResponseMode, Settings};
use crate::error::{Failure, Id, Result};
use crate::oidc::authorization::AuthorizationRequest;
use crate::oidc::client::{self, Client};
use crate::oidc::device::DeviceAuthorization;
use crate::oidc::discovery::Provider;
use crate::oidc::dpop::{self, Prover};
use crate::oidc::exchange;
use crate::oidc::http::Http;
use crate::oidc::id_token::{self, Claims, Occasion};
use crate::oidc::loopback::{Answer, Arrival, Expected, Loopback, Running};
use crate::oidc::page::{Ending, Parties};
use crate::oidc::par;
use crate::oidc::registration::{self, Registered};
use crate::oidc::tokens::{self, Grant, Refusal};
use crate::person::{Person, Visit};
use crate::platform::browser;
use crate::platform::surroundings::Surroundings;
use crate::secret::Secret;
use crate::session::lock::{Lock, Purpose};
use crate::session::open_sign_in::{Asked, OpenSignIn};
use crate::session::record::{IssuedToken, ProviderToken, Record, SignedInBy, missing_header};
use crate::session::state::{Ends, Session, StateFiles};
use crate::session::validity::Life;
use crate::store::SecretStore;

/// Longest wait for the lock once the person is done: a refresh that is under way is waited for.
const LOCK: Duration = Duration::from_secs(60);

/// Longest wait for a keychain that asks the person to unlock it.
const UNLOCK: Duration = Duration::from_secs(120);

/// Time to redeem what the person has confirmed when the sign-in's own time is over.
const REDEEM: Duration = Duration::from_secs(60);

/// How long an unreachable provider is tried before the sign-in is given up.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest time that is spent on telling another provider that its session was replaced.
const REVOCATION: Duration = Duration::from_secs(5);

/// How often the holder of a sign-in looks for wishes of others.
const LOOK: Duration = Duration::from_millis(250);

/// How somebody will sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By browser on this machine.
    Browser,
    /// By device code.
    Device,
    /// No browser of this session is the person's: by device code if the provider offers that, else by a browser
    /// that the person opens wherever there is one.
    Elsewhere,
}

/// A completed sign-in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The stored session.
    pub record: Record,
    /// The token to print.
    pub token: IssuedToken,
}

/// What a sign-in needs.
pub struct SignIn<'a> {
    /// The effective configuration.
    pub settings: &'a Settings,
    /// Where the session is kept.
    pub store: &'a dyn SecretStore,
    /// When the sign-in expires.
    pub deadline: Deadline,
    /// Who asked for it.
    pub host: Host,
    /// What kind of session this is.
    pub surroundings: Surroundings,
    /// Who is told what happens.
    pub person: &'a dyn Person,
    /// The right to have a sign-in open.
    pub open: &'a OpenSignIn,
    /// The session's generation when the sign-in began: a sign-out in between is not undone.
    pub generation: u64,
    /// The redirect of a sign-in that has expired: a host's worker leaves it open for a while, for people who finish
    /// too late.
    pub late: RefCell<Option<Running>>,
    /// The person's secrets for the gateway that were given now; others are taken from the session before.
    pub secret_headers: BTreeMap<String, Secret>,
}

/// The client as which we ask the provider.
struct Ourselves<'a> {
    settings: Cow<'a, Settings>,
    registered: Option<Registered>,
}

/// A sign-in that ended otherwise, and what the person at the browser is told.
struct Stopped {
    failure: Failure,
    ending: Ending,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        let ending = match failure.id {
            // Of what the provider gave, only the account can be refused by us.
            Id::SignInFailed => Ending::NotAllowed,
            _ => Ending::Failed,
        };
        Self { failure, ending }
    }
}

impl Stopped {
    /// The person is told that they were refused or too late, if that is what the failure says.
    fn told(failure: Failure, ending: Ending) -> Self {
        if failure.id == Id::SignInFailed {
            Self { failure, ending }
        } else {
            failure.into()
        }
    }
}

/// A provider that was asked to sign somebody in, and what it gave.
pub(super) struct Outcome {
    pub(super) grant: Grant,
    /// The claims of the validated ID token; a plain OAuth server issues none.
    pub(super) claims: Option<Claims>,
    pub(super) times: Times,
    pub(super) token_endpoint: String,
    pub(super) by: SignedInBy,
    /// The client that was registered for this session.
    pub(super) registered: Option<Registered>,
    /// What the provider's token was exchanged for.
    pub(super) exchanged: Option<Exchange>,
    pub(super) secret_headers: BTreeMap<String, Secret>,
}

/// A token of the provider's and what the gateway's issuer gave for it.
pub(super) struct Exchange {
    pub(super) from: ProviderToken,
    pub(super) exchanged: exchange::Exchanged,
    pub(super) times: Times,
}

impl SignIn<'_> {
    /// Tries whether the store would keep the result: a sign-in whose result cannot be kept is not begun.
    pub fn check_store(&self) -> Result<()> {
        let deadline = self.deadline.at_most(UNLOCK);
        let profile = &self.settings.profile;
        if !self.settings.secret_headers.is_empty() {
            let before = self.store.read(profile.as_str(), deadline)?;
            let before = before.and_then(|bytes| Record::from_bytes(&bytes));
            self.all_secret_headers(before.as_ref())?;
        }
        probe(self.store, profile, deadline, self.surroundings)
    }

    /// The person's secrets for the gateway: those given now, else those of the session before.
    fn all_secret_headers(&self, before: Option<&Record>) -> Result<BTreeMap<String, Secret>> {
        let before = before.filter(|record| {
            record.belongs_to(self.settings) && !record.is_recalled(self.settings)
        });
        let given = |name: &String| {
            self.secret_headers
                .get(name)
                .or_else(|| before?.secret_headers.get(name))
                .cloned()
        };
        self.settings
            .secret_headers
            .iter()
            .map(|name| match given(name) {
                Some(secret) => Ok((name.clone(), secret)),
                None => Err(super::sign_in_required(&missing_header(name))),
            })
            .collect()
    }

    /// The client as which we ask: the configured one, or one that is registered for this session (RFC 7591).
    fn ourselves(
        &self,
        http: &Http,
        provider: &Provider,
        redirect_uri: Option<&str>,
    ) -> Result<Ourselves<'_>> {
        if !self.settings.registers_itself() {
            return Ok(Ourselves {
                settings: Cow::Borrowed(self.settings),
                registered: None,
            });
        }
        let endpoint = provider.metadata.registration_endpoint.as_ref().ok_or_else(|| {
            Failure::config(
                "`client_id` is not configured, and the authorization server registers no clients by itself",
                "have your administrator register a client and set `client_id`",
            )
        })?;
        let registered = registration::register(http, endpoint, self.settings, redirect_uri)?;
        let settings = self
            .settings
            .as_client(&registered.client_id, registered.client_secret.as_ref());
        Ok(Ourselves {
            settings: Cow::Owned(settings),
            registered: Some(registered),
        })
    }

    /// Signs in and stores the session.
    pub fn run(&self, way: Way) -> Result<SignedIn> {
        let result = self.attempt(way);
        audit::sign_in(
            self.settings,
            result.as_ref().map(|signed_in| {
                let record = &signed_in.record;
                (record.account(), record.signed_in_by.in_words())
            }),
        );
        result
    }

    fn attempt(&self, way: Way) -> Result<SignedIn> {
        self.settings.check_audience()?;
        let files = StateFiles::open(self.settings)?;
        // What the person has done in the last moment is still redeemed.
        let finish_by = Deadline::after(self.deadline.left() + REDEEM);
        let http =
            Http::new(self.settings, finish_by)?.connecting_until(self.deadline.at_most(CONNECT));
        // Always fetched anew: what was kept may be what made the last sign-in fail.
        let provider = Provider::fetch(&http, self.settings, &files)?;
        let offers_device_codes = provider.metadata.device_authorization_endpoint.is_some();
        match way {
            Way::Device => self.by_device(&http, provider, &files, None),
            Way::Elsewhere if offers_device_codes => {
                let since = self.surroundings.in_words();
                self.by_device(&http, provider, &files, Some(since))
            }
            Way::Browser | Way::Elsewhere => self.by_browser(&http, provider, &files),
        }
    }

    /// Authorization code with PKCE over a loopback redirect (RFC 8252).
    fn by_browser(
        &self,
        http: &Http,
        mut provider: Provider,
        files: &StateFiles,
    ) -> Result<SignedIn> {
        let loopback = Loopback::bind(&self.settings.redirect)?;
        let redirect_uri = loopback.redirect_uri();
        let ourselves = self.ourselves(http, &provider, Some(&redirect_uri))?;
        let client = self.client(&ourselves.settings, &provider)?;
        let request = AuthorizationRequest::new(&client, &ourselves.settings, &redirect_uri)?;
        let address = {
            let (metadata, client, request) = (&provider.metadata, &client, &request);
            let settings = &*ourselves.settings;
            move || par::address(http, client, metadata, settings, request)
        };
        let first = address()?;
        let running = loopback.serve(Expected {
            state: request.state.clone(),
            issuer: self.settings.issuer.clone(),
            issuer_required: provider
                .metadata
                .authorization_response_iss_parameter_supported,
            parties: Parties {
                organisation: self.settings.display_name.clone(),
                gateway: self.settings.gateway_url.clone(),
                asker: self.host.name().map(str::to_owned),
            },
        })?;
        let is_query = self.settings.redirect.response_mode == ResponseMode::Query;
        let visit = Visit {
            address: &first,
            redirect: is_query.then_some(&redirect_uri),
            since: (self.surroundings != Surroundings::Desktop)
                .then(|| self.surroundings.in_words()),
        };
        if self.settings.browser.is_empty() && !self.surroundings.shows_browsers() {
            let why = format!(
                "no browser is opened here, since {}",
                self.surroundings.in_words()
            );
            self.person.browser_missing(visit, &why)?;
        } else {
            match browser::open(&self.settings.browser, &first) {
                Ok(()) => self.person.browser_opened(visit),
                Err(why) => self.person.browser_missing(visit, &why)?,
            }
        }
        self.open.tab_opened();
        let arrival = match self.wait(&running, &address) {
            Ok(arrival) => arrival,
            Err(failure) => {
                // A port that was chosen freely is in nobody's way.
                if self.deadline.passed() && self.settings.redirect.ports == [0] {
                    running.expire();
                    self.late.replace(Some(running));
                }
                return Err(failure);
            }
        };
        // Whoever waits is gone as soon as the token can be had, so this is asked before.
        let awaited = self.is_awaited(files);
        let result = self
            .redeem(
                &arrival,
                &request,
                &redirect_uri,
                http,
                &client,
                &ourselves,
                &mut provider,
                files,
            )
            .and_then(|mut outcome| {
                outcome.registered = ourselves.registered;
                // Here the person has done everything right, whatever becomes of it.
                self.keep(outcome, files).map_err(|failure| Stopped {
                    failure,
                    ending: Ending::Failed,
                })
            });
        let (result, ending) = match result {
            Ok(signed_in) => {
                let account = signed_in.record.account().to_owned();
                (Ok(signed_in), Ending::SignedIn { account, awaited })
            }
            Err(Stopped { failure, ending }) => (Err(failure), ending),
        };
        arrival.tell(ending);
        running.close();
        result
    }

    /// Whether anybody still waits for the token: the terminal we run in, or a host that has not been killed.
    fn is_awaited(&self, files: &StateFiles) -> bool {
        self.host.is_terminal() || Lock::is_shared(files, Purpose::Wait).unwrap_or(true)
    }

    /// The client of a new session, with a key of its own if the refresh token is to be bound.
    fn client(&self, settings: &Settings, provider: &Provider) -> Result<Client> {
        let prover = match dpop::is_wanted(settings, &provider.metadata)? {
            true => Some(Prover::generate()?),
            false => None,
        };
        Ok(client::client(settings, &provider.metadata)?.bound_to(prover))
    }

    /// Waits for the person, opening the tab again or giving way when somebody else asks for it.
    fn wait(&self, running: &Running, address: &dyn Fn() -> Result<Url>) -> Result<Arrival> {
        let started = Instant::now();
        let at_most = self.deadline.left();
        let arrival = loop {
            if let Some(arrival) = running.wait(LOOK.min(self.deadline.left())) {
                break Ok(arrival);
            }
            if self.person.has_stopped() {
                break Err(stopped());
            }
            if let Some(address) = self.person.handed_over() {
                if !running.hand_over(&address) {
                    self.person.not_the_address();
                }
                continue;
            }
            if self.deadline.passed() {
                break Err(Failure::new(
                    Id::SignInFailed,
                    "the sign-in was not completed in time",
                    "gatepass login; if the browser showed an error about the redirect address, register it with the provider",
                )
                .from_provider());
            }
            match self.open.asked() {
                Asked::Nothing => {}
                Asked::Replace => break Err(replaced()),
                Asked::Stop => break Err(overtaken()),
                Asked::OpenAgain => {
                    log::info!("opening the same sign-in again");
                    // The person may still have the first tab, so a failure changes nothing.
                    match address() {
                        Ok(address) => {
                            let _ = browser::open(&self.settings.browser, &address);
                        }
                        Err(failure) => log::warn!("{}", failure.what),
                    }
                    self.open.tab_opened();
                }
            }
            self.person.waiting(started.elapsed(), at_most);
        };
        self.person.done();
        arrival
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one sign-in, used once"
    )]
    fn redeem(
        &self,
        arrival: &Arrival,
        request: &AuthorizationRequest,
        redirect_uri: &str,
        http: &Http,
        client: &Client,
        ourselves: &Ourselves<'_>,
        provider: &mut Provider,
        files: &StateFiles,
    ) -> Result<Outcome, Stopped> {
        let code = match &arrival.answer {
            Answer::Code(code) => code,
            Answer::WrongIssuer => {
                return Err(Failure::untrusted(
                    "the authorization response does not come from the configured issuer (`iss`)",
                )
                .into());
            }
            Answer::Error { code, description } => {
                let failure = refused_by_provider(code, description.as_deref());
                return Err(Stopped::told(failure, Ending::Refused));
            }
        };
        let asked_at_ms = clock::now_millis();
        let grant = tokens::redeem_code(
            http,
            client,
            &ourselves.settings,
            code,
            &request.verifier,
            redirect_uri,
        )
        // A code is refused when it is too old, or was used before.
        .map_err(|refusal| Stopped::told(code_refused(refusal), Ending::Expired))?;
        let occasion = Occasion::SignIn(&request.nonce);
        let checked = self.checked(
            grant,
            asked_at_ms,
            &occasion,
            SignedInBy::Browser,
            provider,
            http,
            files,
        );
        checked.map_err(Stopped::from)
    }

    /// Device authorization grant (RFC 8628).
    fn by_device(
        &self,
        http: &Http,
        mut provider: Provider,
        files: &StateFiles,
        since: Option<&'static str>,
    ) -> Result<SignedIn> {
        let ourselves = self.ourselves(http, &provider, None)?;
        let client = self.client(&ourselves.settings, &provider)?;
        let hosts = provider_hosts(self.settings, &provider);
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let authorization = DeviceAuthorization::begin(
            http,
            &client,
            &ourselves.settings,
            &hosts,
            self.deadline.left(),
        )?;
        self.person.invited(&authorization.invitation, since);
        self.open.tab_opened();
        let started = Instant::now();
        let at_most = authorization.invitation.expires_in;
        let pause = |time: Duration| {
            let end = Instant::now() + time;
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                std::thread::sleep(left.min(LOOK));
                if self.person.has_stopped() {
                    return Err(stopped());
                }
                self.person.waiting(started.elapsed(), at_most);
                match self.open.asked() {
                    Asked::Nothing | Asked::OpenAgain => {}
                    Asked::Replace => return Err(replaced()),
                    Asked::Stop => return Err(overtaken()),
                }
            }
            Ok(())
        };
        let asked_at_ms = clock::now_millis();
        let granted = authorization.wait(http, &client, &ourselves.settings, pause);
        self.person.done();
        let grant = granted.map_err(code_refused)?;
        // The token was issued at the last poll, at most one poll's pause ago; its life is counted from the
        // answer less the longest request.
        let asked_at_ms = clock::now_millis().saturating_sub(2000).max(asked_at_ms);
        let occasion = Occasion::DeviceSignIn;
        self.checked(
            grant,
            asked_at_ms,
            &occasion,
            SignedInBy::Device,
            &mut provider,
            http,
            files,
        )
        .and_then(|mut outcome| {
            outcome.registered = ourselves.registered;
            self.keep(outcome, files)
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one sign-in, used twice"
    )]
    fn checked(
        &self,
        grant: Grant,
        asked_at_ms: u64,
        occasion: &Occasion<'_>,
        by: SignedInBy,
        provider: &mut Provider,
        http: &Http,
        files: &StateFiles,
    ) -> Result<Outcome> {
        let times = Times {
            asked_at_ms,
            obtained_at_ms: clock::now_millis(),
        };
        let claims = match self.settings.kind {
            Kind::Oidc => {
                let Some(id_token) = &grant.id_token else {
                    return Err(Failure::untrusted("the provider issued no ID token"));
                };
                let claims = id_token::validate(
                    id_token,
                    &grant.access_token,
                    occasion,
                    provider,
                    self.settings,
                    http,
                    files,
                )?;
                issue::check_account(&claims, self.settings)?;
                Some(claims)
            }
            Kind::OAuth | Kind::Key => None,
        };
        Ok(Outcome {
            exchanged: self.exchanged(&grant, claims.as_ref(), times)?,
            claims,
            times,
            by,
            token_endpoint: provider.metadata.token_endpoint.to_string(),
            grant,
            registered: None,
            secret_headers: BTreeMap::new(),
        })
    }

    /// Exchanges the provider's token for the gateway's, if that is configured.
    fn exchanged(
        &self,
        grant: &Grant,
        claims: Option<&Claims>,
        times: Times,
    ) -> Result<Option<Exchange>> {
        let Some(how) = &self.settings.exchange else {
            return Ok(None);
        };
        let from = issue::token_to_exchange(how, self.settings, grant, claims, times)
            .ok_or_else(|| Failure::untrusted("the provider issued no ID token"))?;
        let http = Http::reaching(how.url().as_str(), self.settings, Deadline::after(REDEEM))?
            .connecting_until(Deadline::after(CONNECT));
        let asked_at_ms = clock::now_millis();
        let exchanged = exchange::exchange(&http, how, &from.value)?;
        let times = Times {
            asked_at_ms,
            obtained_at_ms: clock::now_millis(),
        };
        Ok(Some(Exchange {
            from,
            exchanged,
            times,
        }))
    }

    /// Replaces the stored session by the complete new one.
    fn keep(&self, mut outcome: Outcome, files: &StateFiles) -> Result<SignedIn> {
        let budget = Budget::of(Deadline::after(LOCK));
        let mut writer = Writer::take(self.settings, files, self.store, budget)?;
        if writer.reader.state.generation != self.generation {
            return Err(overtaken());
        }
        let before = self
            .store
            .read(self.settings.profile.as_str(), budget.answer_by)?
            .and_then(|bytes| Record::from_bytes(&bytes));
        outcome.secret_headers = self.all_secret_headers(before.as_ref())?;
        let signed_in = writer.replace_session(outcome)?;
        drop(writer);
        if let Some(before) = before {
            self.revoke_foreign(&before, &signed_in.record);
        }
        Ok(signed_in)
    }

    /// Revokes what the new session has replaced, if that belonged to another issuer, client or token endpoint:
    /// nobody will ever refresh it again. (At the same provider a revocation could take the new session with it.)
    fn revoke_foreign(&self, before: &Record, now: &Record) {
        let same = before.issuer == now.issuer
            && before.client_id == now.client_id
            && before.token_endpoint == now.token_endpoint;
        let (false, Some(refresh_token)) = (same, &before.refresh_token) else {
            return;
        };
        let told = || -> Result<bool> {
            let settings =
                Settings::of_session(&self.settings.profile, &before.issuer, &before.client_id)
                    .ok_or_else(|| Failure::internal("the old session names no issuer"))?;
            let files = StateFiles::open(&settings)?;
            let http = Http::new(&settings, Deadline::after(REVOCATION))?;
            let provider = Provider::kept_or_fetch(&http, &settings, &files)?;
            if provider.metadata.token_endpoint.as_str() != before.token_endpoint {
                return Ok(false);
            }
            let client = client::client(&settings, &provider.metadata)?;
            tokens::revoke(&http, &client, &provider.metadata, &settings, refresh_token)
        };
        match told() {
            Ok(revoked) => log::info!("the session at {} was revoked: {revoked}", before.issuer),
            Err(failure) => log::warn!("the session at {}: {}", before.issuer, failure.what),
        }
    }
}

impl Writer<'_> {
    /// Replaces the stored session by a complete new one.
    pub(super) fn replace_session(&mut self, outcome: Outcome) -> Result<SignedIn> {
        let settings = self.settings();
        let claims = outcome.claims.as_ref();
        let kept = claims.map_or_else(serde_json::Map::new, |claims| {
            issue::kept_claims(claims, settings)
        });
        let company = Company {
            settings,
            claims: &kept,
            secret_headers: &outcome.secret_headers,
            times: outcome.times,
        };
        let (token, exchanged_from) = match outcome.exchanged {
            Some(exchange) => {
                let company = Company {
                    times: exchange.times,
                    ..company
                };
                let token = company.of_exchange(exchange.exchanged)?;
                (token, Some(exchange.from))
            }
            None => {
                let token = company
                    .of_grant(&outcome.grant, claims)?
                    .ok_or_else(|| Failure::untrusted("the provider issued no ID token"))?;
                (token, None)
            }
        };
        let grant = outcome.grant;
        let signed_in_at = outcome.times.asked_at();
        let (client_id, client_secret) = match outcome.registered {
            Some(registered) => (registered.client_id, registered.client_secret),
            None => (settings.client_id.clone(), None),
        };
        let record = Record {
            generation: 0,
            issuer: settings.issuer.clone(),
            client_id,
            token_endpoint: outcome.token_endpoint,
            subject: claims.map(Claims::subject).unwrap_or_default().to_owned(),
            refresh_token: grant.refresh_token,
            bound_to: grant.bound_to,
            token: Some(token.clone()),
            exchanged_from,
            secret_headers: outcome.secret_headers,
            client_secret,
            claims: kept,
            signed_in_at,
            refreshed_at: signed_in_at,
            ends_at: grant
                .refresh_expires_in
                .filter(|seconds| *seconds > 0)
                .or(settings.session_lifetime)
                .map(|seconds| signed_in_at.saturating_add(seconds)),
            signed_in_by: outcome.by,
        };
        // What the provider says may move with each refresh; what the organisation says does not.
        let slides = match grant.refresh_expires_in {
            Some(_) => None,
            None => Some(false),
        };
        self.install(record, token, slides)
    }

    /// Replaces whatever is stored by a pasted key. What is not given is taken from what is stored.
    pub fn keep_key(
        &mut self,
        key: Option<&Secret>,
        given: BTreeMap<String, Secret>,
    ) -> Result<SignedIn> {
        // What the organisation has ended from afar does not come back by an empty line.
        let before = self.stored()?;
        let before = before
            .as_ref()
            .filter(|record| !record.is_recalled(self.settings()));
        let key = key
            .cloned()
            .or_else(|| before?.token.as_ref().map(|token| token.value.clone()))
            .ok_or_else(|| super::sign_in_required("no key was given"))?;
        let mut secret_headers = BTreeMap::new();
        for name in &self.settings().secret_headers {
            let secret = given
                .get(name)
                .or_else(|| before?.secret_headers.get(name))
                .ok_or_else(|| super::sign_in_required(&missing_header(name)))?;
            secret_headers.insert(name.clone(), secret.clone());
        }
        let now = clock::now();
        let mut record = Record {
            generation: 0,
            issuer: String::new(),
            client_id: String::new(),
            token_endpoint: String::new(),
            subject: String::new(),
            refresh_token: None,
            bound_to: None,
            token: Some(IssuedToken {
                value: key,
                life: Life {
                    issued_at_ms: clock::now_millis(),
                    expires_at_ms: u64::MAX,
                },
                obtained_at_ms: clock::now_millis(),
                headers: BTreeMap::new(),
                digest: String::new(),
            }),
            exchanged_from: None,
            secret_headers,
            client_secret: None,
            claims: serde_json::Map::new(),
            signed_in_at: now,
            refreshed_at: now,
            ends_at: None,
            signed_in_by: SignedInBy::Key,
        };
        record.token = record.token_for(self.settings());
        let token = record
            .token
            .clone()
            .ok_or_else(|| Failure::internal("a key cannot be kept"))?;
        self.install(record, token, None)
    }

    /// First the old tokens lose their validity for readers, then the new session takes the old one's place.
    fn install(
        &mut self,
        mut record: Record,
        token: IssuedToken,
        slides: Option<bool>,
    ) -> Result<SignedIn> {
        self.reader.raise_generation();
        self.write_state()?;
        self.reader.cache.clear();
        record.generation = self.reader.state.generation;
        self.keep(&record).map_err(Failure::from)?;
        self.publish(&token);
        // Only now is what was known of the old session of no use.
        let state = &mut self.reader.state;
        state.session = Session::Stored;
        state.refreshed = None;
        state.in_flight = None;
        state.ends = record.ends_at.map(|at| Ends {
            at,
            began: record.signed_in_at,
            slides,
        });
        state.warnings.clear();
        let renews = record.refresh_token.is_some() || record.signed_in_by == SignedInBy::Key;
        if !renews {
            state.warn(format!(
                "the provider issued no refresh token: the next sign-in is needed at {}",
                crate::text::moment(token.life.expires_at())
            ));
        }
        if let Err(failure) = self.write_state() {
            log::warn!("{}", failure.what);
        }
        Ok(SignedIn { record, token })
    }
}

/// Somebody signed in or out in the meantime; what they wanted last stands.
fn overtaken() -> Failure {
    Failure::new(
        Id::SignInFailed,
        "somebody signed in or out before this sign-in was complete",
        "gatepass login",
    )
    .from_provider()
}

/// The person pressed Ctrl-C: nobody's refusal, so hosts may ask again at once.
fn stopped() -> Failure {
    Failure::new(
        Id::SignInFailed,
        "you stopped the sign-in; nothing has changed",
        "gatepass login",
    )
}

/// Somebody asked for a sign-in of their own in place of this one.
fn replaced() -> Failure {
    Failure::new(
        Id::SignInFailed,
        "another sign-in took the place of this one",
        "finish the newer sign-in",
    )
}

/// Hosts that belong to the provider: its issuer's and its endpoints'.
fn provider_hosts(settings: &Settings, provider: &Provider) -> Vec<String> {
    let metadata = &provider.metadata;
    let issuer = Url::parse(&settings.issuer).ok();
    [
        issuer.as_ref(),
        metadata.device_authorization_endpoint.as_ref(),
        metadata.authorization_endpoint.as_ref(),
    ]
    .into_iter()
    .flatten()
    .filter_map(|url| url.host_str().map(str::to_owned))
    .collect()
}

/// What an error in the authorization response means (RFC 6749 section 4.1.2.1, OIDC Core section 3.1.2.6).
fn refused_by_provider(code: &str, description: Option<&str>) -> Failure {
    match tokens::by_code(code, description) {
        Refusal::Failure(failure) => failure,
        Refusal::GrantOver(said) => sign_in_failed(&format!("the provider refused: {said}")),
    }
}

/// A code that the token endpoint does not take is no session that ended: the sign-in failed.
fn code_refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Failure(failure) => failure,
        Refusal::GrantOver(said) => {
            sign_in_failed(&format!("the provider did not accept the sign-in: {said}"))
        }
    }
}

fn sign_in_failed(what: &str) -> Failure {
    Failure::new(Id::SignInFailed, what, "gatepass login").from_provider()
}
