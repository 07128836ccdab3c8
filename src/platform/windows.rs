//! Windows. Known folders, DPAPI and the policy registry join this module in the Windows part.

use std::net::SocketAddr;

/// The account that gatepass works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User;

impl User {
    /// The user of this process.
    pub fn current() -> Self {
        Self
    }
}

/// Nothing to do yet: without a debugger privilege other users cannot read this process, and error reports
/// are switched off in the Windows part.
pub fn harden() {}

/// Handles are inherited only where a program says so.
pub fn keep_descriptors() {}

/// Processes started detached have no console and no process group to leave.
pub fn become_session_leader() {}

/// A missing standard output shows itself as an error of the write.
pub fn stdout_was_closed() -> bool {
    false
}

/// Profiles are guarded by their access control lists.
pub fn belongs_to_somebody_else(_: &std::path::Path) -> bool {
    false
}

/// A command that runs this program detached: no console, not in the caller's job where it may leave it.
pub fn this_program() -> std::io::Result<std::process::Command> {
    use std::os::windows::process::CommandExt;
    /// `DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP` (processthreadsapi.h).
    const FLAGS: u32 = 0x0000_0008 | 0x0000_0200;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.creation_flags(FLAGS);
    Ok(command)
}

/// Not asked yet: on Windows other users cannot read the command line in which `state` stands.
pub fn connected_user(_: SocketAddr, _: SocketAddr) -> Option<Option<u32>> {
    None
}

/// Nobody is told apart.
pub fn is_us(_: u32) -> bool {
    true
}
