//! Who asks, whether they may be prompted, and how long they wait.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::config::settings::{Interactive, Settings};

/// Why Claude Desktop runs its credential helper (`CLAUDE_HELPER_CONTEXT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperContext {
    /// The person started a session and is present.
    Interactive,
    /// A running session's credential expired.
    MidSessionRefresh,
    /// Everything else, an unknown value included: nobody is known to be present.
    Background,
}

impl HelperContext {
    fn parse(value: &str) -> Self {
        match value {
            "interactive" => Self::Interactive,
            "mid-session-refresh" => Self::MidSessionRefresh,
            _ => Self::Background,
        }
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
    /// A person at a terminal.
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

/// What `--caller` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CallerOption {
    /// Recognise the caller.
    #[default]
    Auto,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Claude Code.
    ClaudeCode,
    /// Codex.
    Codex,
    /// A person at a terminal.
    Terminal,
    /// A script.
    Script,
}

impl CallerOption {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::ClaudeDesktop => "claude-desktop",
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Terminal => "terminal",
            Self::Script => "script",
        }
    }
}

/// What `--interactive` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum InteractiveOption {
    /// As the caller allows.
    #[default]
    Auto,
    /// Never prompt.
    Never,
    /// Prompt if a sign-in is needed.
    Always,
}

/// What can be seen of the caller, read once.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    /// `CLAUDE_HELPER_CONTEXT`, if set and not empty.
    pub helper_context: Option<String>,
    /// Standard input and standard error are terminals.
    pub terminal: bool,
}

impl Signs {
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
    pub fn recognise(option: CallerOption, signs: &Signs) -> Self {
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
        match self {
            Self::ClaudeDesktop(context) => (
                "claude-desktop",
                Some(match context {
                    HelperContext::Interactive => "interactive",
                    HelperContext::MidSessionRefresh => "mid-session-refresh",
                    HelperContext::Background => "background",
                }),
            ),
            Self::ClaudeCode => ("claude-code", None),
            Self::Codex => ("codex", None),
            Self::Terminal => ("terminal", None),
            Self::Script => ("script", None),
        }
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

    /// Whether a person reads standard error while we work.
    pub fn is_terminal(self) -> bool {
        self == Self::Terminal
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
    /// Who it is.
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
        let seen = |context: Option<&str>, terminal| Signs {
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
}
