//! `gatepass config init`: a first configuration file, made with what the provider says about itself.

mod questions;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use super::args::{Args, InitArgs};
use super::run::profile;
use crate::caller::Deadline;
use crate::config::document::Document;
use crate::config::layers::Layers;
use crate::config::policy::Policy;
use crate::config::preset::Preset;
use crate::config::profile::ProfileName;
use crate::config::settings::Settings;
use crate::config::starter::Starter;
use crate::config::{Sources, UserFile};
use crate::error::{Failure, Id, Result};
use crate::oidc::client_auth;
use crate::oidc::discovery::{Metadata, Provider};
use crate::output;
use crate::platform::files;

/// Longest wait for the provider. A file can be written without it.
const DISCOVERY: Duration = Duration::from_secs(8);

/// Writes a first file. An existing one is never overwritten.
///
/// At a terminal, without options, it asks for what belongs into the file. Otherwise it asks nothing.
pub(super) fn run(args: &Args, init: &InitArgs) -> Result<()> {
    let path = args.config_path()?;
    let shown = path.display();
    if path.exists() {
        return Err(there_already(&shown));
    }
    let target = StarterFile {
        profile: profile(args)?,
        path: &path,
    };
    let (starter, settings) = if init.says_nothing() && at_terminal() {
        questions::ask(&target)?
    } else {
        of_options(init, &target)?
    };
    for note in &starter.notes {
        say(note);
    }
    write(&path, &starter.to_toml())?;
    let mut report = format!("wrote {shown}\n");
    if settings.is_redirected() {
        report.push_str(
            "register with the provider, as redirect address of a native (public) client:\n",
        );
        for address in settings.redirect_addresses() {
            let _ = writeln!(report, "  {address}");
        }
    }
    let _ = writeln!(report, "next: {}", next_command(args, &target.profile));
    output::print(report.as_bytes())
}

/// Where the file goes, and which profile it describes.
struct StarterFile<'a> {
    profile: ProfileName,
    path: &'a std::path::Path,
}

/// The command that signs in with what was written.
fn next_command(args: &Args, profile: &ProfileName) -> String {
    let mut command = "gatepass login".to_owned();
    if !profile.is_default() {
        let _ = write!(command, " --profile {profile}");
    }
    if let Some(file) = &args.config {
        let _ = write!(command, " --config '{}'", file.display());
    }
    command
}

/// The file that the options describe.
fn of_options(init: &InitArgs, target: &StarterFile<'_>) -> Result<(Starter, Settings)> {
    let needed = |given: &Option<String>, option: &str| {
        given.clone().ok_or_else(|| {
            Failure::new(
                Id::Usage,
                format!("{option} is missing"),
                "gatepass config init --issuer URL --client-id ID",
            )
        })
    };
    let issuer = needed(&init.issuer, "--issuer")?;
    let preset = match init.preset.as_deref() {
        Some("none") => None,
        Some(name) => Preset::find(name),
        None => Preset::guess(&issuer),
    };
    let mut starter = Starter {
        profile: (!target.profile.is_default()).then(|| target.profile.to_string()),
        preset,
        issuer,
        client_id: needed(&init.client_id, "--client-id")?,
        gateway_url: init.gateway_url.clone(),
        scopes: init
            .scopes
            .as_ref()
            .map(|scopes| scopes.split_whitespace().map(str::to_owned).collect()),
        token: init.token,
        ..Starter::default()
    };
    // What is written must be what would be accepted.
    let mut settings = accepted(&starter, target)?;
    if !init.offline {
        match look(&settings) {
            Ok(metadata) => {
                suit(&mut starter, &settings, &metadata);
                settings = accepted(&starter, target)?;
            }
            // A provider that answers as another issuer: a file with this one can never work.
            Err(failure) if failure.id == Id::UntrustedResponse => return Err(failure),
            Err(failure) => say(&format!(
                "the provider could not be asked: {}",
                failure.what
            )),
        }
    }
    Ok((starter, settings))
}

/// The settings that the file will have, if `config check` finds nothing wrong with it.
fn accepted(starter: &Starter, target: &StarterFile<'_>) -> Result<Settings> {
    let settings = understood(starter, target.path, &target.profile)?;
    settings.issuer_template()?;
    settings.check_gateway_url().map_err(|failure| {
        let root = failure
            .remedy
            .replacen("write gateway_url = ", "--gateway-url ", 1);
        Failure {
            remedy: root,
            ..failure
        }
    })?;
    settings.check_provider().map_err(|failure| {
        let hint = starter
            .preset
            .and_then(|preset| preset.about().api_scope_hint)
            .unwrap_or_default();
        Failure {
            remedy: format!(
                "add --scopes \"openid profile email offline_access {hint}\", or --token id_token"
            ),
            ..failure
        }
    })?;
    Ok(settings)
}

fn understood(
    starter: &Starter,
    path: &std::path::Path,
    profile: &ProfileName,
) -> Result<Settings> {
    let document = Document::parse(starter.to_toml().as_bytes()).map_err(|problem| {
        let what = problem
            .what
            .split_once(": ")
            .map_or(problem.what.as_str(), |(_, what)| what);
        Failure::config(
            what,
            "gatepass config init --issuer https://… --client-id …",
        )
    })?;
    let sources = Sources {
        policy: Policy::read()?,
        file: UserFile {
            path: path.to_owned(),
            document: Some(document),
        },
    };
    Settings::resolve(&Layers::new(&sources, profile)?, profile)
}

fn look(settings: &Settings) -> Result<Metadata> {
    let http = client_auth::provider_http(settings, Deadline::after(DISCOVERY))?;
    Provider::look(&http, settings).map(|provider| provider.metadata)
}

/// Fits scopes and flow to what the provider offers, and notes what is missing.
fn suit(starter: &mut Starter, settings: &Settings, metadata: &Metadata) {
    const OFFLINE: &str = "offline_access";
    let offers_offline = metadata
        .scopes_supported
        .as_ref()
        .is_none_or(|known| known.iter().any(|scope| scope == OFFLINE));
    let asks_offline = settings.scopes.iter().any(|scope| scope == OFFLINE);
    if !offers_offline && asks_offline && starter.scopes.is_none() {
        let scopes = settings.scopes.iter().filter(|scope| *scope != OFFLINE);
        starter.scopes = Some(scopes.cloned().collect());
        starter.notes.push(
            "the provider does not list offline_access, so it is left out; if it issues no refresh token, people sign in again whenever a token ends"
                .to_owned(),
        );
    }
    let browser = metadata.authorization_endpoint.is_some();
    let device = metadata.device_authorization_endpoint.is_some();
    match (browser, device) {
        (true, true) => {}
        (true, false) => starter.notes.push(
            "the provider offers no device codes: people need a browser on the machine that they sign in from"
                .to_owned(),
        ),
        (false, true) => {
            starter.flow = Some("device");
            starter
                .notes
                .push("the provider offers sign-in by device code only".to_owned());
        }
        (false, false) => starter
            .notes
            .push("the provider offers no sign-in that gatepass knows".to_owned()),
    }
}

fn at_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn say(line: &str) {
    let _ = writeln!(
        std::io::stderr(),
        "note: {}",
        crate::text::printable(line, 400)
    );
}

fn there_already(shown: &std::path::Display<'_>) -> Failure {
    Failure::config(
        format!("there is a configuration already: {shown}"),
        "change that file, or move it away first",
    )
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    let shown = path.display();
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
    match files::create_new(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map_err(unwritable),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(there_already(&shown))
        }
        Err(error) => Err(unwritable(error)),
    }
}
