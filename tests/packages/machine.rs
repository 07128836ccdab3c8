//! A clean Debian of its own, with an administrator, and a person with a keychain.
//!
//! What is changed there lies in a temporary folder above the clean one, mounted in a view of file systems that ends
//! with the first process of the machine. Only the network is shared with the host, where the provider listens.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gatepass_testkit::installed::{Outcome, eventually, visit};
use gatepass_testkit::lab::Part;
use gatepass_testkit::provider::Provider;
use tempfile::TempDir;

use crate::given;

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// The administrator.
    Root,
    /// An ordinary person, in a session with a keychain.
    Person,
}

/// The person's number.
const PERSON: u32 = 1000;

/// Where the person's programs keep what is theirs.
const RUNTIME: &str = "/run/user/1000";

/// The last word of those who start something here.
const READY: &str = "ready";

const START: &str = r#"
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
touch "$2/ready"
exec chroot . sleep infinity
"#;

/// A running machine.
pub(crate) struct Machine {
    session: Vec<Part>,
    first: Part,
    folder: TempDir,
}

impl Machine {
    /// A clean one.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gatepass-machine-")
            .tempdir()
            .unwrap();
        for part in ["upper", "work", "root"] {
            fs::create_dir(folder.path().join(part)).unwrap();
            let open = Permissions::from_mode(0o755);
            fs::set_permissions(folder.path().join(part), open).unwrap();
        }
        let mut start = Command::new("unshare");
        start
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(["--propagation", "private", "sh", "-c", START, "start"])
            .arg(given("GATEPASS_DEBIAN"))
            .arg(folder.path());
        let first = Part::start(&start);
        eventually("the machine starts", || {
            folder.path().join(READY).exists().then_some(())
        });
        let mut machine = Self {
            session: Vec::new(),
            first,
            folder,
        };
        let add = "useradd --create-home --shell /bin/sh ann && install -d -m 700 -o ann -g ann /run/user/1000";
        machine.run(As::Root, &["sh", "-ec", add]).expect(0);
        // Where the machine's browser leaves the address, for the test to go there.
        machine.write(
            "usr/local/bin/browser",
            "#!/bin/sh\nprintf %s \"$1\" >\"$HOME/visit.new\" && mv \"$HOME/visit.new\" \"$HOME/visit\"\n",
            0o755,
        );
        machine.open_session();
        machine
    }

    /// The person comes to work: a session bus, and the keychain unlocked by the password.
    fn open_session(&mut self) {
        let address = format!("--address=unix:path={RUNTIME}/bus");
        let bus = self.part(&[
            "dbus-daemon",
            "--session",
            "--nofork",
            "--nopidfile",
            &address,
        ]);
        self.session.push(bus);
        eventually("a session bus", || {
            self.inside(&format!("{RUNTIME}/bus"))
                .exists()
                .then_some(())
        });
        let keychain = [
            "gnome-keyring-daemon",
            "--foreground",
            "--unlock",
            "--components=secrets",
        ];
        let mut keychain = self.part(&keychain);
        keychain.stdin().write_all(b"password").unwrap();
        self.session.push(keychain);
        let owned = |name: &str| {
            let words = [
                "dbus-send",
                "--session",
                "--print-reply",
                "--dest=org.freedesktop.DBus",
                "/org/freedesktop/DBus",
                "org.freedesktop.DBus.NameHasOwner",
                name,
            ];
            let answer = self.run(As::Person, &words).stdout;
            answer.contains("boolean true").then_some(())
        };
        // Asking for a keychain that isn't there yet would start another one, which is locked.
        eventually("a keychain", || owned("string:org.freedesktop.secrets"));
        eventually("an open keychain", || {
            let locked = self.run(
                As::Person,
                &[
                    "dbus-send",
                    "--session",
                    "--print-reply",
                    "--dest=org.freedesktop.secrets",
                    "/org/freedesktop/secrets/collection/login",
                    "org.freedesktop.DBus.Properties.Get",
                    "string:org.freedesktop.Secret.Collection",
                    "string:Locked",
                ],
            );
            locked.stdout.contains("boolean false").then_some(())
        });
    }

    /// Something of the person's that goes on.
    fn part(&self, words: &[&str]) -> Part {
        Part::start(&self.command(As::Person, words))
    }

    /// The process that everything there descends from, or would.
    fn anchor(&self) -> String {
        let id = self.first.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        children.expect("it runs").trim().to_owned()
    }

    /// A command to run there.
    pub(crate) fn command(&self, who: As, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.anchor()])
            .args(["--mount", "--pid", "--root", "--wd"])
            .args(["env", "--ignore-environment", "LC_ALL=C.UTF-8"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        match who {
            As::Root => command.args(["HOME=/root", "DEBIAN_FRONTEND=noninteractive"]),
            As::Person => command
                .args(["HOME=/home/ann", "USER=ann"])
                .arg(format!("XDG_RUNTIME_DIR={RUNTIME}"))
                .arg(format!("DBUS_SESSION_BUS_ADDRESS=unix:path={RUNTIME}/bus"))
                .args(["setpriv", "--init-groups", "--no-new-privs"])
                .args([format!("--reuid={PERSON}"), format!("--regid={PERSON}")]),
        };
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command there to its end.
    pub(crate) fn run(&self, who: As, words: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(who, words))
    }

    /// Runs the installed program as the person.
    pub(crate) fn gatepass(&self, arguments: &[&str]) -> Outcome {
        self.run(As::Person, &[&["gatepass"], arguments].concat())
    }

    /// What a host runs, by its absolute path.
    pub(crate) fn host(&self) -> Command {
        let words = [
            "env",
            "CLAUDE_HELPER_CONTEXT=background",
            "/usr/bin/gatepass",
        ];
        self.command(As::Person, &words)
    }

    /// A file there, as the host sees it.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.anchor()));
        root.join(path.trim_start_matches('/'))
    }

    /// Writes a file there as the administrator.
    pub(crate) fn write(&self, path: &str, content: &str, mode: u32) {
        let file = self.inside(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    }

    /// Copies a file there, and says where it is.
    pub(crate) fn take(&self, file: &Path) -> String {
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::copy(file, self.inside("tmp").join(name)).unwrap();
        format!("/tmp/{name}")
    }

    /// The organisation's policy for this provider.
    pub(crate) fn policy(&self, provider: &Provider) -> String {
        let text = format!(
            "[locked]\nissuer = \"{}\"\nclient_id = \"gatepass\"\n\
             [default]\nbrowser = [\"/usr/local/bin/browser\"]\n",
            provider.issuer()
        );
        self.write("etc/gatepass/policy.toml", &text, 0o644);
        text
    }

    /// Signs in by this command, and says what page the browser showed at the end.
    pub(crate) fn signs_in(&self, provider: &Provider, words: &[&str]) -> String {
        let file = self.inside("home/ann/visit");
        let _ = fs::remove_file(&file);
        let login = self.command(As::Person, words).spawn().unwrap();
        let address = eventually("a browser is opened", || fs::read_to_string(&file).ok());
        let page = visit(provider, &address);
        Outcome::of_child(login).expect(0);
        page
    }

    /// What the person's keychain holds for gatepass.
    pub(crate) fn keychain(&self) -> String {
        let words = [
            "secret-tool",
            "lookup",
            "service",
            "gatepass",
            "username",
            "default",
        ];
        self.run(As::Person, &words).stdout
    }

    /// Every file and folder that is not as it was on the clean machine, but for what package managers and the
    /// machine itself write down, and what is the person's.
    pub(crate) fn changed(&self) -> BTreeSet<String> {
        const OTHERS: [&str; 11] = [
            "/etc/.pwd.lock",
            "/etc/group",
            "/etc/gshadow",
            "/etc/passwd",
            "/etc/shadow",
            "/etc/subgid",
            "/etc/subuid",
            "/home",
            "/usr/local/bin/browser",
            // The icons' own package lists them all after each change.
            "/usr/share/icons/hicolor/icon-theme.cache",
            "/var",
        ];
        // Every distribution with RPM packages has this folder, and this machine is a Debian.
        const ELSEWHERE: &str = "/usr/share/licenses";
        let upper = self.folder.path().join("upper");
        let mut found = BTreeSet::new();
        let mut folders = vec![upper.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let name = format!("/{}", path.strip_prefix(&upper).unwrap().display());
                let of_others = |other: &&str| {
                    let rest = name.strip_prefix(*other);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '-']))
                };
                if OTHERS.iter().any(of_others) {
                    continue;
                }
                let about = fs::symlink_metadata(&path).unwrap();
                if about.is_dir() {
                    // A folder that was there before and is there still is in the way to what changed, no more.
                    let clean = Path::new(&given("GATEPASS_DEBIAN")).join(&name[1..]);
                    if !clean.is_dir() && name != ELSEWHERE {
                        found.insert(name);
                    }
                    folders.push(path);
                } else {
                    // Also what stands for a file that is there no more.
                    found.insert(name);
                }
            }
        }
        found
    }
}
