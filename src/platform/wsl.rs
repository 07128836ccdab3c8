//! Linux inside Windows: the installed Windows binary, so that there is one session and one policy.
//!
//! The environment only says whether it is worth looking. Whether this is WSL the kernel says, and which binary runs
//! is fixed.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::User;
use super::environment::is_wsl;
use crate::error::{Failure, Result};

/// Where the package for Windows puts it, as WSL shows it: the places on the way of which each must be guarded.
const PLACES: [&str; 3] = [
    "/mnt/c/Program Files",
    "/mnt/c/Program Files/Gatepass",
    "/mnt/c/Program Files/Gatepass/gatepass.exe",
];

/// Where the kernel says that it can start Windows programs. Where it cannot, a shell would try to.
const INTEROPERABILITY: [&str; 2] = ["WSLInterop", "WSLInterop-late"];

/// The folder of those files. Its `status` can switch all of them off.
const FORMATS: &str = "/proc/sys/fs/binfmt_misc";

/// Variables that the Windows binary needs; WSL passes only those that are named in `WSLENV`.
const VARIABLES: [&str; 4] = [
    "CLAUDE_HELPER_CONTEXT",
    "CLAUDE_CODE_API_KEY_HELPER_TTL_MS",
    "CLAUDE_CODE_MCP_SERVER_URL",
    "GATEPASS_LOG",
];

/// What to do about a binary that is not used.
const SEPARATE: &str = "repair the installation on Windows, or set `wsl = \"separate\"`";

/// Whether it is worth looking. No system call: calls that people wait for ask this on every Linux.
pub fn may_be() -> bool {
    ["WSL_DISTRO_NAME", "WSL_INTEROP"]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The Windows binary's path, if this is WSL and gatepass is installed on Windows.
///
/// # Errors
/// Where another user could have put it there.
pub fn windows_binary() -> Result<Option<&'static Path>> {
    if !is_wsl() {
        return Ok(None);
    }
    for place in PLACES {
        // Not through links: they may lead anywhere.
        let Ok(metadata) = Path::new(place).symlink_metadata() else {
            return Ok(None);
        };
        let is_binary = place.ends_with(".exe");
        if let Some(why) = unsafe_because(&metadata, is_binary) {
            return Err(Failure::config(
                format!("the Windows binary is not safe to use from here: {place} {why}"),
                SEPARATE,
            ));
        }
    }
    Ok(PLACES.last().map(Path::new))
}

/// What is wrong with a place, if anything is.
fn unsafe_because(metadata: &Metadata, is_binary: bool) -> Option<&'static str> {
    let is_right_kind = if is_binary {
        metadata.is_file()
    } else {
        metadata.is_dir()
    };
    let is_ours = [0, User::current().id()].contains(&metadata.uid());
    match (is_right_kind, is_ours) {
        (false, _) => Some("is a link or another kind of file"),
        (_, false) => Some("belongs to another user"),
        _ if metadata.mode() & 0o022 != 0 => Some("can be written by other users"),
        _ => None,
    }
}

/// Becomes the Windows binary: its output, its input and its exit code are this process's own. Returns only if that
/// fails.
pub fn become_windows(binary: &Path, arguments: impl IntoIterator<Item = OsString>) -> Failure {
    if !starts_windows_programs(Path::new(FORMATS)) {
        return Failure::config(
            "the Windows binary cannot be run from here: WSL's interoperability is switched off",
            "switch it on in /etc/wsl.conf, or set `wsl = \"separate\"`",
        );
    }
    let passed = std::env::var("WSLENV").unwrap_or_default();
    let variables = VARIABLES.map(|name| format!("{name}/w")).join(":");
    let error = Command::new(binary)
        .args(arguments)
        .env("WSLENV", format!("{variables}:{passed}"))
        .exec();
    Failure::config(
        format!("the Windows binary cannot be run from here: {error}"),
        SEPARATE,
    )
}

/// Whether a rule for Windows programs is there and switched on.
fn starts_windows_programs(formats: &Path) -> bool {
    let first_line = |name: &str| {
        let text = std::fs::read_to_string(formats.join(name)).ok()?;
        text.lines().next().map(|line| line.trim().to_owned())
    };
    first_line("status").is_none_or(|all| all == "enabled")
        && INTEROPERABILITY
            .into_iter()
            .any(|rule| first_line(rule).is_some_and(|state| state == "enabled"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::{starts_windows_programs, unsafe_because};

    #[test]
    fn windows_programs_start_where_a_rule_for_them_is_switched_on() {
        const ON: &str = "enabled\ninterpreter /init\nflags: PF\noffset 0\nmagic 4d5a\n";
        const OFF: &str = "disabled\ninterpreter /init\n";
        for (files, starts) in [
            (&[][..], false),
            (&[("status", "enabled\n")], false),
            (&[("WSLInterop", ON)], true),
            (&[("WSLInterop-late", ON)], true),
            (&[("status", "enabled\n"), ("WSLInterop", ON)], true),
            (&[("status", "disabled\n"), ("WSLInterop", ON)], false),
            (&[("WSLInterop", OFF)], false),
            (&[("WSLInterop", OFF), ("WSLInterop-late", ON)], true),
            (&[("WSLInterop", "")], false),
            (&[("python3.11", ON)], false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                fs::write(folder.path().join(name), text).unwrap();
            }
            assert_eq!(starts_windows_programs(folder.path()), starts, "{files:?}");
        }
    }

    #[test]
    fn a_place_that_others_could_change_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gatepass.exe");
        fs::write(&file, "").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (mode, safe) in [(0o755, true), (0o555, true), (0o777, false), (0o775, false)] {
            for path in [folder.path(), &file] {
                fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
                let metadata = path.symlink_metadata().unwrap();
                let is_file = path == file;
                assert_eq!(
                    unsafe_because(&metadata, is_file).is_none(),
                    safe,
                    "{mode:o}"
                );
                assert!(
                    unsafe_because(&metadata, !is_file).is_some(),
                    "another kind"
                );
            }
        }
        assert!(unsafe_because(&link.symlink_metadata().unwrap(), true).is_some());
    }
}
