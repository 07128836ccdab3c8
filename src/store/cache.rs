//! The cache of the short-lived token to print.
//!
//! Keychains are slow under load. The cache is a place that only this user can read and whose entries expire. On
//! Linux that is the kernel's user keyring, else a file in the user's runtime folder if that is in memory; on
//! Windows a file that the system encrypts for the user.
//! A cache that cannot be read or written, or does not answer at once, is a miss, never an error.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::config::settings::{CacheChoice, Settings};
#[cfg(windows)]
use crate::platform::dpapi;
use crate::platform::files::PrivateDir;
#[cfg(target_os = "linux")]
use crate::platform::paths;
use crate::session::record::IssuedToken;
use crate::session::state::StateFiles;
#[cfg(target_os = "linux")]
use crate::store::kernel_keyring;

/// Largest entry that is read, in bytes: a token of 16 KiB and its headers.
const LIMIT: u64 = 64 * 1024;

/// Longest wait for a place that may ask others: DPAPI asks a domain controller at times, and a state folder may be on
/// a network's disk. Tests wait for theirs: what a thread writes that was left to itself belongs to no later step.
const ANSWER: Duration = if cfg!(test) {
    Duration::from_secs(60)
} else {
    Duration::from_millis(200)
};

/// What a place answers within [`ANSWER`].
fn in_time<T: Send + 'static>(call: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
    within(ANSWER, call)
}

/// What a place answers within this time. The thread of one that does not is left to itself and ends with the process.
/// The kernel's keyring and memory need none of this.
fn within<T: Send + 'static>(
    time: Duration,
    call: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let (answer, wait) = mpsc::channel();
    thread::Builder::new()
        .name("cache".to_owned())
        .spawn(move || answer.send(call()))
        .ok()?;
    wait.recv_timeout(time)
        .inspect_err(|_| log::info!("the cache does not answer"))
        .ok()
        .flatten()
}

/// A place where the token may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CachePlace {
    #[cfg(target_os = "linux")]
    KernelKeyring(String),
    /// In the user's runtime folder, which is looked for when it is needed: the kernel's keyring rarely fails.
    #[cfg(target_os = "linux")]
    RuntimeFile(String),
    /// A file that only this user can decrypt.
    #[cfg(windows)]
    ProtectedFile(PrivateDir, String),
    StateFile(PrivateDir, String),
}

/// gatepass's own part of the user's runtime folder.
#[cfg(target_os = "linux")]
fn runtime_folder() -> Option<std::path::PathBuf> {
    paths::runtime_dir().map(|path| path.join("gatepass"))
}

impl CachePlace {
    fn read(&self) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::KernelKeyring(name) => kernel_keyring::read(name).ok().flatten(),
            #[cfg(target_os = "linux")]
            Self::RuntimeFile(name) => {
                let dir = PrivateDir::open(&runtime_folder()?).ok()??;
                dir.read(name, LIMIT).ok()?.map(Into::into)
            }
            #[cfg(windows)]
            Self::ProtectedFile(dir, name) => {
                let (dir, name) = (dir.clone(), name.clone());
                in_time(move || dpapi::unprotect(&dir.read(&name, LIMIT).ok()??).ok())
            }
            Self::StateFile(dir, name) => {
                let (dir, name) = (dir.clone(), name.clone());
                in_time(move || dir.read(&name, LIMIT).ok()?.map(Into::into))
            }
        }
    }

    /// Whether the place took it.
    fn write(&self, bytes: &[u8], lifetime: u64) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::KernelKeyring(name) => kernel_keyring::write(name, bytes, Some(lifetime)).is_ok(),
            #[cfg(target_os = "linux")]
            Self::RuntimeFile(name) => runtime_folder()
                .and_then(|path| PrivateDir::create(&path).ok())
                .is_some_and(|dir| dir.replace(name, bytes).is_ok()),
            #[cfg(windows)]
            Self::ProtectedFile(dir, name) => {
                let (dir, name) = (dir.clone(), name.clone());
                let bytes = zeroize::Zeroizing::new(bytes.to_vec());
                in_time(move || dir.replace(&name, &dpapi::protect(&bytes).ok()?).ok()).is_some()
            }
            Self::StateFile(dir, name) => {
                let _ = lifetime;
                let (dir, name) = (dir.clone(), name.clone());
                let bytes = zeroize::Zeroizing::new(bytes.to_vec());
                in_time(move || dir.replace(&name, &bytes).ok()).is_some()
            }
        }
    }

    fn clear(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::KernelKeyring(name) => {
                let _ = kernel_keyring::clear(name);
            }
            #[cfg(target_os = "linux")]
            Self::RuntimeFile(name) => {
                let dir = runtime_folder().and_then(|path| PrivateDir::open(&path).ok()?);
                let _ = dir.map(|dir| dir.remove(name));
            }
            #[cfg(windows)]
            Self::ProtectedFile(dir, name) => {
                let _ = dir.remove(name);
            }
            Self::StateFile(dir, name) => {
                let _ = dir.remove(name);
            }
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            #[cfg(target_os = "linux")]
            Self::KernelKeyring(_) => "kernel keyring",
            #[cfg(target_os = "linux")]
            Self::RuntimeFile(_) => "runtime folder",
            #[cfg(windows)]
            Self::ProtectedFile(..) => "file that Windows encrypts for this user",
            Self::StateFile(..) => "file",
        }
    }
}

/// The cache of one profile.
#[derive(Clone, Debug)]
pub struct Cache {
    places: Vec<CachePlace>,
    /// Every place that any configuration could have used: clearing means all of them.
    everywhere: Vec<CachePlace>,
    /// What people are told where there is no such place.
    otherwise: &'static str,
}

impl Cache {
    /// The cache that the configuration asks for.
    pub fn open(settings: &Settings, files: &StateFiles) -> Self {
        let private = private_places(files);
        let file = file(files);
        let places = match settings.cache {
            CacheChoice::Auto => private.clone(),
            CacheChoice::File => vec![file.clone()],
            CacheChoice::Keychain | CacheChoice::None => Vec::new(),
        };
        let mut everywhere = private;
        everywhere.push(file);
        let otherwise = match settings.cache {
            CacheChoice::None => "none",
            _ => "keychain",
        };
        Self {
            places,
            everywhere,
            otherwise,
        }
    }

    /// The cached token, if it belongs to this generation and configuration.
    pub fn read(&self, generation: u64, settings: &Settings) -> Option<IssuedToken> {
        // The first place usually has it; only a miss costs a look at the others.
        self.places.iter().find_map(|place| {
            let bytes = place.read()?;
            IssuedToken::from_cache(&bytes, generation, &settings.token_digest)
        })
    }

    /// Keeps a token in the first place that takes it.
    pub fn write(&self, generation: u64, token: &IssuedToken) {
        let Ok(bytes) = token.to_cache(generation) else {
            return self.clear();
        };
        let lifetime = token.life.left(clock::now_millis());
        let taken = self
            .places
            .iter()
            .find(|place| place.write(&bytes, lifetime));
        // A place that an earlier configuration used keeps nothing behind.
        for place in &self.everywhere {
            if taken.is_none_or(|taken| taken != place) {
                place.clear();
            }
        }
        match taken {
            Some(place) => log::debug!("token cached in the {}", place.describe()),
            None => log::debug!("no cache took the token"),
        }
    }

    /// Forgets the token of these files in every place where any configuration could have kept it.
    pub fn clear_for(files: &StateFiles) {
        private_places(files).iter().for_each(CachePlace::clear);
        file(files).clear();
    }

    /// Forgets the token in every place where it could lie.
    pub fn clear(&self) {
        self.everywhere.iter().for_each(CachePlace::clear);
    }

    /// Where tokens are cached, for people.
    pub fn describe(&self) -> &'static str {
        self.places
            .first()
            .map_or(self.otherwise, CachePlace::describe)
    }
}

fn file(files: &StateFiles) -> CachePlace {
    CachePlace::StateFile(files.dir().clone(), files.name("token"))
}

/// Places in memory that only this user can read.
#[cfg(target_os = "linux")]
fn private_places(files: &StateFiles) -> Vec<CachePlace> {
    let key = files.key();
    vec![
        CachePlace::KernelKeyring(format!("gatepass:{key}")),
        CachePlace::RuntimeFile(format!("{key}.token")),
    ]
}

/// A file that Windows encrypts for this user. It lies with the locks and not in AppData, which packaged
/// applications see elsewhere.
#[cfg(windows)]
fn private_places(files: &StateFiles) -> Vec<CachePlace> {
    vec![CachePlace::ProtectedFile(
        files.dir().clone(),
        files.name("sealed-token"),
    )]
}

/// On the other systems there is none: the keychain is asked.
#[cfg(not(any(target_os = "linux", windows)))]
fn private_places(_: &StateFiles) -> Vec<CachePlace> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_place_that_does_not_answer_at_once_is_a_miss() {
        assert_eq!(in_time(|| Some(1)), Some(1));
        assert_eq!(in_time(|| None::<u8>), None);
        let started = Instant::now();
        let late = within(Duration::from_millis(200), || {
            thread::sleep(Duration::from_secs(5));
            Some(1)
        });
        assert_eq!(late, None);
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
