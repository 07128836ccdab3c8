//! What must be asked of the Linux Secret Service before its library is let loose on it.

use std::collections::HashMap;

use zbus::blocking::Connection;
use zbus::zvariant::OwnedObjectPath;

use super::StoreError;

const BUS_NAME: &str = "org.freedesktop.secrets";

/// Fails with [`StoreError::Locked`] if reading or writing the item with these attributes would need a prompt.
///
/// Specification: freedesktop.org Secret Service API, `SearchItems`, `ReadAlias` and the `Locked` property of a
/// collection.
pub(super) fn check_unlocked(attributes: &HashMap<&str, &str>) -> Result<(), StoreError> {
    let bus = Connection::session().map_err(|error| StoreError::Absent(error.to_string()))?;
    let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) = bus
        .call_method(
            Some(BUS_NAME),
            "/org/freedesktop/secrets",
            Some("org.freedesktop.Secret.Service"),
            "SearchItems",
            attributes,
        )
        .map_err(|error| StoreError::Absent(error.to_string()))?
        .body()
        .deserialize()
        .map_err(|error| StoreError::Other(error.to_string()))?;
    if !locked.is_empty() {
        return Err(StoreError::Locked);
    }
    if !unlocked.is_empty() {
        return Ok(());
    }
    let alias: OwnedObjectPath = bus
        .call_method(
            Some(BUS_NAME),
            "/org/freedesktop/secrets",
            Some("org.freedesktop.Secret.Service"),
            "ReadAlias",
            &"default",
        )
        .map_err(|error| StoreError::Absent(error.to_string()))?
        .body()
        .deserialize()
        .map_err(|error| StoreError::Other(error.to_string()))?;
    if alias.as_str() == "/" {
        return Err(StoreError::Absent(
            "it has no default collection".to_owned(),
        ));
    }
    let locked: zbus::zvariant::OwnedValue = bus
        .call_method(
            Some(BUS_NAME),
            &alias,
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &("org.freedesktop.Secret.Collection", "Locked"),
        )
        .map_err(|error| StoreError::Other(error.to_string()))?
        .body()
        .deserialize()
        .map_err(|error| StoreError::Other(error.to_string()))?;
    match bool::try_from(locked) {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::Locked),
        Err(error) => Err(StoreError::Other(error.to_string())),
    }
}
