//! The command line: from arguments to a use case, and from its result to streams and an exit code.

mod args;
mod ask;
mod config;
mod doctor;
mod export;
mod files;
mod import;
mod init;
mod reference;
mod run;
mod status;
mod terminal;
#[cfg(target_os = "linux")]
mod wsl;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{Failure, Id, Result};
use crate::{logging, output, platform, text};

use args::{Args, Command, TokenArgs};

/// Runs gatepass with the arguments of this process.
pub fn main() -> ExitCode {
    platform::harden();
    install_panic_message();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logging::failed(&failure);
            // A closed standard error is no reason to change the exit code.
            // In one write, so that lines of several runs do not mix.
            let _ = std::io::stderr().write_all(format!("{failure}\n").as_bytes());
            ExitCode::from(failure.id.exit_code())
        }
    }
}

fn dispatch(arguments: &[OsString]) -> Result<()> {
    // Hosts run us without arguments before turns that people wait for: nothing to parse then.
    if arguments.len() <= 1 {
        logging::start(false);
        let args = Args::default();
        hand_over(&args, arguments)?;
        return run::token(&args, &TokenArgs::default());
    }
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return help_or_usage(&error),
    };
    logging::start(args.verbose);
    if args.version {
        return run::version(args.json);
    }
    hand_over(&args, arguments)?;
    match &args.command {
        None => run::token(&args, &TokenArgs::default()),
        Some(Command::Token(token)) => run::token(&args, token),
        Some(Command::Login(login)) => run::login(&args, login),
        Some(Command::Logout { all }) => run::logout(&args, *all),
        Some(Command::Status { json }) => status::status(&args, *json),
        Some(Command::Config(command)) => config::run(&args, command),
        Some(Command::Completions { shell }) => reference::completions(*shell),
        Some(Command::Man) => reference::man(),
        Some(Command::Doctor(doctor)) => doctor::doctor(&args, doctor),
        Some(Command::Export(export)) => export::run(&args, export),
        Some(Command::Worker(worker)) => run::worker(&args, worker),
    }
}

/// In WSL the Windows binary takes over, if it is installed. Everywhere else this costs a look at the environment.
fn hand_over(args: &Args, arguments: &[OsString]) -> Result<()> {
    #[cfg(target_os = "linux")]
    wsl::hand_over(args, arguments)?;
    let _ = (args, arguments);
    Ok(())
}

/// Help goes to standard output; a wrong command line is a failure like any other.
fn help_or_usage(error: &clap::Error) -> Result<()> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::print(error.to_string().as_bytes())
        }
        _ => {
            let message = error.to_string();
            let mut lines = message
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty());
            let what = lines.next().unwrap_or("the command line is wrong");
            let tip = lines.find(|line| line.starts_with("tip:"));
            let near = tip.and_then(|tip| tip.rsplit('\'').nth(1));
            let right = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(words)) if !words.is_empty() => Some(words.join(", ")),
                _ => None,
            };
            Err(Failure::new(
                Id::Usage,
                text::printable(what.trim_start_matches("error: "), text::SERVER_TEXT),
                match (near, right) {
                    (Some(near), _) => format!("did you mean {near}?"),
                    (None, Some(right)) => format!("use one of: {right}"),
                    (None, None) => "gatepass --help".to_owned(),
                },
            ))
        }
    }
}

/// A panic says that it happened and where, never with what: its message may quote data.
fn install_panic_message() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        platform::keyboard::give_back();
        let failure = Failure::internal(format!("gatepass stopped because of a defect{place}"));
        let _ = writeln!(std::io::stderr(), "{failure}");
        std::process::exit(i32::from(failure.id.exit_code()));
    }));
}
