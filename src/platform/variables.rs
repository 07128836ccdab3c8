//! What a process's environment decides about reaching servers, keychains and desktops.

use std::env;

use sha2::{Digest, Sha256};

use crate::text::hex;

/// Variables that decide which proxy, session bus, keychain and display a process reaches.
const DECISIVE: [&str; 17] = [
    "ALL_PROXY",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "USERPROFILE",
    "WAYLAND_DISPLAY",
    "WSL_INTEROP",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Digest of these variables, by which two processes know that a failure of the one's environment is the other's.
pub fn digest() -> String {
    let mut hash = Sha256::new();
    for name in DECISIVE {
        if let Some(value) = env::var_os(name) {
            hash.update(name);
            hash.update([0]);
            hash.update(value.as_encoded_bytes());
            hash.update([0]);
        }
    }
    hex(&hash.finalize()[..8])
}
