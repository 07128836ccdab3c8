//! The kernel's user keyring (keyrings(7)): in memory, readable by this user alone, entries end by themselves.

use linux_keyutils::{KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission};
use zeroize::Zeroizing;

/// The user keyring of this process's user, possessed or not.
fn keyring() -> Option<KeyRing> {
    KeyRing::from_special_id(KeyRingIdentifier::User, false).ok()
}

fn description(name: &str) -> String {
    format!("gatepass:{name}")
}

pub(super) fn read(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    let key = keyring()?.search(&description(name)).ok()?;
    key.read_to_vec().ok().map(Zeroizing::new)
}

/// Adds or replaces the key; it ends with the token, after `lifetime` seconds.
pub(super) fn write(name: &str, bytes: &[u8], lifetime: u64) -> bool {
    let Some(keyring) = keyring() else {
        return false;
    };
    let Ok(key) = keyring.add_key(&description(name), bytes) else {
        return false;
    };
    // By default only a possessor may read a key, and a process that PAM gave no session keyring possesses
    // nothing. The same user may do everything, nobody else anything.
    let owner_only = KeyPermissionsBuilder::builder()
        .posessor(Permission::ALL)
        .user(Permission::ALL)
        .build();
    let seconds = usize::try_from(lifetime.max(1)).unwrap_or(usize::MAX);
    if key.set_perms(owner_only).is_ok() && key.set_timeout(seconds).is_ok() {
        return true;
    }
    let _ = key.invalidate();
    false
}

pub(super) fn clear(name: &str) {
    if let Some(key) = keyring().and_then(|keyring| keyring.search(&description(name)).ok()) {
        let _ = key.invalidate();
    }
}
