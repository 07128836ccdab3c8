//! Where gatepass keeps things, by operating system.
//!
//! The state folder depends on the user alone: a host with a bare environment and a terminal must meet at the
//! same lock. So `XDG_STATE_HOME` and `TMPDIR` are not consulted.

use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::error::{Failure, Result};

/// Folder of `config.toml`.
pub fn config_dir() -> Result<PathBuf> {
    base().map(|base| base.config_dir().join("gatepass"))
}

/// Folder of the locks and the state files (nothing secret is in it).
pub fn state_dir() -> Result<PathBuf> {
    let base = base()?;
    Ok(if cfg!(target_os = "macos") {
        base.config_dir().join("gatepass")
    } else if cfg!(windows) {
        // AppData is redirected for packaged applications; a host and a terminal would not meet there.
        base.home_dir().join(".gatepass")
    } else {
        base.home_dir().join(".local/state/gatepass")
    })
}

fn base() -> Result<BaseDirs> {
    let remedy = if cfg!(windows) {
        "sign in to Windows with an account that has a profile folder"
    } else {
        "set HOME to your own home folder"
    };
    let unusable = |what: &str| Failure::config(what, remedy);
    let base = BaseDirs::new().ok_or_else(|| unusable("this account has no home folder"))?;
    // A relative home would be the caller's working folder; another user's must not be used (sudo).
    if !base.home_dir().is_absolute() {
        return Err(unusable("HOME is not an absolute path"));
    }
    if super::belongs_to_somebody_else(base.home_dir()) {
        return Err(unusable("HOME belongs to another user"));
    }
    Ok(base)
}

/// The user's runtime folder, if it is private and in memory: `/run/user/UID`, else `$XDG_RUNTIME_DIR`.
#[cfg(target_os = "linux")]
pub fn runtime_dir() -> Option<PathBuf> {
    #![allow(
        clippy::useless_conversion,
        reason = "the type of `f_type` differs between processors"
    )]
    /// `TMPFS_MAGIC` of `<linux/magic.h>`.
    const TMPFS: i64 = 0x0102_1994;
    let usual = PathBuf::from(format!("/run/user/{}", super::User::current().id()));
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    [Some(usual), named].into_iter().flatten().find(|path| {
        path.is_absolute()
            && super::files::PrivateDir::open(path).is_ok_and(|dir| dir.is_some())
            && rustix::fs::statfs(path).is_ok_and(|fs| i64::from(fs.f_type) == TMPFS)
    })
}

/// The file of certificates that this Linux system trusts, wherever its distribution keeps it.
///
/// `None` where no known file exists. (macOS and Windows are asked through their own verifiers.)
pub fn system_certificates() -> Option<&'static Path> {
    const PLACES: [&str; 5] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    PLACES.iter().map(Path::new).find(|path| path.is_file())
}
