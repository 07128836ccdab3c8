//! macOS. Written by the manuals of `security(1)` and `defaults(1)`; it has never run on a Mac.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use super::{Folder, Keychain, NotHere, Policy, executable, unique};

/// What a person may rely on.
pub(crate) const PROMISE: &str = "Your own keychain and settings are not touched.";

/// What has become of it.
pub(crate) const FAREWELL: &str = "Keychain and home folder are gone.";

/// The keychain is made for the run and goes with it, so this is no secret.
const PASSWORD: &str = "of-one-run";

/// Where gatepass's managed preferences are.
const DOMAIN: &str = "io.gatepass.helper";

pub(crate) struct Place {
    keychain: OwnKeychain,
    home: Folder,
    profile: String,
}

impl Place {
    /// The system's keychain is in files: one made for the run is as real as the person's.
    pub(crate) fn new(_: Keychain) -> Result<Self, String> {
        let home = Folder::new()?;
        for part in ["Library/Preferences", "Library/Keychains", "tmp", "bin"] {
            fs::create_dir_all(home.0.join(part)).map_err(|e| e.to_string())?;
        }
        let keychain = OwnKeychain::make(&home.0)?;
        Ok(Self {
            keychain,
            home,
            profile: unique(),
        })
    }

    pub(crate) fn configure(&self, toml: &str) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt;
        let folder = self.state();
        fs::create_dir_all(&folder)
            .and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)))
            .and_then(|()| {
                let file = folder.join("config.toml");
                fs::write(&file, format!("{toml}[profile.{}]\n", self.profile))?;
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
            })
            .map_err(|e| format!("no configuration: {e}"))
    }

    fn state(&self) -> PathBuf {
        self.home.0.join("Library/Application Support/gatepass")
    }

    /// A file for the browser's address.
    pub(crate) fn mailbox(&self) -> PathBuf {
        self.home.0.join("address")
    }

    /// Where a run of its own may install the program.
    pub(crate) fn program(&self) -> PathBuf {
        executable(&self.home.0.join("bin"), &unique())
    }

    /// A run of gatepass that sees nothing of the person's.
    pub(crate) fn command(&self, gatepass: &Path) -> Command {
        let mut command = Command::new(gatepass);
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home.0)
            .env("TMPDIR", self.home.0.join("tmp"))
            .args(["--profile", &self.profile]);
        command
    }

    /// How a host runs it.
    pub(crate) fn command_line(&self, context: &str) -> String {
        format!("CLAUDE_HELPER_CONTEXT={context} gatepass")
    }

    pub(crate) fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("keychain", "made for the run, in a file".to_owned()),
            ("home", format!("{} (temporary)", self.home.0.display())),
        ]
    }

    /// What has to be gone afterwards.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        vec![self.home.0.clone()]
    }

    /// Where gatepass may have written for this run.
    pub(crate) fn written_folders(&self) -> Vec<PathBuf> {
        vec![self.state(), self.home.0.join("tmp")]
    }

    /// How many entries the keychain has for the run, as the system's own tool tells: one or none.
    pub(crate) fn entries(&self) -> Result<usize, NotHere> {
        let query = ["-s", "gatepass", "-a", &self.profile];
        let found = self
            .keychain
            .security("find-generic-password", &query)
            .status()
            .map_err(|e| NotHere(format!("security(1) cannot be started: {e}")))?;
        // `errSecItemNotFound` ends it with 44.
        match found.code() {
            Some(0) => Ok(1),
            Some(44) => Ok(0),
            code => Err(NotHere(format!("security(1) ended with {code:?}"))),
        }
    }

    /// Locks the keychain, which is nobody else's.
    pub(crate) fn lock(&self) -> Result<(), NotHere> {
        self.keychain.run("lock-keychain", &[]).map_err(NotHere)
    }

    /// Opens it again.
    pub(crate) fn unlock(&mut self) {
        let _ = self.keychain.run("unlock-keychain", &["-p", PASSWORD]);
    }

    /// Only a device management may write one.
    pub(crate) fn policy(&self, _: &str) -> Result<Box<dyn Policy>, NotHere> {
        Err(NotHere(format!(
            "no account may write one: forced values of {DOMAIN} come from a device management's profile"
        )))
    }
}

/// A keychain that only programs with this home know, as their default and only one.
struct OwnKeychain {
    home: PathBuf,
    file: PathBuf,
    /// What the person's default keychain is, as `security` prints it.
    default_of_person: String,
}

impl OwnKeychain {
    fn make(home: &Path) -> Result<Self, String> {
        let keychain = Self {
            home: home.to_owned(),
            file: home.join("Library/Keychains/run.keychain-db"),
            default_of_person: default_of_person(),
        };
        keychain.run("create-keychain", &["-p", PASSWORD])?;
        // Without options: it locks neither with time nor with sleep.
        keychain.run("set-keychain-settings", &[])?;
        keychain.run("unlock-keychain", &["-p", PASSWORD])?;
        keychain.run("list-keychains", &["-d", "user", "-s"])?;
        keychain.run("default-keychain", &["-d", "user", "-s"])?;
        // Which keychain is the default stands below the home folder. If a system should know better, the person's
        // is put back at once.
        if default_of_person() != keychain.default_of_person {
            keychain.put_back();
            return Err(
                "this system does not keep keychains' settings by home folder, so no keychain of the run's own can \
                 be made; the person's default keychain was put back"
                    .to_owned(),
            );
        }
        Ok(keychain)
    }

    fn security(&self, action: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/security");
        command
            .arg(action)
            .args(arguments)
            .arg(&self.file)
            .env("HOME", &self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn run(&self, action: &str, arguments: &[&str]) -> Result<(), String> {
        match self.security(action, arguments).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`security {action}` ended with {status}")),
            Err(e) => Err(format!("security(1) cannot be started: {e}")),
        }
    }

    fn put_back(&self) {
        let file = self.default_of_person.trim().trim_matches('"');
        if !file.is_empty() {
            let _ = Command::new("/usr/bin/security")
                .args(["default-keychain", "-d", "user", "-s", file])
                .status();
            let _ = Command::new("/usr/bin/security")
                .args(["list-keychains", "-d", "user", "-s", file])
                .status();
        }
    }
}

fn default_of_person() -> String {
    crate::process::answer("/usr/bin/security", &["default-keychain", "-d", "user"])
        .unwrap_or_default()
}

impl Drop for OwnKeychain {
    fn drop(&mut self) {
        let _ = self.run("delete-keychain", &[]);
        if default_of_person() != self.default_of_person {
            self.put_back();
        }
    }
}
