//! Signing in: browser or device code, validation, and only then a new session in place of the old one.

use std::time::{Duration, Instant};

use url::Url;

use super::issue::{self, Times};
use super::probe::probe;
use super::{Budget, Writer};
use crate::audit;
use crate::caller::{Deadline, Host};
use crate::clock;
use crate::config::settings::{ResponseMode, Settings};
use crate::error::{Failure, Id, Result};
use crate::oidc::authorization::AuthorizationRequest;
use crate::oidc::client::{self, Client};
use crate::oidc::device::DeviceAuthorization;
use crate::oidc::discovery::Provider;
use crate::oidc::dpop::{self, Prover};
use crate::oidc::http::Http;
use crate::oidc::id_token::{self, Claims, Occasion};
use crate::oidc::loopback::{Answer, Arrival, Expected, Loopback, Running};
use crate::oidc::page::{Ending, Parties};
use crate::oidc::par;
use crate::oidc::tokens::{self, Grant, Refusal};
use crate::person::{Person, Visit};
use crate::platform::browser;
use crate::platform::surroundings::Surroundings;
use crate::session::lock::{Lock, Purpose};
use crate::session::open_sign_in::{Asked, OpenSignIn};
use crate::session::record::{IssuedToken, Record, SignedInBy};
use crate::session::state::{Session, StateFiles};
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
    pub(super) claims: Claims,
    pub(super) times: Times,
    pub(super) token_endpoint: String,
    pub(super) by: SignedInBy,
}

impl SignIn<'_> {
    /// Tries whether the store would keep the result: a sign-in whose result cannot be kept is not begun.
    pub fn check_store(&self) -> Result<()> {
        let deadline = self.deadline.at_most(UNLOCK);
        let profile = &self.settings.profile;
        probe(self.store, profile, deadline, self.surroundings)
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
        let client = self.client(&provider)?;
        let redirect_uri = loopback.redirect_uri();
        let request = AuthorizationRequest::new(&client, self.settings, &redirect_uri)?;
        let address = {
            let (metadata, client, request) = (&provider.metadata, &client, &request);
            move || par::address(http, client, metadata, self.settings, request)
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
        let arrival = self.wait(&running, &address)?;
        // Whoever waits is gone as soon as the token can be had, so this is asked before.
        let awaited = self.is_awaited(files);
        let result = self
            .redeem(
                &arrival,
                &request,
                &redirect_uri,
                http,
                &client,
                &mut provider,
                files,
            )
            .and_then(|outcome| {
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
    fn client(&self, provider: &Provider) -> Result<Client> {
        let prover = match dpop::is_wanted(self.settings, &provider.metadata)? {
            true => Some(Prover::generate()?),
            false => None,
        };
        Ok(client::client(self.settings, &provider.metadata)?.bound_to(prover))
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
            self.settings,
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
        let client = self.client(&provider)?;
        let hosts = provider_hosts(self.settings, &provider);
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let authorization =
            DeviceAuthorization::begin(http, &client, self.settings, &hosts, self.deadline.left())?;
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
        let granted = authorization.wait(http, &client, self.settings, pause);
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
        .and_then(|outcome| self.keep(outcome, files))
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
        Ok(Outcome {
            claims,
            times,
            by,
            token_endpoint: provider.metadata.token_endpoint.to_string(),
            grant,
        })
    }

    /// Replaces the stored session by the complete new one.
    fn keep(&self, outcome: Outcome, files: &StateFiles) -> Result<SignedIn> {
        let budget = Budget::of(Deadline::after(LOCK));
        let mut writer = Writer::take(self.settings, files, self.store, budget)?;
        if writer.reader.state.generation != self.generation {
            return Err(overtaken());
        }
        let before = self
            .store
            .read(self.settings.profile.as_str(), budget.answer_by)?
            .and_then(|bytes| Record::from_bytes(&bytes));
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
        let Outcome {
            grant,
            claims,
            times,
            token_endpoint,
            by,
        } = outcome;
        let settings = self.settings();
        let kept = issue::kept_claims(&claims, settings);
        let token = issue::token_to_print(&grant, Some(&claims), &kept, times, settings)?
            .ok_or_else(|| Failure::untrusted("the provider issued no ID token"))?;
        // First the old tokens lose their validity for readers, then the new session takes the old one's place.
        self.reader.raise_generation();
        self.write_state()?;
        self.reader.cache.clear();
        let generation = self.reader.state.generation;
        let renewable = grant.refresh_token.is_some();
        let record = Record {
            generation,
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            token_endpoint,
            subject: claims.subject().to_owned(),
            refresh_token: grant.refresh_token,
            bound_to: grant.bound_to,
            token: Some(token.clone()),
            claims: kept,
            signed_in_at: times.asked_at(),
            refreshed_at: times.asked_at(),
            ends_at: grant
                .refresh_expires_in
                .filter(|seconds| *seconds > 0)
                .or(settings.session_lifetime)
                .map(|seconds| times.asked_at().saturating_add(seconds)),
            signed_in_by: by,
        };
        self.keep(&record).map_err(Failure::from)?;
        self.publish(&token);
        // Only now is what was known of the old session of no use.
        let state = &mut self.reader.state;
        state.session = Session::Stored;
        state.refreshed = None;
        state.in_flight = None;
        state.warnings.clear();
        if !renewable {
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
