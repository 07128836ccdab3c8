//! The hosts on this machine: whether what they are configured with fits gatepass.

use std::path::{Path, PathBuf};

use directories::BaseDirs;
use gatepass_host::lint::{Context, Severity};
use gatepass_host::{Base, FileContent, HOSTS, HostFile, HostInfo, Target};
use serde_json::Value as Json;

use super::CheckResult;
use crate::config::settings::{Kind, Settings};
use crate::error::Failure;
use crate::platform::files::{self, Access};
use crate::session::record::IssuedToken;
use crate::usecase::host_lint;

/// Largest file that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// The name by which a configuration shows that it runs us.
const OURS: &[u8] = b"gatepass";

/// Checks every configuration of a host that this machine has.
pub(super) fn check(
    settings: &Settings,
    profiles: &[String],
    token: Option<&IssuedToken>,
    machine: bool,
) -> CheckResult {
    let places = places(machine);
    let context = Context {
        target: None,
        look_for_programs: true,
        token_lifetime: token.map(|token| {
            let life = token.life;
            life.expires_at_ms.saturating_sub(life.issued_at_ms) / 1000
        }),
        min_validity: (settings.kind != Kind::Key).then_some(settings.min_validity),
        gateway_url: settings.gateway_url.clone(),
        interactive_timeout: Some(settings.interactive_timeout.as_secs()),
        profiles: profiles.to_vec(),
        receivers: None,
    };
    judge(&places, &context)
}

fn judge(places: &[PathBuf], context: &Context) -> CheckResult {
    let mut fine = Vec::new();
    let mut warning = None;
    for path in places {
        let Ok(Some(bytes)) = files::read(path, Access::OwnerWrites, LIMIT) else {
            continue;
        };
        // A host may be used without gatepass: such a configuration is not judged.
        if !bytes.windows(OURS.len()).any(|part| part == OURS) {
            continue;
        }
        let found = host_lint::check(&bytes, context);
        let Some(first) = found.iter().max_by_key(|finding| finding.severity) else {
            fine.push(path.display().to_string());
            continue;
        };
        let more = match found.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more: gatepass export --check FILE)"),
        };
        let key = match first.key.as_str() {
            "" => String::new(),
            key => format!("{key}: "),
        };
        let what = format!("{}: {key}{}{more}", path.display(), first.what);
        if first.severity == Severity::Error {
            return Failure::config(what, &first.remedy).into();
        }
        warning.get_or_insert_with(|| CheckResult::warning(what, &first.remedy));
    }
    match (warning, fine.as_slice()) {
        (Some(warning), _) => warning,
        (None, []) => CheckResult::skipped_until(
            "no host's configuration on this machine names gatepass",
            format!("gatepass export {} writes one", any_of(HOSTS)),
        ),
        (None, fine) => CheckResult::ok(fine.join(", ")),
    }
}

/// The hosts' names in words: `a, b or c`.
fn any_of(hosts: &[HostInfo]) -> String {
    let names: Vec<&str> = hosts.iter().map(|host| host.name).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The files that hosts read here: an administrator's first, and unless only the machine is asked for, the user's.
fn places(machine: bool) -> Vec<PathBuf> {
    let user = (!machine).then(BaseDirs::new).flatten();
    let here = |file: &&HostFile| file.target.is_none_or(|target| target == Target::here());
    let files: Vec<&HostFile> = HOSTS
        .iter()
        .flat_map(|host| host.files)
        .filter(here)
        .collect();
    let (managed, own): (Vec<&HostFile>, Vec<&HostFile>) =
        files.iter().partition(|file| file.base == Base::Machine);
    managed
        .into_iter()
        .chain(own)
        .filter_map(|file| place(file, user.as_ref()))
        .collect()
}

fn place(file: &HostFile, user: Option<&BaseDirs>) -> Option<PathBuf> {
    let path = match file.base {
        Base::Machine => PathBuf::from(file.path),
        Base::Home => user?.home_dir().join(file.path),
        Base::UserConfig => user?.config_dir().join(file.path),
        Base::LocalData => user?.data_local_dir().join(file.path),
        Base::Variable(name, folder) => {
            let user = user?;
            let named = std::env::var_os(name).map(PathBuf::from);
            let named = named.filter(|path| path.is_absolute());
            named
                .unwrap_or_else(|| user.home_dir().join(folder))
                .join(file.path)
        }
    };
    match file.content {
        FileContent::Configuration => Some(path),
        FileContent::Library => applied(&path),
    }
}

/// The entry of a library that is in force.
fn applied(library: &Path) -> Option<PathBuf> {
    let meta = files::read(&library.join("_meta.json"), Access::OwnerWrites, LIMIT).ok()??;
    let meta: Json = serde_json::from_slice(&meta).ok()?;
    let id = meta.get("appliedId")?.as_str()?;
    let plain = |c: char| c.is_ascii_hexdigit() || c == '-';
    id.chars()
        .all(plain)
        .then(|| library.join(format!("{id}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_gatepass_is_judged_and_the_worst_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let other = write("other.json", r#"{"apiKeyHelper": 7, "nonsense": true}"#);
        let missing = folder.path().join("missing.json");
        let context = Context::default();
        let nothing = judge(&[other.clone(), missing], &context);
        assert_eq!(nothing.word(), "skipped");
        let wrong = write(
            "wrong.json",
            r#"{"inferenceProvider":"gateway","inferenceGatewayBaseUrl":"https://gw.example/v1","inferenceCredentialKind":"helper-script","inferenceCredentialHelper":"gatepass token"}"#,
        );
        let found = judge(&[other, wrong], &context);
        assert_eq!(found.word(), "failed", "{found:?}");
        assert!(found.what().contains("wrong.json"), "{found:?}");
    }

    #[test]
    fn the_applied_entry_of_a_library_is_found_and_no_path_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let meta = |id: &str| {
            let text = format!(r#"{{"appliedId":"{id}","entries":[]}}"#);
            std::fs::write(folder.path().join("_meta.json"), text).unwrap();
            applied(folder.path())
        };
        assert_eq!(meta("00aa-ff"), Some(folder.path().join("00aa-ff.json")));
        assert_eq!(meta("../../etc/passwd"), None);
    }
}
