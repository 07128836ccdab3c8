//! The authorization code grant with PKCE over a loopback redirect (RFC 8252).

use std::time::Instant;

use url::Url;

use super::attempt::{Attempt, POLL};
use super::endings::{code_refused, overtaken, replaced, sign_in_failed, stopped};
use super::request::{NotSignedIn, SignInRequest};
use super::{Before, SignIn};
use crate::clock;
use crate::config::redirect_path::{IssuerNaming, PathOwner};
use crate::config::settings::{ResponseMode, Settings};
use crate::error::{Failure, Id, Result};
use crate::oidc::authorization::AuthorizationRequest;
use crate::oidc::discovery::Provider;
use crate::oidc::id_token::ValidationContext;
use crate::oidc::loopback::page::{Ending, Parties};
use crate::oidc::loopback::{
    AuthorizationResponse, AuthorizationResult, Expected, Loopback, LoopbackServer,
};
use crate::oidc::par;
use crate::oidc::tokens::{self, Refusal};
use crate::oidc::transport::http::Http;
use crate::platform::browser;
use crate::platform::environment::Environment;
use crate::session::active_sign_in::ControlRequest;
use crate::session::lock::{Lock, Purpose};
use crate::session::record::SignedInBy;
use crate::sign_in_ui::AuthorizationLink;
use crate::writer::install::{Outcome, SignedIn};

/// A sign-in that ended otherwise, and what the page in the browser says.
struct Unfinished {
    failure: Failure,
    ending: Ending,
}

impl From<Failure> for Unfinished {
    fn from(failure: Failure) -> Self {
        let ending = match failure.id {
            // Of what the provider gave, only the account can be refused by us.
            Id::SignInFailed => Ending::NotAllowed,
            _ => Ending::Failed,
        };
        Self { failure, ending }
    }
}

impl Unfinished {
    /// The page says that the user was refused or too late, if that is what the failure says.
    fn told(failure: Failure, ending: Ending) -> Self {
        if failure.id == Id::SignInFailed {
            Self { failure, ending }
        } else {
            failure.into()
        }
    }
}

/// Signs in by a browser on this machine.
///
/// # Errors
/// `config` where every redirect port is taken; else those of [`SignInRequest::run`].
pub(super) fn by_browser(
    sign_in: &SignIn<'_>,
    http: &Http,
    provider: Provider,
    before: Before,
) -> Result<SignedIn, NotSignedIn> {
    let asked = sign_in.request;
    let naming = match provider
        .metadata
        .authorization_response_iss_parameter_supported
    {
        true => IssuerNaming::Promised,
        false => IssuerNaming::Unknown,
    };
    asked.settings.check_redirect_path(naming)?;
    let loopback = Loopback::bind(&asked.settings.redirect)?;
    let redirect_uri = loopback.redirect_uri();
    let attempt = Attempt::new(sign_in, http, provider, Some(&redirect_uri))?;
    let (metadata, settings) = (&attempt.provider.metadata, &*attempt.settings);
    let request = AuthorizationRequest::new(&attempt.client, settings, &redirect_uri)?;
    let address = || par::address(http, &attempt.client, metadata, settings, &request);
    let first = address()?;
    let server = loopback.serve(Expected {
        state: request.state.clone(),
        issuer: settings.issuer.clone(),
        issuer_required: metadata.authorization_response_iss_parameter_supported,
        parties: Parties {
            organisation: settings.display_name.clone(),
            gateway: settings.gateway_url.clone(),
            asker: asked.host.name().map(str::to_owned),
        },
    })?;
    let is_query = settings.redirect.response_mode == ResponseMode::Query;
    open_browser(
        asked,
        AuthorizationLink {
            address: &first,
            redirect: is_query.then_some(&redirect_uri),
            since: (asked.environment != Environment::Desktop)
                .then(|| asked.environment.in_words()),
        },
    )?;
    sign_in.active.tab_opened();
    let response = match wait(sign_in, &server, &address) {
        Ok(response) => response,
        Err(failure) => {
            // A port that was chosen freely is needed by no other program.
            let stays = asked.deadline.passed() && settings.redirect.ports == [0];
            return Err(NotSignedIn {
                failure,
                expired_server: stays.then(|| {
                    server.expire();
                    server
                }),
            });
        }
    };
    // A caller that waits ends as soon as the token can be had, so this is asked before.
    let awaited = is_awaited(sign_in);
    let result = redeem(attempt, &response, &request, &redirect_uri).and_then(|outcome| {
        // Here the user has done everything right, whatever becomes of it.
        sign_in.keep(outcome, before).map_err(|failure| Unfinished {
            failure,
            ending: Ending::Failed,
        })
    });
    let (result, ending) = match result {
        Ok(signed_in) => {
            let account = signed_in.record.account().to_owned();
            (Ok(signed_in), Ending::SignedIn { account, awaited })
        }
        Err(Unfinished { failure, ending }) => (Err(failure.into()), ending),
    };
    response.tell(ending);
    server.close();
    result
}

/// Opens the browser, or has the user open the address where this session has none.
fn open_browser(asked: &SignInRequest<'_>, link: AuthorizationLink<'_>) -> Result<()> {
    let (browser, environment) = (&asked.settings.browser, asked.environment);
    if browser.is_empty() && !environment.shows_browsers() {
        let why = format!(
            "no browser is opened here, since {}",
            environment.in_words()
        );
        return asked.ui.browser_missing(link, &why);
    }
    match browser::open(browser, link.address) {
        Ok(()) => {
            asked.ui.browser_opened(link);
            Ok(())
        }
        Err(why) => asked.ui.browser_missing(link, &why),
    }
}

/// Whether a caller still waits for the token: the terminal we run in, or a host that has not been killed.
fn is_awaited(sign_in: &SignIn<'_>) -> bool {
    let files = sign_in.active.files();
    sign_in.request.host.is_terminal() || Lock::is_shared(files, Purpose::Wait).unwrap_or(true)
}

/// Waits for the redirect, opening the tab again or giving way when another process asks for it.
fn wait(
    sign_in: &SignIn<'_>,
    server: &LoopbackServer,
    address: &dyn Fn() -> Result<Url>,
) -> Result<AuthorizationResponse> {
    let started = Instant::now();
    let at_most = sign_in.request.deadline.left();
    let response = loop {
        if let Some(response) = server.wait(POLL.min(sign_in.request.deadline.left())) {
            break Ok(response);
        }
        if sign_in.request.ui.has_stopped() {
            break Err(stopped());
        }
        if let Some(address) = sign_in.request.ui.handed_over() {
            if !server.hand_over(&address) {
                sign_in.request.ui.not_the_address();
            }
            continue;
        }
        if sign_in.request.deadline.passed() {
            break Err(out_of_time(sign_in.request.settings));
        }
        match sign_in.active.requested() {
            None => {}
            Some(ControlRequest::Replace) => break Err(replaced()),
            Some(ControlRequest::Stop) => break Err(overtaken()),
            Some(ControlRequest::OpenAgain) => {
                log::info!("opening the same sign-in again");
                // The user may still have the first tab, so a failure changes nothing.
                match address() {
                    Ok(address) => {
                        let _ = browser::open(&sign_in.request.settings.browser, &address);
                    }
                    Err(failure) => log::warn!("{}", failure.what),
                }
                sign_in.active.tab_opened();
            }
        }
        sign_in.request.ui.waiting(started.elapsed(), at_most);
    };
    sign_in.request.ui.done();
    response
}

/// The browser did not come back. A provider that does not know the redirect address shows that in the browser only.
fn out_of_time(settings: &Settings) -> Failure {
    let addresses = settings.redirect_addresses().join(" and ");
    let remedy = match &settings.redirect_path {
        PathOwner::Profile(usual) => format!(
            "gatepass login; if the browser showed an error about the redirect address, register {addresses} with the provider: this profile does not use {} any more",
            settings.redirect.addresses(usual).join(" and ")
        ),
        PathOwner::Usual | PathOwner::LockedIssuer(_) => format!(
            "gatepass login; if the browser showed an error about the redirect address, register {addresses} with the provider"
        ),
    };
    Failure::new(
        Id::SignInFailed,
        "the sign-in was not completed in time",
        remedy,
    )
    .told_by_provider()
}

/// Gives the code for tokens, and looks at them.
fn redeem(
    attempt: Attempt<'_>,
    response: &AuthorizationResponse,
    request: &AuthorizationRequest,
    redirect_uri: &str,
) -> Result<Outcome, Unfinished> {
    let code = match &response.answer {
        AuthorizationResult::Code(code) => code,
        AuthorizationResult::WrongIssuer => {
            return Err(Failure::untrusted(
                "the authorization response does not come from the configured issuer (`iss`)",
            )
            .into());
        }
        AuthorizationResult::Error { code, description } => {
            let failure = refused_by_provider(code, description.as_deref());
            return Err(Unfinished::told(failure, Ending::Refused));
        }
    };
    let asked_at_ms = clock::now_millis();
    let grant = tokens::redeem_code(
        attempt.http,
        &attempt.client,
        &attempt.settings,
        code,
        &request.verifier,
        redirect_uri,
    )
    // A code is refused when it is too old, or was used before.
    .map_err(|refusal| Unfinished::told(code_refused(refusal), Ending::Expired))?;
    let context = ValidationContext::SignIn(&request.nonce);
    let checked = attempt.checked(grant, asked_at_ms, &context, SignedInBy::Browser);
    checked.map_err(Unfinished::from)
}

/// What an error in the authorization response means (RFC 6749 section 4.1.2.1, OIDC Core section 3.1.2.6).
fn refused_by_provider(code: &str, description: Option<&str>) -> Failure {
    match tokens::by_code(code, description) {
        Refusal::Failure(failure) => failure,
        Refusal::GrantOver(said) => sign_in_failed(&format!("the provider refused: {said}")),
    }
}
