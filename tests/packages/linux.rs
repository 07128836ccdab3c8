//! The packages for Linux: on a clean machine, as an ordinary person's, and through versions up and down.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use gatepass_testkit::installed::{Outcome, eventually, refreshes};
use gatepass_testkit::provider::{Fault, Hook, Provider, Settings};

use crate::Version;
use crate::machine::{As, Machine};

const LAUNCHER: &str = "/usr/libexec/gatepass/sign-in";

/// A kind of package, and the programs that handle it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Deb,
    Rpm,
}

const KINDS: [Kind; 2] = [Kind::Deb, Kind::Rpm];

impl Kind {
    fn file(self, machine: &Machine, version: Version) -> String {
        machine.take(&version.package(match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }))
    }

    /// Installs a version, in place of whichever is there.
    fn install(self, machine: &Machine, version: Version) {
        let file = self.file(machine, version);
        let words: &[&str] = match self {
            // apt looks at what the package needs; it has no other place to get it from.
            Self::Deb => &[
                "apt-get",
                "install",
                "--yes",
                "--option=Dir::Etc::SourceList=/dev/null",
                "--option=Dir::Etc::SourceParts=/dev/null",
                "--allow-downgrades",
                &file,
            ],
            // The machine's glibc has no entry among the RPM packages of a Debian.
            Self::Rpm => &["rpm", "--upgrade", "--oldpackage", "--nodeps", &file],
        };
        machine.run(As::Root, words).expect(0);
        let said = machine.gatepass(&["--version"]).expect(0).stdout;
        assert_eq!(
            said.split_whitespace().nth(1),
            Some(&*version.number()),
            "{self:?}: {said}"
        );
    }

    fn remove(self, machine: &Machine) {
        let words: &[&str] = match self {
            Self::Deb => &["apt-get", "remove", "--yes", "gatepass"],
            Self::Rpm => &["rpm", "--erase", "gatepass"],
        };
        machine.run(As::Root, words).expect(0);
    }

    /// Every file of the installed package.
    fn files(self, machine: &Machine) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Deb => &["dpkg", "--listfiles", "gatepass"],
            Self::Rpm => &["rpm", "--query", "--list", "gatepass"],
        };
        let listed = machine.run(As::Root, words).expect(0).stdout;
        let files = listed.lines().filter(|path| {
            let about = fs::symlink_metadata(machine.inside(path));
            !about.unwrap_or_else(|e| panic!("{path}: {e}")).is_dir()
        });
        files.map(str::to_owned).collect()
    }

    /// What must be in it, beside what both kinds have.
    fn own_files(self) -> &'static [&'static str] {
        match self {
            Self::Deb => &[
                "/usr/share/zsh/vendor-completions/_gatepass",
                "/usr/share/doc/gatepass/copyright",
                "/usr/share/doc/gatepass/changelog.gz",
                "/usr/share/doc/gatepass/CHANGELOG.md.gz",
                "/usr/share/doc/gatepass/THIRD-PARTY-LICENCES.txt",
                "/usr/share/doc/gatepass/examples/policy.toml",
            ],
            Self::Rpm => &[
                "/usr/share/zsh/site-functions/_gatepass",
                "/usr/share/doc/gatepass/CHANGELOG.md",
                "/usr/share/doc/gatepass/policy.example.toml",
                "/usr/share/licenses/gatepass/LICENSE-APACHE",
                "/usr/share/licenses/gatepass/LICENSE-MIT",
                "/usr/share/licenses/gatepass/THIRD-PARTY-LICENCES.txt",
            ],
        }
    }
}

/// What both kinds have; everything else is documentation.
const FILES: [&str; 9] = [
    "/usr/bin/gatepass",
    LAUNCHER,
    "/usr/share/applications/io.gatepass.helper.desktop",
    "/usr/share/icons/hicolor/scalable/apps/io.gatepass.helper.svg",
    "/usr/share/man/man1/gatepass.1.gz",
    "/usr/share/bash-completion/completions/gatepass",
    "/usr/share/fish/vendor_completions.d/gatepass.fish",
    "/usr/share/gatepass/gatepass.schema.json",
    "/usr/share/doc/gatepass/gatepass.cdx.json",
];

/// A provider where whoever comes is let in.
fn provider(settings: Settings) -> Provider {
    Provider::start(Settings {
        auto_approve: true,
        ..settings
    })
}

/// Tokens so short-lived that each call wants a new one.
fn short_lived() -> Settings {
    Settings {
        access_token_seconds: 20,
        ..Settings::default()
    }
}

/// A machine with this version, its organisation's policy, and a person who has signed in from the menu.
fn in_use(kind: Kind, provider: &Provider) -> Machine {
    let machine = Machine::start();
    kind.install(&machine, Version::This);
    machine.policy(provider);
    machine.signs_in(provider, &[LAUNCHER]);
    machine
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn a_package_brings_what_it_says_for_everybody_to_read_and_root_to_change() {
    for kind in KINDS {
        let machine = Machine::start();
        kind.install(&machine, Version::This);
        let mut found = kind.files(&machine);
        let mut expected: Vec<String> = FILES
            .iter()
            .chain(kind.own_files())
            .map(|&path| path.to_owned())
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{kind:?}");
        for path in &found {
            let about = fs::symlink_metadata(machine.inside(path)).unwrap();
            let executable = ["/usr/bin/gatepass", LAUNCHER].contains(&&**path);
            let mode = if executable { 0o755 } else { 0o644 };
            assert!(about.is_file() && about.len() > 0, "{kind:?}: {path}");
            assert_eq!(
                about.permissions().mode() & 0o7777,
                mode,
                "{kind:?}: {path}"
            );
            assert_eq!((about.uid(), about.gid()), (0, 0), "{kind:?}: {path}");
        }
        // The program's folders as well as the policy's: whoever can write there is every person on the machine.
        let folders = found
            .iter()
            .flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]));
        for folder in folders.chain(["/etc/gatepass"]) {
            let about = fs::metadata(machine.inside(folder)).unwrap();
            assert_eq!((about.uid(), about.gid()), (0, 0), "{kind:?}: {folder}");
            assert_eq!(
                about.permissions().mode() & 0o7777,
                0o755,
                "{kind:?}: {folder}"
            );
        }
    }
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn what_lies_beside_the_program_is_understood_by_its_readers() {
    for kind in KINDS {
        let machine = Machine::start();
        kind.install(&machine, Version::This);
        let says = |script: &str| {
            machine
                .run(As::Person, &["bash", "-ec", script])
                .expect(0)
                .stdout
        };
        let manual = says("zcat /usr/share/man/man1/gatepass.1.gz");
        assert!(
            manual.contains(".TH gatepass 1") && manual.contains(&Version::This.number()),
            "{kind:?}"
        );
        let completion =
            says(". /usr/share/bash-completion/completions/gatepass; complete -p gatepass");
        assert!(completion.contains("gatepass"), "{kind:?}: {completion}");
        let licences = found(&machine, "THIRD-PARTY-LICENCES.txt", kind);
        assert!(
            licences.contains("rustls") && licences.contains("Permission is hereby granted"),
            "{kind:?}"
        );
        let bill = fs::read(machine.inside("/usr/share/doc/gatepass/gatepass.cdx.json")).unwrap();
        let bill: serde_json::Value = serde_json::from_slice(&bill).unwrap();
        assert_eq!(
            bill["metadata"]["component"]["name"], "gatepass",
            "{kind:?}"
        );
        assert!(
            bill["components"].as_array().unwrap().len() > 50,
            "{kind:?}"
        );
        // The menu's entry starts what is there.
        let menu = machine.inside("/usr/share/applications/io.gatepass.helper.desktop");
        Outcome::of(std::process::Command::new("desktop-file-validate").arg(&menu)).expect(0);
        assert!(
            fs::read_to_string(menu)
                .unwrap()
                .contains(&format!("Exec={LAUNCHER}\n"))
        );
        // An administrator who copies the example has a policy in force.
        let example = kind
            .files(&machine)
            .into_iter()
            .find(|path| path.contains("policy"))
            .unwrap();
        machine
            .run(
                As::Root,
                &[
                    "install",
                    "-m",
                    "644",
                    &example,
                    "/etc/gatepass/policy.toml",
                ],
            )
            .expect(0);
        let shown = machine.gatepass(&["config", "show"]).expect(0).stdout;
        assert!(
            shown.contains("https://idp.example.com"),
            "{kind:?}: {shown}"
        );
    }
}

fn found(machine: &Machine, name: &str, kind: Kind) -> String {
    let files = kind.files(machine);
    let path = files.iter().find(|path| path.ends_with(name)).unwrap();
    fs::read_to_string(machine.inside(path)).unwrap()
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn the_package_asks_for_the_libraries_that_the_program_is_linked_with() {
    let machine = Machine::start();
    Kind::Deb.install(&machine, Version::This);
    let linked = machine
        .run(As::Root, &["ldd", "/usr/bin/gatepass"])
        .expect(0)
        .stdout;
    // Which packages bring a library, by the names that both kinds have for it.
    let brings = BTreeMap::from([
        ("libc.so.6", ["libc6", "glibc"]),
        ("libm.so.6", ["libc6", "glibc"]),
        ("ld-linux-x86-64.so.2", ["libc6", "glibc"]),
        ("libgcc_s.so.1", ["libgcc-s1", "libgcc_s.so.1"]),
        ("linux-vdso.so.1", ["", ""]),
    ]);
    let deb = machine
        .run(
            As::Root,
            &[
                "dpkg-query",
                "--show",
                "--showformat=${Depends}",
                "gatepass",
            ],
        )
        .expect(0)
        .stdout;
    let file = Kind::Rpm.file(&machine, Version::This);
    let rpm = machine
        .run(
            As::Root,
            &["rpm", "--query", "--requires", "--package", &file],
        )
        .expect(0)
        .stdout;
    for line in linked.lines() {
        let library = line.split_whitespace().next().unwrap();
        let library = library.rsplit('/').next().unwrap();
        let [in_deb, in_rpm] = brings
            .get(library)
            .unwrap_or_else(|| panic!("{library} is new"));
        assert!(deb.contains(in_deb), "{library}: {deb}");
        assert!(rpm.contains(in_rpm), "{library}: {rpm}");
    }
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn a_person_without_a_terminal_signs_in_from_the_menu_and_hosts_get_tokens() {
    for kind in KINDS {
        let provider = provider(short_lived());
        let machine = Machine::start();
        kind.install(&machine, Version::This);
        machine.policy(&provider);
        let silent = Outcome::of(&mut machine.host()).expect(4);
        assert!(
            silent.stdout.is_empty() && silent.stderr.ends_with("try: gatepass login\n"),
            "{silent:?}"
        );
        let page = machine.signs_in(&provider, &[LAUNCHER]);
        assert!(
            page.contains("<html") && page.contains("alex@example.test"),
            "{kind:?}: {page}"
        );
        let first = Outcome::of(&mut machine.host()).token();
        thread::sleep(Duration::from_secs(4));
        let second = Outcome::of(&mut machine.host()).token();
        assert_ne!(first, second, "{kind:?}");
        assert_eq!(refreshes(&provider), 1, "{kind:?}");
        assert!(machine.keychain().contains("\"refresh_token\""), "{kind:?}");
    }
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn why_a_sign_in_from_the_menu_cannot_begin_is_shown_in_a_window() {
    let provider = provider(Settings::default());
    let machine = Machine::start();
    Kind::Deb.install(&machine, Version::This);
    machine.policy(&provider);
    drop(provider);
    // Without anything that could open a window it still ends, and with gatepass's own exit code.
    machine.run(As::Person, &[LAUNCHER]).expect(6);
    machine.write(
        "usr/local/bin/zenity",
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$HOME/window\"\n",
        0o755,
    );
    machine.run(As::Person, &[LAUNCHER]).expect(6);
    let window = fs::read_to_string(machine.inside("home/ann/window")).unwrap();
    assert!(
        window.contains("\ngatepass: cannot connect to ") && window.contains("\n  try: "),
        "{window}"
    );
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn an_upgrade_keeps_policy_and_session_and_going_back_takes_newer_records_for_absent() {
    for kind in KINDS {
        let provider = provider(Settings::default());
        let machine = in_use(kind, &provider);
        let policy = machine.policy(&provider);
        let token = Outcome::of(&mut machine.host()).token();
        let same = |what: &str| {
            let there = fs::read_to_string(machine.inside("etc/gatepass/policy.toml")).unwrap();
            assert_eq!(there, policy, "{kind:?}: {what}: the policy");
        };

        kind.install(&machine, Version::Next);
        same("upgrade");
        assert_eq!(
            Outcome::of(&mut machine.host()).token(),
            token,
            "{kind:?}: the session is read"
        );
        // Nothing was written yet: whoever goes back at once has lost nothing.
        kind.install(&machine, Version::This);
        same("back");
        assert_eq!(
            Outcome::of(&mut machine.host()).token(),
            token,
            "{kind:?}: back at once"
        );
        kind.install(&machine, Version::Next);
        let newer = machine.gatepass(&["token", "--force-refresh"]).token();
        assert_ne!(newer, token);
        let record = machine.keychain();
        assert!(
            record.contains("{\"v\":2,"),
            "{kind:?}: the next version writes its own format"
        );

        kind.install(&machine, Version::This);
        same("back again");
        let absent = Outcome::of(&mut machine.host()).expect(4);
        assert!(
            absent.stderr.ends_with("try: gatepass login\n"),
            "{kind:?}: {}",
            absent.stderr
        );
        machine.gatepass(&["status"]).expect(4);
        assert_eq!(
            machine.keychain(),
            record,
            "{kind:?}: what is not understood is left alone"
        );
        // So whoever goes forward again has it still.
        kind.install(&machine, Version::Next);
        Outcome::of(&mut machine.host()).token();
        machine.gatepass(&["token", "--force-refresh"]).token();

        kind.install(&machine, Version::This);
        machine.signs_in(&provider, &["gatepass", "login", "--browser"]);
        Outcome::of(&mut machine.host()).token();
        assert!(
            machine.keychain().contains("{\"v\":1,"),
            "{kind:?}: a sign-in begins afresh"
        );
        assert_eq!(
            provider.families_revoked(),
            0,
            "{kind:?}: no refresh token was used twice"
        );
    }
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn an_upgrade_in_the_middle_of_a_refresh_loses_nothing() {
    for kind in KINDS {
        let provider = provider(Settings::default());
        let machine = in_use(kind, &provider);
        provider.script_times(
            Hook::RefreshGrant,
            ..1,
            Fault::Delay(Duration::from_secs(10)),
        );
        let refresh = ["gatepass", "token", "--force-refresh"];
        let mut call = machine.command(As::Person, &refresh).spawn().unwrap();
        eventually("the refresh is sent", || {
            (refreshes(&provider) == 1).then_some(())
        });
        kind.install(&machine, Version::Next);
        assert!(
            call.try_wait().unwrap().is_none(),
            "{kind:?}: the refresh took longer than the upgrade"
        );
        let token = Outcome::of_child(call).token();
        // The new version goes on with what the old one's worker has stored.
        let record = machine.keychain();
        assert!(
            record.contains("{\"v\":1,") && record.contains(&token),
            "{kind:?}"
        );
        assert_eq!(Outcome::of(&mut machine.host()).token(), token, "{kind:?}");
        assert_ne!(machine.run(As::Person, &refresh).token(), token, "{kind:?}");
        assert_eq!(refreshes(&provider), 2, "{kind:?}");
        assert_eq!(
            provider.families_revoked(),
            0,
            "{kind:?}: no refresh token was used twice"
        );
    }
}

#[test]
#[ignore = "installs packages: cargo xtask test --packages"]
fn nothing_stays_behind_but_the_session_which_a_sign_out_takes() {
    for kind in KINDS {
        let provider = provider(Settings::default());
        let machine = in_use(kind, &provider);
        Outcome::of(&mut machine.host()).token();
        let before = machine.changed();
        assert!(before.contains("/usr/bin/gatepass"), "{before:?}");

        kind.remove(&machine);
        let left: Vec<String> = machine.changed().into_iter().collect();
        assert_eq!(
            left,
            ["/etc/gatepass", "/etc/gatepass/policy.toml"],
            "{kind:?}: the administrator's own file"
        );
        match kind {
            Kind::Deb => drop(
                machine
                    .run(As::Root, &["apt-get", "purge", "--yes", "gatepass"])
                    .expect(0),
            ),
            Kind::Rpm => fs::remove_dir_all(machine.inside("etc/gatepass")).unwrap(),
        }
        let left = machine.changed();
        assert!(left.is_empty(), "{kind:?}: {left:?}");
        assert!(
            machine.keychain().contains("refresh_token"),
            "{kind:?}: the person's session is the person's"
        );

        // A policy that is not there any more names no issuer; signing out works all the same.
        kind.install(&machine, Version::This);
        machine.gatepass(&["logout", "--all"]).expect(0);
        assert_eq!(machine.keychain(), "", "{kind:?}");
        kind.remove(&machine);
        let left = machine.changed();
        assert!(
            left.is_empty(),
            "{kind:?}: without a policy its folder goes too: {left:?}"
        );
    }
}
