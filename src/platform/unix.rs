//! Linux, macOS and other Unix systems.

use rustix::process::{Resource, Rlimit, geteuid, setrlimit, setsid};

/// The account that gatepass works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(u32);

impl User {
    /// The effective user of this process.
    pub fn current() -> Self {
        Self(geteuid().as_raw())
    }

    /// The numeric id, as it stands in the owner field of files.
    pub fn id(self) -> u32 {
        self.0
    }

    /// Whether this is the administrator.
    pub fn is_root(self) -> bool {
        self.0 == 0
    }
}

/// Makes the process harder to look into: no core dump, and on Linux no tracing or reading of its memory by
/// other processes of the same user. Failing to do so is not a reason to stop.
pub fn harden() {
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    #[cfg(target_os = "linux")]
    {
        let _ =
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
}

/// Leaves the caller's session, process group and terminal, so that a signal meant for the caller does not
/// end work that must be finished.
pub fn become_session_leader() {
    let _ = setsid();
}

/// Whether a folder exists and is another user's.
pub fn belongs_to_somebody_else(folder: &std::path::Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|metadata| {
        metadata.is_dir() && std::os::unix::fs::MetadataExt::uid(&metadata) != User::current().id()
    })
}

/// A command that runs this very program, also if the file was replaced or removed since it was started.
pub fn this_program() -> std::io::Result<std::process::Command> {
    if cfg!(target_os = "linux") {
        let mut command = std::process::Command::new("/proc/self/exe");
        std::os::unix::process::CommandExt::arg0(&mut command, "gatepass");
        return Ok(command);
    }
    std::env::current_exe().map(std::process::Command::new)
}
