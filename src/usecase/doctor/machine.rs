//! This program, its configuration and its files.

use std::path::Path;

use super::CheckResult;
use crate::config::policy::Policy;
use crate::config::settings::{Audit, Settings};
use crate::error::Failure;
use crate::platform::paths;
use crate::platform::policy::PLACE;
use crate::platform::program::{self, Signature};
use crate::platform::system_log;
use crate::session::state::StateFiles;

/// Largest file of our own that is opened to look at it, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Where this program lies, whether others could replace it, and whether the system distrusts it.
pub(super) fn binary() -> CheckResult {
    match std::env::current_exe() {
        Ok(path) => Binary {
            quarantined: program::quarantined(&path),
            replaceable: program::others_may_replace(&path),
            signature: program::signature(&path),
            path: &path,
        }
        .judged(),
        Err(error) => CheckResult::warning(
            format!("gatepass cannot find out where it lies: {error}"),
            "start it by its absolute path",
        ),
    }
}

/// What is known of this program's file.
struct Binary<'a> {
    path: &'a Path,
    /// How to take off the mark of a download, if it has one.
    quarantined: Option<String>,
    replaceable: bool,
    signature: Signature,
}

impl Binary<'_> {
    fn judged(&self) -> CheckResult {
        let shown = self.path.display();
        let version = env!("CARGO_PKG_VERSION");
        if program::is_translocated(self.path) {
            return CheckResult::warning(
                format!(
                    "macOS runs a copy of gatepass from a folder of its own ({shown}), since it was downloaded and not moved (App Translocation): the path is another one at each start, so hosts cannot be given it"
                ),
                "move gatepass into /Applications or /usr/local/bin with the Finder, or install the package",
            );
        }
        if let Some(remedy) = &self.quarantined {
            return CheckResult::warning(
                format!(
                    "{shown} is marked as downloaded, so the system may refuse to start it, ask a person first, or run a copy of it from elsewhere"
                ),
                remedy,
            );
        }
        if self.replaceable {
            return CheckResult::warning(
                format!("other users may replace {shown}, which hosts run with your session"),
                format!("chmod go-w '{shown}' and its folder, or install the package"),
            );
        }
        match &self.signature {
            Signature::Bad(why) => CheckResult::warning(
                format!("the signature of {shown} is not good: {why}"),
                "install the package of your organisation again",
            ),
            Signature::Good => CheckResult::ok(format!("{shown}, version {version}, signed")),
            Signature::Unknown => CheckResult::ok(format!("{shown}, version {version}")),
        }
    }
}

/// Whether an administrator's policy is in force.
pub(super) fn policy(policy: Result<Option<&Policy>, &Failure>) -> CheckResult {
    let policy = match policy {
        Err(failure) => return failure.clone().into(),
        Ok(None) => return CheckResult::ok(format!("there is none ({PLACE})")),
        Ok(Some(policy)) => policy,
    };
    if let Some(why) = &policy.disabled {
        return Failure::config(
            format!("your organisation has switched gatepass off: {why}"),
            "ask your administrator",
        )
        .into();
    }
    if !policy.ignored.is_empty() {
        return CheckResult::warning(
            format!(
                "{PLACE} has keys for a newer gatepass, which are left out: {}",
                policy.ignored.join(", ")
            ),
            "install the newest package of your organisation",
        );
    }
    CheckResult::ok(format!("{PLACE}, digest {}", policy.digest()))
}

/// Which configuration is in force.
pub(super) fn configuration(
    settings: &Settings,
    file: Option<&Path>,
    machine: bool,
) -> CheckResult {
    let missing = [
        ("ca_file", &settings.ca_file),
        ("client_secret_file", &settings.client_secret_file),
    ]
    .into_iter()
    .find_map(|(key, path)| Some((key, path.as_ref().filter(|path| !path.is_file())?)));
    if let Some((key, path)) = missing {
        return Failure::config(
            format!("`{key}` names a file that is not there: {}", path.display()),
            "correct that path (gatepass config show says where it is set)",
        )
        .into();
    }
    if let Err(failure) = settings.check_gateway_url() {
        return failure.into();
    }
    let source = match file {
        Some(file) if file.is_file() => file.display().to_string(),
        _ if machine => "no file of this user".to_owned(),
        _ => "no file".to_owned(),
    };
    CheckResult::ok(format!(
        "profile {}, {source}; issuer {}, client {}",
        settings.profile, settings.issuer, settings.client_id
    ))
}

/// Whether the state folder and what lies in it are this user's alone.
pub(super) fn permissions(settings: &Settings) -> CheckResult {
    let files = match StateFiles::existing(settings) {
        Ok(Some(files)) => files,
        Ok(None) => {
            return match paths::state_dir() {
                Ok(path) => CheckResult::ok(format!(
                    "{} is not there yet; the first sign-in creates it",
                    path.display()
                )),
                Err(failure) => failure.into(),
            };
        }
        Err(failure) => return failure.into(),
    };
    let folder = files.dir().path();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // What is not complete yet is gone or renamed by the time it is opened.
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if let Err(reason) = files.dir().read(name, LARGEST) {
            let path = entry.path();
            return Failure::config(
                format!("{} is not safe to use: {reason}", path.display()),
                format!("chmod 600 '{}', or remove it", path.display()),
            )
            .into();
        }
    }
    CheckResult::ok(format!("{} is yours alone", folder.display()))
}

/// Whether the system's log takes the lines that the configuration promises.
pub(super) fn system_log(settings: &Settings) -> CheckResult {
    if settings.audit == Audit::Off {
        return CheckResult::skipped("nothing is written there: `audit` is off");
    }
    match system_log::reachable() {
        Ok(()) => CheckResult::ok("it takes the lines that `audit` asks for"),
        Err(error) => CheckResult::warning(
            format!(
                "`audit` asks for lines in the system's log, and it cannot be reached: {error}"
            ),
            "start journald or a syslog daemon (/dev/log), or set audit = \"off\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Binary, Signature};

    /// What the system holds against the program, the worst first: each has its own words and its own remedy.
    #[test]
    fn what_is_wrong_with_the_program_is_explained() {
        let installed = "/usr/local/bin/gatepass";
        let copy = "/private/var/folders/zz/0/T/AppTranslocation/5F1D/d/gatepass.app/Contents/MacOS/gatepass";
        let bad = || Signature::Bad("code object is not signed at all".to_owned());
        let mark = Some("xattr -d com.apple.quarantine x");
        for (path, quarantined, replaceable, signature, what, remedy) in [
            (copy, mark, true, bad(), "App Translocation", "Finder"),
            (
                installed,
                mark,
                true,
                bad(),
                "marked as downloaded",
                "xattr -d",
            ),
            (installed, None, true, bad(), "other users", "chmod go-w"),
            (installed, None, false, bad(), "not signed at all", "again"),
            (installed, None, false, Signature::Good, ", signed", ""),
            (installed, None, false, Signature::Unknown, "version", ""),
        ] {
            let finding = Binary {
                path: Path::new(path),
                quarantined: quarantined.map(str::to_owned),
                replaceable,
                signature,
            }
            .judged();
            assert!(finding.what().contains(what), "{finding:?}");
            assert!(finding.what().contains(path), "{finding:?}");
            assert_eq!(finding.remedy().is_none(), remedy.is_empty());
            let said = finding.remedy().unwrap_or_default();
            assert!(said.contains(remedy), "{finding:?}");
        }
    }
}
