//! Running other programs, with a word about each.

use std::env;
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("xtask lies in the repository")
        .to_path_buf()
}

/// A command that runs in the repository's root.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs this.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(
        &env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()),
        arguments,
    )
}

/// This program's file. Cargo replaces it while it builds the tests, with one of the same source.
pub(crate) fn itself() -> Result<PathBuf, String> {
    let file = env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    // How Linux writes the path of a file that was replaced.
    let replaced = file
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"))
        .map(PathBuf::from);
    Ok(replaced.filter(|file| file.is_file()).unwrap_or(file))
}

/// Where a program is, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Where administrators' programs lie, which is not on everybody's path.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder: PathBuf| folder.join(program))
        .find(|file| file.is_file())
}

/// What a program says on its standard output, if it runs and succeeds.
pub(crate) fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = command(program, arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a command says on its standard output, if it runs and succeeds.
pub(crate) fn said_by(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(said)
}

/// A process that ends when this does.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "lanes of Linux"))]
pub(crate) struct Held(pub(crate) Child);

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its standard input is the sign to end by itself.
        drop(self.0.stdin.take());
        let ends = Instant::now() + Duration::from_secs(10);
        while Instant::now() < ends && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether it ends well within this time; it is ended otherwise.
#[cfg(target_os = "linux")]
pub(crate) fn ends_within(limit: Duration, child: &mut Child) -> bool {
    let ends = Instant::now() + limit;
    while Instant::now() < ends {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(_) => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// Waits until no other process holds this folder's turn, which ends with the process.
pub(crate) fn wait_for_turn(folder: &Path, other: &str) -> Result<File, String> {
    let path = folder.join("turn");
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            println!("waiting: {other} is under way");
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    Ok(file)
}

/// So much has to be free before anything is begun, in GiB: less is not enough to compile the tests.
const ROOM: u64 = 2;

/// The folders that are written to, with the bytes that are free there.
#[cfg(target_os = "linux")]
fn free() -> Vec<(PathBuf, u64)> {
    let folders = [root().join("target"), env::temp_dir()];
    let about = |folder: PathBuf| {
        let about = rustix::fs::statvfs(&folder).ok()?;
        Some((folder, about.f_bavail * about.f_frsize))
    };
    folders.into_iter().filter_map(about).collect()
}

#[cfg(not(target_os = "linux"))]
fn free() -> Vec<(PathBuf, u64)> {
    Vec::new()
}

/// Fails where there is no room to begin.
pub(crate) fn has_room() -> Result<(), String> {
    for (folder, free) in free() {
        // Temporary files are few and small.
        let (least, needed) = if folder == env::temp_dir() {
            (256 << 20, "256 MiB".to_owned())
        } else {
            (ROOM << 30, format!("{ROOM} GiB"))
        };
        if free < least {
            return Err(format!(
                "no room: {} has {} MiB free, and at least {needed} are needed; free some",
                folder.display(),
                free >> 20
            ));
        }
    }
    Ok(())
}

/// Says so where a disk has run full meanwhile, which is why anything may have failed.
pub(crate) fn full_disk() -> Option<String> {
    let (folder, free) = free().into_iter().find(|(_, free)| *free < 64 << 20)?;
    Some(format!(
        "no room: {} has {} MiB left, and what failed may have failed for that; free some and run it again",
        folder.display(),
        free >> 20
    ))
}

/// Says what comes next, does it, and says how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    println!("\n== {what}");
    let started = Instant::now();
    let result = work();
    let how = if result.is_ok() { "done" } else { "FAILED" };
    println!(
        "== {how} in {:.1} s: {what}",
        started.elapsed().as_secs_f64()
    );
    result
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let status = command
        .status()
        .map_err(|e| format!("{} cannot be started: {e}", name(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} ended with {status}", name(command)))
    }
}

/// Runs a command to its end, and hands over each line of its standard output.
pub(crate) fn run_read(command: &mut Command, mut line: impl FnMut(&str)) -> Result<(), String> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{} cannot be started: {e}", name(command)))?;
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut bytes = Vec::new();
    // Bytes, not text: what a test prints need not be UTF-8.
    while output
        .read_until(b'\n', &mut bytes)
        .is_ok_and(|length| length > 0)
    {
        line(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    let status = child
        .wait()
        .map_err(|e| format!("{} cannot be waited for: {e}", name(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} ended with {status}", name(command)))
    }
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
