//! The kernel's user keyring (keyrings(7)): in memory, readable by this user alone, entries end by themselves.

use linux_keyutils::{
    Key, KeyError, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission,
};
use zeroize::Zeroizing;

/// The user keyring of this process's user.
///
/// A process that was given no session keyring, or somebody else's (su, services), does not possess it and could
/// add keys without being allowed to limit or remove them. Linking it to the process's own keyring, which ends
/// with the process, makes it ours.
fn keyring() -> Option<KeyRing> {
    let user = KeyRing::from_special_id(KeyRingIdentifier::User, false).ok()?;
    let own = KeyRing::from_special_id(KeyRingIdentifier::Process, true).ok()?;
    own.link_keyring(user).ok()?;
    Some(user)
}

/// How often a key is read that somebody replaces at this very moment.
const LOOKS: u32 = 5;

/// Finds a key; one that has ended is as good as none.
fn find(keyring: KeyRing, name: &str) -> Result<Option<Key>, KeyError> {
    match keyring.search(name) {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn read(name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let Some(key) = find(keyring().ok_or(KeyError::AccessDenied)?, name)? else {
        return Ok(None);
    };
    for _ in 0..LOOKS {
        // Asked with no room, the kernel tells the length; the library's own buffer would be 64 KiB to wipe.
        let length = key.read(&mut [0_u8; 0])?;
        let mut bytes = Zeroizing::new(vec![0; length]);
        if key.read(&mut *bytes)? == length {
            return Ok(Some(bytes));
        }
    }
    Err(KeyError::AccessDenied)
}

/// Adds or replaces the key; it ends after `lifetime` seconds, if there is such a limit.
pub(super) fn write(name: &str, bytes: &[u8], lifetime: Option<u64>) -> Result<(), KeyError> {
    let keyring = keyring().ok_or(KeyError::AccessDenied)?;
    let key = keyring.add_key(name, bytes)?;
    // By default only a possessor may read a key, and a process that PAM gave no session keyring possesses
    // nothing. The same user may do everything, nobody else anything.
    let owner_only = KeyPermissionsBuilder::builder()
        .posessor(Permission::ALL)
        .user(Permission::ALL)
        .build();
    let limited = key.set_perms(owner_only).and_then(|()| match lifetime {
        Some(seconds) => key.set_timeout(usize::try_from(seconds.max(1)).unwrap_or(usize::MAX)),
        None => Ok(()),
    });
    limited.inspect_err(|_| {
        let _ = keyring.unlink_key(key);
    })
}

/// Removes the key; says whether there was one.
pub(super) fn clear(name: &str) -> Result<bool, KeyError> {
    let keyring = keyring().ok_or(KeyError::AccessDenied)?;
    let Some(key) = find(keyring, name)? else {
        return Ok(false);
    };
    // Unlinking is allowed to whoever possesses the keyring, also where the key itself was made by somebody
    // who could not set its permissions.
    let _ = key.invalidate();
    let _ = keyring.unlink_key(key);
    Ok(true)
}
