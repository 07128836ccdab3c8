//! Sessions in the Linux kernel's user keyring, for machines without a Secret Service: in memory, readable by this
//! user alone, gone after a restart.

use zeroize::Zeroizing;

use super::{SecretStore, StoreError};
use crate::caller::Deadline;

/// The kernel's user keyring as a place for sessions.
#[derive(Clone, Copy, Debug)]
pub struct Keyutils;

#[cfg(target_os = "linux")]
impl SecretStore for Keyutils {
    fn read(&self, name: &str, _: Deadline) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        super::kernel_keyring::read(&entry(name)).map_err(failed)
    }

    fn write(&self, name: &str, secret: &[u8], _: Deadline) -> Result<(), StoreError> {
        super::kernel_keyring::write(&entry(name), secret, None).map_err(failed)
    }

    fn remove(&self, name: &str, _: Deadline) -> Result<bool, StoreError> {
        super::kernel_keyring::clear(&entry(name)).map_err(failed)
    }
}

/// A keyring that cannot be asked is not one without a session.
#[cfg(target_os = "linux")]
fn failed(error: linux_keyutils::KeyError) -> StoreError {
    use linux_keyutils::KeyError;
    match error {
        KeyError::QuotaExceeded => StoreError::Full,
        KeyError::AccessDenied | KeyError::PermissionDenied => StoreError::Denied,
        other => StoreError::Other(format!("kernel keyring: {other}")),
    }
}

#[cfg(target_os = "linux")]
fn entry(name: &str) -> String {
    format!("gatepass-session:{name}")
}

/// Other systems have no such keyring.
#[cfg(not(target_os = "linux"))]
impl SecretStore for Keyutils {
    fn read(&self, _: &str, _: Deadline) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Err(unsupported())
    }

    fn write(&self, _: &str, _: &[u8], _: Deadline) -> Result<(), StoreError> {
        Err(unsupported())
    }

    fn remove(&self, _: &str, _: Deadline) -> Result<bool, StoreError> {
        Err(unsupported())
    }
}

#[cfg(not(target_os = "linux"))]
fn unsupported() -> StoreError {
    StoreError::Absent("`store` = \"keyutils\" is there on Linux only".to_owned())
}
