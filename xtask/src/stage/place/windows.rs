//! Windows. Known folders follow no variable, so state and entries are the account's, under a profile of the run's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use sha2::{Digest, Sha256};

use super::{Folder, Keychain, NotHere, Policy, executable, unique};

/// What a person may rely on.
pub(crate) const PROMISE: &str =
    "For a moment your Credential Manager holds entries of a profile that only this run has.";

/// What has become of it.
pub(crate) const FAREWELL: &str = "The run's entries and files are gone.";

/// Where policies lie.
const POLICIES: &str = r"HKLM\SOFTWARE\Policies\Gatepass";

pub(crate) struct Place {
    folder: Folder,
    profile: String,
    configured: std::cell::RefCell<Option<String>>,
}

impl Place {
    pub(crate) fn new(_: Keychain) -> Result<Self, String> {
        Ok(Self {
            folder: Folder::new()?,
            profile: unique(),
            configured: None.into(),
        })
    }

    pub(crate) fn configure(&self, toml: &str) -> Result<(), String> {
        let toml = format!("{toml}[profile.{}]\n", self.profile);
        fs::write(self.config(), &toml).map_err(|e| format!("no configuration: {e}"))?;
        *self.configured.borrow_mut() = Some(toml);
        Ok(())
    }

    fn config(&self) -> PathBuf {
        self.folder.0.join("config.toml")
    }

    /// A file for the browser's address.
    pub(crate) fn mailbox(&self) -> PathBuf {
        self.folder.0.join("address")
    }

    /// Where a run of its own may install the program.
    pub(crate) fn program(&self) -> PathBuf {
        executable(&self.folder.0, &unique())
    }

    pub(crate) fn command(&self, gatepass: &Path) -> Command {
        let mut command = Command::new(gatepass);
        command
            .env_remove("GATEPASS_LOG")
            .env_remove("CLAUDE_HELPER_CONTEXT")
            .args(["--profile", &self.profile, "--config"])
            .arg(self.config());
        command
    }

    /// How a host runs it.
    pub(crate) fn command_line(&self, context: &str) -> String {
        format!(
            "set CLAUDE_HELPER_CONTEXT={context} & gatepass --profile {}",
            self.profile
        )
    }

    pub(crate) fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "keychain",
                format!(
                    "Credential Manager, entries of {}, removed at the end",
                    self.profile
                ),
            ),
            (
                "home",
                "the account's own; files of the run's profile are removed at the end".to_owned(),
            ),
        ]
    }

    /// What has to be gone afterwards.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        vec![self.folder.0.clone()]
    }

    fn state() -> PathBuf {
        PathBuf::from(env::var_os("USERPROFILE").unwrap_or_default()).join(".gatepass")
    }

    /// Where gatepass may have written for this run.
    pub(crate) fn written_folders(&self) -> Vec<PathBuf> {
        vec![Self::state(), self.folder.0.clone()]
    }

    /// The files of the run's profile, all of which have its key in their names: a digest of profile, issuer and
    /// client.
    fn state_files(&self) -> Vec<PathBuf> {
        let configured = self.configured.borrow();
        let value = |name: &str| {
            let lines = configured.as_deref().unwrap_or_default().lines();
            let mut lines = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
            lines
                .next()
                .and_then(|rest| rest.strip_suffix('"'))
                .unwrap_or_default()
        };
        let mut hash = Sha256::new();
        for part in [self.profile.as_str(), value("issuer"), value("client_id")] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let key: String = hash.finalize()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let files = fs::read_dir(Self::state()).into_iter().flatten().flatten();
        files
            .filter(|file| file.file_name().to_string_lossy().contains(&key))
            .map(|file| file.path())
            .collect()
    }

    /// The cached token, as it lies on the disk.
    pub(crate) fn sealed_token(&self) -> Option<Vec<u8>> {
        let files = self.state_files();
        let sealed = files
            .iter()
            .find(|file| file.to_string_lossy().contains("sealed-token"))?;
        fs::read(sealed).ok()
    }

    /// How many entries the Credential Manager has for the run, as the system's own tool tells.
    pub(crate) fn entries(&self) -> Result<usize, NotHere> {
        let listed = Command::new("cmdkey")
            .arg("/list")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| NotHere(format!("cmdkey cannot be started: {e}")))?;
        if !listed.status.success() {
            return Err(NotHere(format!("cmdkey ended with {}", listed.status)));
        }
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let lines = listed.lines().filter(|line| line.contains(&self.profile));
        // Its lines come in pairs where a target has a user's name as well.
        Ok(lines.filter(|line| line.contains(".gatepass")).count())
    }

    /// It is never locked.
    pub(crate) fn lock(&self) -> Result<(), NotHere> {
        Err(NotHere("the Credential Manager is never locked".to_owned()))
    }

    pub(crate) fn unlock(&mut self) {}

    /// A policy for the run's profile alone.
    pub(crate) fn policy(&self, display_name: &str) -> Result<Box<dyn Policy>, NotHere> {
        if reg(&["query", POLICIES]) {
            return Err(NotHere("this machine has a policy already".to_owned()));
        }
        let key = format!(r"{POLICIES}\Profiles\{}", self.profile);
        if reg(&[
            "add",
            &key,
            "/v",
            "displayName",
            "/d",
            display_name,
            "/f",
            "/reg:64",
        ]) {
            Ok(Box::new(Registry))
        } else {
            Err(NotHere(
                "this account may not write one, as it should be".to_owned(),
            ))
        }
    }
}

/// A policy in the registry.
struct Registry;

impl Policy for Registry {
    fn command(&self, place: &Place, gatepass: &Path) -> Command {
        place.command(gatepass)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        reg(&["delete", POLICIES, "/f", "/reg:64"]);
    }
}

fn reg(arguments: &[&str]) -> bool {
    let done = Command::new("reg")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    done.is_ok_and(|status| status.success())
}

impl Drop for Place {
    fn drop(&mut self) {
        for file in self.state_files() {
            let _ = fs::remove_file(file);
        }
    }
}
