//! Windows.

mod console;
mod detached;
pub mod dpapi;
pub(super) mod processes;
mod socket;
mod uptime;

use std::net::SocketAddr;

pub use detached::start_detached;
pub use socket::exclusive_listener;
pub use uptime::uptime_millis;

/// Keeps the process to itself: no program that it starts gets the pipes of its caller, which may wait until
/// every process has closed them; no library is loaded from the folder of a program or a user; a crash is not
/// reported in a window. Without a debugger's privilege other users cannot read this process anyway.
pub fn harden() {
    console::keep_streams();
    console::load_system_libraries_only();
    console::crash_silently();
}

/// Handles are inherited only where a program says so.
pub fn keep_descriptors() {}

/// A detached process has no console and no process group of its caller's to leave; see [`start_detached`].
pub fn become_session_leader() {}

/// A missing standard output shows itself as an error of the write.
pub fn stdout_was_closed() -> bool {
    false
}

/// Whether standard output is a pipe, as a worker's starter makes it.
pub fn stdout_is_pipe() -> bool {
    console::stdout_is_pipe()
}

/// Profiles are guarded by their access control lists.
pub fn belongs_to_somebody_else(_: &std::path::Path) -> bool {
    false
}

/// Not asked: on Windows other users cannot read the command line in which `state` stands, and no other process can
/// have the port ([`exclusive_listener`]).
pub fn connected_user(_: SocketAddr, _: SocketAddr) -> Option<Option<u32>> {
    None
}

/// Users are not told apart.
pub fn is_us(_: u32) -> bool {
    true
}

/// Makes a command show no console window where it is started by a program that has none.
pub(super) fn without_window(command: &mut std::process::Command) {
    use std::os::windows::process::CommandExt;
    command.creation_flags(windows_sys::Win32::System::Threading::CREATE_NO_WINDOW);
}
