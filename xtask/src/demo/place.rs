//! Where gatepass lives during the demo.

#[cfg(target_os = "linux")]
pub(super) use linux::{FAREWELL, PROMISE, Place, children, end};
#[cfg(not(target_os = "linux"))]
pub(super) use other::{FAREWELL, PROMISE, Place, children, end};

/// A home and a keychain that nobody else has.
#[cfg(target_os = "linux")]
mod linux {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::{env, fs};

    use gatepass_testkit::lab::{Home, Keyring};

    /// What a person may rely on.
    pub(crate) const PROMISE: &str = "Your own keychain and settings are not touched.";

    /// What has become of it.
    pub(crate) const FAREWELL: &str = "Keychain and home folder are gone.";

    pub(crate) struct Place {
        // In this order: first whatever runs in the home ends, then its keychain.
        home: Home,
        keyring: Keyring,
    }

    impl Place {
        pub(crate) fn new() -> Result<Self, String> {
            let place = Self {
                home: Home::new(),
                keyring: Keyring::start(),
            };
            let own = place.temporary();
            fs::create_dir(&own).map_err(|e| format!("{} cannot be made: {e}", own.display()))?;
            Ok(place)
        }

        pub(crate) fn configure(&self, toml: &str) -> Result<(), String> {
            self.home.config(toml);
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

        /// A run of gatepass that sees nothing of the machine's own.
        pub(crate) fn command(&self, gatepass: &Path) -> Command {
            let mut command = Command::new(gatepass);
            command
                .env_clear()
                .env("PATH", env::var_os("PATH").unwrap_or_default())
                .envs(self.keyring.env())
                .env_remove("XDG_DATA_HOME")
                .env("HOME", self.home.path())
                .env("TMPDIR", self.temporary());
            command
        }

        /// How a host runs it.
        pub(crate) fn command_line(&self, context: &str) -> String {
            format!("CLAUDE_HELPER_CONTEXT={context} gatepass")
        }

        pub(crate) fn describe(&self) -> Vec<(&'static str, String)> {
            vec![
                (
                    "keychain",
                    "gnome-keyring on a session bus of its own".to_owned(),
                ),
                (
                    "home",
                    format!("{} (temporary)", self.home.path().display()),
                ),
            ]
        }

        /// What has to be gone afterwards.
        pub(crate) fn folders(&self) -> Vec<PathBuf> {
            vec![
                self.home.path().to_path_buf(),
                self.keyring.runtime_folder(),
            ]
        }
    }

    /// The processes that this one has started. Theirs is no environment that could be read: gatepass forbids it.
    pub(crate) fn children(parent: u32) -> Vec<u32> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let children = processes.filter_map(|process| {
            let id = process.file_name().to_str()?.parse().ok()?;
            let about = fs::read_to_string(process.path().join("stat")).ok()?;
            // After the name, which may hold anything, come the state and the parent.
            let (_, rest) = about.rsplit_once(") ")?;
            (rest.split(' ').nth(1)?.parse() == Ok(parent)).then_some(id)
        });
        children.collect()
    }

    /// Ends a process; one that has gone already is no failure.
    pub(crate) fn end(process: u32) {
        let _ = Command::new("/bin/sh")
            .args(["-c", &format!("kill -KILL {process}")])
            .stderr(Stdio::null())
            .status();
    }
}

/// The person's own keychain, under a name of its own.
#[cfg(not(target_os = "linux"))]
mod other {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::{env, fs};

    const PROFILE: &str = "gatepass-demo";

    pub(crate) const PROMISE: &str = "For a moment your own keychain holds an entry gatepass-demo.";

    pub(crate) const FAREWELL: &str = "The keychain's entry is gone; gatepass's state folder \
         keeps a few small files without any secret.";

    pub(crate) struct Place {
        folder: PathBuf,
    }

    impl Place {
        pub(crate) fn new() -> Result<Self, String> {
            let folder = env::temp_dir().join(format!("{PROFILE}-{}", std::process::id()));
            fs::create_dir(&folder)
                .map_err(|e| format!("{} cannot be made: {e}", folder.display()))?;
            Ok(Self { folder })
        }

        pub(crate) fn configure(&self, toml: &str) -> Result<(), String> {
            let toml = format!("{toml}[profile.{PROFILE}]\n");
            fs::write(self.config(), toml).map_err(|e| format!("no configuration: {e}"))
        }

        fn config(&self) -> PathBuf {
            self.folder.join("config.toml")
        }

        pub(crate) fn mailbox(&self) -> PathBuf {
            self.folder.join("address")
        }

        pub(crate) fn command(&self, gatepass: &Path) -> Command {
            let mut command = Command::new(gatepass);
            command.args(["--profile", PROFILE, "--config"]);
            command.arg(self.config());
            command
        }

        pub(crate) fn command_line(&self, context: &str) -> String {
            format!("CLAUDE_HELPER_CONTEXT={context} gatepass --profile {PROFILE}")
        }

        pub(crate) fn describe(&self) -> Vec<(&'static str, String)> {
            vec![(
                "keychain",
                format!("your own, entry {PROFILE}, removed at the end"),
            )]
        }

        pub(crate) fn folders(&self) -> Vec<PathBuf> {
            vec![self.folder.clone()]
        }
    }

    pub(crate) fn children(_: u32) -> Vec<u32> {
        Vec::new()
    }

    pub(crate) fn end(_: u32) {}

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
