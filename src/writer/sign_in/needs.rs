//! What a sign-in needs from whoever asks for it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::caller::{Deadline, Host};
use crate::config::settings::Settings;
use crate::error::Result;
use crate::oidc::loopback::LoopbackServer;
use crate::person::Person;
use crate::platform::environment::Environment;
use crate::reader::sign_in_required;
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
    /// The session's generation when the sign-in began: a sign-out in between is not undone.
    pub generation: u64,
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
