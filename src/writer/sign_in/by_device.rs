//! The device authorization grant (RFC 8628): the user signs in on any device, with a code.

use std::time::{Duration, Instant};

use url::Url;

use super::attempt::{Attempt, POLL};
use super::endings::{code_refused, overtaken, replaced, stopped};
use super::{Before, SignIn};
use crate::clock;
use crate::config::settings::Settings;
use crate::error::Result;
use crate::oidc::device::DeviceAuthorization;
use crate::oidc::discovery::Provider;
use crate::oidc::id_token::ValidationContext;
use crate::oidc::transport::http::Http;
use crate::session::active_sign_in::ControlRequest;
use crate::session::record::SignedInBy;
use crate::writer::install::SignedIn;

/// Signs in by a code; `since` says why it is a code, if the user did not ask for one.
///
/// # Errors
/// Those of [`SignInRequest::run`](super::SignInRequest::run).
pub(super) fn by_device(
    sign_in: &SignIn<'_>,
    http: &Http,
    provider: Provider,
    before: Before,
    since: Option<&'static str>,
) -> Result<SignedIn> {
    let attempt = Attempt::new(sign_in, http, provider, None)?;
    let hosts = provider_hosts(sign_in.request.settings, &attempt.provider);
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let authorization = DeviceAuthorization::begin(
        http,
        &attempt.client,
        &attempt.settings,
        &hosts,
        sign_in.request.deadline.left(),
    )?;
    sign_in
        .request
        .ui
        .invited(&authorization.instructions, since);
    sign_in.active.tab_opened();
    let started = Instant::now();
    let at_most = authorization.instructions.expires_in;
    let pause = |time: Duration| {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::sleep(left.min(POLL));
            if sign_in.request.ui.has_stopped() {
                return Err(stopped());
            }
            sign_in.request.ui.waiting(started.elapsed(), at_most);
            match sign_in.active.requested() {
                None | Some(ControlRequest::OpenAgain) => {}
                Some(ControlRequest::Replace) => return Err(replaced()),
                Some(ControlRequest::Stop) => return Err(overtaken()),
            }
        }
        Ok(())
    };
    let asked_at_ms = clock::now_millis();
    let granted = authorization.wait(http, &attempt.client, &attempt.settings, pause);
    sign_in.request.ui.done();
    let grant = granted.map_err(code_refused)?;
    // The token was issued at the last poll, at most one poll's pause ago; its life is counted from the
    // answer less the longest request.
    let asked_at_ms = clock::now_millis().saturating_sub(2000).max(asked_at_ms);
    let context = ValidationContext::DeviceSignIn;
    let outcome = attempt.checked(grant, asked_at_ms, &context, SignedInBy::Device)?;
    sign_in.keep(outcome, before)
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
