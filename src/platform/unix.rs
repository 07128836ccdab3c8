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

/// Whose program has connected from `peer_port` to `our_port` on this machine, as far as the kernel tells.
///
/// Linux lists both ends of a loopback connection with their users in `/proc/net/tcp` (proc(5)); a program on
/// IPv4 may be listed among the IPv6 ones. Ports alone tell the two ends apart.
pub fn connected_user(our_port: u16, peer_port: u16) -> Option<u32> {
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .find_map(|table| {
            let table = std::fs::read_to_string(table).ok()?;
            table.lines().skip(1).find_map(|line| {
                let mut columns = line.split_whitespace().skip(1);
                let (local, remote) = (columns.next()?, columns.next()?);
                let is_peers_end = port(local)? == peer_port && port(remote)? == our_port;
                is_peers_end.then(|| columns.nth(4)?.parse().ok())?
            })
        })
}

/// Whether a program of this user may have a say in this user's sign-in: the same user's, and root's.
pub fn is_us(user: u32) -> bool {
    user == User::current().id() || user == 0
}
