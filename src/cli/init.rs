//! `gatepass config init`: a first configuration file, made with what the provider says about itself.

use std::io::{BufRead, IsTerminal, Write};
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
const LOOK: Duration = Duration::from_secs(8);

/// Writes a first file. An existing one is never overwritten.
pub(super) fn run(args: &Args, init: &InitArgs) -> Result<()> {
    let path = args.config_path()?;
    let shown = path.display();
    if path.exists() {
        return Err(there_already(&shown));
    }
    let profile = profile(args)?;
    let issuer = given_or_asked(
        init.issuer.as_deref(),
        "--issuer",
        "issuer (URL of the OpenID provider)",
    )?;
    let client_id = given_or_asked(init.client_id.as_deref(), "--client-id", "client id")?;
    let gateway_url = match &init.gateway_url {
        None if at_terminal() && init.issuer.is_none() => {
            asked("gateway (URL without /v1, empty if unknown)")?
        }
        given => given.clone(),
    };
    let preset = match init.preset.as_deref() {
        Some("none") => None,
        Some(name) => Preset::find(name),
        None => Preset::guess(&issuer),
    };
    let mut starter = Starter {
        profile: (!profile.is_default()).then(|| profile.to_string()),
        preset,
        issuer,
        client_id,
        gateway_url,
        scopes: init
            .scopes
            .as_ref()
            .map(|scopes| scopes.split_whitespace().map(str::to_owned).collect()),
        ..Starter::default()
    };
    // What is written must be what would be accepted.
    let mut settings = understood(&starter, &path, &profile)?;
    if !init.offline {
        match look(&settings) {
            Ok(metadata) => {
                suit(&mut starter, &settings, &metadata);
                settings = understood(&starter, &path, &profile)?;
            }
            // Somebody who answers as another issuer is no reason to write a file that can never work.
            Err(failure) if failure.id == Id::UntrustedResponse => return Err(failure),
            Err(failure) => say(&format!(
                "the provider could not be asked: {}",
                failure.what
            )),
        }
    }
    if let Err(failure) = settings.check_audience() {
        starter
            .notes
            .push(format!("{}: {}", failure.what, failure.remedy));
    }
    for note in &starter.notes {
        say(note);
    }
    write(&path, &starter.to_toml())?;
    output::print(format!("wrote {shown}\nnext: gatepass login\n").as_bytes())
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
    let http = client_auth::provider_http(settings, Deadline::after(LOOK))?;
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

/// An answer of the person's; `None` if it is empty.
fn asked(what: &str) -> Result<Option<String>> {
    let _ = write!(std::io::stderr(), "{what}: ");
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| {
            Failure::new(
                Id::Usage,
                format!("no answer: {error}"),
                "gatepass config init --help",
            )
        })?;
    Ok(Some(line.trim().to_owned()).filter(|answer| !answer.is_empty()))
}

fn given_or_asked(given: Option<&str>, option: &str, what: &str) -> Result<String> {
    let answer = match given {
        Some(given) => Some(given.to_owned()),
        None if at_terminal() => asked(what)?,
        None => None,
    };
    answer.ok_or_else(|| {
        Failure::new(
            Id::Usage,
            format!("{option} is missing"),
            "gatepass config init --issuer URL --client-id ID",
        )
    })
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
