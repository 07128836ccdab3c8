//! Signing in at a terminal, and keeping a pasted key.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::caller::Deadline;
use crate::config::settings::{Flow, Settings};
use crate::error::{Failure, Id, Result};
use crate::platform::environment::Environment;
use crate::secret::Secret;
use crate::session::active_sign_in::{ActiveSignIn, ControlRequest};
use crate::session::lock::Polling;
use crate::session::state::StateFiles;
use crate::sign_in_ui::SignInUi;
use crate::store::{self, Prompting};
use crate::writer::install::SignedIn;
use crate::writer::sign_in::{Replace, SignInMethod, SignInRequest};
use crate::writer::{Budget, Writer};

/// How long another sign-in may take to give way.
const GIVE_WAY: Duration = Duration::from_secs(5);

/// Longest wait for a keychain that asks the user to unlock it.
const KEEP: Duration = Duration::from_secs(120);

/// Chooses the method: what the user asked for, else what the configuration says, else what this session can do.
///
/// `code_is_seen` says whether the user would see a device code: a host's standard error is a log file.
///
/// # Errors
/// `sign-in-required` where it takes a device code that the user would not see.
pub fn method(
    settings: &Settings,
    asked: Option<Flow>,
    environment: Environment,
    code_is_seen: bool,
) -> Result<SignInMethod> {
    let method = match asked.unwrap_or(settings.flow) {
        Flow::Browser => SignInMethod::Browser,
        Flow::Device => SignInMethod::Device,
        Flow::Auto if !settings.browser.is_empty() || environment.shows_browsers() => {
            SignInMethod::Browser
        }
        Flow::Auto => SignInMethod::Elsewhere,
    };
    if method != SignInMethod::Browser && !code_is_seen {
        let what = if method == SignInMethod::Device {
            "a sign-in by device code is needed, and you would not see the code here".to_owned()
        } else {
            format!(
                "a sign-in is needed, and no browser can be opened from here, since {}",
                environment.in_words()
            )
        };
        return Err(Failure::new(
            Id::SignInRequired,
            what,
            "gatepass login --device",
        ));
    }
    Ok(method)
}

/// Signs in, in place of any sign-in that is open. What was refused before is forgotten.
///
/// # Errors
/// `sign-in-required` where another terminal's sign-in does not give way; else those of [`SignInRequest::run`].
pub fn login(request: &SignInRequest<'_>) -> Result<SignedIn> {
    let files = StateFiles::open(request.settings)?;
    let mut active = ActiveSignIn::begin(&files)?;
    if active.is_none() {
        ControlRequest::Replace.leave(&files);
        let until = Deadline::after(GIVE_WAY);
        let mut pause = Polling::default();
        while active.is_none() && !until.passed() {
            pause.sleep(until);
            active = ActiveSignIn::begin(&files)?;
        }
    }
    let active = active.ok_or_else(|| {
        Failure::new(
            Id::SignInRequired,
            "a sign-in is open in another terminal",
            "finish or stop that one, then run it again",
        )
    })?;
    active.forgive();
    request.run(active).map_err(|ended| ended.failure)
}

/// Keeps a key that the user has pasted, in place of what was kept before.
///
/// # Errors
/// `config` where the key cannot be sent in a header, or another issuer's session must not be replaced;
/// `sign-in-required` where a key or a secret header is missing; `keychain` where the store does not take it.
pub fn keep_key(
    settings: &Settings,
    key: Option<&Secret>,
    given: BTreeMap<String, Secret>,
    replace: Replace,
    ui: &dyn SignInUi,
) -> Result<SignedIn> {
    let files = StateFiles::open(settings)?;
    let store = store::open(settings, Prompting::Allowed);
    let budget = Budget::of(Deadline::after(KEEP));
    let mut writer = Writer::take(settings, &files, &*store, budget)?;
    writer.keep_key(key, given, replace, ui)
}

/// Signs in in the foreground, unless a sign-in is open already (`None`).
///
/// # Errors
/// Those of [`SignInRequest::run`].
pub fn foreground(request: &SignInRequest<'_>) -> Result<Option<SignedIn>> {
    let files = StateFiles::open(request.settings)?;
    match ActiveSignIn::begin(&files)? {
        Some(active) => request.run(active).map(Some).map_err(|ended| ended.failure),
        None => Ok(None),
    }
}
