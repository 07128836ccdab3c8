//! Where gatepass lives during the demo and the proof: a home, and a keychain, which differ by system.
//!
//! | | home | keychain |
//! |---|---|---|
//! | Linux | temporary | the session's under a profile of the run's own, or one started for the run |
//! | macOS | temporary | one made for the run; whose the default keychain is stands in the home |
//! | Windows | the configuration alone is temporary: known folders follow no variable | the account's, under a profile of the run's own |
//!
//! gatepass keeps each profile's session in an entry of its own and has no switch for another place, so a profile that
//! nobody else has is what keeps a run apart from what the person has.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::{FAREWELL, KEYCHAIN_PROGRAMS, PROMISE, Place};
#[cfg(target_os = "macos")]
pub(crate) use macos::{FAREWELL, PROMISE, Place};
#[cfg(windows)]
pub(crate) use windows::{FAREWELL, PROMISE, Place};

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose keychain a run uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keychain {
    /// Nobody else's, where the system lets one be made.
    Private,
    /// The one that gatepass would use here, where it can be told apart what is whose.
    Real,
}

/// A policy of a run's own, which is gone when this is dropped.
pub(crate) trait Policy {
    /// A run that the policy holds for.
    fn command(&self, place: &Place, gatepass: &Path) -> Command;
}

/// Why something was not tried here.
#[derive(Debug)]
pub(crate) struct NotHere(pub(crate) String);

/// A folder that is removed when this is dropped.
#[cfg(not(target_os = "linux"))]
struct Folder(PathBuf);

#[cfg(not(target_os = "linux"))]
impl Folder {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(unique());
        std::fs::create_dir(&folder)
            .map_err(|e| format!("{} cannot be made: {e}", folder.display()))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let own = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(&folder, own).map_err(|e| e.to_string())?;
        }
        Ok(Self(folder))
    }
}

#[cfg(not(target_os = "linux"))]
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name that no other run has at the same time: a profile's, a folder's.
fn unique() -> String {
    format!("gatepass-run-{}", std::process::id())
}

/// The file of this name in a folder, as programs are called here.
fn executable(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
