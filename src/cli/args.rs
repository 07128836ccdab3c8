//! What can be said on the command line.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Parser, Subcommand};
use gatepass_host::{HOSTS, HostInfo, Target};

use crate::caller::{CallerOption, InteractiveOption};
use crate::config::choice::TokenChoice;
use crate::config::preset::Preset;
use crate::output::OutputFormat;
use crate::platform::asker::{Asker, NotAnAsker};
use crate::worker;

/// Prints a fresh bearer token for your organisation's LLM gateway.
#[derive(Debug, Default, Parser)]
#[command(
    name = "gatepass",
    disable_version_flag = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
Without a command gatepass prints a token and nothing else: that is
what Claude Desktop, Claude Code, Codex and scripts run.

The first time, sign in by hand:

  gatepass config init --issuer https://idp.example.com --client-id YOUR-CLIENT
  gatepass login
  gatepass

When something is wrong, `gatepass doctor` says what and what to do.

Exit codes: 0 done, 2 usage, 3 configuration, 4 sign-in needed,
5 sign-in failed, 6 provider not reachable, 7 keychain,
8 untrusted response, 1 anything else."
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// Use the profile NAME instead of `default`
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) profile: Option<String>,

    /// Read FILE instead of the user's configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Say on standard error what is done
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,

    /// Print the version
    #[arg(short = 'V', long)]
    pub(super) version: bool,

    /// With --version: as JSON
    #[arg(long, requires = "version")]
    pub(super) json: bool,
}

impl Args {
    /// The user's configuration file: the one that was named, else the one in the usual place.
    pub(super) fn config_path(&self) -> crate::error::Result<PathBuf> {
        match &self.config {
            Some(path) => Ok(path.clone()),
            None => Ok(crate::platform::paths::config_dir()?.join("config.toml")),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a token; the same as no command at all
    #[command(after_help = "\
Examples:
  gatepass token --output header | curl --header @- https://gateway.example.com/v1/models
  gatepass token --caller claude-code
  gatepass token --min-validity 900 --interactive never

Standard output has the token and nothing else; it is empty where there is
none, and the exit code and standard error say why.")]
    Token(TokenArgs),
    /// Sign in now
    #[command(after_help = "\
Examples:
  gatepass login             the way that suits this session
  gatepass login --device    a code to type on any device, for SSH
  gatepass login --profile research

The old session stays until the new one is complete.")]
    Login(LoginArgs),
    /// Sign out: revoke at the provider, then forget on this machine
    #[command(after_help = "\
Examples:
  gatepass logout
  gatepass logout --profile research
  gatepass logout --all

What is kept on this machine goes, whatever the provider says.")]
    Logout {
        /// Every profile, also those that no configuration names any more
        #[arg(long)]
        all: bool,
    },
    /// Say who is signed in, where, until when
    #[command(after_help = "\
Examples:
  gatepass status
  gatepass status --profile research
  gatepass status --json

Without --profile, further profiles of the configuration follow as a table.
The exit code is 0 if you are signed in, else 4. No secret is shown, and the
provider is not asked.")]
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check every link from the policy to the gateway
    #[command(after_help = "\
Examples:
  gatepass doctor
  gatepass doctor --model claude-sonnet-4-5    and ask the gateway for one token
  gatepass doctor --bundle support.json        write what a support engineer needs
  gatepass doctor --machine --json             for a management agent, as root

One line for each check, one remedy for each that is not ok. It changes
nothing and opens no browser. The exit code is that of the first failed check.")]
    Doctor(DoctorArgs),
    /// Look after the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  gatepass completions bash > ~/.local/share/bash-completion/completions/gatepass
  gatepass completions zsh > ~/.zfunc/_gatepass
  gatepass completions fish > ~/.config/fish/completions/gatepass.fish")]
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the man page
    #[command(after_help = "\
Examples:
  gatepass man | man -l -
  gatepass man > ~/.local/share/man/man1/gatepass.1")]
    Man,
    /// Write the configuration of a host application, or check an existing one
    #[command(after_help = "\
Examples:
  gatepass export claude-desktop --format mobileconfig \
      --model claude-opus-4-5 --model claude-sonnet-4-5 --model claude-haiku-4-5
  gatepass export claude-desktop --format reg --with-policy --output claude.reg
  gatepass export claude-code --output ~/.claude/settings.json
  gatepass export codex --output ~/.codex/config.toml
  gatepass export --check /etc/claude-desktop/managed-settings.json

What belongs to it is said on standard error. A file that is there is merged
or left alone, never overwritten. The exit code of --check is 3 if something
in the file does not work.")]
    Export(Box<ExportArgs>),
    /// The detached worker that other commands start
    #[command(hide = true, name = worker::COMMAND)]
    Worker(WorkerArgs),
}

/// A word of the command line from the table of hosts.
fn word_of<T: Copy + Send + Sync + 'static>(
    words: Vec<(&'static str, &'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let named = |(name, about, _): &(&'static str, &'static str, T)| {
        let value = PossibleValue::new(*name);
        if about.is_empty() {
            value
        } else {
            value.help(*about)
        }
    };
    let parser = PossibleValuesParser::new(words.iter().map(named).collect::<Vec<_>>());
    parser.try_map(move |word| {
        let mut known = words.iter().filter(|(name, ..)| *name == word);
        let value = known.next().map(|(.., value)| *value);
        value.ok_or_else(|| format!("{word} is not known"))
    })
}

/// The hosts whose configuration can be written.
fn hosts() -> impl TypedValueParser<Value = &'static HostInfo> {
    let hosts = HOSTS.iter();
    word_of(hosts.map(|host| (host.name, host.title, host)).collect())
}

/// The forms of all of them.
fn formats() -> impl TypedValueParser<Value = &'static str> {
    let mut words: Vec<(&str, &str, &str)> = Vec::new();
    for format in HOSTS.iter().flat_map(|host| host.formats) {
        if words.iter().all(|(name, ..)| *name != format.name) {
            words.push((format.name, format.about, format.name));
        }
    }
    word_of(words)
}

/// The systems for which they are written.
fn targets() -> impl TypedValueParser<Value = Target> {
    word_of(
        Target::ALL
            .map(|target| (target.word(), "", target))
            .to_vec(),
    )
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[derive(Debug, Default, clap::Args)]
#[command(group(ArgGroup::new("what").args(["host", "check"])))]
pub(super) struct ExportArgs {
    /// The host application
    #[arg(value_name = "HOST", value_parser = hosts())]
    pub(super) host: Option<&'static HostInfo>,

    /// Find what is wrong with an existing configuration, in any form
    #[arg(long, value_name = "FILE")]
    pub(super) check: Option<PathBuf>,

    /// Form of the configuration
    #[arg(long, value_name = "FORMAT", value_parser = formats(), conflicts_with = "check")]
    pub(super) format: Option<&'static str>,

    /// Write FILE, or merge with it; otherwise standard output
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub(super) output: Option<PathBuf>,

    /// The system that the host runs on, where the format leaves it open
    #[arg(
        long = "for",
        value_name = "SYSTEM",
        value_parser = targets(),
        conflicts_with = "check"
    )]
    pub(super) system: Option<Target>,

    /// Where gatepass is on that system
    #[arg(long, value_name = "PATH", conflicts_with = "check")]
    pub(super) helper_path: Option<String>,

    /// Name the profile by arguments, not by a link
    #[arg(long, conflicts_with = "check")]
    pub(super) use_args: bool,

    /// A model that the host offers; repeat it for more
    #[arg(long, value_name = "NAME", conflicts_with = "check", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) model: Vec<String>,

    /// A header that every user sends; no secret
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, conflicts_with = "check")]
    pub(super) header: Vec<(String, String)>,

    /// Any further key of the host; the value may be JSON
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "check")]
    pub(super) set: Vec<(String, String)>,

    /// An MCP server that takes the gateway's token
    #[arg(long, value_name = "NAME=URL", value_parser = pair, conflicts_with = "check")]
    pub(super) mcp: Vec<(String, String)>,

    /// Where telemetry goes that takes the gateway's token (OTLP over HTTP)
    #[arg(long, value_name = "URL", conflicts_with = "check")]
    pub(super) otel_endpoint: Option<String>,

    /// A further host that may get the gateway's token, for --mcp and --otel-endpoint
    #[arg(long, value_name = "HOST", conflicts_with = "check")]
    pub(super) send_token_to: Vec<String>,

    /// How long the provider's tokens live, in seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "check", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub(super) token_lifetime: Option<u64>,

    /// Lock gatepass's own configuration on the same machines
    #[arg(long, conflicts_with = "check")]
    pub(super) with_policy: bool,

    /// Freeze what that policy does not set as well
    #[arg(long, conflicts_with = "check")]
    pub(super) lock_all: bool,

    /// Keep a client secret in that policy, where the provider says that it is none
    #[arg(long, conflicts_with = "check")]
    pub(super) with_client_secret: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct WorkerArgs {
    #[arg(value_enum)]
    pub(super) task: worker::Task,
    #[arg(long)]
    pub(super) min_validity: u64,
    #[arg(long)]
    pub(super) asked_at: u64,
    #[arg(long)]
    pub(super) within: u64,
    #[arg(long)]
    pub(super) force: bool,
    /// Because the gateway has refused the token that is there
    #[arg(long)]
    pub(super) refused: bool,
    #[arg(long, value_enum)]
    pub(super) caller: CallerOption,
    #[arg(long)]
    pub(super) silent: bool,
}

#[derive(Debug, Default, clap::Args)]
pub(super) struct TokenArgs {
    /// Least remaining life of the token, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(super) min_validity: Option<u64>,

    /// Shape of the answer
    #[arg(long, value_enum, value_name = "SHAPE")]
    pub(super) output: Option<OutputFormat>,

    /// Who is calling
    #[arg(long, value_enum, value_name = "CALLER", default_value_t)]
    pub(super) caller: CallerOption,

    /// Whether a sign-in may be opened
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(super) interactive: InteractiveOption,

    /// Longest time for an answer, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) timeout: Option<u64>,

    /// Get a new token even if the stored one is good
    #[arg(long)]
    pub(super) force_refresh: bool,

    /// Who asks, as the Linux side of WSL has found out
    #[arg(long, hide = true)]
    pub(super) asker: Option<HandedOverAsker>,
}

/// The process that asks, if there is one, where another gatepass has looked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HandedOverAsker(pub(super) Option<Asker>);

/// What stands for no asker.
const NO_ASKER: &str = "none";

impl std::str::FromStr for HandedOverAsker {
    type Err = NotAnAsker;

    fn from_str(text: &str) -> Result<Self, NotAnAsker> {
        match text {
            NO_ASKER => Ok(Self(None)),
            asker => asker.parse().map(Some).map(Self),
        }
    }
}

impl std::fmt::Display for HandedOverAsker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str(NO_ASKER),
            Some(asker) => asker.fmt(f),
        }
    }
}

#[derive(Debug, Default, clap::Args)]
#[command(group(ArgGroup::new("way").args(["browser", "device"])))]
pub(super) struct LoginArgs {
    /// By browser on this machine
    #[arg(long)]
    pub(super) browser: bool,

    /// By a code that you type on any device
    #[arg(long)]
    pub(super) device: bool,

    /// Replace a stored session of another issuer without asking
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Debug, Default, clap::Args)]
pub(super) struct DoctorArgs {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Also ask the gateway's model NAME for one token
    #[arg(long, value_name = "NAME")]
    pub(super) model: Option<String>,

    /// Write what was found to a new FILE, without secrets and names
    #[arg(long, value_name = "FILE")]
    pub(super) bundle: Option<PathBuf>,

    /// Only what needs no person and no session: for root, SYSTEM and management agents
    #[arg(long, conflicts_with = "model")]
    pub(super) machine: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Write a first configuration file
    #[command(after_help = "\
Example:
  gatepass config init --issuer https://idp.example.com --client-id YOUR-CLIENT \\
      --gateway-url https://gateway.example.com

Without options it asks at a terminal for the provider, its issuer, the client
and the gateway, and says what to register. The provider is asked what it
offers, and what is missing there is said. An existing file is never
overwritten.")]
    Init(InitArgs),
    /// Print the path of the configuration file
    Path,
    /// Print each effective value and where it comes from
    Show,
    /// Check the configuration without using the network
    Check,
    /// Take over a profile that a gateway has handed out
    #[command(after_help = "\
Examples:
  gatepass config import ~/Downloads/claude-desktop-profile.json
  gatepass config import --profile archestra profile.mobileconfig

Reads Claude Desktop's profiles in any form: a gateway's download, an entry or
the folder of the configLibrary, claude_desktop_config.json. The keys in it go
into the keychain; the file itself stays as it is, for you to delete. A
configuration that is there gets a further profile and is not changed.")]
    Import {
        /// The profile
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The OpenID provider, as its discovery document names itself
    #[arg(long, value_name = "URL")]
    pub(super) issuer: Option<String>,

    /// The client that your organisation registered for gatepass
    #[arg(long, value_name = "ID")]
    pub(super) client_id: Option<String>,

    /// The gateway, without /v1
    #[arg(long, value_name = "URL")]
    pub(super) gateway_url: Option<String>,

    /// Scopes, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    pub(super) scopes: Option<String>,

    /// Defaults that suit a provider; guessed from the issuer if not given
    #[arg(long, value_name = "NAME", value_parser = presets())]
    pub(super) preset: Option<String>,

    /// The token that the gateway checks
    #[arg(long, value_enum, value_name = "TOKEN")]
    pub(super) token: Option<TokenChoice>,

    /// Do not ask the provider what it offers
    #[arg(long)]
    pub(super) offline: bool,
}

impl InitArgs {
    /// Whether no option was given.
    pub(super) fn says_nothing(&self) -> bool {
        let Self {
            issuer,
            client_id,
            gateway_url,
            scopes,
            preset,
            token,
            offline,
        } = self;
        let texts = [issuer, client_id, gateway_url, scopes, preset];
        texts.into_iter().all(Option::is_none) && token.is_none() && !offline
    }
}

/// The names of the presets, and `none`.
fn presets() -> PossibleValuesParser {
    let names = Preset::all().map(|preset| preset.name);
    names.chain(["none"]).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        super::Args::command().debug_assert();
    }
}
