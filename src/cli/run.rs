//! The commands that users and hosts run: `token`, `login`, `logout`, `--version`, and the worker.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

use gatepass_host::HEADERS_LINK;

use super::args::{Args, HandedOverAsker, LoginArgs, TokenArgs, WorkerArgs};
use super::ask;
use super::terminal::Terminal;
use crate::audit::{self, Event};
use crate::caller::{Caller, CallerSigns, Deadline, Host, RecurringCall};
use crate::clock;
use crate::config::Sources;
use crate::config::layers::Layers;
use crate::config::policy::Policy;
use crate::config::profile::ProfileName;
use crate::config::settings::{Audit, Flow, Kind, Settings};
use crate::config::value::ConfigValue;
use crate::error::{Failure, Origin, Result};
use crate::output::{self, OutputFormat};
use crate::platform::asker::{self, Asker};
use crate::platform::environment::Environment;
use crate::reader::{Renew, TokenRequirement};
use crate::session::record::IssuedToken;
use crate::session::state::{self, StateFiles};
use crate::sign_in_ui::{NoUi, SignInUi};
use crate::store::Prompting;
use crate::usecase;
use crate::usecase::token::TokenCommand;
use crate::worker::serve::serve;
use crate::worker::start::Configuration;
use crate::writer::revocation::Revocation;
use crate::writer::sign_in::{Replace, SignInRequest};
use crate::writer::sign_out::{Others, SignedOut};
use crate::{logging, text};

/// The name that this program was run by, without folder and `.exe`.
fn own_name() -> Option<String> {
    let path = std::env::args_os().next()?;
    let name = std::path::Path::new(&path).file_name()?.to_str()?;
    Some(name.strip_suffix(".exe").unwrap_or(name).to_owned())
}

/// The profile of this run: `--profile`, then the name of the binary or link, then the environment.
pub(super) fn profile(args: &Args) -> Result<ProfileName> {
    let by_link = || {
        let name = own_name()?;
        let stem = name.split('.').next()?;
        stem.strip_prefix("gatepass-").map(str::to_owned)
    };
    let by_environment = || {
        std::env::var_os("GATEPASS_PROFILE")
            .filter(|name| !name.is_empty())
            .map(|name| name.to_string_lossy().into_owned())
    };
    match args
        .profile
        .clone()
        .or_else(by_link)
        .or_else(by_environment)
    {
        None => Ok(ProfileName::default()),
        Some(name) => ProfileName::parse(&name).map_err(|reason| {
            Failure::config(
                format!("\"{}\" is no profile: {reason}", text::printable(&name, 80)),
                "give --profile a name from your configuration",
            )
        }),
    }
}

fn settings(args: &Args, from_command_line: &[(&'static str, ConfigValue)]) -> Result<Settings> {
    let profile = profile(args)?;
    let sources = Sources::read(args.config.as_deref())?;
    let mut layers = Layers::new(&sources, &profile)?;
    for (key, value) in from_command_line {
        layers.set_from_command_line(key, value.clone());
    }
    let settings = Settings::resolve(&layers, &profile)?;
    logging::keep(&settings);
    Ok(settings)
}

/// Names the profile in the remedy, and whom to ask, where the organisation says so.
pub(super) fn with_support(settings: &Settings, result: Result<()>) -> Result<()> {
    result.map_err(|mut failure| {
        // What the provider's own error numbers mean adds words; it decides nothing.
        let advice = settings
            .preset
            .filter(|_| failure.origin == Origin::Provider)
            .and_then(|preset| preset.advice(&failure.what));
        if let Some(advice) = advice {
            failure = Failure::new(
                failure.id,
                format!("{} ({})", advice.what, failure.what),
                advice.remedy,
            );
        }
        if !settings.profile.is_default()
            && let Some(rest) = failure.remedy.strip_prefix("gatepass login")
        {
            failure.remedy = format!("gatepass login --profile {}{rest}", settings.profile);
        }
        let whom = [&settings.support_text, &settings.support_url]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>();
        if !whom.is_empty() {
            let _ = write!(failure.remedy, " (help: {})", whom.join(", "));
        }
        failure
    })
}

/// What `config check` would refuse about the gateway's address, which gatepass itself does not use to get a token.
pub(super) fn gateway_warning(settings: &Settings) -> Option<String> {
    let failure = settings.check_gateway_url().err()?;
    Some(format!("{}; {}", failure.what, failure.remedy))
}

/// The same, on standard error, for a user.
fn warn_person(settings: &Settings) {
    if let Some(warning) = gateway_warning(settings) {
        let line = text::printable(&warning, 400);
        let _ = writeln!(io::stderr(), "warning: {line}");
    }
}

pub(super) fn token(args: &Args, token: &TokenArgs) -> Result<()> {
    let mut given = Vec::new();
    if let Some(seconds) = token.min_validity {
        given.push(("min_validity", ConfigValue::Number(seconds)));
    }
    let settings = settings(args, &given)?;
    // A host's success writes nothing: `-v`, the log and `status` say it.
    if let Some(warning) = gateway_warning(&settings) {
        log::warn!("{warning}");
    }
    let host = Host::recognise(token.caller, &CallerSigns::read());
    let shape = args_shape(args, host, &settings);
    shape.check(&settings)?;
    let caller = Caller::new(
        host,
        token.interactive,
        token.timeout.map(Duration::from_secs),
        &settings,
    );
    // A host's call does not look at its standard error at all.
    let terminal = host.is_terminal().then(|| Terminal::new(&settings));
    let ui = terminal
        .as_ref()
        .map_or(&NoUi as &dyn SignInUi, |terminal| terminal);
    let call = RecurringCall::recognise(
        host,
        || asker(token),
        std::env::args_os(),
        |name| std::env::var(name).ok(),
    );
    let print = || {
        let request = TokenCommand {
            configuration: Configuration {
                settings: &settings,
                file: args.config.as_deref(),
            },
            caller,
            call,
            force_refresh: token.force_refresh,
            ui,
        };
        let asked_at_ms = clock::now_millis();
        let token = request.answer()?;
        let bytes = output::render(&token, shape, settings.auth_scheme, settings.kind)?;
        // Before it is printed: the audit line is written even if this process dies then.
        audit_token(&settings, host, asked_at_ms, &token);
        output::print_token(&bytes)
    };
    with_support(&settings, print())
}

/// The process that asks. `None` where a user may have typed the command: asking again says nothing then.
pub(super) fn asker(token: &TokenArgs) -> Option<Asker> {
    match token.asker {
        Some(HandedOverAsker(asker)) => asker,
        None if io::stderr().is_terminal() => None,
        None => asker::find(),
    }
}

/// Says in the system's log, where the configuration asks for that, who gets a token and where it came from.
fn audit_token(settings: &Settings, caller: Host, asked_at_ms: u64, token: &IssuedToken) {
    if settings.audit < Audit::All {
        return;
    }
    // A sign-in raises the generation to the moment at which it was complete.
    let signed_in = || {
        let files = StateFiles::existing(settings).ok().flatten();
        files
            .and_then(|files| files.read().ok())
            .is_some_and(|state| clock::has_been_since(state.generation, asked_at_ms))
    };
    let reason = if !clock::has_been_since(token.obtained_at_ms, asked_at_ms) {
        "stored"
    } else if signed_in() {
        "signed in"
    } else {
        "refreshed"
    };
    audit::note(settings, Event::Token { caller, reason });
}

/// Runs as the detached worker. Its answer goes through the pipe that its starter made, success or not.
pub(super) fn worker(args: &Args, worker: &WorkerArgs) -> Result<()> {
    let settings = settings(
        args,
        &[("min_validity", ConfigValue::Number(worker.min_validity))],
    )?;
    let host = Host::recognise(worker.caller, &CallerSigns::default());
    let need = TokenRequirement {
        asked_at_ms: worker.asked_at,
        renew: match (worker.force, worker.refused) {
            (_, true) => Renew::RefusedByGateway,
            (true, false) => Renew::Forced,
            (false, false) => Renew::IfNeeded,
        },
        token_use: host.token_use(),
    };
    let caller = Caller {
        host,
        may_prompt: !worker.silent,
        deadline: Deadline::after(Duration::from_millis(worker.within)),
    };
    serve(worker.task, &settings, need, caller)
}

fn args_shape(args: &Args, host: Host, settings: &Settings) -> OutputFormat {
    match &args.command {
        Some(super::args::Command::Token(TokenArgs {
            output: Some(shape),
            ..
        })) => *shape,
        // Programs that Claude Desktop runs for headers get no arguments.
        _ if own_name().is_some_and(|name| name.ends_with(HEADERS_LINK)) => OutputFormat::Headers,
        _ => OutputFormat::for_caller(host, settings),
    }
}

pub(super) fn login(args: &Args, login: &LoginArgs) -> Result<()> {
    let asked = match (login.browser, login.device) {
        (true, _) => Some(Flow::Browser),
        (_, true) => Some(Flow::Device),
        _ => None,
    };
    let settings = settings(args, &[])?;
    if asked.is_some() && settings.flow_is_locked {
        return Err(Failure::config(
            "your organisation's policy decides how people sign in (`flow`)",
            "gatepass login",
        ));
    }
    warn_person(&settings);
    let terminal = Terminal::new(&settings);
    let replace = if login.replace {
        Replace::Always
    } else {
        Replace::IfConfirmed
    };
    let sign_in = || {
        settings.check_enabled()?;
        let asked_for = ask::secrets(&settings)?;
        if settings.kind == Kind::Key {
            let (key, headers) = (asked_for.key.as_ref(), asked_for.headers);
            usecase::login::keep_key(&settings, key, headers, replace, &terminal)?;
            terminal.key_kept(&settings);
            return Ok(());
        }
        let environment = Environment::look();
        let signed_in = usecase::login::login(&SignInRequest {
            settings: &settings,
            method: usecase::login::method(&settings, asked, environment, true)?,
            host: Host::Terminal,
            environment,
            why: None,
            deadline: Deadline::after(settings.sign_in_timeout),
            ui: &terminal,
            replace,
            secret_headers: asked_for.headers,
        })?;
        terminal.signed_in(&signed_in);
        Ok(())
    };
    with_support(&settings, sign_in())
}

pub(super) fn logout(args: &Args, all: bool) -> Result<()> {
    let configured = if all {
        None
    } else {
        Some(settings(args, &[])?)
    };
    let mut targets = match configured {
        Some(settings) => VecDeque::from([(settings, Others::Forgotten)]),
        // Each session is ended by settings of its own: what a profile's entry holds of another issuer stays for those.
        None => everywhere(args)?
            .into_iter()
            .map(|settings| (settings, Others::Stay))
            .collect(),
    };
    let prompting = if Host::recognise(Default::default(), &CallerSigns::read()).is_terminal() {
        Prompting::Allowed
    } else {
        Prompting::Forbidden
    };
    let mut first_failure = None;
    let mut report = String::new();
    if targets.is_empty() {
        report.push_str("nobody is signed in\n");
    }
    while let Some((settings, others)) = targets.pop_front() {
        warn_person(&settings);
        let name = &settings.profile;
        match usecase::logout::logout(&settings, prompting, others) {
            Ok(done) => {
                tell_signed_out(&mut report, name, &done);
                if let Some(left) = done.left {
                    let is_next = targets.iter().any(|(next, _)| {
                        next.profile == *name
                            && next.issuer == left.issuer
                            && next.client_id == left.client_id
                    });
                    if !is_next {
                        let own = Settings::of_session(name, &left.issuer, &left.client_id);
                        targets.push_back((own.unwrap_or(settings), Others::Forgotten));
                    }
                }
            }
            Err(failure) => {
                let _ = writeln!(report, "{name}: NOT forgotten: {}", failure.what);
                first_failure.get_or_insert(failure);
            }
        }
    }
    output::print(report.as_bytes())?;
    first_failure.map_or(Ok(()), Err)
}

/// What signing out of a profile did.
fn tell_signed_out(report: &mut String, name: &ProfileName, done: &SignedOut) {
    let whom = done.account.as_ref().map_or_else(String::new, |account| {
        format!(" ({})", text::from_server(account))
    });
    let _ = match &done.revocation {
        Revocation::Done => writeln!(report, "{name}: revoked at the provider{whom}"),
        Revocation::NotOffered => {
            writeln!(report, "{name}: the provider offers no revocation{whom}")
        }
        Revocation::Off => writeln!(
            report,
            "{name}: not revoked: `revoke_on_logout` is false{whom}"
        ),
        Revocation::AnotherIssuers(issuer) => writeln!(
            report,
            "{name}: NOT revoked: it was a session of {}, which is not the configured issuer{whom}",
            text::from_server(issuer)
        ),
        Revocation::Nothing => Ok(()),
        Revocation::Failed(failure) => writeln!(
            report,
            "{name}: NOT revoked at the provider: {}",
            failure.what
        ),
    };
    let _ = if done.forgotten {
        writeln!(report, "{name}: forgotten on this machine")
    } else {
        writeln!(report, "{name}: nobody was signed in")
    };
}

/// Every profile of the configuration and every one that left a state file.
fn everywhere(args: &Args) -> Result<Vec<Settings>> {
    let sources = Sources::read(args.config.as_deref())?;
    let mut found: Vec<Settings> = Vec::new();
    for name in sources.profiles() {
        // A profile that cannot be used has no session that could be found through it.
        if let Ok(settings) = crate::config::load(&sources, &name) {
            found.push(settings);
        }
    }
    for (profile, state) in state::all()? {
        let known = found.iter().any(|settings| {
            settings.profile == profile
                && settings.issuer == state.issuer
                && settings.client_id == state.client_id
        });
        if !known {
            found.extend(Settings::of_session(
                &profile,
                &state.issuer,
                &state.client_id,
            ));
        }
    }
    Ok(found)
}

/// The commit that this binary was built from, where the build was given it in `GATEPASS_COMMIT`.
const COMMIT: Option<&str> = option_env!("GATEPASS_COMMIT");

/// How it was built.
const BUILD_KIND: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

pub(super) fn version(json: bool) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let text = if json {
        // A policy that stops everything else must not stop a user who looks for the reason.
        let policy = Policy::read();
        format!(
            "{}\n",
            serde_json::json!({
                "name": "gatepass",
                "version": version,
                "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
                "build": { "commit": COMMIT, "kind": BUILD_KIND },
                "policy_digest": policy.as_ref().ok().and_then(Option::as_ref).map(Policy::digest),
                "policy_error": policy.as_ref().err().map(|failure| &failure.what),
            })
        )
    } else {
        let build = COMMIT.map_or_else(String::new, |commit| format!(" ({commit})"));
        let policy = match Policy::read() {
            Ok(None) => String::new(),
            Ok(Some(policy)) => format!("policy {}\n", policy.digest()),
            Err(failure) => format!("{}\n", failure.what),
        };
        format!("gatepass {version}{build}\n{policy}")
    };
    output::print(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn prompting_options_have_the_promised_words() {
        use clap::ValueEnum;
        let words = |option: Option<clap::builder::PossibleValue>| {
            option.map(|value| value.get_name().to_owned())
        };
        let interactive: Vec<_> = crate::caller::InteractiveOption::value_variants()
            .iter()
            .filter_map(|option| words(option.to_possible_value()))
            .collect();
        assert_eq!(interactive, ["auto", "never", "always"]);
        let options = crate::caller::CallerOption::value_variants();
        for option in options {
            let word = words(option.to_possible_value());
            assert_eq!(word.as_deref(), Some(option.as_str()));
        }
        let callers: Vec<_> = options
            .iter()
            .filter_map(|option| words(option.to_possible_value()))
            .collect();
        assert_eq!(
            callers,
            [
                "auto",
                "claude-desktop",
                "claude-code",
                "codex",
                "terminal",
                "script"
            ]
        );
    }
}
