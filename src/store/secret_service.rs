//! Reading from the Linux Secret Service, over one connection and without ever causing a prompt. (Writing is its
//! library's.)
//!
//! Where the session bus is a socket of this machine, the secret comes over a `plain` session: a process that could
//! read it there may ask the service for it as well. The other kind costs two modular
//! exponentiations, more than all the rest.
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

/// The path that stands for no object.
const NO_OBJECT: &str = "/";

/// What is in the Secret Service under some attributes.
pub(super) enum ItemLookup {
    /// An item, readable without a prompt.
    Item(Item),
    /// The same, over a bus that may cross a network: nothing is read that is not encrypted on the way.
    FarItem,
    /// Nothing; and an item could be written without a prompt.
    Nothing(Home),
    /// Something that needs a prompt, or the collection needs one that would have it.
    Locked(Home),
}

/// Where a new item would be kept.
pub(super) enum Home {
    /// In the collection that has the alias `default`.
    Default,
    /// In the collection of this label: some services have no alias `default`.
    Collection(String),
    /// There is no collection.
    Nowhere,
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
pub(super) fn find(attributes: &HashMap<&str, &str>) -> Result<ItemLookup, StoreError> {
    let bus = Connection::session().map_err(absent)?;
    let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
        ask(&bus, SERVICE, "Secret.Service", "SearchItems", attributes).map_err(absent)?;
    if !locked.is_empty() {
        return Ok(ItemLookup::Locked(Home::Default));
    }
    match <[OwnedObjectPath; 1]>::try_from(unlocked) {
        Ok([path]) if is_near() => return Ok(ItemLookup::Item(Item { bus, path })),
        Ok(_) => return Ok(ItemLookup::FarItem),
        Err(none) if none.is_empty() => {}
        Err(_) => {
            return Err(StoreError::Other(
                "it holds two gatepass entries of the same name".to_owned(),
            ));
        }
    }
    // Some services look for items in unlocked collections alone.
    let (collection, home) = match alias(&bus, "default")? {
        Some(collection) => (collection, Home::Default),
        None => match other_collection(&bus)? {
            Some(collection) => {
                let label = property(&bus, collection.as_str(), "Collection", "Label")?;
                let label = String::try_from(label).map_err(other)?;
                (collection, Home::Collection(label))
            }
            None => return Ok(ItemLookup::Nothing(Home::Nowhere)),
        },
    };
    match is_locked(&bus, &collection)? {
        true => Ok(ItemLookup::Locked(home)),
        false => Ok(ItemLookup::Nothing(home)),
    }
}

/// The collection of this alias.
fn alias(bus: &Connection, name: &str) -> Result<Option<OwnedObjectPath>, StoreError> {
    let found: OwnedObjectPath =
        ask(bus, SERVICE, "Secret.Service", "ReadAlias", &name).map_err(absent)?;
    Ok((found.as_str() != NO_OBJECT).then_some(found))
}

/// The collection to use where none is the default: `login`, else the first that is open, else the first. Never the one
/// that ends with the session.
fn other_collection(bus: &Connection) -> Result<Option<OwnedObjectPath>, StoreError> {
    if let Some(login) = alias(bus, "login")? {
        return Ok(Some(login));
    }
    let all = property(bus, SERVICE, "Service", "Collections")?;
    let mut all = Vec::<OwnedObjectPath>::try_from(all).map_err(other)?;
    let passing = alias(bus, "session")?;
    all.retain(|one| Some(one) != passing.as_ref() && !one.ends_with("/session"));
    let open = all
        .iter()
        .position(|one| matches!(is_locked(bus, one), Ok(false)));
    Ok((!all.is_empty()).then(|| all.swap_remove(open.unwrap_or(0))))
}

fn is_locked(bus: &Connection, collection: &OwnedObjectPath) -> Result<bool, StoreError> {
    let locked = property(bus, collection.as_str(), "Collection", "Locked")?;
    bool::try_from(locked).map_err(other)
}

fn property(
    bus: &Connection,
    path: &str,
    interface: &str,
    name: &str,
) -> Result<OwnedValue, StoreError> {
    let question = (format!("org.freedesktop.Secret.{interface}"), name);
    ask(bus, path, "DBus.Properties", "Get", &question).map_err(other)
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

/// Whether the session bus is a socket of this machine, as it always is unless the user has chosen another.
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

/// Without a bus or a service on it there is no keychain. One that is there and refuses is something else.
fn absent(error: zbus::Error) -> StoreError {
    const REFUSALS: [&str; 4] = [
        "org.freedesktop.DBus.Error.Failed",
        "org.freedesktop.DBus.Error.LimitsExceeded",
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.Secret.",
    ];
    match &error {
        zbus::Error::MethodError(name, _, _)
            if REFUSALS.iter().any(|known| name.starts_with(known)) =>
        {
            other(error)
        }
        _ => StoreError::Absent(error.to_string()),
    }
}

fn other(error: impl std::error::Error) -> StoreError {
    StoreError::Other(error.to_string())
}
