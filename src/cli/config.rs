//! `gatepass config`: write, find, show and check the configuration.

use std::fmt::Write as _;

use super::args::{Args, ConfigCommand};
use super::init;
use super::run::profile;
use crate::config::document::{Document, Problem};
use crate::config::layers::{Layers, Source};
use crate::config::policy::Policy;
use crate::config::redirect_path::{self, IssuerNaming};
use crate::config::schema::{KEYS, Key};
use crate::config::secrecy::shown;
use crate::config::settings::Settings;
use crate::config::{Sources, UserFile};
use crate::error::{Failure, Result};
use crate::platform::files::{self, Access};
use crate::platform::policy;
use crate::{output, text};

pub(super) fn run(args: &Args, command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Init(init) => init::run(args, init),
        ConfigCommand::Path => {
            let path = args.config_path()?;
            output::print(format!("{}\n", path.display()).as_bytes())
        }
        ConfigCommand::Show => show(args),
        ConfigCommand::Check => check(args),
        ConfigCommand::Import { file } => super::import::run(args, &args.config_path()?, file),
    }
}

/// Each effective value with its source, and what the policy does not let the user decide.
fn show(args: &Args) -> Result<()> {
    output::print(effective(args)?.as_bytes())
}

/// The same as a text, without secrets.
pub(super) fn effective(args: &Args) -> Result<String> {
    let sources = Sources::read(args.config.as_deref())?;
    let profile = profile(args)?;
    let layers = Layers::new(&sources, &profile)?;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "# profile {profile}, file {}",
        sources.file.path.display()
    );
    if let Some(policy) = &sources.policy {
        let _ = writeln!(
            out,
            "# policy {}, digest {}",
            policy::PLACE,
            policy.digest()
        );
        for ignored in &policy.ignored {
            let _ = writeln!(
                out,
                "# policy: `{ignored}` is for a newer gatepass and left out"
            );
        }
        if let Some(why) = &policy.disabled {
            let _ = writeln!(
                out,
                "# policy: gatepass is switched off: {}",
                text::printable(why, 300)
            );
        }
    }
    for key in KEYS {
        if let Some((value, source)) = layers.effective(key) {
            let _ = writeln!(out, "{} = {}  # {source}", key.name, shown(key, &value));
        }
    }
    for overridden in layers.overridden() {
        if let Some(key) = Key::find(overridden.key) {
            let _ = writeln!(
                out,
                "# user file line {}: {} = {} is not used: the policy decides",
                overridden.line,
                key.name,
                shown(key, overridden.value),
            );
        }
    }
    Ok(out)
}

/// Files that the configuration names and that are not there.
fn missing_files(settings: &Settings) -> impl Iterator<Item = String> {
    [
        ("ca_file", settings.ca_file.clone()),
        ("client_secret_file", settings.client_secret_file.clone()),
        ("client_key_file", settings.client_key_file.clone()),
        ("client_cert_file", settings.client_cert_file.clone()),
    ]
    .into_iter()
    .filter_map(|(key, path)| path.filter(|path| !path.is_file()).map(|path| (key, path)))
    .map(|(key, path)| format!("`{key}` names a file that is not there: {}", path.display()))
}

/// Every problem at once: of the policy, of the file, of every profile.
fn check(args: &Args) -> Result<()> {
    let path = args.config_path()?;
    let shown = path.display();
    let mut report = ConfigReport::default();
    let policy = Policy::read().unwrap_or_else(|failure| {
        report.problem(failure.what);
        None
    });
    match files::read(&path, Access::OwnerWrites, crate::config::FILE_LIMIT) {
        Ok(Some(bytes)) => {
            let (_, found) = Document::parse_all(&bytes);
            let found = found.into_iter().map(Problem::in_one_line);
            report.problems.extend(found);
        }
        Ok(None) if args.config.is_none() && policy.is_some() => {}
        Ok(None) if args.config.is_none() => {
            return Err(Failure::config(
                format!("there is no configuration {shown}"),
                "gatepass config init --issuer URL --client-id ID",
            ));
        }
        // Says what is wrong with the file, and what to do.
        Ok(None) | Err(_) => return UserFile::read(args.config.as_deref()).map(drop),
    }
    if report.problems.is_empty() {
        let sources = Sources {
            policy,
            file: UserFile::read(args.config.as_deref())?,
        };
        check_profiles(args, &sources, &mut report)?;
    }
    report.print(&shown.to_string())
}

fn check_profiles(args: &Args, sources: &Sources, report: &mut ConfigReport) -> Result<()> {
    // A profile that was named must be there.
    Layers::new(sources, &profile(args)?)?;
    let names = sources.profiles();
    for name in &names {
        let layers = match Layers::new(sources, name) {
            Ok(layers) => layers,
            // What the policy does not allow is no mistake of the file's.
            Err(failure) => {
                report.warnings.push(failure.what);
                continue;
            }
        };
        // A file that only describes named profiles needs no complete top level.
        let describes_nothing = ["issuer", "kind"]
            .iter()
            .filter_map(|key| Key::find(key))
            .all(|key| matches!(layers.effective(key), None | Some((_, Source::BuiltIn))));
        if name.is_default() && names.len() > 1 && describes_nothing {
            continue;
        }
        match Settings::resolve_all(&layers, name) {
            Err(found) => {
                for failure in found {
                    report.problem(format!("profile {name}: {}", failure.what));
                }
            }
            Ok(settings) => {
                for failure in [
                    settings.issuer_template().err(),
                    settings.check_provider().err(),
                    settings.check_gateway_url().err(),
                ]
                .into_iter()
                .flatten()
                {
                    report.problem(format!(
                        "profile {name}: {} ({})",
                        failure.what, failure.remedy
                    ));
                }
                for what in missing_files(&settings) {
                    report.problem(format!("profile {name}: {what}"));
                }
                let neighbours = redirect_path::neighbours(sources, &settings);
                // Of two that meet, each is told about once.
                let later: Vec<_> = neighbours
                    .into_iter()
                    .filter(|other| settings.profile < other.profile)
                    .collect();
                report.warnings.extend(
                    redirect_path::about_neighbours(&settings, &later)
                        .map(|what| format!("profiles {name} and others: {what}")),
                );
                if let Err(failure) = settings.check_redirect_path(IssuerNaming::Unknown)
                    && settings.is_redirected()
                {
                    report.warnings.push(format!(
                        "profile {name}: unless it promises that, a sign-in is refused: {}",
                        failure.what
                    ));
                }
                let overridden = layers.overridden();
                report.warnings.extend(overridden.iter().map(|overridden| {
                    format!(
                        "line {}: `{}` is not used: the policy decides",
                        overridden.line, overridden.key
                    )
                }));
            }
        }
    }
    if let Some(policy) = &sources.policy {
        report.warnings.extend(
            policy
                .ignored
                .iter()
                .map(|key| format!("policy: `{key}` is for a newer gatepass and left out")),
        );
    }
    Ok(())
}

/// What a check has found.
#[derive(Default)]
struct ConfigReport {
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl ConfigReport {
    fn problem(&mut self, what: String) {
        if !self.problems.contains(&what) {
            self.problems.push(what);
        }
    }

    fn print(mut self, shown: &str) -> Result<()> {
        self.warnings.dedup();
        let mut out: String = self
            .problems
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect();
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {warning}");
        }
        let (count, remedy) = match self.problems.len() {
            0 => {
                let _ = writeln!(out, "{shown}: no problem found");
                return output::print(out.as_bytes());
            }
            1 => (
                "one problem".to_owned(),
                "correct it, then run gatepass config check again",
            ),
            more => (
                format!("{more} problems"),
                "correct them, then run gatepass config check again",
            ),
        };
        // Each is named once, above.
        output::print(out.as_bytes())?;
        Err(Failure::config(format!("{shown}: {count}"), remedy))
    }
}
