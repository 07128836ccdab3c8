//! A real keychain on a session bus of its own.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::{self, ANSWERS, COMES_UP, Input, Limited, Part, wait_until};

const PASSWORD: &str = "of-the-lab";
const SERVICE: &str = "org.freedesktop.secrets";
const COLLECTION: &str = "/org/freedesktop/secrets/collection/login";

/// A private session bus and, unless asked otherwise, an unlocked gnome-keyring behind it, in a folder of its own.
#[derive(Debug)]
pub struct Keyring {
    daemon: Option<Part>,
    _bus: Part,
    folder: TempDir,
}

/// One entry of the keychain, without the times at which it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is called.
    pub label: String,
    /// By what it is found.
    pub attributes: BTreeMap<String, String>,
    /// What is in it.
    pub secret: Vec<u8>,
}

impl Keyring {
    /// An unlocked and empty keychain.
    ///
    /// # Panics
    /// Where its programs are missing.
    #[must_use]
    pub fn start() -> Self {
        let mut keyring = Self::bus(true);
        keyring.start_daemon();
        keyring
    }

    /// A session bus on which nobody keeps secrets, as on a server or a bare window manager.
    ///
    /// # Panics
    /// Where its programs are missing.
    #[must_use]
    pub fn missing() -> Self {
        Self::bus(false)
    }

    fn bus(activation: bool) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gatepass-keyring-")
            .tempdir()
            .expect("a temporary folder");
        for part in ["", "data", "run"] {
            let part = folder.path().join(part);
            fs::create_dir_all(&part).expect("own folder");
            fs::set_permissions(&part, Permissions::from_mode(0o700)).expect("own folder");
        }
        let socket = folder.path().join("run/bus");
        let services = if activation {
            "<standard_session_servicedirs/>"
        } else {
            ""
        };
        let config = folder.path().join("bus.conf");
        let rules = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  {services}
  <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#,
            socket.display()
        );
        fs::write(&config, rules).expect("own file");
        let mut command = Command::new("dbus-daemon");
        command
            .arg("--nofork")
            .arg("--nopidfile")
            .arg(format!("--config-file={}", config.display()));
        command.envs(environment(folder.path()));
        let (bus, ()) = process::comes_up(
            "the session bus (dbus-daemon)",
            COMES_UP,
            || {
                let _ = fs::remove_file(&socket);
                Part::start(&command)
            },
            // The file is there a moment before anybody listens.
            |_| UnixStream::connect(&socket).ok().map(drop),
            Part::last_words,
        );
        Self {
            daemon: None,
            _bus: bus,
            folder,
        }
    }

    fn start_daemon(&mut self) {
        let mut command = Command::new("gnome-keyring-daemon");
        command
            .args(["--foreground", "--unlock", "--components=secrets"])
            .envs(self.env());
        let start = || {
            // The bus may have started one by itself meanwhile, in the place of one that did not come up.
            self.end_owner();
            let mut daemon = Part::start(&command);
            // One that has ended already is noticed below.
            let _ = daemon.stdin().write_all(PASSWORD.as_bytes());
            daemon
        };
        let open = |_: &mut Part| (self.locked() == Some(false)).then_some(());
        let (daemon, ()) = process::comes_up(
            "the keyring (gnome-keyring-daemon)",
            COMES_UP,
            start,
            open,
            Part::last_words,
        );
        self.daemon = Some(daemon);
    }

    /// What a program needs in its environment to find this keychain.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        environment(self.folder.path())
    }

    /// The session's runtime folder.
    #[must_use]
    pub fn runtime_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Locks it; there is nobody here who could unlock it by a prompt.
    ///
    /// # Panics
    /// Where it stays open.
    pub fn lock(&self) {
        let collection = format!("array:objpath:{COLLECTION}");
        let answer = self.call(
            "/org/freedesktop/secrets",
            "org.freedesktop.Secret.Service.Lock",
            &[&collection],
        );
        let locked = wait_until(ANSWERS, || self.locked() == Some(true));
        assert!(
            locked,
            "the keyring cannot be locked: it answered {answer:?}"
        );
    }

    /// Opens it again, as a person's sign-in to the desktop does.
    pub fn unlock(&mut self) {
        self.kill_daemon();
        self.start_daemon();
    }

    /// Whether it is locked; nothing where it does not answer.
    #[must_use]
    pub fn locked(&self) -> Option<bool> {
        // Asking for a service that isn't there would start another one.
        let owned = self.ask_bus("NameHasOwner", &format!("string:{SERVICE}"));
        if !owned.contains("boolean true") {
            return None;
        }
        let question = ["string:org.freedesktop.Secret.Collection", "string:Locked"];
        let answer = self.call(COLLECTION, "org.freedesktop.DBus.Properties.Get", &question);
        match (
            answer.contains("boolean true"),
            answer.contains("boolean false"),
        ) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    /// It takes questions and gives no answer.
    pub fn stop_answering(&self) {
        self.daemon.as_ref().expect("a daemon").signal("STOP");
    }

    /// It answers again, also what was asked meanwhile.
    pub fn resume(&self) {
        self.daemon.as_ref().expect("a daemon").signal("CONT");
    }

    /// Ends the daemon, also one that the bus has started meanwhile. As on a desktop, the bus starts another one when
    /// it is asked for: a locked one.
    pub fn kill_daemon(&mut self) {
        drop(self.daemon.take());
        self.end_owner();
    }

    fn end_owner(&self) {
        let question = format!("string:{SERVICE}");
        let answer = self.ask_bus("GetConnectionUnixProcessID", &question);
        if let Some(id) = answer
            .split("uint32 ")
            .nth(1)
            .and_then(|id| id.trim().parse().ok())
        {
            process::signal("KILL", id);
            let gone = || {
                self.ask_bus("NameHasOwner", &question)
                    .contains("boolean false")
            };
            assert!(wait_until(ANSWERS, gone), "the keyring cannot be ended");
        }
    }

    /// The secret that is stored for a profile.
    #[must_use]
    pub fn lookup(&self, profile: &str) -> Option<String> {
        let found = self.secret_tool(&["lookup", "service", "gatepass", "username", profile]);
        let secret = String::from_utf8(found.stdout).expect("a secret that is text");
        (!secret.is_empty()).then_some(secret)
    }

    /// Stores a secret as another program would, with these attributes.
    ///
    /// # Panics
    /// Where that fails.
    pub fn store(&self, attributes: &[(&str, &str)], secret: &str) {
        // secret-tool cuts a longer one off and says nothing.
        assert!(secret.len() < 8192, "too long for secret-tool");
        let mut command = self.command("secret-tool");
        command
            .args(["store", "--label=lab"])
            .args(attributes.iter().flat_map(|(name, value)| [name, value]));
        let stored = process::run(&mut command, Input::Text(secret), ANSWERS);
        assert!(stored.status.is_some_and(|s| s.success()), "{stored:?}");
    }

    /// Puts back what was stored for the default profile when the snapshot was taken, as somebody does who restores a
    /// copy of the keychain.
    ///
    /// # Panics
    /// Where there was nothing, or where that fails.
    pub fn restore(&self, before: &BTreeMap<String, Item>) {
        let item = before.values().next().expect("something was stored");
        let attributes: Vec<(&str, &str)> = item
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let secret = std::str::from_utf8(&item.secret).expect("a secret that is text");
        self.store(&attributes, secret);
    }

    /// Removes what is stored for a profile.
    pub fn remove(&self, profile: &str) {
        self.secret_tool(&["clear", "service", "gatepass", "username", profile]);
    }

    /// Everything that gatepass has stored: equal snapshots mean that not a byte changed.
    #[must_use]
    pub fn items_snapshot(&self) -> BTreeMap<String, Item> {
        let found = self.secret_tool(&["search", "--all", "service", "gatepass"]);
        // It writes half of its answer to standard error.
        let mut paths = Vec::new();
        let mut labels = BTreeMap::new();
        for line in String::from_utf8_lossy(&found.stdout).lines() {
            if let Some(path) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                paths.push(format!("{COLLECTION}{path}"));
            } else if let (Some(label), Some(path)) = (line.strip_prefix("label = "), paths.last())
            {
                labels
                    .entry(path.clone())
                    .or_insert_with(|| label.to_owned());
            }
        }
        let mut items = BTreeMap::new();
        for path in paths {
            let attributes = self.attributes(&path);
            let question = attributes
                .iter()
                .flat_map(|(name, value)| [name.as_str(), value.as_str()]);
            let question: Vec<&str> = std::iter::once("lookup").chain(question).collect();
            let secret = self.secret_tool(&question).stdout;
            let label = labels.remove(&path).unwrap_or_default();
            items.insert(
                path,
                Item {
                    label,
                    attributes,
                    secret,
                },
            );
        }
        items
    }

    fn attributes(&self, item: &str) -> BTreeMap<String, String> {
        let question = ["string:org.freedesktop.Secret.Item", "string:Attributes"];
        let answer = self.call(item, "org.freedesktop.DBus.Properties.Get", &question);
        // array [ dict entry( string "name" string "value" ) … ]
        let strings: Vec<&str> = answer
            .lines()
            .filter_map(|line| line.trim().strip_prefix("string \"")?.strip_suffix('"'))
            .collect();
        strings
            .chunks_exact(2)
            .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
            // gnome-keyring adds the schema by itself when it reads an entry from disk, and secret-tool finds nothing
            // when it is told about it.
            .filter(|(name, _)| name != "xdg:schema")
            .collect()
    }

    fn call(&self, object: &str, method: &str, arguments: &[&str]) -> String {
        self.call_to(SERVICE, object, method, arguments)
    }

    fn ask_bus(&self, question: &str, about: &str) -> String {
        let bus = "org.freedesktop.DBus";
        self.call_to(
            bus,
            "/org/freedesktop/DBus",
            &format!("{bus}.{question}"),
            &[about],
        )
    }

    fn call_to(&self, service: &str, object: &str, method: &str, arguments: &[&str]) -> String {
        let mut command = self.command("dbus-send");
        // A keyring on a busy machine takes seconds, which says nothing about what it will answer.
        let patience = format!("--reply-timeout={}", ANSWERS.as_millis());
        command.args(["--session", "--print-reply", &patience]);
        command
            .arg(format!("--dest={service}"))
            .arg(object)
            .arg(method)
            .args(arguments);
        let done = process::run(&mut command, Input::Nothing, 2 * ANSWERS);
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn secret_tool(&self, arguments: &[&str]) -> Limited {
        let done = process::run(
            self.command("secret-tool").args(arguments),
            Input::Nothing,
            ANSWERS,
        );
        assert!(
            done.status.is_some(),
            "the keyring did not answer secret-tool"
        );
        done
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", super::PATH)
            .envs(self.env());
        command
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        // Those that the bus started are in nobody's hands.
        let (_, runtime) = runtime(self.folder.path());
        process::end_all_with("XDG_RUNTIME_DIR", &runtime);
    }
}

/// Skips the test where the kernel keeps no secrets for its users, as in many containers.
///
/// # Panics
/// Where a test is not run by `cargo xtask test`.
pub fn needs_kernel_keyring() {
    let mut tried = Command::new("keyctl");
    tried.args(["describe", "@u"]);
    let tried = process::run(&mut tried, Input::Nothing, ANSWERS);
    if !tried.status.is_some_and(|status| status.success()) {
        let why = String::from_utf8_lossy(&tried.stderr);
        crate::end_skipped(&format!("the kernel has no keyring for us: {}", why.trim()));
    }
}

fn runtime(folder: &Path) -> (String, String) {
    (
        "XDG_RUNTIME_DIR".to_owned(),
        folder.join("run").display().to_string(),
    )
}

fn environment(folder: &Path) -> Vec<(String, String)> {
    let bus = format!("unix:path={}", folder.join("run/bus").display());
    vec![
        runtime(folder),
        (
            "XDG_DATA_HOME".to_owned(),
            folder.join("data").display().to_string(),
        ),
        ("DBUS_SESSION_BUS_ADDRESS".to_owned(), bus),
        ("HOME".to_owned(), folder.display().to_string()),
    ]
}
