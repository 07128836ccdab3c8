//! Which process asks: the nearest ancestor that is neither a shell nor a launcher.
//!
//! This distinguishes a host that asks again from another host of the same kind. It proves nothing (any program of the
//! user may pretend to be another), and only one refresh follows from it.

use std::fmt;
use std::str::FromStr;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod system;
#[cfg(windows)]
use super::windows::processes as system;

/// How many ancestors are looked at.
const GENERATIONS: usize = 32;

/// Programs that run a command of another program's, by the name of the file without folder and `.exe`.
const SHELLS_AND_LAUNCHERS: [&str; 43] = [
    "ash",
    "bash",
    "busybox",
    "bwrap",
    "chrt",
    "cmd",
    "conhost",
    "csh",
    "dash",
    "doas",
    "elvish",
    "env",
    "firejail",
    "fish",
    "flock",
    "genv",
    "gtimeout",
    "ionice",
    "ksh",
    "ksh93",
    "mksh",
    "nice",
    "nohup",
    "nu",
    "openconsole",
    "powershell",
    "pwsh",
    "rbash",
    "runuser",
    "sandbox-exec",
    "setpriv",
    "setsid",
    "sh",
    "stdbuf",
    "su",
    "sudo",
    "taskset",
    "tcsh",
    "time",
    "timeout",
    "toybox",
    "unshare",
    "zsh",
];

/// Programs that start any program: to be their child says nothing about which process asks.
const SERVICE_MANAGERS: [&str; 10] = [
    "explorer",
    "init",
    "launchd",
    "services",
    "svchost",
    "systemd",
    "taskhostw",
    "wininit",
    "wsl",
    "wslhost",
];

/// One process among those that run at the same time, and among those of this machine's other process id namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its process id.
    pub process: u32,
    /// When it started, in the unit of the operating system: tells it from others that had the same id.
    pub started: u64,
    /// The namespace in which the id holds; 0 where there are none.
    pub namespace: u64,
}

/// As it is handed over from WSL to Windows.
impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.process, self.started, self.namespace)
    }
}

/// Not an asker as [`Asker`] writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not three numbers")]
pub struct NotAnAsker;

impl FromStr for Asker {
    type Err = NotAnAsker;

    fn from_str(text: &str) -> Result<Self, NotAnAsker> {
        let mut numbers = text.splitn(3, '-').map(u64::from_str);
        let mut next = || numbers.next().and_then(Result::ok).ok_or(NotAnAsker);
        Ok(Self {
            process: next()?.try_into().map_err(|_| NotAnAsker)?,
            started: next()?,
            namespace: next()?,
        })
    }
}

/// What the operating system says about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// The process that started it, or that has taken its place.
    pub(super) parent: u32,
    /// When it started, in the unit of the operating system.
    pub(super) started: u64,
    /// What it is called.
    pub(super) name: String,
}

/// The operating system's list of processes.
pub(super) trait ProcessTable {
    /// The parent of this process.
    fn own_parent(&self) -> Option<u32>;
    /// A process, if it runs and may be looked at.
    fn process(&self, id: u32) -> Option<Process>;
    /// The file that a process runs, where its name is not that: scripts are called by their own names.
    fn program(&self, id: u32) -> Option<String>;
    /// The namespace in which the ids hold; 0 where there are none.
    fn namespace(&self) -> Option<u64>;
}

/// The process that asks, if there is one that can be told from others.
///
/// There is none where the nearest candidate is process 1 or a service manager, and where the list of processes
/// cannot be read.
pub fn find() -> Option<Asker> {
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    return find_in(&system::Processes::open()?);
    #[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
    None
}

fn find_in(table: &impl ProcessTable) -> Option<Asker> {
    let mut id = table.own_parent()?;
    for _ in 0..GENERATIONS {
        if id <= 1 {
            return None;
        }
        let process = table.process(id)?;
        if is_one_of(&SERVICE_MANAGERS, &process.name) {
            return None;
        }
        let passes_on = is_one_of(&SHELLS_AND_LAUNCHERS, &process.name)
            || table
                .program(id)
                .is_some_and(|program| is_one_of(&SHELLS_AND_LAUNCHERS, &program));
        if !passes_on {
            return Some(Asker {
                process: id,
                started: process.started,
                namespace: table.namespace()?,
            });
        }
        id = process.parent;
    }
    None
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    let bytes = name.as_bytes();
    let stem = match bytes.len().checked_sub(4) {
        Some(end) if bytes[end..].eq_ignore_ascii_case(b".exe") => &bytes[..end],
        _ => bytes,
    };
    names
        .iter()
        .any(|candidate| candidate.as_bytes().eq_ignore_ascii_case(stem))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Processes by id: parent, name, program. Process 100 is us.
    struct FixedTable(BTreeMap<u32, (u32, &'static str, &'static str)>);

    impl ProcessTable for FixedTable {
        fn own_parent(&self) -> Option<u32> {
            self.0.get(&100).map(|process| process.0)
        }

        fn process(&self, id: u32) -> Option<Process> {
            self.0.get(&id).map(|process| Process {
                parent: process.0,
                started: u64::from(id) * 10,
                name: process.1.to_owned(),
            })
        }

        fn program(&self, id: u32) -> Option<String> {
            self.0
                .get(&id)
                .filter(|process| !process.2.is_empty())
                .map(|process| process.2.to_owned())
        }

        fn namespace(&self) -> Option<u64> {
            Some(7)
        }
    }

    #[test]
    fn the_asker_is_the_nearest_that_is_neither_a_shell_nor_a_launcher() {
        /// What stands between us (first) and the root, as name and program.
        type Line = &'static [(&'static str, &'static str)];
        let cases: [(Line, Option<usize>, &str); 20] = [
            (&[("codex", "codex")], Some(0), "directly"),
            (&[("sh", "dash"), ("claude", "node")], Some(1), "by a shell"),
            (
                &[("sh", ""), ("claude", "")],
                Some(1),
                "links cannot be read",
            ),
            (
                &[("token.sh", "dash"), ("claude", "node")],
                Some(1),
                "by a shell script",
            ),
            (
                &[
                    ("timeout", "timeout"),
                    ("sh", "busybox"),
                    ("claude", "node"),
                ],
                Some(2),
                "by a launcher in a shell",
            ),
            (
                &[("sudo", ""), ("bash", "bash"), ("codex", "codex")],
                Some(2),
                "by another user's launcher",
            ),
            (&[("flock", ""), ("pi", "node")], Some(1), "flock"),
            (&[("env", ""), ("pi", "node")], Some(1), "env"),
            (&[("nice", ""), ("pi", "node")], Some(1), "nice"),
            (&[("bwrap", ""), ("pi", "node")], Some(1), "bwrap"),
            (&[("sandbox-exec", ""), ("pi", "node")], Some(1), "macOS"),
            (
                &[("cmd.exe", ""), ("claude.exe", "")],
                Some(1),
                "cmd on Windows",
            ),
            (
                &[("PowerShell.EXE", ""), ("Codex.exe", "")],
                Some(1),
                "names without regard to case",
            ),
            (&[("shellfish", "shellfish")], Some(0), "only whole names"),
            (
                &[("python3", "python3.11"), ("claude", "node")],
                Some(0),
                "no shell",
            ),
            (
                &[("systemd", "systemd"), ("x", "x")],
                None,
                "systemd --user",
            ),
            (&[("launchd", ""), ("x", "x")], None, "launchd"),
            (
                &[("sh", "dash"), ("init", "init"), ("x", "x")],
                None,
                "WSL's",
            ),
            (
                &[("explorer.exe", ""), ("x", "x")],
                None,
                "Windows's desktop",
            ),
            (
                &[("sh", "dash")],
                None,
                "nothing but a shell below process 1",
            ),
        ];
        for (line, expected, what) in cases {
            let mut table = BTreeMap::from([(1, (0, "claude", "claude"))]);
            // 100 is us, 99 our parent, and so on; the last one is a child of process 1.
            table.insert(
                100,
                (if line.is_empty() { 1 } else { 99 }, "gatepass", "gatepass"),
            );
            for (index, (name, program)) in line.iter().enumerate() {
                let id = 99 - u32::try_from(index).unwrap();
                let parent = if index + 1 == line.len() { 1 } else { id - 1 };
                table.insert(id, (parent, *name, *program));
            }
            let expected = expected.map(|index| {
                let process = 99 - u32::try_from(index).unwrap();
                Asker {
                    process,
                    started: u64::from(process) * 10,
                    namespace: 7,
                }
            });
            assert_eq!(find_in(&FixedTable(table)), expected, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_known_is_not_guessed() {
        assert_eq!(
            find_in(&FixedTable(BTreeMap::new())),
            None,
            "not even ourselves"
        );
        let alone = |parent| BTreeMap::from([(100, (parent, "gatepass", "gatepass"))]);
        assert_eq!(
            find_in(&FixedTable(alone(99))),
            None,
            "the parent is hidden"
        );
        for (root, why) in [(1, "process 1"), (0, "a parent outside of the namespace")] {
            let mut table = alone(root);
            table.insert(root, (0, "claude", "claude"));
            assert_eq!(find_in(&FixedTable(table)), None, "{why}");
        }
        // A circle cannot be, but ends.
        let mut circle = alone(99);
        circle.insert(99, (98, "sh", "dash"));
        circle.insert(98, (99, "sh", "dash"));
        assert_eq!(find_in(&FixedTable(circle)), None);
    }

    #[test]
    fn names_are_sorted_and_an_asker_survives_the_way_to_windows() {
        for names in [&SHELLS_AND_LAUNCHERS[..], &SERVICE_MANAGERS[..]] {
            assert!(names.is_sorted());
        }
        let asker = Asker {
            process: 4711,
            started: u64::MAX,
            namespace: 4_026_531_836,
        };
        assert_eq!(asker.to_string().parse(), Ok(asker));
        for wrong in [
            "",
            "1",
            "1-2",
            "1-2-",
            "a-2-3",
            "1-2-3-4",
            "-1-2-3",
            "5000000000-2-3",
        ] {
            assert_eq!(wrong.parse::<Asker>(), Err(NotAnAsker), "{wrong}");
        }
    }

    /// The real list: the test runner has ancestors, whichever they are, and this very process is found from a child.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_of_a_shell_of_ours_is_ours() {
        use std::process::{Command, Stdio};

        let table = system::Processes::open().unwrap();
        let us = table.process(std::process::id()).unwrap();
        assert_eq!(us.parent, table.own_parent().unwrap());
        assert!(us.started > 0 && table.namespace().unwrap() > 0);
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read line; exit 0"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let shell = table.process(child.id()).unwrap();
        assert_eq!(shell.parent, std::process::id());
        assert!(shell.started >= us.started);
        assert_eq!(shell.name, "sh");
        let program = table.program(child.id()).unwrap();
        assert!(is_one_of(&SHELLS_AND_LAUNCHERS, &program), "{program}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(table.process(child.id()), None, "it is gone");
    }
}
