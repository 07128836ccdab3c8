//! Reading from the Linux Secret Service, over one connection and without ever causing a prompt. (Writing is its
//! library's.)
//!
//! Where the session bus is a socket of this machine, the secret comes over a `plain` session: whoever could read it
//! there may ask the service for it as well. The other kind costs two modular exponentiations, more than all the rest.
//!
//! Specification: freedesktop.org Secret Service API.

use std::collections::HashMap;

use serde::Serialize;
use zbus::blocking::Connection;
use zbus::zvariant::{DynamicDeserialize, DynamicType, OwnedObjectPath, OwnedValue, Value};
use zeroize::Zeroizing;

use super::StoreError;

const BUS_NAME: &str = "org.freedesktop.secrets";
const SERVICE: &str = "/org/freedesktop/secrets";

/// What is in the Secret Service under some attributes.
pub(super) enum Found {
    /// An item, readable without a prompt.
    Item(Item),
    /// The same, over a bus that may cross a network: nothing is read that is not encrypted on the way.
    FarItem,
    /// Nothing; and an item could be written without a prompt.
    Nothing,
    /// Something that needs a prompt, or the collection needs one that would have it.
    Locked,
}

/// An item that is not locked.
pub(super) struct Item {
    bus: Connection,
    path: OwnedObjectPath,
}

/// Looks for the item with these attributes.
///
/// # Errors
/// If no service answers or it has no place for items.
pub(super) fn find(attributes: &HashMap<&str, &str>) -> Result<Found, StoreError> {
    let bus = Connection::session().map_err(absent)?;
    let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
        ask(&bus, SERVICE, "Secret.Service", "SearchItems", attributes).map_err(absent)?;
    if !locked.is_empty() {
        return Ok(Found::Locked);
    }
    match <[OwnedObjectPath; 1]>::try_from(unlocked) {
        Ok([path]) if is_near() => return Ok(Found::Item(Item { bus, path })),
        Ok(_) => return Ok(Found::FarItem),
        Err(none) if none.is_empty() => {}
        Err(_) => {
            return Err(StoreError::Other(
                "it holds two gatepass entries of the same name".to_owned(),
            ));
        }
    }
    // Some services look for items in unlocked collections alone.
    let collection: OwnedObjectPath =
        ask(&bus, SERVICE, "Secret.Service", "ReadAlias", &"default").map_err(absent)?;
    if collection.as_str() == "/" {
        return Err(StoreError::Absent(
            "it has no default collection".to_owned(),
        ));
    }
    let property = ("org.freedesktop.Secret.Collection", "Locked");
    let locked: OwnedValue = ask(
        &bus,
        collection.as_str(),
        "DBus.Properties",
        "Get",
        &property,
    )
    .map_err(other)?;
    match bool::try_from(locked).map_err(other)? {
        true => Ok(Found::Locked),
        false => Ok(Found::Nothing),
    }
}

impl Item {
    /// The item's secret.
    pub(super) fn secret(&self) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let plain = ("plain", Value::from(""));
        let (_, session): (OwnedValue, OwnedObjectPath) =
            ask(&self.bus, SERVICE, "Secret.Service", "OpenSession", &plain).map_err(other)?;
        // The session, its parameters, the secret, its content type.
        let (_, _, secret, _): (OwnedObjectPath, Vec<u8>, Vec<u8>, String) = ask(
            &self.bus,
            self.path.as_str(),
            "Secret.Item",
            "GetSecret",
            &session,
        )
        .map_err(other)?;
        Ok(Zeroizing::new(secret))
    }
}

/// Whether the session bus is a socket of this machine, as it always is unless somebody has chosen otherwise.
fn is_near() -> bool {
    std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none_or(|addresses| {
        addresses
            .as_encoded_bytes()
            .split(|byte| *byte == b';')
            .all(|address| address.is_empty() || address.starts_with(b"unix:"))
    })
}

/// Calls a method of the Secret Service and reads what it answers.
fn ask<Q, A>(
    bus: &Connection,
    path: &str,
    interface: &str,
    method: &str,
    question: &Q,
) -> zbus::Result<A>
where
    Q: Serialize + DynamicType,
    A: for<'d> DynamicDeserialize<'d>,
{
    let interface = format!("org.freedesktop.{interface}");
    let answer = bus.call_method(Some(BUS_NAME), path, Some(&*interface), method, question)?;
    answer.body().deserialize()
}

/// Without a bus or a service on it there is no keychain.
fn absent(error: zbus::Error) -> StoreError {
    StoreError::Absent(error.to_string())
}

fn other(error: impl std::error::Error) -> StoreError {
    StoreError::Other(error.to_string())
}
