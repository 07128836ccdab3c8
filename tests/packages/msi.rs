//! The package for Windows, under Wine: installed with properties, used, replaced both ways, removed.
//!
//! Wine's installer is not Windows's, and nobody is kept from a folder there. What this shows: what the package's tables
//! say is complete and in the right order.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gatepass_testkit::installed::{
    Outcome, VISITS, address_in, browser, dependent_load_flags, eventually, refreshes, visit,
};
use gatepass_testkit::provider::{Fault, Hook, Provider, Settings};
use tempfile::TempDir;

use crate::{Version, given};

const GATEPASS: &str = r"C:\Program Files\Gatepass\gatepass.exe";
const POLICY: &str = r"HKLM\SOFTWARE\Policies\Gatepass";
const INSTALLER: &str = r"HKLM\SOFTWARE\Gatepass";
const PRODUCTS: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall";
const ENVIRONMENT: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment";
/// Windows has the menu of all people in `ProgramData`, where the package asks for it; Wine puts it among one person's.
const MENU: &str = "users/root/AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Sign in to the AI gateway.lnk";

/// What the installed folder has.
const FILES: [&str; 7] = [
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "THIRD-PARTY-LICENCES.txt",
    "gatepass.cdx.json",
    "gatepass.exe",
    "gatepass.ps1",
];

/// The installer's word (3010) for a program that was in use, of which a shell gets the last eight bits.
const RESTART_LATER: i32 = 3010 & 0xff;

/// A Windows on which nothing was installed.
struct Windows {
    folder: TempDir,
    /// Wine's services live as long as the first program does.
    first: Child,
}

impl Windows {
    fn start() -> Self {
        let kept = PathBuf::from(given("GATEPASS_WINE"));
        let folder = tempfile::Builder::new()
            .prefix("windows-")
            .tempdir_in(kept.parent().unwrap())
            .unwrap();
        let first = boot(folder.path());
        Self { folder, first }
    }

    /// The machine is shut down and started: Wine puts the new program in place only then, Windows at once.
    fn restarts(&mut self) {
        wine(self.folder.path(), &["wineboot", "--shutdown"])
            .status()
            .unwrap();
        let _ = self.first.kill();
        let _ = self.first.wait();
        self.first = boot(self.folder.path());
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.program(arguments))
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut program = wine(self.folder.path(), arguments);
        program.stdin(Stdio::null());
        program.stdout(Stdio::piped()).stderr(Stdio::piped());
        program
    }

    fn gatepass(&self, arguments: &[&str]) -> Outcome {
        self.run(&[&[GATEPASS], arguments].concat())
    }

    /// What a host runs.
    fn host(&self) -> Outcome {
        let mut host = self.program(&[GATEPASS]);
        Outcome::of(host.env("CLAUDE_HELPER_CONTEXT", "background"))
    }

    fn installer(&self, verb: &str, version: Version, properties: &[&str]) -> Outcome {
        let file = version.package("msi");
        let file = format!("Z:{}", file.display()).replace('/', r"\");
        self.run(&[&["msiexec", verb, &file, "/qn"], properties].concat())
    }

    fn install(&self, version: Version, properties: &[&str]) {
        self.installer("/i", version, properties).expect(0);
        let said = self.gatepass(&["--version"]).expect(0).stdout;
        assert_eq!(
            said.split_whitespace().nth(1),
            Some(&*version.number()),
            "{said}"
        );
    }

    fn query(&self, arguments: &[&str]) -> String {
        self.run(&[&["reg", "query"], arguments].concat()).stdout
    }

    fn drive_c(&self) -> PathBuf {
        self.folder.path().join("drive_c")
    }

    fn has_browser(&self) {
        let file = self
            .drive_c()
            .join("users/root/AppData/Roaming/gatepass/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, browser()).unwrap();
    }

    /// Signs in by this command, and says what page the browser showed at the end.
    fn signs_in(&self, provider: &Provider, words: &[&str]) -> String {
        let login = self.program(words).spawn().unwrap();
        let page = self.browses(provider);
        Outcome::of_child(login).expect(0);
        page
    }

    /// Does what the browser does.
    fn browses(&self, provider: &Provider) -> String {
        let address = eventually("a browser is opened", || {
            address_in(&self.query(&[VISITS, "/v", "visit"]))
        });
        self.run(&["reg", "delete", VISITS, "/f"]).expect(0);
        visit(provider, &address)
    }

    /// The versions that Windows lists as installed.
    fn installed(&self) -> Vec<String> {
        let found = self.query(&[PRODUCTS, "/s"]);
        let mut versions = Vec::new();
        for product in found.split("\r\n\r\n") {
            let value = |name: &str| {
                let line = product.lines().find(|line| line.trim().starts_with(name))?;
                line.split_whitespace().nth(2).map(str::to_owned)
            };
            if value("DisplayName").as_deref() == Some("gatepass") {
                versions.extend(value("DisplayVersion"));
            }
        }
        versions
    }

    /// All files of the machine's, but for what Windows itself writes.
    fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.drive_c()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(self.drive_c()).unwrap().to_owned();
                if ["windows", "users"]
                    .iter()
                    .any(|other| name.starts_with(other))
                {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                }
                files.insert(name);
            }
        }
        files
    }
}

/// Starts Wine's services, and the program that they live with.
fn boot(folder: &Path) -> Child {
    let quiet = |arguments: &[&str]| {
        let mut program = wine(folder, arguments);
        program.stdin(Stdio::piped());
        program.stdout(Stdio::null()).stderr(Stdio::null());
        program.spawn().unwrap()
    };
    assert!(quiet(&["wineboot", "--init"]).wait().unwrap().success());
    let first = quiet(&["cmd", "/c", "set /p wait="]);
    assert!(quiet(&["cmd", "/c", "exit"]).wait().unwrap().success());
    first
}

impl Drop for Windows {
    fn drop(&mut self) {
        let _ = wine(self.folder.path(), &["wineboot", "--kill"]).status();
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

fn wine(prefix: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(given("GATEPASS_WINE"));
    command
        .args(arguments)
        .env("GATEPASS_WINEPREFIX", prefix)
        .env_remove("CLAUDE_HELPER_CONTEXT")
        .env_remove("GATEPASS_LOG");
    command
}

/// A provider where whoever comes is let in.
fn provider() -> Provider {
    Provider::start(Settings {
        auto_approve: true,
        ..Settings::default()
    })
}

fn property(name: &str, value: &str) -> String {
    format!("{name}={value}")
}

/// A Windows with this version for this provider, on which somebody has signed in.
fn in_use(provider: &Provider) -> Windows {
    let windows = Windows::start();
    let issuer = property("ISSUER", &provider.issuer());
    windows.install(Version::This, &[&issuer, "CLIENT_ID=gatepass"]);
    windows.has_browser();
    windows.signs_in(provider, &[GATEPASS, "login", "--browser"]);
    windows
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn a_silent_installation_writes_the_policy_and_a_removal_leaves_nothing() {
    let provider = provider();
    let windows = Windows::start();
    let (before, path) = (windows.files(), windows.query(&[ENVIRONMENT, "/v", "PATH"]));
    let issuer = property("ISSUER", &provider.issuer());
    let gateway = "GATEWAY_URL=https://gateway.example.test";
    windows.install(
        Version::This,
        &[&issuer, "CLIENT_ID=gatepass", gateway, "MIN_VALIDITY=120"],
    );
    let policy = windows.query(&[POLICY]);
    for (name, kind, value) in [
        ("issuer", "REG_SZ", provider.issuer().as_str()),
        ("clientId", "REG_SZ", "gatepass"),
        ("gatewayUrl", "REG_SZ", "https://gateway.example.test"),
        ("minValidity", "REG_DWORD", "0x78"),
    ] {
        let words = [name, kind, value];
        let found = policy.lines().any(|line| line.split_whitespace().eq(words));
        assert!(found, "{words:?} in {policy}");
    }
    assert_eq!(
        policy.lines().filter(|line| line.contains("REG_")).count(),
        4,
        "{policy}"
    );
    let shown = windows.gatepass(&["config", "show"]).expect(0).stdout;
    for value in [&*provider.issuer(), "https://gateway.example.test", "120"] {
        assert!(shown.contains(value), "{value} in {shown}");
    }
    let folder = windows.drive_c().join("Program Files/Gatepass");
    let files = fs::read_dir(&folder).unwrap().flatten();
    let files: BTreeSet<String> = files
        .map(|file| file.file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, BTreeSet::from(FILES.map(str::to_owned)));
    // Libraries beside it are not loaded (LOAD_LIBRARY_SEARCH_SYSTEM32).
    assert_eq!(
        dependent_load_flags(&folder.join("gatepass.exe")),
        Some(0x800)
    );
    // By its bare name, as a host's settings may have it.
    windows.run(&["cmd", "/c", "gatepass --version"]).expect(0);
    assert_eq!(windows.installed(), [Version::This.number()]);

    windows.has_browser();
    assert!(windows.drive_c().join(MENU).is_file());
    let entry = format!(r"C:\{}", MENU.replace('/', r"\"));
    // Wine's `start` neither waits for a menu entry's program nor knows how it ended.
    let mut start = wine(windows.folder.path(), &["start", &entry]);
    start
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    start.status().unwrap();
    let page = windows.browses(&provider);
    assert!(
        page.contains("<html") && page.contains("alex@example.test"),
        "{page}"
    );
    let token = eventually("a session", || {
        let host = windows.host();
        (host.code == Some(0)).then(|| host.token())
    });

    windows.installer("/x", Version::This, &[]).expect(0);
    assert_eq!(windows.files(), before);
    assert!(!windows.drive_c().join(MENU).exists());
    // Wine leaves the semicolon.
    let left = windows.query(&[ENVIRONMENT, "/v", "PATH"]);
    assert_eq!(left.replace(";\r\n", "\r\n"), path);
    assert_eq!(windows.installed(), [""; 0]);
    for key in [POLICY, INSTALLER] {
        windows.run(&["reg", "query", key]).expect(1);
    }
    // The person's session is the person's, and is there for whoever installs again.
    windows.install(
        Version::This,
        &[&issuer, "CLIENT_ID=gatepass", gateway, "MIN_VALIDITY=120"],
    );
    assert_eq!(windows.host().token(), token);
    windows.gatepass(&["logout", "--all"]).expect(0);
    windows.host().expect(4);
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn an_upgrade_keeps_policy_and_session_and_going_back_has_to_be_asked_for() {
    let provider = provider();
    let windows = in_use(&provider);
    let policy = windows.query(&[POLICY]);
    assert!(policy.contains(&provider.issuer()), "{policy}");
    let token = windows.host().token();

    windows.install(Version::Next, &[]);
    assert_eq!(windows.query(&[POLICY]), policy);
    assert_eq!(windows.installed(), [Version::Next.number()]);
    assert_eq!(windows.host().token(), token, "the session is read");
    assert_ne!(
        windows.gatepass(&["token", "--force-refresh"]).token(),
        token
    );

    let refused = windows.installer("/i", Version::This, &[]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert_eq!(windows.installed(), [Version::Next.number()]);
    windows.host().token();

    windows.install(Version::This, &["ALLOWDOWNGRADE=1"]);
    assert_eq!(windows.query(&[POLICY]), policy);
    assert_eq!(windows.installed(), [Version::This.number()]);
    let absent = windows.host().expect(4);
    assert!(
        absent.stderr.ends_with("try: gatepass login\n"),
        "{}",
        absent.stderr
    );
    // What is not understood is left alone: whoever goes forward again has it still.
    windows.install(Version::Next, &[]);
    windows.host().token();
    windows.install(Version::This, &["ALLOWDOWNGRADE=1"]);
    windows.signs_in(&provider, &[GATEPASS, "login", "--browser"]);
    windows.host().token();
    assert_eq!(
        provider.families_revoked(),
        0,
        "no refresh token was used twice"
    );
}

/// What the package's tables say, read by a program of its own.
fn read(version: Version, question: &str, name: &str) -> Vec<u8> {
    let mut reader = Command::new("msiinfo");
    reader.arg(question).arg(version.package("msi")).arg(name);
    reader.output().unwrap().stdout
}

fn table(version: Version, name: &str) -> String {
    String::from_utf8(read(version, "export", name)).unwrap()
}

/// Wine copies what Windows would leave out, so its going back shows nothing of this.
#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn no_version_of_the_program_that_is_there_keeps_another_from_being_copied() {
    for version in [Version::This, Version::Next] {
        let files = table(version, "File");
        let program = files.lines().find(|row| row.starts_with("Program\t"));
        let promised = program.unwrap().split('\t').nth(4).unwrap();
        assert_eq!(promised, "65535.0.0.0", "{files}");
        let properties = table(version, "Property");
        assert!(
            properties
                .lines()
                .any(|row| row.trim_end() == "REINSTALLMODE\tamus"),
            "{properties}"
        );
    }
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn the_menu_entry_has_the_programs_icon() {
    let entry = table(Version::This, "Shortcut");
    assert!(entry.contains("\tgatepass.ico\t"), "{entry}");
    let icon = read(Version::This, "extract", "Icon.gatepass.ico");
    let png = icon.get(22..30).unwrap();
    assert!(icon.starts_with(&[0, 0, 1, 0, 1, 0]), "{icon:?}");
    assert_eq!(png, b"\x89PNG\r\n\x1a\n");
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn an_upgrade_in_the_middle_of_a_refresh_loses_nothing() {
    let provider = provider();
    let mut windows = in_use(&provider);
    provider.script_times(
        Hook::RefreshGrant,
        ..1,
        Fault::Delay(Duration::from_secs(15)),
    );
    let refresh = [GATEPASS, "token", "--force-refresh"];
    let mut call = windows.program(&refresh).spawn().unwrap();
    eventually("the refresh is sent", || {
        (refreshes(&provider) == 1).then_some(())
    });
    let upgrade = windows.installer("/i", Version::Next, &[]);
    assert!(
        call.try_wait().unwrap().is_none(),
        "the refresh took longer than the upgrade"
    );
    // The old program goes when the machine starts next: that is no failure, and nothing starts it now.
    upgrade.expect(RESTART_LATER);
    let token = Outcome::of_child(call).token();
    windows.restarts();
    let said = windows.gatepass(&["--version"]).expect(0).stdout;
    assert!(said.contains(&Version::Next.number()), "{said}");
    assert_eq!(windows.host().token(), token);
    assert_ne!(windows.run(&refresh).token(), token);
    assert_eq!(
        provider.families_revoked(),
        0,
        "no refresh token was used twice"
    );
}
