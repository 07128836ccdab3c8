//! The kernel's user keyring (keyrings(7)): in memory, readable by this user alone, entries end by themselves.

use linux_keyutils::{
    Key, KeyError, KeyPermissions, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission,
};
use zeroize::Zeroizing;

/// The user keyring of this process's user.
///
/// A process that was given no session keyring, or another user's (su, services), does not possess it and could
/// add keys without being allowed to limit or remove them. Linking it to the process's own keyring, which ends
/// with the process, makes it ours.
fn keyring() -> Option<KeyRing> {
    let user = KeyRing::from_special_id(KeyRingIdentifier::User, false).ok()?;
    let own = KeyRing::from_special_id(KeyRingIdentifier::Process, true).ok()?;
    own.link_keyring(user).ok()?;
    Some(user)
}

/// How often a key is read that another process replaces at this very moment.
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
    // A key that is there keeps its permissions and gets another content: what may fail is tried on it while it
    // still holds the old one, so that a failure loses nothing.
    let before = find(keyring, name)?;
    if let Some(before) = before {
        before.set_perms(owner_only())?;
    }
    let key = keyring.add_key(name, bytes)?;
    let is_new = before.is_none_or(|before| before.get_id() != key.get_id());
    let limited = match is_new {
        true => key.set_perms(owner_only()),
        false => Ok(()),
    };
    let limited = limited.and_then(|()| match lifetime {
        Some(seconds) => key.set_timeout(usize::try_from(seconds.max(1)).unwrap_or(usize::MAX)),
        None => Ok(()),
    });
    limited.inspect_err(|_| {
        // A cached token that would never end, or a new key that this user's other processes could not read, is worse
        // than none. A session that was there before has no such step left that could fail.
        let _ = keyring.unlink_key(key);
    })
}

/// By default only a possessor may read a key, and a process that PAM gave no session keyring possesses nothing. The
/// same user may do everything, other users nothing.
fn owner_only() -> KeyPermissions {
    KeyPermissionsBuilder::builder()
        .posessor(Permission::ALL)
        .user(Permission::ALL)
        .build()
}

/// Removes the key; says whether there was one.
pub(super) fn clear(name: &str) -> Result<bool, KeyError> {
    let keyring = keyring().ok_or(KeyError::AccessDenied)?;
    let Some(key) = find(keyring, name)? else {
        return Ok(false);
    };
    // A process that possesses the keyring may unlink a key, also one whose maker could not set its
    // permissions.
    let _ = key.invalidate();
    let _ = keyring.unlink_key(key);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_loses_nothing() {
        let name = format!("gatepass-test:{}", std::process::id());
        if let Err(why) = write(&name, b"first", None) {
            gatepass_testkit::skip(&format!("the kernel has no keyring for us: {why:?}"));
            return;
        }
        let kept = || read(&name).map(|bytes| bytes.map(|bytes| bytes.to_vec()));
        assert_eq!(kept(), Ok(Some(b"first".to_vec())));
        write(&name, b"second", None).unwrap();
        assert_eq!(kept(), Ok(Some(b"second".to_vec())));
        // Another process has taken the right to change permissions away.
        let all_but = || Permission::ALL & !Permission::SETATTR;
        let fixed = KeyPermissionsBuilder::builder()
            .posessor(all_but())
            .user(all_but())
            .build();
        let key = find(keyring().unwrap(), &name).unwrap().unwrap();
        key.set_perms(fixed).unwrap();
        assert!(write(&name, b"third", None).is_err());
        assert_eq!(kept(), Ok(Some(b"second".to_vec())));
        assert_eq!(clear(&name), Ok(true));
        assert_eq!(kept(), Ok(None));
    }
}
