//! Every link from the policy to the gateway, looked at in the order in which a call depends on them.
//!
//! Each check has a stable id and one finding; each finding that is not good has one remedy. Nothing here changes
//! a session, refreshes a token or opens a browser: the only thing written is a probe beside the session in the
//! keychain, which is removed again.
//!
//! One module per group of checks: [`machine`] (this program, its files, the system's log), [`network`] (proxy,
//! DNS, TLS, clock, the provider's documents), [`sign_in`] (redirect, browser), [`session`] (keychain, session,
//! token), [`hosts`] and [`gateway`]. [`bundle`] writes what was found for another person to read.

pub mod bundle;
mod gateway;
mod hosts;
mod jwt;
mod machine;
mod network;
mod session;
mod sign_in;

use std::path::Path;

use serde::{Serialize, Serializer};

use crate::config::policy::Policy;
use crate::config::redirect_path::{IssuerNaming, Neighbour};
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::session::record::IssuedToken;
use crate::text;

/// Version of the JSON form. It grows only if a member changes its meaning or goes away.
const FORMAT: u32 = 1;

/// Which checks there are, in about their order. The words are a promise to scripts.
pub const IDS: [&str; 20] = [
    "binary",
    "policy",
    "configuration",
    "permissions",
    "system-log",
    "proxy",
    "dns",
    "tls",
    "clock",
    "discovery",
    "redirect-port",
    "browser",
    "keychain",
    "session",
    "refresh-token",
    "token",
    "token-lifetime",
    "host-configuration",
    "gateway",
    "gateway-model",
];

/// Longest text of a finding, in characters.
const LONGEST: usize = 600;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// As it should be.
    Ok(String),
    /// It works, or may work, and the user should know.
    Warning {
        /// What was seen.
        what: String,
        /// One thing to do.
        remedy: String,
    },
    /// A call would fail, or people could not sign in.
    Failed(Failure),
    /// Not looked at.
    Skipped {
        /// Why not.
        why: String,
        /// What would make it possible.
        remedy: Option<String>,
    },
}

impl CheckResult {
    fn ok(what: impl AsRef<str>) -> Self {
        Self::Ok(text::printable(what.as_ref(), LONGEST))
    }

    fn warning(what: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::Warning {
            what: text::printable(what.as_ref(), LONGEST),
            remedy: text::printable(remedy.as_ref(), LONGEST),
        }
    }

    fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped {
            why: why.into(),
            remedy: None,
        }
    }

    fn skipped_until(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Skipped {
            why: why.into(),
            remedy: Some(remedy.into()),
        }
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Warning { .. } => "warning",
            Self::Failed(_) => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// What was seen.
    pub fn what(&self) -> &str {
        match self {
            Self::Ok(what) | Self::Warning { what, .. } => what,
            Self::Failed(failure) => &failure.what,
            Self::Skipped { why, .. } => why,
        }
    }

    /// What to do, if there is something to do.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::Ok(_) => None,
            Self::Warning { remedy, .. } => Some(remedy),
            Self::Failed(failure) => Some(&failure.remedy),
            Self::Skipped { remedy, .. } => remedy.as_deref(),
        }
    }
}

impl From<Failure> for CheckResult {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// One check and what it found.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its id.
    pub id: &'static str,
    /// What it found.
    pub finding: CheckResult,
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct CheckJson<'a> {
            id: &'a str,
            outcome: &'a str,
            what: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            remedy: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a str>,
        }
        CheckJson {
            id: self.id,
            outcome: self.finding.word(),
            what: self.finding.what(),
            remedy: self.finding.remedy(),
            error: match &self.finding {
                CheckResult::Failed(failure) => Some(failure.id.as_str()),
                _ => None,
            },
        }
        .serialize(to)
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct DoctorReport {
    format: u32,
    version: &'static str,
    profile: String,
    machine: bool,
    /// The exit code that follows.
    exit_code: u8,
    /// In the order in which they were looked at.
    pub checks: Vec<Check>,
    /// Secrets and names that no bundle may show.
    #[serde(skip)]
    hidden: Vec<Secret>,
    /// Whether `hidden` has everything: not where the keychain was silent.
    #[serde(skip)]
    secrets_are_known: bool,
}

impl DoctorReport {
    /// The first failure, from which the exit code follows.
    pub fn failure(&self) -> Option<&Failure> {
        self.checks.iter().find_map(|check| match &check.finding {
            CheckResult::Failed(failure) => Some(failure),
            _ => None,
        })
    }

    /// How many checks found something of this kind.
    pub fn count(&self, word: &str) -> usize {
        let of_kind = |check: &&Check| check.finding.word() == word;
        self.checks.iter().filter(of_kind).count()
    }
}

/// What is to be looked at.
#[derive(Debug)]
pub struct Examination<'a> {
    /// The profile that was asked for.
    pub profile: &'a str,
    /// The administrator's policy, or why it cannot be followed.
    pub policy: Result<Option<&'a Policy>, &'a Failure>,
    /// The effective configuration, or why there is none.
    pub configuration: Result<&'a Settings, &'a Failure>,
    /// The user's file, if it could be found out which.
    pub file: Option<&'a Path>,
    /// Every profile that is configured.
    pub profiles: Vec<String>,
    /// Profiles with another issuer on the same redirect path.
    pub neighbours: Vec<Neighbour>,
    /// A model to ask for one token.
    pub model: Option<&'a str>,
    /// Only what needs no person and no session.
    pub machine: bool,
}

impl Examination<'_> {
    /// Runs the checks, and tells each finding as soon as it is there.
    pub fn run(&self, told: &mut dyn FnMut(&Check)) -> DoctorReport {
        let mut chain = Chain {
            checks: Vec::new(),
            hidden: Vec::new(),
            secrets_are_known: true,
            told,
        };
        chain.found("binary", machine::binary());
        chain.found("policy", machine::policy(self.policy));
        match self.configuration {
            Ok(settings) => {
                chain.found(
                    "configuration",
                    machine::configuration(settings, self.file, self.machine),
                );
                self.with_settings(settings, &mut chain);
            }
            Err(failure) => {
                chain.found("configuration", failure.clone());
                chain.skip_the_rest("the configuration cannot be used");
            }
        }
        let Chain {
            checks,
            hidden,
            secrets_are_known,
            ..
        } = chain;
        let mut report = DoctorReport {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            profile: self.profile.to_owned(),
            machine: self.machine,
            exit_code: 0,
            checks,
            hidden,
            secrets_are_known,
        };
        report.exit_code = report.failure().map_or(0, |failure| failure.id.exit_code());
        report
    }

    fn with_settings(&self, settings: &Settings, chain: &mut Chain<'_>) {
        if !self.machine {
            chain.found("permissions", machine::permissions(settings));
        }
        chain.found("system-log", machine::system_log(settings));
        let provider = network::check(settings, chain);
        let hosts = |token: Option<&IssuedToken>| {
            hosts::check(settings, &self.profiles, token, self.machine)
        };
        if self.machine {
            chain.found("host-configuration", hosts(None));
            chain.found("gateway", gateway::reachable(settings));
            chain.skip_the_rest("`--machine` looks only at what needs no person");
            return;
        }
        let naming = provider
            .as_ref()
            .filter(|provider| {
                provider
                    .metadata
                    .authorization_response_iss_parameter_supported
            })
            .map_or(IssuerNaming::Unknown, |_| IssuerNaming::Promised);
        let redirect = sign_in::redirect(settings, naming, &self.neighbours);
        chain.found("redirect-port", redirect);
        let offers_codes = provider
            .as_ref()
            .map(|provider| provider.metadata.device_authorization_endpoint.is_some());
        chain.found("browser", sign_in::browser(settings, offers_codes));
        let token = session::check(settings, chain);
        let token = token.as_ref();
        chain.found("host-configuration", hosts(token));
        for (id, finding) in gateway::check(settings, token, self.model) {
            chain.found(id, finding);
        }
    }
}

/// The checks so far, and the function that is told of each.
pub(super) struct Chain<'a> {
    checks: Vec<Check>,
    hidden: Vec<Secret>,
    secrets_are_known: bool,
    told: &'a mut dyn FnMut(&Check),
}

impl Chain<'_> {
    fn found(&mut self, id: &'static str, finding: impl Into<CheckResult>) {
        let check = Check {
            id,
            finding: finding.into(),
        };
        (self.told)(&check);
        self.checks.push(check);
    }

    /// What was not looked at is said too: a report that is silent on something looks as if it were good.
    fn skip_the_rest(&mut self, why: &str) {
        for id in IDS {
            if !self.checks.iter().any(|check| check.id == id) {
                self.found(id, CheckResult::skipped(why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Id;

    #[test]
    fn without_a_configuration_the_rest_is_skipped_and_the_code_is_its_own() {
        let failure = Failure::config("no", "yes");
        let mut told = Vec::new();
        let report = Examination {
            profile: "default",
            policy: Ok(None),
            configuration: Err(&failure),
            file: None,
            profiles: Vec::new(),
            neighbours: Vec::new(),
            model: None,
            machine: false,
        }
        .run(&mut |check| told.push(check.id));
        let mut all = told.clone();
        all.sort_unstable();
        let mut expected = IDS.to_vec();
        expected.sort_unstable();
        assert_eq!(all, expected, "every check is told of, once");
        assert_eq!(report.failure().map(|failure| failure.id), Some(Id::Config));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["format"], 1);
        assert_eq!(json["exit_code"], 3);
        assert_eq!(json["checks"][2]["error"], "config");
        assert_eq!(json["checks"][2]["outcome"], "failed");
        assert_eq!(json["checks"][3]["outcome"], "skipped");
    }
}
