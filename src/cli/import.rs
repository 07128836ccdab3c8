//! `gatepass config import`: takes over a profile that a gateway has handed out. Its secrets go into the store, and
//! nowhere else.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gatepass_host::value::Members;
use gatepass_host::{FileMode, Object};
use zeroize::Zeroizing;

use super::args::Args;
use super::export::tell;
use super::files;
use super::run::profile;
use crate::config::document::Document;
use crate::config::import::{self, Imported};
use crate::config::policy::Policy;
use crate::config::profile::ProfileName;
use crate::config::settings::{Kind, Settings};
use crate::config::{Sources, UserFile};
use crate::error::{Failure, Result};
use crate::sign_in_ui::NoUi;
use crate::writer::sign_in::Replace;
use crate::{output, usecase};

/// Largest profile that is read, in bytes.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Writes the configuration to `path` and keeps the secrets of `from`, which stays as it is.
pub(super) fn run(args: &Args, path: &Path, from: &Path) -> Result<()> {
    let from = entry(from)?;
    let mut imported = import::read(&content(&from)?)?;
    let profile = profile(args)?;
    let shown = path.display();
    let present = files::present(path)?;
    let text = match &present {
        None if profile.is_default() => imported.to_toml(),
        None => imported.to_profile(profile.as_str()),
        Some(present) => added(path, present, &imported, &profile)?,
    };
    let settings = accepted(path, &text, &profile)?;
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        crate::platform::files::PrivateDir::create(folder).map_err(|reason| {
            Failure::config(
                format!("the folder of {shown} is not safe to use: {reason}"),
                "make sure that the folder is yours alone",
            )
        })?;
    }
    match present {
        None => files::create(path, text.as_bytes(), FileMode::Owner)?,
        Some(_) => files::replace(path, text.as_bytes())?,
    }
    let secrets = imported.secrets();
    let kept = match imported.key.take() {
        // Without a key the user signs in, and is asked for the headers then.
        None => false,
        Some(key) => {
            let headers = std::mem::take(&mut imported.secret_headers);
            usecase::login::keep_key(&settings, Some(&key), headers, Replace::Never, &NoUi)
                .inspect_err(|_| {
                    // Half of it is of no use: the next try begins from the start.
                    let _ = match &present {
                        None => std::fs::remove_file(path)
                            .map_err(|error| Failure::internal(error.to_string())),
                        Some(before) => files::replace(path, before.as_bytes()),
                    };
                })?;
            true
        }
    };
    tell(&imported.notes);
    output::print(report(&from, path, &profile, kept, &secrets).as_bytes())
}

/// What was done, and what is left to the person.
fn report(
    from: &Path,
    path: &Path,
    profile: &ProfileName,
    kept: bool,
    secrets: &[String],
) -> String {
    let named = if profile.is_default() {
        String::new()
    } else {
        format!(" --profile {profile}")
    };
    let mut out = format!("wrote {}\n", path.display());
    let names = secrets.join(", ");
    if kept {
        let _ = writeln!(out, "kept, so that nobody reads it in a file: {names}");
        let _ = writeln!(
            out,
            "next: {} still holds it in the clear; gatepass{named} export claude-desktop writes a profile without secrets, then delete the old one",
            from.display()
        );
        let _ = writeln!(
            out,
            "next: have the gateway issue new ones, since these lay in a file, and enter them by gatepass{named} login"
        );
    } else {
        let _ = writeln!(out, "next: gatepass{named} login");
        if !secrets.is_empty() {
            let _ = writeln!(
                out,
                "it asks for {names}, which {} holds in the clear: delete it afterwards",
                from.display()
            );
        }
    }
    out
}

/// A configuration library stands for the entry that is applied.
fn entry(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let list = path.join("_meta.json");
    let applied = files::present(&list)?.and_then(|text| {
        let list: Object = serde_json::from_str(&text).ok()?;
        list.text("appliedId").map(str::to_owned)
    });
    match applied.filter(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')) {
        Some(id) => Ok(path.join(format!("{id}.json"))),
        None => Err(Failure::config(
            format!("no entry is applied in {}", path.display()),
            "name the entry's file",
        )),
    }
}

fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let unreadable = |what: String| {
        Failure::config(
            format!("{} cannot be read: {what}", path.display()),
            "give config import the profile's file",
        )
    };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > LIMIT {
        return Err(unreadable("it is no profile".to_owned()));
    }
    std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| unreadable(error.to_string()))
}

/// A configuration that is there gets a further profile; nothing in it is changed.
fn added(path: &Path, present: &str, imported: &Imported, profile: &ProfileName) -> Result<String> {
    let shown = path.display();
    if profile.is_default() {
        return Err(Failure::config(
            format!("there is a configuration already: {shown}"),
            "add the profile under a name: gatepass config import FILE --profile NAME",
        ));
    }
    let document = Document::parse(present.as_bytes()).map_err(|problem| {
        Failure::config(
            format!("{shown} is not changed: {}", problem.what),
            "gatepass config check",
        )
    })?;
    if document.profiles.contains_key(profile) {
        return Err(Failure::config(
            format!("there is a profile {profile} in {shown} already"),
            "give --profile another name",
        ));
    }
    let gap = if present.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    Ok(format!(
        "{present}{gap}{}",
        imported.to_profile(profile.as_str())
    ))
}

/// What is written must be what is accepted, policy included.
fn accepted(path: &Path, text: &str, profile: &ProfileName) -> Result<Settings> {
    let document = Document::parse(text.as_bytes()).map_err(|problem| {
        let what = problem
            .what
            .split_once(": ")
            .map_or(problem.what.as_str(), |(_, what)| what);
        Failure::config(
            format!("the profile does not fit gatepass: {what}"),
            "ask your gateway for a profile with an https address",
        )
    })?;
    let is_key = |document: &Document| {
        let table = document.profiles.get(profile).unwrap_or(&document.top);
        table.contains_key("kind")
    };
    let wants_key = is_key(&document);
    let sources = Sources {
        policy: Policy::read()?,
        file: UserFile {
            path: path.to_owned(),
            document: Some(document),
        },
    };
    let settings = crate::config::load(&sources, profile)?;
    if wants_key && settings.kind != Kind::Key {
        return Err(Failure::config(
            "your organisation's policy decides how this profile gets its token, and it is not a pasted key",
            "gatepass config show",
        ));
    }
    Ok(settings)
}
