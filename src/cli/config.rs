//! `gatepass config`: write, find, show and check the configuration.

use std::fmt::Write as _;
use std::io::Write as _;

use super::args::{Args, ConfigCommand, InitArgs};
use super::run::profile;
use crate::config::UserFile;
use crate::config::document::Document;
use crate::config::layers::Layers;
use crate::config::profile::ProfileName;
use crate::config::schema::KEYS;
use crate::config::settings::Settings;
use crate::config::starter::Starter;
use crate::config::value::Value;
use crate::error::{Failure, Result};
use crate::output;
use crate::platform::files::{self, Access};
use crate::platform::paths;

pub(super) fn run(args: &Args, command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Init(init) => self::init(args, init),
        ConfigCommand::Path => {
            let path = path(args)?;
            output::print(format!("{}\n", path.display()).as_bytes())
        }
        ConfigCommand::Show => show(args),
        ConfigCommand::Check => check(args),
    }
}

fn path(args: &Args) -> Result<std::path::PathBuf> {
    match &args.config {
        Some(path) => Ok(path.clone()),
        None => Ok(paths::config_dir()?.join("config.toml")),
    }
}

/// Writes a first file. An existing one is never overwritten.
fn init(args: &Args, init: &InitArgs) -> Result<()> {
    let path = path(args)?;
    let shown = path.display();
    let profile = profile(args)?;
    let starter = Starter {
        profile: (!profile.is_default()).then(|| profile.to_string()),
        issuer: init.issuer.clone(),
        client_id: init.client_id.clone(),
        gateway_url: init.gateway_url.clone(),
        scopes: init
            .scopes
            .as_ref()
            .map(|scopes| scopes.split_whitespace().map(str::to_owned).collect()),
    };
    let text = starter.to_toml();
    // What is written must be what would be accepted.
    let file = UserFile {
        path: path.clone(),
        document: Some(Document::parse(text.as_bytes()).map_err(|problem| {
            let what = problem
                .what
                .split_once(": ")
                .map_or(problem.what.as_str(), |(_, what)| what);
            Failure::config(
                what,
                "gatepass config init --issuer https://… --client-id …",
            )
        })?),
    };
    crate::config::load(&file, &profile)?;
    let unwritable = |error: std::io::Error| {
        Failure::config(
            format!("{shown} cannot be written: {error}"),
            "make sure that the folder is yours and has room",
        )
    };
    if let Some(folder) = path.parent() {
        files::PrivateDir::create(folder).map_err(|reason| {
            Failure::config(
                format!("the folder of {shown} is not safe to use: {reason}"),
                "make sure that the folder is yours alone",
            )
        })?;
    }
    match files::create_new(&path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map_err(unwritable)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::config(
                format!("there is a configuration already: {shown}"),
                "change that file, or move it away first",
            ));
        }
        Err(error) => return Err(unwritable(error)),
    }
    output::print(format!("wrote {shown}\nnext: gatepass login\n").as_bytes())
}

/// Each effective value with its source.
fn show(args: &Args) -> Result<()> {
    let file = UserFile::read(args.config.as_deref())?;
    let profile = profile(args)?;
    let layers = Layers::new(&file, &profile)?;
    let mut out = String::new();
    let _ = writeln!(out, "# profile {profile}, file {}", file.path.display());
    for key in KEYS {
        if let Some((value, source)) = layers.effective(key) {
            let holds_password =
                matches!(&*value, Value::Text(text) if text.contains('@')) && key.name == "proxy";
            let value = if key.is_secret() || holds_password {
                "\"…\"".to_owned()
            } else {
                value.to_json().to_string()
            };
            let _ = writeln!(out, "{} = {value}  # {source}", key.name);
        }
    }
    output::print(out.as_bytes())
}

/// Files that the configuration names and that are not there.
fn missing_files(settings: &Settings) -> impl Iterator<Item = String> {
    [
        ("ca_file", settings.ca_file.clone()),
        ("client_secret_file", settings.client_secret_file.clone()),
    ]
    .into_iter()
    .filter_map(|(key, path)| path.filter(|path| !path.is_file()).map(|path| (key, path)))
    .map(|(key, path)| format!("`{key}` names a file that is not there: {}", path.display()))
}

/// Every problem at once.
fn check(args: &Args) -> Result<()> {
    let path = path(args)?;
    let shown = path.display();
    let mut problems = Vec::new();
    let bytes = match files::read(&path, Access::OwnerWrites, crate::config::FILE_LIMIT) {
        Ok(bytes) => bytes,
        // Says what is wrong with the file, and what to do.
        Err(_) => return UserFile::read(args.config.as_deref()).map(drop),
    };
    if bytes.is_none() && args.config.is_none() {
        return Err(Failure::config(
            format!("there is no configuration {shown}"),
            "gatepass config init --issuer URL --client-id ID",
        ));
    }
    if let Some(bytes) = bytes {
        let (_, found) = Document::parse_all(&bytes);
        problems.extend(found.into_iter().map(|problem| match problem.remedy {
            Some(remedy) => format!("{} ({remedy})", problem.what),
            None => problem.what,
        }));
    }
    if problems.is_empty() {
        let file = UserFile::read(args.config.as_deref())?;
        // A profile that was named must be there.
        Layers::new(&file, &profile(args)?)?;
        let names = file
            .document
            .iter()
            .flat_map(|document| document.profiles.keys().cloned())
            .chain([ProfileName::default()]);
        for name in names {
            let settings =
                Layers::new(&file, &name).and_then(|layers| Settings::resolve(&layers, &name));
            // A file that only describes named profiles needs no complete top level.
            let only_named = name.is_default()
                && file
                    .document
                    .as_ref()
                    .is_some_and(|d| !d.profiles.is_empty() && !d.top.contains_key("issuer"));
            match settings {
                Err(_) if only_named => {}
                Err(failure) => problems.push(format!("profile {name}: {}", failure.what)),
                Ok(settings) => problems
                    .extend(missing_files(&settings).map(|what| format!("profile {name}: {what}"))),
            }
        }
    }
    let Some(first) = problems.first() else {
        return output::print(format!("{shown}: no problem found\n").as_bytes());
    };
    let report: String = problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect();
    output::print(report.as_bytes())?;
    Err(Failure::config(
        format!("{shown}: {} ({} in all)", first, problems.len()),
        "correct the file, then run gatepass config check again",
    ))
}
