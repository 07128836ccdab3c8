//! Running other programs, with a word about each.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

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

/// Says what comes next, does it, and says how long it took.
pub(crate) fn step(what: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
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

/// Runs a command to its end; its standard output is passed on, and each line of it handed over as well.
pub(crate) fn run_watched(command: &mut Command, mut line: impl FnMut(&str)) -> Result<(), String> {
    run_read(command, |read| {
        let mut console = std::io::stdout().lock();
        // The reader may have gone; the tests go on all the same.
        let _ = writeln!(console, "{read}").and_then(|()| console.flush());
        line(read);
    })
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
