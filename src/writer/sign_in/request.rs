//! What a sign-in is asked for with, and what comes of one that fails.

use std::collections::BTreeMap;

use crate::caller::{Deadline, Host};
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::oidc::loopback::LoopbackServer;
use crate::platform::environment::Environment;
use crate::reader::{Entry, sign_in_required};
use crate::secret::Secret;
use crate::session::record::{Record, missing_header};
use crate::sign_in_ui::SignInUi;

/// How the user signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInMethod {
    /// By browser on this machine.
    Browser,
    /// By device code.
    Device,
    /// This session shows the user no browser: by device code if the provider offers that, else by a browser that
    /// the user opens on any machine.
    Elsewhere,
}

/// What happens to a session of another issuer that the profile's entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It stays; the sign-in is not begun.
    Never,
    /// The user is asked.
    IfConfirmed,
    /// The user has said so (`--replace`).
    Always,
}

impl Replace {
    /// Whether a sign-in may take the place of what the entry holds. Where the policy sets the issuer, there is
    /// nothing to ask.
    ///
    /// # Errors
    /// `config` where it may not.
    pub fn check(self, settings: &Settings, entry: &Entry, ui: &dyn SignInUi) -> Result<()> {
        let Some(other) = entry.other_issuer(settings) else {
            return Ok(());
        };
        let may = match self {
            Self::Always => true,
            _ if settings.issuer_is_locked => true,
            Self::IfConfirmed => ui.may_replace(other),
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

/// A sign-in that the user, or a host's call, asks for.
pub struct SignInRequest<'a> {
    /// The effective configuration.
    pub settings: &'a Settings,
    /// How the user signs in.
    pub method: SignInMethod,
    /// Which caller asks for it.
    pub host: Host,
    /// What kind of desktop or terminal session this process runs in.
    pub environment: Environment,
    /// Why a sign-in is needed, if the user did not ask for it by name.
    pub why: Option<&'a str>,
    /// When the sign-in expires.
    pub deadline: Deadline,
    /// How the user is told what happens.
    pub ui: &'a dyn SignInUi,
    /// What happens to a session of another issuer.
    pub replace: Replace,
    /// The user's secrets for the gateway that were typed now; others are taken from the session before.
    pub secret_headers: BTreeMap<String, Secret>,
}

impl SignInRequest<'_> {
    /// The user's secrets for the gateway: those typed now, else those of the session before.
    ///
    /// # Errors
    /// `sign-in-required` where one of them is in neither.
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

/// A sign-in that brought no session.
pub struct NotSignedIn {
    /// Why.
    pub failure: Failure,
    /// The loopback redirect of a sign-in that has expired. A host's worker leaves it open for a while: a user who
    /// finishes too late is told so.
    pub expired_server: Option<LoopbackServer>,
}

impl From<Failure> for NotSignedIn {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            expired_server: None,
        }
    }
}
