//! Linux.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use gatepass_testkit::lab::{Home, Keyring, PolicyFolder};

use super::{Keychain, NotHere, Policy, executable, unique};
use crate::process::{answer, find};
use crate::stage::secret_service::SecretService;

/// What a person may rely on.
pub(crate) const PROMISE: &str = "Your own keychain and settings are not touched.";

/// What has become of it.
pub(crate) const FAREWELL: &str = "Keychain and home folder are gone.";

/// The programs that make a private keychain.
pub(crate) const KEYCHAIN_PROGRAMS: [&str; 4] = [
    "dbus-daemon",
    "dbus-send",
    "gnome-keyring-daemon",
    "setpriv",
];

pub(crate) struct Place {
    // In this order: first whatever runs in the home ends, then its keychain.
    home: Home,
    secrets: Secrets,
    profile: Option<String>,
}

/// What keeps the session.
enum Secrets {
    /// A keychain started for the run.
    Own(Keyring),
    /// The session's, with what is needed to find it.
    Session(Vec<(String, String)>),
}

impl Place {
    pub(crate) fn new(keychain: Keychain) -> Result<Self, String> {
        let (secrets, profile) = match keychain {
            Keychain::Private => (Secrets::Own(Keyring::start()), None),
            Keychain::Real => (Secrets::real()?, Some(unique())),
        };
        let place = Self {
            home: Home::new(),
            secrets,
            profile,
        };
        for own in [place.temporary(), place.programs()] {
            fs::create_dir(&own).map_err(|e| format!("{} cannot be made: {e}", own.display()))?;
        }
        Ok(place)
    }

    pub(crate) fn configure(&self, toml: &str) -> Result<(), String> {
        let own = self.profile.as_ref();
        let own = own.map_or(String::new(), |name| format!("[profile.{name}]\n"));
        self.home.config(&format!("{toml}{own}"));
        Ok(())
    }

    /// A file for the browser's address.
    pub(crate) fn mailbox(&self) -> PathBuf {
        self.home.path().join("address")
    }

    /// A browser's temporary files go with the home.
    fn temporary(&self) -> PathBuf {
        self.home.path().join("tmp")
    }

    fn programs(&self) -> PathBuf {
        self.home.path().join("bin")
    }

    /// Where a run of its own may install the program.
    pub(crate) fn program(&self) -> PathBuf {
        executable(&self.programs(), &unique())
    }

    /// A run of gatepass that sees nothing of the machine's own but, where that was asked for, the keychain.
    pub(crate) fn command(&self, gatepass: &Path) -> Command {
        let mut command = Command::new(gatepass);
        self.dress(&mut command);
        if let Some(profile) = &self.profile {
            command.args(["--profile", profile]);
        }
        command
    }

    fn dress(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .envs(self.secrets.environment())
            .env_remove("XDG_DATA_HOME")
            .env("HOME", self.home.path())
            .env("TMPDIR", self.temporary());
    }

    /// How a host runs it.
    pub(crate) fn command_line(&self, context: &str) -> String {
        format!("CLAUDE_HELPER_CONTEXT={context} gatepass")
    }

    pub(crate) fn describe(&self) -> Vec<(&'static str, String)> {
        let keychain = match &self.secrets {
            Secrets::Own(_) => "gnome-keyring on a session bus of its own, started for the run",
            Secrets::Session(_) => "the session's own, in an entry of the run's own",
        };
        vec![
            ("keychain", keychain.to_owned()),
            (
                "home",
                format!("{} (temporary)", self.home.path().display()),
            ),
        ]
    }

    /// What has to be gone afterwards.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.home.path().to_path_buf()];
        if let Secrets::Own(keyring) = &self.secrets {
            folders.push(keyring.runtime_folder());
        }
        folders
    }

    /// Where gatepass may have written for this run.
    pub(crate) fn written_folders(&self) -> Vec<PathBuf> {
        let home = self.home.path();
        vec![home.join(".local"), home.join(".config"), self.temporary()]
    }

    /// How many entries the keychain has for the run, as it tells by itself.
    pub(crate) fn entries(&self) -> Result<usize, NotHere> {
        let profile = self.profile.as_deref().unwrap_or("default");
        self.secrets.service().map_err(NotHere)?.entries(profile)
    }

    /// Locks the keychain, where it is nobody else's.
    pub(crate) fn lock(&self) -> Result<(), NotHere> {
        match &self.secrets {
            Secrets::Own(keyring) => {
                keyring.lock();
                Ok(())
            }
            Secrets::Session(_) => Err(NotHere("the keychain is the person's own".to_owned())),
        }
    }

    /// Opens it again.
    pub(crate) fn unlock(&mut self) {
        if let Secrets::Own(keyring) = &mut self.secrets {
            keyring.unlock();
        }
    }

    /// A policy that sets this run's `display_name`: over `/etc`, in a view of file systems that only those runs have.
    pub(crate) fn policy(&self, display_name: &str) -> Result<Box<dyn Policy>, NotHere> {
        let folder = PolicyFolder::new(&format!("[locked]\ndisplay_name = \"{display_name}\"\n"));
        let root = answer("id", &["-u"]).as_deref() == Some("0");
        let mut words: Vec<String> = folder.command().to_vec();
        if !root {
            // The account is root there, and there alone.
            words.splice(1..1, ["--user", "--map-root-user"].map(str::to_owned));
        }
        let policy = Overlay {
            _folder: folder,
            words,
        };
        let mut tried = Command::new(&policy.words[0]);
        tried.args(&policy.words[1..]).arg("true");
        match tried.output() {
            Ok(done) if done.status.success() => Ok(Box::new(policy)),
            _ => Err(NotHere(
                "this account may not make a view of file systems of its own (`unshare --mount`)"
                    .to_owned(),
            )),
        }
    }
}

/// A policy in a folder of its own, and the words that start a program which sees it.
struct Overlay {
    _folder: PolicyFolder,
    words: Vec<String>,
}

impl Policy for Overlay {
    fn command(&self, place: &Place, gatepass: &Path) -> Command {
        let mut command = Command::new(&self.words[0]);
        place.dress(&mut command);
        let inner = place.command(gatepass);
        command
            .args(&self.words[1..])
            .arg(inner.get_program())
            .args(inner.get_args());
        command
    }
}

impl Secrets {
    /// The session's keychain if it is there and open, else one started for the run.
    fn real() -> Result<Self, String> {
        let session = Self::Session(session_environment());
        let why = match session.service().and_then(|service| service.is_open()) {
            Ok(()) => return Ok(session),
            Err(why) => why,
        };
        let missing: Vec<&str> = KEYCHAIN_PROGRAMS
            .into_iter()
            .filter(|name| find(name).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(Self::Own(Keyring::start()));
        }
        Err(format!(
            "this session has no keychain that could be used ({why}), and none can be started for the run: \
             unlock it, or install {}",
            missing.join(", ")
        ))
    }

    fn environment(&self) -> Vec<(String, String)> {
        match self {
            Self::Own(keyring) => keyring.env(),
            Self::Session(environment) => environment.clone(),
        }
    }

    fn service(&self) -> Result<SecretService, String> {
        let environment = self.environment();
        let address = environment
            .iter()
            .find(|(name, _)| name == "DBUS_SESSION_BUS_ADDRESS");
        let (_, address) = address.ok_or("there is no session bus")?;
        SecretService::at(address)
    }
}

/// What leads programs to the session's bus.
fn session_environment() -> Vec<(String, String)> {
    let runtime = env::var("XDG_RUNTIME_DIR").ok();
    let address = env::var("DBUS_SESSION_BUS_ADDRESS").ok().or_else(|| {
        let socket = Path::new(runtime.as_ref()?).join("bus");
        socket
            .exists()
            .then(|| format!("unix:path={}", socket.display()))
    });
    [
        ("XDG_RUNTIME_DIR", runtime),
        ("DBUS_SESSION_BUS_ADDRESS", address),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}
