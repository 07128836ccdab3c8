//! Where the operating system keeps what an administrator has decided, and how it is read.
//!
//! The places are fixed: nothing in the environment can point elsewhere. What is read here is not understood yet;
//! [`crate::config::policy`] does that.

use serde_json::{Map, Value as Json};

/// A policy as the operating system gave it.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The text of a TOML file.
    Text(Vec<u8>),
    /// Values by name, as the registry and managed preferences have them. Tables are nested.
    Values(Map<String, Json>),
}

/// Largest policy that is read, in bytes.
pub const LIMIT: u64 = 2 * 1024 * 1024;

#[cfg(target_os = "linux")]
pub use linux::{PLACE, read};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsFd, BorrowedFd};

    use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, openat};
    use rustix::io::Errno;

    use super::{Found, LIMIT};

    const FOLDER: &str = "/etc/gatepass";
    const FILE: &str = "policy.toml";

    /// Where the policy lies, for people.
    pub const PLACE: &str = "/etc/gatepass/policy.toml";

    /// Reads the policy. The error says why it must not be followed.
    ///
    /// The folder is checked even where no policy lies in it: whoever can write there could have taken it away.
    pub fn read() -> Result<Option<Found>, String> {
        let folder = match open(
            FOLDER,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(format!("{FOLDER} cannot be opened: {error}")),
        };
        root_alone(folder.as_fd(), FileType::Directory)
            .map_err(|why| format!("the folder {FOLDER} {why}"))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&folder, FILE, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err("it is a link".to_owned()),
            Err(error) => return Err(format!("it cannot be opened: {error}")),
        };
        let about = root_alone(file.as_fd(), FileType::RegularFile)?;
        let length = usize::try_from(about.st_size).unwrap_or(0);
        let mut bytes = Vec::with_capacity(length.min(LIMIT as usize) + 1);
        File::from(file)
            .take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("it cannot be read: {error}"))?;
        if bytes.len() as u64 > LIMIT {
            return Err("it is larger than 2 MiB".to_owned());
        }
        Ok(Some(Found::Text(bytes)))
    }

    /// What is opened belongs to root, and nobody else may write it.
    fn root_alone(opened: BorrowedFd<'_>, kind: FileType) -> Result<Stat, String> {
        let about = fstat(opened).map_err(|error| format!("cannot be looked at: {error}"))?;
        if FileType::from_raw_mode(about.st_mode) != kind {
            return Err("is of the wrong kind".to_owned());
        }
        if about.st_uid != 0 {
            return Err("does not belong to root".to_owned());
        }
        if about.st_mode & 0o022 != 0 {
            return Err("may be written by others than root".to_owned());
        }
        Ok(about)
    }
}

/// Where the policy lies, for people.
#[cfg(windows)]
pub const PLACE: &str = r"HKLM\SOFTWARE\Policies\Gatepass";

/// Where the policy lies, for people.
#[cfg(target_os = "macos")]
pub const PLACE: &str = "managed preferences (io.gatepass.helper)";

/// Where the policy lies, for people.
#[cfg(not(any(target_os = "linux", windows, target_os = "macos")))]
pub const PLACE: &str = "(no policy on this system)";

/// Reads the policy. The error says why it must not be followed.
#[cfg(not(target_os = "linux"))]
pub fn read() -> Result<Option<Found>, String> {
    Ok(None)
}
