//! Opening the user's browser: one address, as one argument, never through a shell.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
#[cfg(not(any(windows, target_os = "macos")))]
use std::time::{Duration, Instant};

use url::Url;

/// How long a launcher may take to say that it failed.
#[cfg(not(any(windows, target_os = "macos")))]
const VERDICT: Duration = Duration::from_millis(1500);

/// Opens an address that was validated before. `command` is the configured browser and its arguments; empty
/// for the system's own.
pub fn open(command: &[String], address: &Url) -> Result<(), String> {
    match command.split_first() {
        Some((program, arguments)) => {
            let mut browser = Command::new(program);
            browser.args(arguments).arg(address.as_str());
            launch(browser)
                .map(drop)
                .map_err(|error| format!("the configured browser did not start: {}", error.kind()))
        }
        None => system(address),
    }
}

/// The program that [`open`] would start, without starting it.
pub fn find(command: &[String]) -> Result<String, String> {
    let Some(program) = command.first() else {
        return find_system();
    };
    let named = Path::new(program);
    let found = if named.components().count() > 1 {
        named.is_file()
    } else {
        // As the system looks for a program that is named without its folder.
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| {
            let file = folder.join(named);
            file.is_file() || (cfg!(windows) && file.with_extension("exe").is_file())
        })
    };
    if found {
        Ok(program.clone())
    } else {
        Err(format!("the configured browser is not there: {program}"))
    }
}

#[cfg(any(windows, target_os = "macos"))]
fn find_system() -> Result<String, String> {
    Ok("the default browser".to_owned())
}

#[cfg(not(any(windows, target_os = "macos")))]
fn find_system() -> Result<String, String> {
    open::commands("http://127.0.0.1/")
        .iter()
        .find_map(|launcher| in_place(launcher.get_program()))
        .map(|program| program.display().to_string())
        .ok_or_else(|| "there is no program that opens addresses".to_owned())
}

/// Where a system keeps its programs.
#[cfg(not(any(windows, target_os = "macos")))]
const PLACES: [&str; 4] = [
    "/usr/bin",
    "/usr/local/bin",
    "/bin",
    "/run/current-system/sw/bin",
];

/// A launcher where the system keeps it: not by `PATH`, which any program's start-up file could have changed.
#[cfg(not(any(windows, target_os = "macos")))]
fn in_place(program: &std::ffi::OsStr) -> Option<std::path::PathBuf> {
    PLACES
        .iter()
        .map(|place| Path::new(place).join(program))
        .find(|path| path.is_file())
}

/// `BROWSER` is not consulted: it is a command line that any program's start-up file could have set.
#[cfg(not(any(windows, target_os = "macos")))]
fn system(address: &Url) -> Result<(), String> {
    let mut why = "there is no program that opens addresses".to_owned();
    for found in open::commands(address.as_str()) {
        let Some(program) = in_place(found.get_program()) else {
            continue;
        };
        let mut launcher = Command::new(program);
        launcher.args(found.get_args()).env_remove("BROWSER");
        // Launchers are scripts that run other programs: the system's come first.
        launcher.env("PATH", search_path());
        let Ok(mut child) = launch(launcher) else {
            continue;
        };
        let started = Instant::now();
        loop {
            match child.try_wait() {
                // A launcher that is still there has started a browser that it waits for.
                Ok(None) if started.elapsed() > VERDICT => return Ok(()),
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        why = "no browser could be started".to_owned();
    }
    Err(why)
}

/// The system's places, then those of the caller's `PATH`, where a person's own browser may be.
#[cfg(not(any(windows, target_os = "macos")))]
fn search_path() -> std::ffi::OsString {
    let mut path = std::ffi::OsString::from(PLACES.join(":"));
    if let Some(callers) = std::env::var_os("PATH") {
        path.push(":");
        path.push(callers);
    }
    path
}

/// Within this process: nothing of the address stands in an argument list, which other users could read.
#[cfg(target_os = "macos")]
fn system(address: &Url) -> Result<(), String> {
    super::launch_services::open(address)
}

/// `ShellExecuteW`, within this process: no shell and no PowerShell, which many organisations forbid or report.
#[cfg(windows)]
fn system(address: &Url) -> Result<(), String> {
    open::that_detached(address.as_str())
        .map_err(|error| format!("no browser could be started: {}", error.kind()))
}

/// Starts a program that has nothing of ours: not the streams, on Windows no console window, and on Unix not the
/// process group, so that a Ctrl-C meant for us leaves the person's browser alone.
fn launch(mut command: Command) -> io::Result<std::process::Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    super::keep_descriptors();
    #[cfg(windows)]
    super::windows::without_window(&mut command);
    command.spawn()
}
