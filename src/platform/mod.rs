//! What differs between operating systems, behind one set of names.
//!
//! The only modules of gatepass in which `unsafe` may appear are the ones below this one, and each states why.

pub mod browser;
pub mod files;
pub mod paths;
pub mod policy;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{
    User, become_session_leader, belongs_to_somebody_else, connected_user, harden, is_us,
    keep_descriptors, this_program,
};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{
    User, become_session_leader, belongs_to_somebody_else, connected_user, harden, is_us,
    keep_descriptors, this_program,
};

#[cfg(unix)]
mod start;
#[cfg(unix)]
pub use start::stdout_was_closed;

#[cfg(windows)]
pub use windows::stdout_was_closed;

/// Whether somebody who could see a browser window sits at this session, and why not if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Desktop {
    /// A graphical session of this machine.
    Present,
    /// Reached over SSH: a browser would open on the wrong machine.
    Remote,
    /// No graphical session (server, container, bare environment).
    Absent,
}

/// Looks for a desktop in the environment that the caller gave us.
pub fn desktop() -> Desktop {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("SSH_CONNECTION") || set("SSH_TTY") {
        return Desktop::Remote;
    }
    if cfg!(any(windows, target_os = "macos")) || set("DISPLAY") || set("WAYLAND_DISPLAY") {
        Desktop::Present
    } else {
        Desktop::Absent
    }
}
