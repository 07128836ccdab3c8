//! What differs between operating systems, behind one set of names.
//!
//! The only modules of gatepass in which `unsafe` may appear are the ones below this one, and each states why.

pub mod asker;
pub mod browser;
#[cfg(any(target_os = "macos", test))]
mod connections;
pub mod detached;
pub mod environment;
pub mod files;
pub mod interrupt;
pub mod keyboard;
#[cfg(target_os = "macos")]
mod launch_services;
pub mod notify;
pub mod paths;
pub mod policy;
pub mod program;
pub mod system_log;
pub mod uptime;
pub mod variables;
#[cfg(target_os = "linux")]
pub mod wsl;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{
    User, become_session_leader, belongs_to_somebody_else, connected_user, exclusive_listener,
    harden, is_us, keep_descriptors, stdout_is_pipe,
};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{
    become_session_leader, belongs_to_somebody_else, connected_user, dpapi, exclusive_listener,
    harden, is_us, keep_descriptors, stdout_is_pipe,
};

#[cfg(unix)]
mod start;
#[cfg(unix)]
pub use start::stdout_was_closed;

#[cfg(windows)]
pub use windows::stdout_was_closed;
