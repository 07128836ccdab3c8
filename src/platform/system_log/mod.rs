//! The system's log: journald or syslog on Linux, the unified log on macOS, the event log on Windows.

use std::io;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(windows, target_os = "linux")), path = "unix.rs")]
mod system;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something normal that is worth a line.
    Notice,
    /// A user was refused.
    Warning,
}

/// Writes one line, which was cleaned before. Waits for nothing.
pub fn write(weight: Weight, line: &str) -> io::Result<()> {
    system::write(weight, line)
}

/// Whether there is a log to write to. Nothing is written.
pub fn reachable() -> io::Result<()> {
    system::reachable()
}
