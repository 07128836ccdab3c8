//! Which issuer a redirect path belongs to: the defence against mix-up attacks.
//!
//! A hostile issuer may send the browser on to another one, with that one's client and our redirect address. The code
//! that comes back is the other issuer's, and would be sent to the hostile one. Where each issuer has a redirect address
//! of its own, the other one refuses the hostile one's (RFC 8252 section 8.10, RFC 9700 section 4.4). An issuer that
//! promises to name itself in its responses is distinguished by that (RFC 9207).

use super::Sources;
use super::layers::{Layers, Source};
use super::profile::ProfileName;
use super::schema;
use super::settings::{Flow, Kind, Settings};
use super::value::ConfigValue;
use crate::error::{Failure, Result};

/// The path that is built in.
const USUAL: &str = "/callback";

/// The default path of a profile that has an issuer of its own.
pub(super) fn of_profile(profile: &ProfileName) -> String {
    format!("{USUAL}/{profile}")
}

/// Why a redirect has its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOwner {
    /// It is configured, or the usual one.
    Usual,
    /// It is the default of a profile that has another issuer than the top level of its source. Registered may still be
    /// the usual one, which is here.
    Profile(&'static str),
    /// It is the path of this issuer, which the policy has locked for another profile.
    LockedIssuer(String),
}

impl PathOwner {
    pub(super) fn of(layers: &Layers<'_>) -> Self {
        if let Some(issuer) = layers.path_belongs_to() {
            return Self::LockedIssuer(issuer);
        }
        match layers.effective(&schema::REDIRECT_PATH) {
            Some((path, Source::BuiltIn)) if *path != ConfigValue::from(USUAL) => {
                Self::Profile(USUAL)
            }
            _ => Self::Usual,
        }
    }
}

/// Whether an issuer promises to name itself in authorization responses (RFC 9207 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerNaming {
    /// It does.
    Promised,
    /// It does not, or it is not known.
    Unknown,
}

impl Settings {
    /// Refuses a sign-in by redirect on the path of an issuer that the policy has locked, unless responses tell the two
    /// issuers apart.
    ///
    /// # Errors
    /// `config`.
    pub fn check_redirect_path(&self, naming: IssuerNaming) -> Result<()> {
        match &self.redirect_path {
            PathOwner::LockedIssuer(owner) if naming == IssuerNaming::Unknown => {
                Err(Failure::config(
                    format!(
                        "the redirect path {} belongs to {owner}, which your organisation's policy has locked, and {} does not promise to name itself in its answers (RFC 9207)",
                        self.redirect.path, self.issuer
                    ),
                    format!(
                        "set `redirect_path` of the profile {} to another path, and register that with {}",
                        self.profile, self.issuer
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether sign-ins of this profile come back by a redirect.
    pub fn is_redirected(&self) -> bool {
        self.kind != Kind::Key && self.flow != Flow::Device
    }

    /// The addresses to register with the provider; any port stands where one is chosen freely.
    pub fn redirect_addresses(&self) -> Vec<String> {
        self.redirect.addresses(&self.redirect.path)
    }
}

/// A profile that has the same redirect path as another one, and a different issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The profile.
    pub profile: ProfileName,
    /// Its issuer.
    pub issuer: String,
}

/// The profiles that have the same redirect path as this one, and a different issuer.
pub fn neighbours(sources: &Sources, settings: &Settings) -> Vec<Neighbour> {
    if !settings.is_redirected() {
        return Vec::new();
    }
    let others = sources.profiles().into_iter();
    others
        .filter_map(|name| super::load(sources, &name).ok())
        .filter(|other| {
            other.is_redirected()
                && other.redirect.path == settings.redirect.path
                && other.issuer != settings.issuer
        })
        .map(|other| Neighbour {
            profile: other.profile,
            issuer: other.issuer,
        })
        .collect()
}

/// What to say about a profile's neighbours.
pub fn about_neighbours(settings: &Settings, neighbours: &[Neighbour]) -> Option<String> {
    let first = neighbours.first()?;
    Some(format!(
        "{} and {} (profile {}) have the same redirect path {}: if one of them is hostile, it can get a code of the other's",
        settings.issuer, first.issuer, first.profile, settings.redirect.path
    ))
}
