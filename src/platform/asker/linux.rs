//! Linux: `/proc` (proc(5)).

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use super::{Process, ProcessTable};

/// The list of processes as `/proc` shows it. Where that is mounted with `hidepid`, other users' are missing.
pub(super) struct Processes;

/// Number of the field `starttime` in `/proc/PID/stat`, counted from the one after the name.
const STARTED: usize = 19;

impl Processes {
    pub(super) fn open() -> Option<Self> {
        Some(Self)
    }
}

impl ProcessTable for Processes {
    /// Asked of `/proc`, not of the kernel: in a namespace that it was not mounted for, the two count differently.
    fn own_parent(&self) -> Option<u32> {
        stat("self").map(|process| process.parent)
    }

    fn process(&self, id: u32) -> Option<Process> {
        stat(&id.to_string())
    }

    fn program(&self, id: u32) -> Option<String> {
        let path = fs::read_link(format!("/proc/{id}/exe")).ok()?;
        let name = path.file_name()?.to_str()?;
        // So it is called once the file was replaced by a newer version.
        Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
    }

    fn namespace(&self) -> Option<u64> {
        fs::metadata("/proc/self/ns/pid")
            .ok()
            .map(|namespace| namespace.ino())
    }
}

fn stat(who: &str) -> Option<Process> {
    let mut file = File::open(format!("/proc/{who}/stat")).ok()?;
    // One read gets the whole line: 51 numbers of at most 20 digits at worst, and a name of 64 bytes.
    let mut line = [0; 1280];
    let length = file.read(&mut line).ok()?;
    parse(line.get(..length)?)
}

/// `PID (name) state ppid … starttime …`. A name may hold anything, brackets and spaces as well.
fn parse(stat: &[u8]) -> Option<Process> {
    let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(begin..end)?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?)
        .ok()?
        .split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(STARTED - 2)?.parse().ok()?;
    Some(Process {
        parent,
        started,
        name: String::from_utf8_lossy(name).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        for name in ["sh", "a b", "a) S 1 (b", "", "tmux: server"] {
            let text = format!(
                "42 ({name}) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 2 18446744073709551615"
            );
            let expected = Process {
                parent: 7,
                started: 123_456,
                name: name.to_owned(),
            };
            assert_eq!(parse(text.as_bytes()), Some(expected));
        }
        for wrong in ["", "42", "42 (sh", "42 (sh)", "42 (sh) S", "42 (sh) S 7 8"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
