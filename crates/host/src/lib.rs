//! The applications that run gatepass: what their configuration looks like, written, merged, checked and read.
//!
//! Plain data goes in, documents and findings come out; nothing here opens a file for writing, asks the network or
//! knows how gatepass itself is configured. [`HOSTS`] names the applications: each has a module of its own, and
//! adding one means adding a module and its line there. [`plan`] is what an export is made from, [`document`] what
//! comes out and how it is merged; [`mobileconfig`], [`registry`] and [`intune`] are forms in which it travels;
//! [`lint`] finds what is wrong with a file, [`secrets`] what must not lie in one.

pub mod claude_code;
pub mod claude_desktop;
pub mod codex;
pub mod document;
pub mod intune;
pub mod lint;
pub mod mobileconfig;
pub mod plan;
pub mod registry;
pub mod secrets;
pub mod value;

mod address;

use std::fmt;

pub use document::{ConfigDocument, Export, FileMode};
pub use plan::{HostPlan, PolicyPayload};
pub use value::Object;

/// Every host whose configuration can be written.
pub const HOSTS: &[HostInfo] = &[claude_desktop::INFO, claude_code::INFO, codex::INFO];

/// A host application, and what this crate does for it.
#[derive(Clone, Copy, Debug)]
pub struct HostInfo {
    /// Its word on the command line.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The forms of its configuration. For a system, the first that fits it is the usual one.
    pub formats: &'static [Format],
    /// The files that it reads.
    pub files: &'static [HostFile],
    /// Its preference domain on macOS, which is also the type of a payload in a configuration profile.
    pub domain: Option<&'static str>,
    /// Its key in the registry of Windows, without the hive.
    pub registry_key: Option<&'static str>,
    /// Whether that key has one value, with all settings as JSON text.
    pub one_value: bool,
    /// Whether an object of JSON or TOML, or a set of preferences, is this host's configuration.
    pub recognises: fn(&Object) -> bool,
    /// Writes its configuration in one of [`HostInfo::formats`].
    pub write: fn(&HostPlan, &str, &mut Notes) -> Result<Export, Error>,
    /// Finds what is wrong with its configuration.
    pub check: fn(&lint::HostSettings, &lint::Context, &mut lint::LintReport),
}

/// A form in which a host's configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its word on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// The only system on which it means something.
    pub target: Option<Target>,
    /// Whether gatepass's own policy can travel with it.
    pub carries_policy: bool,
}

impl Format {
    /// A form that means something on every system.
    const fn of_any(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            target: None,
            carries_policy: false,
        }
    }

    /// A form of one system's.
    const fn of(target: Target, name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            target: Some(target),
            carries_policy: false,
        }
    }

    /// One with which gatepass's own policy can travel.
    const fn with_policy(self) -> Self {
        Self {
            carries_policy: true,
            ..self
        }
    }
}

impl HostInfo {
    /// The host of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        HOSTS.iter().find(|host| host.name == name)
    }

    /// A form of this host by its name.
    pub fn format(&self, name: &str) -> Option<&'static Format> {
        self.formats.iter().find(|format| format.name == name)
    }

    /// The form that is usual on a system.
    pub fn usual_format(&self, target: Target) -> Option<&'static Format> {
        let fits = |format: &&Format| format.target.is_none_or(|only| only == target);
        self.formats.iter().find(fits)
    }
}

impl PartialEq for HostInfo {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A file that a host reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// The system on which it is read; `None`: on every one.
    pub target: Option<Target>,
    /// What its path begins with.
    pub base: Base,
    /// Its path below that.
    pub path: &'static str,
    /// What lies there.
    pub content: FileContent,
}

impl HostFile {
    /// An administrator's file, the same for every user of a system.
    const fn of_machine(target: Target, path: &'static str) -> Self {
        Self {
            target: Some(target),
            base: Base::Machine,
            path,
            content: FileContent::Configuration,
        }
    }

    /// A user's file, on every system.
    const fn of_user(base: Base, path: &'static str) -> Self {
        Self {
            target: None,
            base,
            path,
            content: FileContent::Configuration,
        }
    }

    /// A user's folder of configurations on one system.
    const fn library(target: Target, base: Base, path: &'static str) -> Self {
        Self {
            target: Some(target),
            base,
            path,
            content: FileContent::Library,
        }
    }
}

/// What a path begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The path is absolute: an administrator's file, the same for every user.
    Machine,
    /// The user's home folder.
    Home,
    /// The user's folder for configuration (`%APPDATA%`, `~/Library/Application Support`, `$XDG_CONFIG_HOME`).
    UserConfig,
    /// The user's folder for data of this machine (`%LOCALAPPDATA%`).
    LocalData,
    /// The folder that this variable of the environment names, else this one in the user's home.
    Variable(&'static str, &'static str),
}

/// What lies at a host's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// The configuration.
    Configuration,
    /// A folder of configurations, of which `_meta.json` names the one that is applied.
    Library,
}

/// The system on which a host configuration is used, which need not be this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Linux.
    Linux,
    /// macOS.
    Macos,
    /// Windows.
    Windows,
}

impl Target {
    /// Every system.
    pub const ALL: [Self; 3] = [Self::Linux, Self::Macos, Self::Windows];

    /// The system that this crate was built for.
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

    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Macos => "macos",
            Self::Windows => "windows",
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

/// Why an export or a merge is refused. Its texts may quote a file as it is: the caller makes them
/// printable before it shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Whose mistake it is.
    pub kind: ErrorKind,
    /// What happened, in one sentence without a full stop.
    pub what: String,
    /// One thing to do next.
    pub remedy: String,
}

/// Whose mistake an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line asks for what cannot be.
    Usage,
    /// A configuration does not allow it.
    Config,
}

impl Error {
    /// A mistake on the command line.
    pub fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Usage,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// A configuration that does not allow it.
    pub fn config(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Config,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (try: {})", self.what, self.remedy)
    }
}

impl std::error::Error for Error {}

/// What a person should know about a result, gathered while it is made. Its texts may quote a file as it is: the
/// caller makes them printable before it shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(pub Vec<String>);

impl Notes {
    /// Something that may not be as meant.
    pub fn warn(&mut self, text: impl AsRef<str>) {
        self.0.push(format!("warning: {}", text.as_ref()));
    }

    /// Something to know.
    pub fn say(&mut self, text: impl AsRef<str>) {
        self.0.push(format!("note: {}", text.as_ref()));
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

/// The candidate that was most probably meant by `wrong`, if one is near enough to be worth naming.
fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + wrong.chars().count() / 4;
    let near = candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(wrong, candidate), candidate));
    let (distance, candidate) = near.min()?;
    (distance <= allowed).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::{HOSTS, HostInfo, Target, nearest, time_to_live};

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

    #[test]
    fn every_system_has_a_usual_form_of_every_host() {
        let usual = |host: &str, target| {
            let host = HostInfo::find(host).unwrap();
            host.usual_format(target).unwrap().name
        };
        assert_eq!(usual("claude-desktop", Target::Linux), "linux");
        assert_eq!(usual("claude-desktop", Target::Macos), "mobileconfig");
        assert_eq!(usual("claude-desktop", Target::Windows), "reg");
        for target in Target::ALL {
            assert_eq!(usual("claude-code", target), "settings");
            assert_eq!(usual("codex", target), "toml");
            for host in HOSTS {
                usual(host.name, target);
            }
        }
    }

    #[test]
    fn nearest_names_a_typing_error_but_not_a_stranger() {
        let keys = ["inferenceModels", "inferenceProvider"];
        assert_eq!(nearest("inferenceModel", keys), Some("inferenceModels"));
        assert_eq!(nearest("banana", keys), None);
    }
}
