//! Trying a store: whether it keeps what is as large as a session, gives it back and forgets it.

use std::time::Duration;

use super::{SecretStore, StoreError};
use crate::caller::Deadline;
use crate::clock;

/// Longest wait for the removal of what was tried, also where the time for the trial is over.
const REMOVAL: Duration = Duration::from_secs(5);

/// Writes, reads and removes `size` bytes under a name that no other run has: two runs at once do not take each other's
/// probe away. No profile can be called like this, so no session is touched.
///
/// # Errors
/// What the store said, or that it gave back something else.
pub fn probe(
    store: &dyn SecretStore,
    profile: &str,
    size: usize,
    deadline: Deadline,
) -> Result<(), StoreError> {
    let name = format!(
        "{profile}.probe-{}-{}",
        std::process::id(),
        clock::now_millis()
    );
    let value: Vec<u8> = b"gatepass tries the keychain: safe to delete. "
        .iter()
        .copied()
        .cycle()
        .take(size)
        .collect();
    let kept = store
        .write(&name, &value, deadline)
        .and_then(|()| store.read(&name, deadline));
    // Also after a failure: half of it may be there.
    let removed = store.remove(&name, Deadline::after(REMOVAL.max(deadline.left())));
    match kept? {
        Some(read) if *read == value => {}
        Some(_) => {
            return Err(StoreError::Other(
                "it gave back something else than what it was given".to_owned(),
            ));
        }
        None => {
            return Err(StoreError::Other(
                "it took a value and did not keep it".to_owned(),
            ));
        }
    }
    match removed? {
        true => Ok(()),
        false => Err(StoreError::Other(
            "it did not find again what it had just given back".to_owned(),
        )),
    }
}
