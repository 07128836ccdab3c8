//! Which caller asks, whether it may be prompted, and how long it waits.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::config::choice::{Choice, choice, on_command_line};
use crate::config::settings::{Interactive, Settings};
use crate::platform::asker::Asker;

choice! {
    /// Why Claude Desktop runs its credential helper (`CLAUDE_HELPER_CONTEXT`).
    pub enum HelperContext {
        /// The user started a session and is present.
        Interactive = "interactive",
        /// A running session's credential expired.
        MidSessionRefresh = "mid-session-refresh",
        /// Everything else, an unknown value included: no user is known to be present.
        Background = "background",
    }
}

impl HelperContext {
    fn parse(value: &str) -> Self {
        Self::of_word(value).unwrap_or(Self::Background)
    }
}

/// The kind of program (or person) that runs us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Claude Desktop.
    ClaudeDesktop(HelperContext),
    /// Claude Code's `apiKeyHelper`.
    ClaudeCode,
    /// Codex's provider `auth.command`.
    Codex,
    /// A user at a terminal.
    Terminal,
    /// Anything else.
    Script,
}

/// What a caller does with a token that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// It keeps the token and sends it for minutes.
    Kept,
    /// It sends the token at once and asks again for the next request.
    AtOnce,
}

choice! {
    /// What `--caller` says.
    pub enum CallerOption {
        /// Recognise the caller.
        Auto = "auto",
        /// Claude Desktop.
        ClaudeDesktop = "claude-desktop",
        /// Claude Code.
        ClaudeCode = "claude-code",
        /// Codex.
        Codex = "codex",
        /// A user at a terminal.
        Terminal = "terminal",
        /// A script.
        Script = "script",
    }
}
on_command_line!(CallerOption, otherwise Auto);

choice! {
    /// What `--interactive` says.
    pub enum InteractiveOption {
        /// As the caller allows.
        Auto = "auto",
        /// Never prompt.
        Never = "never",
        /// Prompt if a sign-in is needed.
        Always = "always",
    }
}
on_command_line!(InteractiveOption, otherwise Auto);

/// What can be seen of the caller, read once.
#[derive(Clone, Debug, Default)]
pub struct CallerSigns {
    /// `CLAUDE_HELPER_CONTEXT`, if set and not empty.
    pub helper_context: Option<String>,
    /// Standard input and standard error are terminals.
    pub terminal: bool,
}

impl CallerSigns {
    /// Reads the environment and the standard streams of this process.
    pub fn read() -> Self {
        Self {
            helper_context: std::env::var_os("CLAUDE_HELPER_CONTEXT")
                .filter(|value| !value.is_empty())
                .map(|value| value.to_string_lossy().into_owned()),
            terminal: std::io::stderr().is_terminal() && std::io::stdin().is_terminal(),
        }
    }
}

impl Host {
    /// Recognises the caller; an explicit option decides over what is seen.
    pub fn recognise(option: CallerOption, signs: &CallerSigns) -> Self {
        let context = signs.helper_context.as_deref().map(HelperContext::parse);
        match option {
            CallerOption::Auto => match context {
                Some(context) => Self::ClaudeDesktop(context),
                None if signs.terminal => Self::Terminal,
                None => Self::Script,
            },
            CallerOption::ClaudeDesktop => {
                Self::ClaudeDesktop(context.unwrap_or(HelperContext::Background))
            }
            CallerOption::ClaudeCode => Self::ClaudeCode,
            CallerOption::Codex => Self::Codex,
            CallerOption::Terminal => Self::Terminal,
            CallerOption::Script => Self::Script,
        }
    }

    /// What people call it, if it has a name.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::ClaudeDesktop(_) => Some("Claude"),
            Self::ClaudeCode => Some("Claude Code"),
            Self::Codex => Some("Codex"),
            Self::Terminal | Self::Script => None,
        }
    }

    /// As `--caller` names it; which context it had is lost.
    pub fn option(self) -> CallerOption {
        match self {
            Self::ClaudeDesktop(_) => CallerOption::ClaudeDesktop,
            Self::ClaudeCode => CallerOption::ClaudeCode,
            Self::Codex => CallerOption::Codex,
            Self::Terminal => CallerOption::Terminal,
            Self::Script => CallerOption::Script,
        }
    }

    /// Its name as `--caller` has it, and why it calls, where it says so.
    pub fn names(self) -> (&'static str, Option<&'static str>) {
        let why = match self {
            Self::ClaudeDesktop(context) => Some(context.as_str()),
            Self::ClaudeCode | Self::Codex | Self::Terminal | Self::Script => None,
        };
        (self.option().as_str(), why)
    }

    /// Whether it gets JSON with headers where headers are configured.
    pub fn reads_json(self) -> bool {
        matches!(self, Self::ClaudeDesktop(_))
    }

    /// What it does with a token.
    pub fn token_use(self) -> TokenUse {
        match self {
            Self::ClaudeDesktop(_) | Self::ClaudeCode | Self::Codex => TokenUse::Kept,
            Self::Terminal | Self::Script => TokenUse::AtOnce,
        }
    }

    /// Whether a user reads standard error while we work.
    pub fn is_terminal(self) -> bool {
        self == Self::Terminal
    }
}

/// Within this time after Claude Desktop was given a token, asking again in the middle of a session means that the
/// gateway has refused it.
const DESKTOP_ASKS_AGAIN: Duration = Duration::from_secs(120);

/// The same for calls of one asker, where the environment does not say how long the asker keeps a token.
const ASKS_AGAIN: Duration = Duration::from_secs(60);

/// How long Claude Code keeps a token, in milliseconds, where its settings say so.
const KEPT_FOR: &str = "CLAUDE_CODE_API_KEY_HELPER_TTL_MS";

/// The MCP server for which Claude Code asks.
const MCP_SERVER: &str = "CLAUDE_CODE_MCP_SERVER_URL";

/// One call that a host makes again and again, told from all its other calls and from those of other hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurringCall {
    /// Digest of what tells it from others; zeros for Claude Desktop.
    pub id: [u8; 16],
    /// Whether asking for the same token once more would mean that the gateway has refused it.
    pub means_refusal: bool,
    /// Within which time after it was given the token.
    pub within: Duration,
}

impl RecurringCall {
    /// The call of this process. `None` for callers that ask for every request, and where it cannot be known who
    /// asks.
    ///
    /// `asker` looks for the process that asks, which costs some system calls; `variable` is the environment.
    pub fn recognise<Argument: AsRef<OsStr>>(
        host: Host,
        asker: impl FnOnce() -> Option<Asker>,
        arguments: impl IntoIterator<Item = Argument>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        match host {
            Host::Terminal | Host::Script => None,
            // Claude Desktop says itself why it asks, and only one runs.
            Host::ClaudeDesktop(context) => Some(Self {
                id: [0; 16],
                means_refusal: context == HelperContext::MidSessionRefresh,
                within: DESKTOP_ASKS_AGAIN,
            }),
            Host::ClaudeCode | Host::Codex => {
                let asker = asker()?;
                let mut hash = Sha256::new();
                let mut add = |bytes: &[u8]| {
                    hash.update((bytes.len() as u64).to_le_bytes());
                    hash.update(bytes);
                };
                add(host.option().as_str().as_bytes());
                add(&asker.process.to_le_bytes());
                add(&asker.started.to_le_bytes());
                add(&asker.namespace.to_le_bytes());
                for argument in arguments {
                    add(argument.as_ref().as_encoded_bytes());
                }
                add(variable(MCP_SERVER).unwrap_or_default().as_bytes());
                let kept_for = variable(KEPT_FOR).and_then(|text| text.trim().parse().ok());
                let mut id = [0; 16];
                id.copy_from_slice(&hash.finalize()[..16]);
                Some(Self {
                    id,
                    means_refusal: true,
                    within: kept_for.map_or(ASKS_AGAIN, |time| Duration::from_millis(time) / 2),
                })
            }
        }
    }
}

/// The moment by which a caller must have its answer. One deadline is handed through everything that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment this far from now.
    pub fn after(time: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(time).unwrap_or(now))
    }

    /// What is left of it; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The moment this long before the deadline.
    #[must_use]
    pub fn less(self, time: Duration) -> Self {
        let now = Instant::now();
        Self(self.0.checked_sub(time).unwrap_or(now).max(now))
    }

    /// The earlier of this deadline and a moment this far from now.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        Self(self.0.min(Self::after(time).0))
    }
}

/// What follows from who is calling.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Which program it is.
    pub host: Host,
    /// Whether a sign-in may be opened for it.
    pub may_prompt: bool,
    /// When it must have its answer.
    pub deadline: Deadline,
}

impl Caller {
    /// Applies configuration and options to a recognised host.
    pub fn new(
        host: Host,
        interactive: InteractiveOption,
        timeout: Option<Duration>,
        settings: &Settings,
    ) -> Self {
        let by_itself = matches!(
            host,
            Host::Terminal | Host::ClaudeDesktop(HelperContext::Interactive)
        );
        let asked = match interactive {
            InteractiveOption::Auto => by_itself,
            InteractiveOption::Never => false,
            InteractiveOption::Always => true,
        };
        let time = timeout.unwrap_or(match host {
            Host::ClaudeDesktop(HelperContext::Interactive) => settings.interactive_timeout,
            Host::ClaudeDesktop(_) => Duration::from_secs(15),
            Host::ClaudeCode => Duration::from_secs(9),
            Host::Codex => Duration::from_secs(4),
            Host::Terminal => settings.sign_in_timeout,
            Host::Script => Duration::from_secs(30),
        });
        Self {
            host,
            may_prompt: asked && settings.interactive != Interactive::Never,
            // The answer must have arrived by then, not be on its way out of this process.
            deadline: Deadline::after(time.saturating_sub(MARGIN.min(time / 10))),
        }
    }
}

/// Time to print the answer and end.
const MARGIN: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_recognised_as_the_interface_says() {
        let seen = |context: Option<&str>, terminal| CallerSigns {
            helper_context: context.map(str::to_owned),
            terminal,
        };
        use CallerOption as Asked;
        use HelperContext::{Background, Interactive, MidSessionRefresh};
        let cases = [
            (
                Asked::Auto,
                seen(Some("interactive"), true),
                Host::ClaudeDesktop(Interactive),
            ),
            (
                Asked::Auto,
                seen(Some("Interactive"), false),
                Host::ClaudeDesktop(Background),
            ),
            (
                Asked::Auto,
                seen(Some("mid-session-refresh"), false),
                Host::ClaudeDesktop(MidSessionRefresh),
            ),
            (
                Asked::Auto,
                seen(Some("setup-test"), false),
                Host::ClaudeDesktop(Background),
            ),
            (
                Asked::Auto,
                seen(Some("anything"), false),
                Host::ClaudeDesktop(Background),
            ),
            (Asked::Auto, seen(None, true), Host::Terminal),
            (Asked::Auto, seen(None, false), Host::Script),
            (
                Asked::ClaudeDesktop,
                seen(None, true),
                Host::ClaudeDesktop(Background),
            ),
            (Asked::Codex, seen(Some("interactive"), true), Host::Codex),
            (Asked::Script, seen(None, true), Host::Script),
        ];
        for (option, signs, host) in cases {
            assert_eq!(
                Host::recognise(option, &signs),
                host,
                "{option:?} {signs:?}"
            );
        }
    }

    #[test]
    fn every_caller_waits_as_long_as_the_interface_says() {
        let settings = Settings::of_session(
            &crate::config::profile::ProfileName::default(),
            "https://idp.example",
            "x",
        )
        .unwrap();
        use HelperContext::{Background, Interactive, MidSessionRefresh};
        for (host, seconds) in [
            (Host::ClaudeDesktop(Interactive), 55),
            (Host::ClaudeDesktop(MidSessionRefresh), 15),
            (Host::ClaudeDesktop(Background), 15),
            (Host::ClaudeCode, 9),
            (Host::Codex, 4),
            (Host::Terminal, 600),
            (Host::Script, 30),
        ] {
            let left = |time| {
                let caller = Caller::new(host, InteractiveOption::Auto, time, &settings);
                caller.deadline.left()
            };
            let least = Duration::from_secs(seconds) - MARGIN - Duration::from_millis(100);
            let most = Duration::from_secs(seconds) - MARGIN;
            assert!((least..=most).contains(&left(None)), "{host:?}");
            let asked = Duration::from_secs(2);
            assert!(left(Some(asked)) <= asked, "{host:?}: --timeout decides");
        }
    }

    /// What there is to be told apart: host, process id, start, namespace, arguments, MCP server.
    type Call = (
        Host,
        u32,
        u64,
        u64,
        &'static [&'static str],
        Option<&'static str>,
    );

    fn call(seen: Call, kept_for: Option<&str>) -> Option<RecurringCall> {
        let (host, process, started, namespace, arguments, server) = seen;
        let asker = Asker {
            process,
            started,
            namespace,
        };
        RecurringCall::recognise(
            host,
            || Some(asker),
            arguments,
            |name| {
                let value = match name {
                    MCP_SERVER => server,
                    KEPT_FOR => kept_for,
                    _ => None,
                };
                value.map(str::to_owned)
            },
        )
    }

    #[test]
    fn calls_are_the_same_only_where_all_is_the_same() {
        let words: &[&str] = &["gatepass", "token", "--caller", "claude-code"];
        let usual: Call = (Host::ClaudeCode, 10, 20, 30, words, Some("https://a"));
        let id = |seen| call(seen, None).unwrap().id;
        assert_eq!(id(usual), id(usual));
        let others: [(Call, &str); 8] = [
            (
                (Host::Codex, 10, 20, 30, words, Some("https://a")),
                "another host",
            ),
            (
                (Host::ClaudeCode, 11, 20, 30, words, Some("https://a")),
                "another process",
            ),
            (
                (Host::ClaudeCode, 10, 21, 30, words, Some("https://a")),
                "another one with this id",
            ),
            (
                (Host::ClaudeCode, 10, 20, 31, words, Some("https://a")),
                "another container",
            ),
            (
                (
                    Host::ClaudeCode,
                    10,
                    20,
                    30,
                    &["gatepass", "token"],
                    Some("https://a"),
                ),
                "another command",
            ),
            (
                (
                    Host::ClaudeCode,
                    10,
                    20,
                    30,
                    &["gatepass", "token", "--caller claude-code"],
                    Some("https://a"),
                ),
                "other words",
            ),
            (
                (Host::ClaudeCode, 10, 20, 30, words, Some("https://b")),
                "another MCP server",
            ),
            ((Host::ClaudeCode, 10, 20, 30, words, None), "no MCP server"),
        ];
        for (other, what) in others {
            assert_ne!(id(usual), id(other), "{what}");
        }
    }

    #[test]
    fn who_asks_for_every_request_says_nothing_by_asking() {
        let words: &[&str] = &["gatepass"];
        for host in [Host::Terminal, Host::Script] {
            assert_eq!(call((host, 10, 20, 30, words, None), None), None);
        }
        // Where the asking process cannot be told from others, nothing is concluded.
        for host in [Host::ClaudeCode, Host::Codex] {
            let unknown = RecurringCall::recognise(host, || None, words, |_| None);
            assert_eq!(unknown, None);
        }
        use HelperContext::{Background, Interactive, MidSessionRefresh};
        for (context, means_refusal) in [
            (Interactive, false),
            (Background, false),
            (MidSessionRefresh, true),
        ] {
            let host = Host::ClaudeDesktop(context);
            let desktop = RecurringCall::recognise(host, || None, words, |_| None).unwrap();
            assert_eq!(desktop.means_refusal, means_refusal);
            assert_eq!(desktop.within, Duration::from_secs(120));
            // What it was given at a start is what it asks about later.
            let other = call(
                (Host::ClaudeDesktop(Interactive), 1, 2, 3, &["x"], None),
                None,
            );
            assert_eq!(desktop.id, other.unwrap().id);
        }
    }

    #[test]
    fn the_time_is_half_of_what_claude_code_keeps_a_token() {
        let within = |kept_for| {
            let words: &[&str] = &["gatepass"];
            call((Host::ClaudeCode, 1, 2, 3, words, None), kept_for)
                .unwrap()
                .within
        };
        assert_eq!(within(None), Duration::from_secs(60));
        assert_eq!(within(Some("300000")), Duration::from_secs(150));
        assert_eq!(within(Some("10000")), Duration::from_secs(5));
        assert_eq!(within(Some("0")), Duration::ZERO);
        for odd in ["", "5m", "-1", "1.5"] {
            assert_eq!(within(Some(odd)), Duration::from_secs(60), "{odd}");
        }
    }
}
