//! What a sign-in needs from whoever asks for it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::caller::{Deadline, Host};
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::oidc::loopback::LoopbackServer;
use crate::person::Person;
use crate::platform::environment::Environment;
use crate::reader::{Entry, sign_in_required};
use crate::secret::Secret;
use crate::session::open_sign_in::OpenSignIn;
use crate::session::record::{Record, missing_header};
use crate::store::SecretStore;

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

/// What happens to a session of another issuer that the profile's entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It stays; the sign-in is not begun.
    Never,
    /// The person is asked.
    IfConfirmed,
    /// The person has said so (`--replace`).
    Always,
}

impl Replace {
    /// Whether a sign-in may take the place of what the entry holds. Where the policy sets the issuer, there is
    /// nothing to ask.
    ///
    /// # Errors
    /// `config` where it may not.
    pub fn check(self, settings: &Settings, entry: &Entry, person: &dyn Person) -> Result<()> {
        let Some(other) = entry.other_issuer(settings) else {
            return Ok(());
        };
        let may = match self {
            Self::Always => true,
            _ if settings.issuer_is_locked => true,
            Self::IfConfirmed => person.may_replace(other),
            Self::Never => false,
        };
        if may {
            return Ok(());
        }
        let other = if other.is_empty() {
            "a pasted key"
        } else {
            other
        };
        Err(Failure::config(
            format!(
                "the profile {} holds a session of another issuer ({other})",
                settings.profile
            ),
            "gatepass login --replace, or use a profile of its own (--profile)",
        ))
    }
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
    pub environment: Environment,
    /// Who is told what happens.
    pub person: &'a dyn Person,
    /// The right to have a sign-in open.
    pub open: &'a OpenSignIn,
    /// What happens to a session of another issuer.
    pub replace: Replace,
    /// The redirect of a sign-in that has expired: a host's worker leaves it open for a while, for people who finish
    /// too late.
    pub expired_server: RefCell<Option<LoopbackServer>>,
    /// The person's secrets for the gateway that were given now; others are taken from the session before.
    pub secret_headers: BTreeMap<String, Secret>,
}

impl SignIn<'_> {
    /// The person's secrets for the gateway: those given now, else those of the session before.
    pub(super) fn all_secret_headers(
        &self,
        before: Option<&Record>,
    ) -> Result<BTreeMap<String, Secret>> {
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
                None => Err(sign_in_required(&missing_header(name))),
            })
            .collect()
    }
}
