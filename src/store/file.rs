//! Sessions in an owner-only file, for machines that have nothing better. It must be asked for.

use zeroize::Zeroizing;

use super::{SecretStore, StoreError};
use crate::caller::Deadline;
use crate::platform::files::{PrivateDir, Unsafe};
use crate::platform::paths;

/// Largest file that is read, in bytes.
const LIMIT: u64 = 256 * 1024;

/// Files in the state folder, one per profile.
#[derive(Clone, Copy, Debug)]
pub struct FileStore;

impl FileStore {
    fn folder() -> Result<PrivateDir, StoreError> {
        let path = paths::state_dir().map_err(|failure| StoreError::Other(failure.what))?;
        PrivateDir::create(&path).map_err(|reason| unusable(&reason))
    }

    fn file(name: &str) -> String {
        format!("{name}.session")
    }
}

impl SecretStore for FileStore {
    fn read(&self, name: &str, _: Deadline) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let bytes = Self::folder()?.read(&Self::file(name), LIMIT);
        Ok(bytes
            .map_err(|reason| unusable(&reason))?
            .map(Zeroizing::new))
    }

    fn write(&self, name: &str, secret: &[u8], _: Deadline) -> Result<(), StoreError> {
        Self::folder()?
            .replace(&Self::file(name), secret)
            .map_err(|error| unusable(&Unsafe::Io(error)))
    }

    fn remove(&self, name: &str, deadline: Deadline) -> Result<bool, StoreError> {
        let was_there = self.read(name, deadline).is_ok_and(|bytes| bytes.is_some());
        Self::folder()?
            .remove(&Self::file(name))
            .map_err(|error| unusable(&Unsafe::Io(error)))?;
        Ok(was_there)
    }
}

fn unusable(reason: &Unsafe) -> StoreError {
    StoreError::Other(format!("the session file is not safe to use: {reason}"))
}
