//! The host applications that run gatepass: what their configuration looks like, written, checked and read.
//!
//! [`plan`] is what is to be written; [`claude_desktop`], [`claude_code`] and [`codex`] say what each host must be
//! told; [`mobileconfig`], [`registry`], [`intune`] and [`json`] are the forms in which it is written; [`policy`] is gatepass's
//! own part of it; [`file`] puts it where an existing file is merged or left alone; [`lint`] finds what is wrong with
//! one, [`secrets`] what must not lie in it; [`import`] takes one over.

pub mod claude_code;
pub mod claude_desktop;
pub mod codex;
pub mod file;
pub mod import;
pub mod intune;
pub mod json;
pub mod keys;
pub mod lint;
pub mod mobileconfig;
pub mod plan;
pub mod policy;
pub mod registry;
pub mod secrets;

pub use secrets::looks_secret;

/// The system on which a host configuration is used, which need not be this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Linux.
    Linux,
    /// macOS.
    Macos,
    /// Windows.
    Windows,
}

impl Target {
    /// The system that this gatepass was built for.
    pub fn here() -> Self {
        if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "macos") {
            Self::Macos
        } else {
            Self::Linux
        }
    }

    /// Where the packages put gatepass.
    pub fn installed(self) -> &'static str {
        match self {
            Self::Linux => "/usr/bin/gatepass",
            Self::Macos => "/usr/local/bin/gatepass",
            Self::Windows => r"C:\Program Files\Gatepass\gatepass.exe",
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Macos => "macOS",
            Self::Windows => "Windows",
        }
    }

    /// Whether a text is an absolute path of a local file there. Hosts expand neither `~` nor variables, and
    /// they refuse paths on other machines.
    pub fn is_absolute(self, path: &str) -> bool {
        match self {
            Self::Linux | Self::Macos => path.starts_with('/') && !path.starts_with("//"),
            Self::Windows => {
                let mut characters = path.chars();
                characters.next().is_some_and(|c| c.is_ascii_alphabetic())
                    && characters.next() == Some(':')
                    && matches!(characters.next(), Some('\\' | '/'))
            }
        }
    }
}

/// How the name of a link to gatepass ends that prints headers: programs that Claude Desktop runs for headers get
/// no arguments.
pub const HEADERS_LINK: &str = ".headers";

/// Seconds before the end of a token's life up to which a host looks ahead.
pub const LOOK_AHEAD: u64 = 120;

/// Seconds for which a host may keep a token: 300, less where tokens live shorter, and never so few that
/// Claude Desktop stops looking before each turn.
pub fn time_to_live(token_lifetime: Option<u64>) -> u64 {
    let longest = token_lifetime.map_or(300, |life| life.saturating_sub(150));
    longest.clamp(LOOK_AHEAD + 1, 300)
}

#[cfg(test)]
mod tests {
    use super::{Target, time_to_live};

    #[test]
    fn hosts_keep_tokens_shorter_than_they_live() {
        for (life, ttl) in [
            (None, 300),
            (Some(3600), 300),
            (Some(450), 300),
            (Some(400), 250),
            (Some(300), 150),
            (Some(200), 121),
            (Some(10), 121),
        ] {
            assert_eq!(time_to_live(life), ttl, "{life:?}");
        }
    }

    #[test]
    fn absolute_means_local_and_literal() {
        for (target, path, absolute) in [
            (Target::Linux, "/usr/bin/gatepass", true),
            (Target::Linux, "//server/gatepass", false),
            (Target::Macos, "~/bin/gatepass", false),
            (Target::Windows, r"C:\Gatepass\gatepass.exe", true),
            (Target::Windows, r"\\server\gatepass.exe", false),
            (Target::Windows, r"%ProgramFiles%\gatepass.exe", false),
            (Target::Windows, "C:gatepass.exe", false),
        ] {
            assert_eq!(target.is_absolute(path), absolute, "{path}");
        }
    }
}
