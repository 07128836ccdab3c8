//! Where the operating system keeps what an administrator has decided, and how it is read.
//!
//! The places are fixed: nothing in the environment can point elsewhere. What is read here is not understood yet;
//! [`crate::config::policy`] does that.

use serde_json::{Map, Value as Json};

use super::files::Opened;

/// A policy as the operating system gave it.
#[derive(Debug)]
pub enum RawPolicy {
    /// A TOML file.
    File(Opened),
    /// Values by name, as the registry and managed preferences have them. Tables are nested.
    #[cfg_attr(
        target_os = "linux",
        allow(dead_code, reason = "on Linux policies are files")
    )]
    Values(Map<String, Json>),
}

/// What to do where the policy cannot be read or trusted.
#[cfg(not(target_os = "linux"))]
pub const REPAIR: &str = "ask your administrator to correct it; gatepass does nothing without it";

/// Largest policy that is read, in bytes.
pub const LIMIT: u64 = 2 * 1024 * 1024;

#[cfg(target_os = "linux")]
pub use linux::{PLACE, REPAIR, read};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{File, FileType, Metadata};
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{Mode, OFlags, open, openat};
    use rustix::io::Errno;

    use super::{Opened, RawPolicy};

    const FOLDER: &str = "/etc/gatepass";
    const FILE: &str = "policy.toml";

    /// Where the policy lies, for people.
    pub const PLACE: &str = "/etc/gatepass/policy.toml";

    /// What to do where the policy cannot be read or trusted.
    pub const REPAIR: &str = "as root: chown root:root /etc/gatepass /etc/gatepass/policy.toml; chmod 755 /etc/gatepass; chmod 644 /etc/gatepass/policy.toml";

    /// Reads the policy. The error says why it must not be followed.
    ///
    /// The folder is checked even where no policy lies in it: a user who can write there could have taken it away.
    pub fn read(_: impl FnOnce() -> Vec<String>) -> Result<Option<RawPolicy>, String> {
        let folder = match open(
            FOLDER,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(folder) => File::from(folder),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(format!("{FOLDER} cannot be opened: {error}")),
        };
        root_alone(&folder, FileType::is_dir)
            .map_err(|why| format!("the folder {FOLDER}: {why}"))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&folder, FILE, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err("it is a link".to_owned()),
            Err(error) => return Err(format!("it cannot be opened: {error}")),
        };
        let about = root_alone(&file, FileType::is_file)?;
        Ok(Some(RawPolicy::File(Opened::checked(file, about))))
    }

    /// What is opened belongs to root, and no other user may write it.
    fn root_alone(opened: &File, kind: fn(&FileType) -> bool) -> Result<Metadata, String> {
        let about = opened
            .metadata()
            .map_err(|error| format!("cannot be looked at: {error}"))?;
        if !kind(&about.file_type()) {
            return Err("it is of the wrong kind".to_owned());
        }
        if about.uid() != 0 {
            return Err("it must belong to root".to_owned());
        }
        if about.mode() & 0o022 != 0 {
            return Err("others than root can write it".to_owned());
        }
        Ok(about)
    }
}

#[cfg(windows)]
pub use windows::{PLACE, read};

#[cfg(windows)]
mod windows {
    use serde_json::{Map, Value as Json};
    use windows_registry::{Key, LOCAL_MACHINE, Type, Value};

    use super::RawPolicy;

    /// Where the policy lies, for people.
    pub const PLACE: &str = r"HKLM\SOFTWARE\Policies\Gatepass";

    const KEY: &str = r"SOFTWARE\Policies\Gatepass";

    /// `KEY_READ | KEY_WOW64_64KEY` (winnt.h): the same values for every build of gatepass.
    const READ_64: u32 = 0x0002_0019 | 0x0000_0100;

    /// Deepest subkey: `Defaults\Profiles\NAME`.
    const DEPTH: u32 = 3;

    /// `ERROR_FILE_NOT_FOUND` as an `HRESULT`.
    const NOT_FOUND: i32 = 0x8007_0002_u32.cast_signed();

    /// Reads the policy. The error says why it must not be followed.
    ///
    /// Only administrators may write below `SOFTWARE\Policies`, which Windows itself sees to.
    pub fn read(_: impl FnOnce() -> Vec<String>) -> Result<Option<RawPolicy>, String> {
        let key = match LOCAL_MACHINE.options().access(READ_64).open(KEY) {
            Ok(key) => key,
            Err(error) if error.code().0 == NOT_FOUND => return Ok(None),
            Err(error) => return Err(format!("it cannot be opened: {}", error.message())),
        };
        let values = table(&key, DEPTH)?;
        // Windows leaves an empty key behind where a policy was taken back.
        Ok((!values.is_empty()).then_some(RawPolicy::Values(values)))
    }

    fn unreadable(error: impl std::fmt::Display) -> String {
        format!("it cannot be read: {error}")
    }

    fn table(key: &Key, depth: u32) -> Result<Map<String, Json>, String> {
        let mut values = Map::new();
        for (name, value) in key.values().map_err(unreadable)? {
            // A value without a name is what some tools create along with a key.
            if !name.is_empty() {
                let value = meant(&value).map_err(|why| format!("`{name}` {why}"))?;
                values.insert(name, value);
            }
        }
        for name in key.keys().map_err(unreadable)? {
            if depth == 0 {
                return Err(format!("the key `{name}` lies too deep"));
            }
            let below = key
                .options()
                .access(READ_64)
                .open(&name)
                .map_err(unreadable)?;
            let below = table(&below, depth - 1)?;
            if values.insert(name.clone(), below.into()).is_some() {
                return Err(format!("`{name}` is a value and a key"));
            }
        }
        Ok(values)
    }

    fn meant(value: &Value) -> Result<Json, &'static str> {
        match value.ty() {
            Type::String => String::try_from(value.clone())
                .map(Json::from)
                .map_err(|_| "is no text"),
            Type::U32 => u32::try_from(value.clone())
                .map(Json::from)
                .map_err(|_| "is no number"),
            Type::U64 => u64::try_from(value.clone())
                .map(Json::from)
                .map_err(|_| "is no number"),
            // A text with variables in it would say what the person's environment says.
            _ => Err("is neither REG_SZ nor REG_DWORD"),
        }
    }
}

#[cfg(target_os = "macos")]
pub use macos::{PLACE, read};

/// Managed preferences: only what a configuration profile *forces* counts. A person's own `defaults write` does not.
#[cfg(target_os = "macos")]
#[allow(
    unsafe_code,
    reason = "the functions of Core Foundation have no safe names"
)]
mod macos {
    use core_foundation::array::CFArray;
    use core_foundation::base::{CFType, TCFType};
    use core_foundation::boolean::CFBoolean;
    use core_foundation::data::CFData;
    use core_foundation::dictionary::CFDictionary;
    use core_foundation::number::CFNumber;
    use core_foundation::propertylist;
    use core_foundation::string::{CFString, CFStringRef};
    use serde_json::{Map, Value as Json};

    use super::{LIMIT, RawPolicy};
    use crate::platform::files::{self, Access};

    /// Where the policy lies, for people.
    pub const PLACE: &str = "managed preferences (io.gatepass.helper)";

    const DOMAIN: &str = "io.gatepass.helper";

    /// Where macOS puts what profiles say to all users of this machine. Read for the names in it alone.
    const FILE: &str = "/Library/Managed Preferences/io.gatepass.helper.plist";

    /// Deepest table: a header of a profile among the defaults.
    const DEPTH: u32 = 8;

    #[link(name = "CoreFoundation", kind = "framework")]
    unsafe extern "C" {
        fn CFPreferencesAppValueIsForced(key: CFStringRef, domain: CFStringRef) -> u8;
        fn CFPreferencesCopyAppValue(
            key: CFStringRef,
            domain: CFStringRef,
        ) -> *const core::ffi::c_void;
    }

    /// Reads the policy. The error says why it must not be followed.
    ///
    /// The system tells of one name at a time whether it is forced, so it is asked for those that gatepass knows, and
    /// for those in the system's own file, among which are the ones that an administrator mistyped.
    pub fn read(known: impl FnOnce() -> Vec<String>) -> Result<Option<RawPolicy>, String> {
        let mut names = known();
        names.extend(names_in_file()?);
        let domain = CFString::from_static_string(DOMAIN);
        let mut values = Map::new();
        for name in names {
            let key = CFString::new(&name);
            let (key, domain) = (key.as_concrete_TypeRef(), domain.as_concrete_TypeRef());
            // SAFETY: two strings that live until the call is over.
            if unsafe { CFPreferencesAppValueIsForced(key, domain) } == 0 {
                continue;
            }
            // SAFETY: as above.
            let value = unsafe { CFPreferencesCopyAppValue(key, domain) };
            if value.is_null() {
                return Err(format!("`{name}` is forced and has no value"));
            }
            // SAFETY: a value that the call gave us to own ("Copy" in its name).
            let value = unsafe { CFType::wrap_under_create_rule(value) };
            let value = meant(&value, DEPTH).map_err(|why| format!("`{name}` {why}"))?;
            values.insert(name, value);
        }
        Ok((!values.is_empty()).then_some(RawPolicy::Values(values)))
    }

    fn names_in_file() -> Result<Vec<String>, String> {
        let unreadable = |why: &dyn std::fmt::Display| format!("{FILE} cannot be read: {why}");
        let path = std::path::Path::new(FILE);
        let Some(bytes) =
            files::read(path, Access::OwnerWrites, LIMIT).map_err(|why| unreadable(&why))?
        else {
            return Ok(Vec::new());
        };
        let data = CFData::from_buffer(&bytes);
        let (list, _) = propertylist::create_with_data(data, 0).map_err(|why| unreadable(&why))?;
        // SAFETY: a property list that the call gave us to own.
        let list = unsafe { CFType::wrap_under_create_rule(list) };
        match meant(&list, DEPTH) {
            Ok(Json::Object(values)) => Ok(values.into_iter().map(|(name, _)| name).collect()),
            Ok(_) => Err(unreadable(&"it is no table")),
            Err(why) => Err(unreadable(&why)),
        }
    }

    fn meant(value: &CFType, depth: u32) -> Result<Json, &'static str> {
        if depth == 0 {
            return Err("is nested too deep");
        }
        // SAFETY: what is in arrays and dictionaries of a property list are Core Foundation objects, which their
        // container keeps; wrapped so, they are kept by us as well.
        let object = |item: *const core::ffi::c_void| unsafe { CFType::wrap_under_get_rule(item) };
        if let Some(text) = value.downcast::<CFString>() {
            Ok(text.to_string().into())
        } else if let Some(flag) = value.downcast::<CFBoolean>() {
            Ok(bool::from(flag).into())
        } else if let Some(number) = value.downcast::<CFNumber>() {
            number.to_i64().map(Json::from).ok_or("is no whole number")
        } else if let Some(list) = value.downcast::<CFArray>() {
            list.get_all_values()
                .into_iter()
                .map(|item| meant(&object(item), depth - 1))
                .collect::<Result<Vec<_>, _>>()
                .map(Json::from)
        } else if let Some(table) = value.downcast::<CFDictionary>() {
            let (names, values) = table.get_keys_and_values();
            let mut out = Map::new();
            for (name, value) in names.into_iter().zip(values) {
                let name = object(name)
                    .downcast::<CFString>()
                    .ok_or("has a strange name in it")?;
                out.insert(name.to_string(), meant(&object(value), depth - 1)?);
            }
            Ok(out.into())
        } else {
            Err("is of a type that no setting has")
        }
    }
}

/// Where the policy lies, for people.
#[cfg(not(any(target_os = "linux", windows, target_os = "macos")))]
pub const PLACE: &str = "(no policy on this system)";

/// No policy.
#[cfg(not(any(target_os = "linux", windows, target_os = "macos")))]
pub fn read(_: impl FnOnce() -> Vec<String>) -> Result<Option<RawPolicy>, String> {
    Ok(None)
}
