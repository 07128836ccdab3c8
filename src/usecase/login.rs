//! Signing in, now.

use std::time::Duration;

use crate::caller::{Deadline, Host};
use crate::config::settings::{Flow, Settings};
use crate::error::{Failure, Id, Result};
use crate::person::Person;
use crate::platform::{self, Desktop};
use crate::session::lock::Pause;
use crate::session::open_sign_in::{self, OpenSignIn};
use crate::session::state::StateFiles;
use crate::store::Prompting;
use crate::store::keychain::Keychain;
use crate::writer::sign_in::{SignIn, SignedIn, Way};

/// How long another sign-in may take to give way.
const GIVE_WAY: Duration = Duration::from_secs(5);

/// Chooses the way: what was asked for, else what the configuration says, else what this session can do.
///
/// `code_is_seen` says whether somebody would read a device code: a host's standard error is a log file.
pub fn way(settings: &Settings, asked: Option<Flow>, code_is_seen: bool) -> Result<Way> {
    let way = match asked.unwrap_or(settings.flow) {
        Flow::Browser => Way::Browser,
        Flow::Device => Way::Device,
        Flow::Auto if !settings.browser.is_empty() => Way::Browser,
        Flow::Auto => match platform::desktop() {
            Desktop::Present => Way::Browser,
            Desktop::Remote | Desktop::Absent => Way::DeviceIfOffered,
        },
    };
    if way != Way::Browser && !code_is_seen {
        let what = if way == Way::Device {
            "a sign-in by device code is needed, and nobody would see the code here"
        } else {
            "a sign-in is needed, and no browser can be opened from here"
        };
        return Err(Failure::new(
            Id::SignInRequired,
            what,
            "gatepass login --device",
        ));
    }
    Ok(way)
}

/// Signs in, in place of any sign-in that is open. What was refused before is forgotten.
pub fn login(
    settings: &Settings,
    way: Way,
    deadline: Deadline,
    person: &dyn Person,
) -> Result<SignedIn> {
    let files = StateFiles::open(settings)?;
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
    run(settings, way, deadline, person, open)
}

/// Signs in in the foreground, unless a sign-in is open already (`None`).
pub fn foreground(
    settings: &Settings,
    way: Way,
    deadline: Deadline,
    person: &dyn Person,
) -> Result<Option<Result<SignedIn>>> {
    let files = StateFiles::open(settings)?;
    Ok(OpenSignIn::begin(&files)?.map(|open| run(settings, way, deadline, person, open)))
}

fn run(
    settings: &Settings,
    way: Way,
    deadline: Deadline,
    person: &dyn Person,
    open: OpenSignIn,
) -> Result<SignedIn> {
    let files = StateFiles::open(settings)?;
    let keychain = Keychain::new(Prompting::Allowed);
    let sign_in = SignIn {
        settings,
        store: &keychain,
        deadline,
        host: Host::Terminal,
        person,
        open: &open,
        generation: files.read()?.generation,
    };
    let result = sign_in.check_store().and_then(|()| sign_in.run(way));
    open.end(result.as_ref().err());
    result
}
