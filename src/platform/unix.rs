//! Linux, macOS and other Unix systems.

use std::ffi::OsString;
use std::io;
#[cfg(not(target_os = "macos"))]
use std::net::IpAddr;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use super::detached::Detached;
#[cfg(not(target_os = "macos"))]
use super::environment::is_wsl;
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

/// Keeps what our caller left open from the programs that we start. (Our own files are marked when they are opened.)
pub fn keep_descriptors() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// Whether standard output is a pipe, as a worker's starter makes it.
pub fn stdout_is_pipe() -> bool {
    rustix::fs::fstat(io::stdout())
        .is_ok_and(|about| rustix::fs::FileType::from_raw_mode(about.st_mode).is_fifo())
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
fn this_program() -> io::Result<Command> {
    if cfg!(target_os = "linux") {
        let mut command = Command::new("/proc/self/exe");
        std::os::unix::process::CommandExt::arg0(&mut command, "gatepass");
        return Ok(command);
    }
    std::env::current_exe().map(Command::new)
}

/// Runs this program with these arguments.
pub fn start_detached(arguments: &[OsString], with_log: bool) -> io::Result<Detached> {
    let mut command = this_program()?;
    command
        .args(arguments)
        // Not the caller's folder: the worker would keep it busy.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Never our own standard error: a host may wait until every process has closed it.
        .stderr(if with_log {
            Stdio::piped()
        } else {
            Stdio::null()
        });
    keep_descriptors();
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let log = child.stderr.take();
    Ok(Detached {
        output: Box::new(output),
        log: log.map(|log| Box::new(log) as Box<dyn io::Read + Send>),
        wait: Box::new(move || drop(child.wait())),
    })
}

/// Binds an address; on Unix no other process can bind one that is listened on.
pub fn exclusive_listener(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Whose program has connected from `peer` to `ours` on this machine: `Some(None)` where no process holds that end any
/// more, `None` where the kernel does not tell.
///
/// Linux lists both ends of a loopback connection with their users in `/proc/net/tcp` (proc(5)); a program on
/// IPv4 may be listed among the IPv6 ones.
#[cfg(target_os = "macos")]
pub fn connected_user(ours: SocketAddr, peer: SocketAddr) -> Option<Option<u32>> {
    let table = super::connections::table()?;
    // What is not found is held against no program: the table's form is Apple's own.
    super::connections::user_of(&table, ours, peer).map(Some)
}

/// Whose program has connected from `peer` to `ours` on this machine: `Some(None)` where no process holds that end any
/// more, `None` where the kernel does not tell.
#[cfg(not(target_os = "macos"))]
pub fn connected_user(ours: SocketAddr, peer: SocketAddr) -> Option<Option<u32>> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables: Vec<String> = tables
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .collect();
    let found = tables.iter().find_map(|table| holder(table, ours, peer));
    // With WSL's mirrored network the browser may be one of Windows, whose sockets this kernel does not know.
    let tells = !tables.is_empty() && (found.is_some() || !is_wsl());
    tells.then_some(found)
}

/// The user who holds the end `peer` of a connection to `ours`, if any does. Whole addresses are compared: a program
/// on 127.0.0.2 may have chosen the port of one on 127.0.0.1.
#[cfg(not(target_os = "macos"))]
fn holder(table: &str, ours: SocketAddr, peer: SocketAddr) -> Option<u32> {
    let (ours, peer) = (as_listed(ours), as_listed(peer));
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, _, _, _, _, user, _, inode, ..] = columns[..] else {
            return None;
        };
        // A socket that was closed too early is listed without an inode, and as root's.
        let fits = peer.iter().any(|end| end == local) && ours.iter().any(|end| end == remote);
        (fits && inode != "0").then(|| user.parse().ok())?
    })
}

/// How an address is written there: words in the machine's byte order, IPv4 also as a part of IPv6.
#[cfg(not(target_os = "macos"))]
fn as_listed(address: SocketAddr) -> Vec<String> {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4).map(|word| {
            let word = <[u8; 4]>::try_from(word).unwrap_or_default();
            format!("{:08X}", u32::from_ne_bytes(word))
        });
        words.collect()
    };
    let addresses = match address.ip() {
        IpAddr::V4(v4) => vec![words(&v4.octets()), words(&v4.to_ipv6_mapped().octets())],
        IpAddr::V6(v6) => vec![words(&v6.octets())],
    };
    let port = address.port();
    addresses
        .into_iter()
        .map(|address| format!("{address}:{port:04X}"))
        .collect()
}

/// Whether a program of this user may answer the redirect of our user's sign-in: the same user's, and root's.
pub fn is_us(user: u32) -> bool {
    user == User::current().id() || user == 0
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_endian = "little"))]
mod tests {
    use super::holder;

    #[test]
    fn the_holder_of_the_other_end_is_found_by_the_whole_address() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0
   1: 0200007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 12 1 0
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0
   3: 0100007F:C351 0100007F:1F90 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0
   4: 0000000000000000FFFF00000100007F:C352 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1002        0 14 1 0
";
        let user = |peer: &str| {
            holder(
                table,
                "127.0.0.1:8080".parse().unwrap(),
                peer.parse().unwrap(),
            )
        };
        assert_eq!(user("127.0.0.1:50000"), Some(1000));
        assert_eq!(user("127.0.0.2:50000"), Some(1001));
        assert_eq!(
            user("127.0.0.1:50001"),
            None,
            "closed before it could be asked"
        );
        assert_eq!(user("127.0.0.1:50002"), Some(1002));
        assert_eq!(user("127.0.0.1:50003"), None);
    }
}
