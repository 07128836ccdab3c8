//! Processes that gatepass has started: its workers. They leave their caller's session, so they are looked for.

use std::path::Path;
use std::process::{Command, Stdio};

/// The workers of a caller that still runs.
#[cfg(target_os = "linux")]
pub(crate) fn workers_of(caller: u32, _: &Path) -> Vec<u32> {
    // Theirs is no environment that could be read: gatepass forbids it.
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = processes.filter_map(|process| {
        let id = process.file_name().to_str()?.parse().ok()?;
        let about = std::fs::read_to_string(process.path().join("stat")).ok()?;
        // After the name, which may hold anything, come the state and the parent.
        let (_, rest) = about.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let ended = fields.next() == Some("Z");
        (!ended && fields.next()?.parse() == Ok(caller)).then_some(id)
    });
    children.collect()
}

/// The workers of a caller that still runs.
#[cfg(target_os = "macos")]
pub(crate) fn workers_of(caller: u32, _: &Path) -> Vec<u32> {
    let listed = crate::process::answer("/bin/ps", &["-axo", "pid=,ppid="]).unwrap_or_default();
    let children = listed.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace();
        let id = numbers.next()?.parse().ok()?;
        (numbers.next()?.parse() == Ok(caller)).then_some(id)
    });
    children.collect()
}

/// The workers of a caller that still runs, where the program has a name that nothing else has; nothing where others
/// could be meant, too.
#[cfg(windows)]
pub(crate) fn workers_of(caller: u32, program: &Path) -> Vec<u32> {
    let image = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if !image.contains(&std::process::id().to_string()) {
        return Vec::new();
    }
    let mut list = Command::new("tasklist");
    let listed = list
        .args(["/fo", "csv", "/nh"])
        .stdin(Stdio::null())
        .output();
    let listed = listed.map_or_else(|_| Vec::new(), |listed| listed.stdout);
    workers_among(&String::from_utf8_lossy(&listed), &image, caller)
}

/// Those of a list of all processes, one per line as `"NAME","ID",…`, that run this program, but for the caller.
#[cfg(any(windows, test))]
fn workers_among(list: &str, image: &str, caller: u32) -> Vec<u32> {
    let ids = list.lines().filter_map(|line| {
        let mut fields = line.trim().split(',').map(|field| field.trim_matches('"'));
        let is_ours = fields.next()?.eq_ignore_ascii_case(image);
        let id = fields.next()?.parse().ok()?;
        (is_ours && id != caller).then_some(id)
    });
    ids.collect()
}

/// Ends a process; one that has gone already is no failure.
pub(crate) fn end(process: u32) {
    let process = process.to_string();
    let words: &[&str] = if cfg!(windows) {
        &["taskkill", "/f", "/pid", &process]
    } else {
        // The shell's own, which every system has.
        &["/bin/sh", "-c", "kill -KILL \"$0\"", &process]
    };
    let _ = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use super::workers_among;

    #[test]
    fn workers_are_those_that_run_the_same_program() {
        let list = "\"System\",\"4\",\"Services\",\"0\",\"1 K\"\r\n\
                    \"gatepass-run-7.exe\",\"32\",\"Console\",\"1\",\"4,000 K\"\r\n\
                    \"gatepass-run-7.exe\",\"40\",\"Console\",\"1\",\"4,000 K\"\r\n\
                    \"gatepass.exe\",\"44\",\"Console\",\"1\",\"4,000 K\"\r\n";
        assert_eq!(workers_among(list, "Gatepass-run-7.exe", 32), [40]);
        assert!(workers_among("INFO: none\r\n", "gatepass-run-7.exe", 32).is_empty());
    }
}
