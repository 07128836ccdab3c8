//! Trying the store before a sign-in: one whose result cannot be kept is not begun.

use crate::caller::Deadline;
use crate::config::profile::ProfileName;
use crate::error::{Failure, Result};
use crate::platform::environment::Environment;
use crate::store::{SecretStore, StoreError, probe};

/// Size of a session record with tokens as large as providers make them, in bytes.
const USUAL: usize = 8 * 1024;

/// Tries a value as large as the session that is there, or a usual one.
///
/// # Errors
/// `keychain` where the store would not keep it.
pub(super) fn check(
    store: &dyn SecretStore,
    profile: &ProfileName,
    deadline: Deadline,
    environment: Environment,
) -> Result<()> {
    let tried = || -> Result<(), StoreError> {
        let now = store.read(profile.as_str(), deadline)?;
        let size = USUAL.max(now.map_or(0, |record| record.len()));
        probe::probe(store, profile.as_str(), size, deadline)
    };
    tried().map_err(|error| not_begun(&error, environment))
}

/// What the user is told: that no sign-in was begun, and what helps in this kind of session.
fn not_begun(error: &StoreError, environment: Environment) -> Failure {
    let failure = Failure::from(error.clone());
    let what = format!(
        "{}, and a sign-in that cannot be kept is not begun",
        failure.what
    );
    let remedy = remedy(error, environment).unwrap_or(&failure.remedy);
    Failure::new(failure.id, what, remedy)
}

/// What helps here better than anywhere else.
fn remedy(error: &StoreError, environment: Environment) -> Option<&'static str> {
    match (error, environment) {
        (StoreError::Locked, Environment::Ssh) if cfg!(target_os = "macos") => {
            Some("security unlock-keychain, then run it again in the same SSH session")
        }
        (StoreError::Locked, Environment::Ssh) => Some(
            "unlock the login keychain from here (gnome-keyring-daemon --unlock reads its password), then run it again",
        ),
        (StoreError::Locked, Environment::Desktop | Environment::RemoteDesktop) => Some(
            "unlock the login keychain (sign out of the desktop and in again, or open the keyring manager), then run it again",
        ),
        (StoreError::Absent(_), Environment::Ssh) => Some(
            "sign in to that machine's desktop once and run it there, or set `store = \"file\"` for a machine without one",
        ),
        (StoreError::Absent(_), Environment::Wsl) => Some(
            "install gatepass for Windows (it is then used from here as well), or set `store = \"file\"`",
        ),
        (StoreError::Absent(_), Environment::Container) => Some(
            "give the container the session bus of its host, or set `store = \"file\"` with a private volume",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::*;

    /// A store with room for so many bytes, and what happened to it.
    struct Small {
        room: usize,
        forgets: bool,
        entries: RefCell<BTreeMap<String, Vec<u8>>>,
        touched: RefCell<Vec<String>>,
    }

    impl SecretStore for Small {
        fn read(&self, name: &str, _: Deadline) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
            Ok(self.entries.borrow().get(name).cloned().map(Zeroizing::new))
        }

        fn write(&self, name: &str, secret: &[u8], _: Deadline) -> Result<(), StoreError> {
            self.touched.borrow_mut().push(name.to_owned());
            if secret.len() > self.room {
                return Err(StoreError::Full);
            }
            if !self.forgets {
                let mut entries = self.entries.borrow_mut();
                entries.insert(name.to_owned(), secret.to_vec());
            }
            Ok(())
        }

        fn remove(&self, name: &str, _: Deadline) -> Result<bool, StoreError> {
            self.touched.borrow_mut().push(name.to_owned());
            Ok(self.entries.borrow_mut().remove(name).is_some())
        }
    }

    #[test]
    fn a_store_that_cannot_keep_a_session_is_found_out_and_left_as_it_was() {
        for (session, room, forgets, fits) in [
            (0, USUAL, false, true),
            (0, USUAL - 1, false, false),
            (20_000, 20_000, false, true),
            (20_000, 19_999, false, false),
            (100, 100_000, true, false),
        ] {
            let store = Small {
                room,
                forgets,
                entries: RefCell::default(),
                touched: RefCell::default(),
            };
            if session > 0 {
                let mut entries = store.entries.borrow_mut();
                entries.insert("default".to_owned(), vec![1; session]);
            }
            let before = store.entries.borrow().clone();
            let deadline = Deadline::after(Duration::from_secs(1));
            let result = check(
                &store,
                &ProfileName::default(),
                deadline,
                Environment::Desktop,
            );
            assert_eq!(result.is_ok(), fits, "{session} {room} {result:?}");
            assert_eq!(*store.entries.borrow(), before);
            let touched = store.touched.borrow();
            assert!(
                touched
                    .iter()
                    .all(|name| name.starts_with("default.probe-")),
                "{touched:?}"
            );
        }
    }

    #[test]
    fn the_remedy_fits_the_session() {
        let absent = StoreError::Absent("no bus".to_owned());
        for (error, environment, word) in [
            (&absent, Environment::Ssh, "desktop once"),
            (&absent, Environment::Wsl, "for Windows"),
            (&absent, Environment::Container, "session bus of its host"),
            (&absent, Environment::Desktop, "Secret Service"),
            (&StoreError::Locked, Environment::Desktop, "login keychain"),
            (&StoreError::Locked, Environment::Ssh, "unlock"),
            (&StoreError::Full, Environment::Ssh, "fewer claims"),
        ] {
            let failure = not_begun(error, environment);
            assert_eq!(failure.id, crate::error::Id::Keychain);
            let fits = cfg!(not(target_os = "linux")) || failure.remedy.contains(word);
            assert!(fits, "{failure}");
            assert!(failure.what.contains("not begun"), "{failure}");
        }
    }
}
