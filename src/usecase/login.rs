//! Signing in, now.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::caller::{Deadline, Host};
use crate::config::settings::{Flow, Settings};
use crate::error::{Failure, Id, Result};
use crate::person::Person;
use crate::platform::environment::Environment;
use crate::secret::Secret;
use crate::session::lock::Pause;
use crate::session::open_sign_in::{self, OpenSignIn};
use crate::session::state::StateFiles;
use crate::store::{self, Prompting};
use crate::writer::install::SignedIn;
use crate::writer::sign_in::{Replace, SignIn, Way};
use crate::writer::{Budget, Writer};

/// How long another sign-in may take to give way.
const GIVE_WAY: Duration = Duration::from_secs(5);

/// Longest wait for a keychain that asks the person to unlock it.
const KEEP: Duration = Duration::from_secs(120);

/// Chooses the way: what was asked for, else what the configuration says, else what this session can do.
///
/// `code_is_seen` says whether somebody would read a device code: a host's standard error is a log file.
pub fn way(
    settings: &Settings,
    asked: Option<Flow>,
    environment: Environment,
    code_is_seen: bool,
) -> Result<Way> {
    let way = match asked.unwrap_or(settings.flow) {
        Flow::Browser => Way::Browser,
        Flow::Device => Way::Device,
        Flow::Auto if !settings.browser.is_empty() || environment.shows_browsers() => Way::Browser,
        Flow::Auto => Way::Elsewhere,
    };
    if way != Way::Browser && !code_is_seen {
        let what = if way == Way::Device {
            "a sign-in by device code is needed, and nobody would see the code here".to_owned()
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
    Ok(way)
}

/// What a person at a terminal has asked for.
pub struct Wanted<'a> {
    /// The effective configuration.
    pub settings: &'a Settings,
    /// How to sign in.
    pub way: Way,
    /// What kind of session this is.
    pub environment: Environment,
    /// Why a sign-in is needed, if the person did not ask for it by name.
    pub why: Option<&'a str>,
    /// When the sign-in expires.
    pub deadline: Deadline,
    /// Who is told what happens.
    pub person: &'a dyn Person,
    /// What happens to a session of another issuer.
    pub replace: Replace,
    /// The person's secrets for the gateway that were typed now.
    pub secret_headers: BTreeMap<String, Secret>,
}

/// Signs in, in place of any sign-in that is open. What was refused before is forgotten.
pub fn login(wanted: &Wanted<'_>) -> Result<SignedIn> {
    let files = StateFiles::open(wanted.settings)?;
    let mut open = OpenSignIn::begin(&files)?;
    if open.is_none() {
        open_sign_in::ask_to_give_way(&files);
        let until = Deadline::after(GIVE_WAY);
        let mut pause = Pause::default();
        while open.is_none() && !until.passed() {
            pause.sleep(until);
            open = OpenSignIn::begin(&files)?;
        }
    }
    let open = open.ok_or_else(|| {
        Failure::new(
            Id::SignInRequired,
            "a sign-in is open in another terminal",
            "finish or stop that one, then run it again",
        )
    })?;
    open.forgive();
    run(wanted, open)
}

/// Keeps a key that the person has pasted, in place of whatever was kept before.
pub fn keep_key(
    settings: &Settings,
    key: Option<&Secret>,
    given: BTreeMap<String, Secret>,
    replace: Replace,
    person: &dyn Person,
) -> Result<SignedIn> {
    let files = StateFiles::open(settings)?;
    let store = store::open(settings, Prompting::Allowed);
    let budget = Budget::of(Deadline::after(KEEP));
    let mut writer = Writer::take(settings, &files, &*store, budget)?;
    writer.keep_key(key, given, replace, person)
}

/// Signs in in the foreground, unless a sign-in is open already (`None`).
pub fn foreground(wanted: &Wanted<'_>) -> Result<Option<Result<SignedIn>>> {
    let files = StateFiles::open(wanted.settings)?;
    Ok(OpenSignIn::begin(&files)?.map(|open| run(wanted, open)))
}

fn run(wanted: &Wanted<'_>, open: OpenSignIn) -> Result<SignedIn> {
    wanted.person.begins(wanted.why);
    let store = store::open(wanted.settings, Prompting::Allowed);
    let sign_in = SignIn {
        settings: wanted.settings,
        store: &*store,
        deadline: wanted.deadline,
        host: Host::Terminal,
        environment: wanted.environment,
        person: wanted.person,
        open: &open,
        replace: wanted.replace,
        expired_server: RefCell::default(),
        secret_headers: wanted.secret_headers.clone(),
    };
    let result = sign_in.run(wanted.way);
    open.end(result.as_ref().err());
    result
}
