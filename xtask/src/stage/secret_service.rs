//! The keychain of a Linux desktop, asked beside gatepass: a second opinion on what it holds.

use std::collections::HashMap;
use std::time::Duration;

use zbus::blocking::connection::Builder;
use zbus::blocking::{Connection, Proxy};
use zbus::zvariant::OwnedObjectPath;

use super::place::NotHere;

const NAME: &str = "org.freedesktop.secrets";
const PATH: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const COLLECTION: &str = "org.freedesktop.Secret.Collection";

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Secret Service.
pub(super) struct SecretService {
    bus: Connection,
}

impl SecretService {
    /// The one on the bus at this address.
    pub(super) fn at(address: &str) -> Result<Self, String> {
        let bus = Builder::address(address)
            .map(|builder| builder.method_timeout(PATIENCE))
            .and_then(Builder::build)
            .map_err(|error| format!("the session bus does not answer: {error}"))?;
        Ok(Self { bus })
    }

    fn proxy<'a>(&self, path: &'a str, interface: &'a str) -> Result<Proxy<'a>, String> {
        Proxy::new(&self.bus, NAME, path, interface).map_err(|error| error.to_string())
    }

    /// Whether secrets can be written without a question to the person.
    pub(super) fn is_open(&self) -> Result<(), String> {
        let service = self.proxy(PATH, SERVICE)?;
        let path: OwnedObjectPath = service
            .call("ReadAlias", &("default",))
            .map_err(|error| format!("no Secret Service answers: {error}"))?;
        if path.as_str() == "/" {
            return Err("it has no default collection".to_owned());
        }
        let locked: bool = self
            .proxy(path.as_str(), COLLECTION)?
            .get_property("Locked")
            .map_err(|error| error.to_string())?;
        if locked {
            return Err("it is locked".to_owned());
        }
        Ok(())
    }

    /// How many entries it has of gatepass's for this profile.
    pub(super) fn entries(&self, profile: &str) -> Result<usize, NotHere> {
        let attributes = HashMap::from([("service", "gatepass"), ("username", profile)]);
        let found: Result<(Vec<OwnedObjectPath>, Vec<OwnedObjectPath>), String> =
            self.proxy(PATH, SERVICE).and_then(|service| {
                service
                    .call("SearchItems", &(attributes,))
                    .map_err(|error| error.to_string())
            });
        let (open, locked) = found.map_err(NotHere)?;
        Ok(open.len() + locked.len())
    }
}
