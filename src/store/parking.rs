//! Where a renewed session waits while the keychain does not take it.
//!
//! The provider has rotated the refresh token, and the keychain is locked, full or silent: without this place the
//! session would be lost with the process. On Linux it is the kernel's user keyring, on Windows a file that the system
//! encrypts for this user; elsewhere there is none. The access token stays out of it.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock;
use crate::config::settings::{CacheChoice, Settings, StoreChoice};
#[cfg(windows)]
use crate::platform::dpapi;
#[cfg(any(test, windows))]
use crate::platform::files::PrivateDir;
use crate::session::record::Record;
use crate::session::state::StateFiles;
#[cfg(target_os = "linux")]
use crate::store::kernel_keyring;
use crate::text::hex;

/// Longest time for which a session is parked, in seconds.
const AT_MOST: u64 = 7 * 24 * 60 * 60;

/// What a policy that lists the allowed stores must list to allow this place.
const NEEDS: &str = if cfg!(windows) { "file" } else { "keyutils" };

/// Largest parked record that is read, in bytes.
#[cfg(any(test, windows))]
const LIMIT: u64 = 256 * 1024;

/// The place of one profile, issuer and client.
#[derive(Clone, Debug)]
pub struct Parking(ParkingPlace);

#[derive(Clone, Debug)]
enum ParkingPlace {
    #[cfg(target_os = "linux")]
    KernelKeyring(String),
    #[cfg(windows)]
    ProtectedFile(PrivateDir, String),
    /// What tests use, wherever they run.
    #[cfg(test)]
    File(PrivateDir, String),
    /// This system has none.
    #[cfg(not(any(target_os = "linux", windows)))]
    #[allow(dead_code, reason = "there is no such place here")]
    Nowhere,
}

impl Parking {
    /// The place, if this system has one and the configuration allows it.
    pub fn open(settings: &Settings, files: &StateFiles) -> Option<Self> {
        let allowed = settings.store == StoreChoice::Keychain
            && settings.cache == CacheChoice::Auto
            && settings
                .allowed_stores
                .as_ref()
                .is_none_or(|stores| stores.iter().any(|store| store == NEEDS));
        Self::place(files).filter(|_| allowed)
    }

    /// The place, whatever the configuration says: what an earlier one has left there is cleared.
    #[cfg(target_os = "linux")]
    pub fn place(files: &StateFiles) -> Option<Self> {
        let name = format!("gatepass-parked:{}", files.key());
        Some(Self(ParkingPlace::KernelKeyring(name)))
    }

    /// The place, whatever the configuration says: what an earlier one has left there is cleared.
    #[cfg(windows)]
    pub fn place(files: &StateFiles) -> Option<Self> {
        let (dir, name) = (files.dir().clone(), files.name("parked"));
        Some(Self(ParkingPlace::ProtectedFile(dir, name)))
    }

    /// The place, whatever the configuration says: what an earlier one has left there is cleared.
    #[cfg(not(any(target_os = "linux", windows)))]
    pub fn place(_: &StateFiles) -> Option<Self> {
        None
    }

    /// A place in the state folder.
    #[cfg(test)]
    pub(crate) fn in_file(files: &StateFiles) -> Self {
        Self(ParkingPlace::File(
            files.dir().clone(),
            files.name("parked"),
        ))
    }

    /// The parked record, if it is the one that the state file knows by this digest.
    pub fn read(&self, digest: &str) -> Option<Record> {
        let bytes: Zeroizing<Vec<u8>> = match &self.0 {
            #[cfg(target_os = "linux")]
            ParkingPlace::KernelKeyring(name) => kernel_keyring::read(name).ok().flatten(),
            #[cfg(windows)]
            ParkingPlace::ProtectedFile(dir, name) => {
                dpapi::unprotect(&dir.read(name, LIMIT).ok()??).ok()
            }
            #[cfg(test)]
            ParkingPlace::File(dir, name) => dir.read(name, LIMIT).ok()?.map(Into::into),
            #[cfg(not(any(target_os = "linux", windows)))]
            ParkingPlace::Nowhere => None,
        }?;
        (digest_of(&bytes) == digest)
            .then(|| Record::from_bytes(&bytes))
            .flatten()
    }

    /// Parks a record without its access token. Gives the digest by which it is known, if the place took it.
    pub fn write(&self, record: &Record) -> Option<String> {
        let parked = Record {
            token: None,
            exchanged_from: None,
            ..record.clone()
        };
        let bytes = parked.to_bytes().ok()?;
        let left = record.ends_at.map(|end| end.saturating_sub(clock::now()));
        let lifetime = left.unwrap_or(AT_MOST).clamp(60, AT_MOST);
        let taken = match &self.0 {
            #[cfg(target_os = "linux")]
            ParkingPlace::KernelKeyring(name) => {
                kernel_keyring::write(name, &bytes, Some(lifetime)).is_ok()
            }
            #[cfg(windows)]
            ParkingPlace::ProtectedFile(dir, name) => {
                let _ = lifetime;
                dpapi::protect(&bytes).is_ok_and(|sealed| dir.replace(name, &sealed).is_ok())
            }
            #[cfg(test)]
            ParkingPlace::File(dir, name) => {
                let _ = lifetime;
                dir.replace(name, &bytes).is_ok()
            }
            #[cfg(not(any(target_os = "linux", windows)))]
            ParkingPlace::Nowhere => {
                let _ = lifetime;
                false
            }
        };
        taken.then(|| digest_of(&bytes))
    }

    /// Forgets what is parked.
    pub fn clear(&self) {
        match &self.0 {
            #[cfg(target_os = "linux")]
            ParkingPlace::KernelKeyring(name) => {
                let _ = kernel_keyring::clear(name);
            }
            #[cfg(windows)]
            ParkingPlace::ProtectedFile(dir, name) => {
                let _ = dir.remove(name);
            }
            #[cfg(test)]
            ParkingPlace::File(dir, name) => {
                let _ = dir.remove(name);
            }
            #[cfg(not(any(target_os = "linux", windows)))]
            ParkingPlace::Nowhere => {}
        }
    }

    /// The place, for people.
    pub fn describe(&self) -> &'static str {
        if cfg!(windows) {
            "file that Windows encrypts for this user"
        } else {
            "kernel keyring"
        }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::tests::sample;

    #[test]
    fn only_the_record_that_the_state_knows_is_found_and_no_access_token_lies_there() {
        let base = tempfile::tempdir().unwrap();
        let files = StateFiles::at(base.path(), "k").unwrap();
        let parking = Parking::in_file(&files);
        let digest = parking.write(&sample()).unwrap();
        let found = parking.read(&digest).unwrap();
        assert_eq!(found.refresh_token, sample().refresh_token);
        assert_eq!(found.token, None);
        let bytes = std::fs::read(files.dir().path().join(files.name("parked"))).unwrap();
        assert!(!String::from_utf8(bytes).unwrap().contains("\"at\""));
        assert!(parking.read("another").is_none());
        parking.clear();
        assert!(parking.read(&digest).is_none());
    }

    #[test]
    fn a_policy_or_a_configuration_may_forbid_the_place() {
        let base = tempfile::tempdir().unwrap();
        let files = StateFiles::at(base.path(), "k").unwrap();
        let of = |text: &str| {
            let text = format!("issuer = 'https://idp.example'\nclient_id = 'c'\n{text}");
            crate::config::load(
                &crate::config::Sources::of_text(&text),
                &crate::config::profile::ProfileName::default(),
            )
            .unwrap()
        };
        let is_open = |settings: &Settings| Parking::open(settings, &files).is_some();
        let here = cfg!(any(target_os = "linux", windows));
        assert_eq!(is_open(&of("")), here);
        for text in [
            "store = 'file'",
            "store = 'keyutils'",
            "cache = 'none'",
            "cache = 'file'",
        ] {
            assert!(!is_open(&of(text)), "{text}");
        }
        for (stores, allowed) in [(vec!["keychain"], false), (vec!["keychain", NEEDS], here)] {
            let mut settings = of("");
            settings.allowed_stores = Some(stores.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(is_open(&settings), allowed, "{stores:?}");
        }
    }
}
