//! Linux inside Windows: the Windows binary answers. A mount namespace of its own gives the test a kernel that says it
//! is WSL's and a drive C:. (Needs root, to mount.)

use gatepass_testkit::lab::{Gatepass, Home, Outcome, needs_mounts};

use crate::GATEPASS;

const WSL: &str = "6.6.87.2-microsoft-standard-WSL2";
const CONFIG: &str = "issuer = \"https://idp.example.test\"\nclient_id = \"x\"\n";

/// What stands in for the Windows binary: it says what it was given.
const BINARY: &str = "#!/bin/sh
echo \"$@|$CLAUDE_HELPER_CONTEXT|$WSLENV\"
echo from-windows >&2
exit 42
";

struct Windows {
    home: Home,
    kernel: &'static str,
    /// What is done to the drive before gatepass runs.
    change: &'static str,
}

impl Windows {
    fn new() -> Self {
        needs_mounts();
        Self {
            home: Home::new(),
            kernel: WSL,
            change: ":",
        }
    }

    fn run(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let folder = self.home.path();
        std::fs::write(folder.join("osrelease"), self.kernel).unwrap();
        std::fs::write(folder.join("gatepass.exe"), BINARY).unwrap();
        let script = format!(
            "mount --bind \"$HOME/osrelease\" /proc/sys/kernel/osrelease && mount -t tmpfs -o mode=755 none /mnt \
             && mount -t tmpfs none /proc/sys/fs && mkdir /proc/sys/fs/binfmt_misc \
             && echo enabled > /proc/sys/fs/binfmt_misc/WSLInterop \
             && d='/mnt/c/Program Files/Gatepass' && mkdir -p \"$d\" && install -m 755 \"$HOME/gatepass.exe\" \"$d\" \
             && {} && exec \"$0\" \"$@\"",
            self.change
        );
        let run = Gatepass::new("/usr/bin/unshare", &self.home)
            .args(["-m", "/bin/sh", "-c", &script, program])
            .args(arguments.iter().copied());
        variables
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value))
            .run()
    }
}

const IN_WSL: (&str, &str) = ("WSL_DISTRO_NAME", "Debian");

#[test]
fn the_windows_binary_answers_for_sessions() {
    let windows = Windows::new();
    // Without any configuration on this side.
    let context = ("CLAUDE_HELPER_CONTEXT", "interactive");
    let done = windows.run(GATEPASS, &[], &[IN_WSL, context, ("WSLENV", "OTHER/p")]);
    assert_eq!(done.code, 42, "{done:?}");
    assert_eq!(
        done.stdout,
        "|interactive|CLAUDE_HELPER_CONTEXT/w:CLAUDE_CODE_API_KEY_HELPER_TTL_MS/w:CLAUDE_CODE_MCP_SERVER_URL/w:GATEPASS_LOG/w:OTHER/p\n"
    );
    assert_eq!(done.stderr, "from-windows\n");
    for (arguments, variable) in [
        (&["token", "--caller", "script"][..], IN_WSL),
        (
            &["login", "--device"],
            ("WSL_INTEROP", "/run/WSL/1_interop"),
        ),
        (&["logout", "--all"], IN_WSL),
        (&["status", "--profile", "work"], IN_WSL),
        (&["doctor"], IN_WSL),
    ] {
        let done = windows.run(GATEPASS, arguments, &[variable]);
        assert_eq!(done.code, 42, "{done:?}");
        assert!(
            done.stdout
                .starts_with(&format!("{}||", arguments.join(" "))),
            "{done:?}"
        );
    }

    // Who asks only this side can see: the nearest that is no shell, which is this test.
    for caller in ["claude-code", "codex"] {
        let done = windows.run(GATEPASS, &["token", "--caller", caller], &[IN_WSL]);
        let given = format!("token --caller {caller} --asker {}-", std::process::id());
        assert!(done.stdout.starts_with(&given), "{given}: {done:?}");
    }

    // What only this side can see is passed on as an option.
    let link = windows.home.path().join("gatepass-work");
    std::os::unix::fs::symlink(GATEPASS, &link).unwrap();
    let done = windows.run(&link.display().to_string(), &["token"], &[IN_WSL]);
    assert!(done.stdout.starts_with("token --profile work|"), "{done:?}");
    let profile = ("GATEPASS_PROFILE", "research");
    let done = windows.run(GATEPASS, &[], &[IN_WSL, profile]);
    assert!(done.stdout.starts_with("--profile research|"), "{done:?}");
}

#[test]
fn what_belongs_to_this_side_stays_here() {
    let windows = Windows::new();
    windows.home.config(CONFIG);
    let config = windows.home.config_file().display().to_string();
    for arguments in [
        &["--version"][..],
        &["config", "show"],
        &["config", "path"],
        &["man"],
        &["status", "--config", &config],
    ] {
        let done = windows.run(GATEPASS, arguments, &[IN_WSL]);
        assert_ne!(done.code, 42, "{arguments:?} {done:?}");
        assert!(!done.stderr.contains("from-windows"), "{done:?}");
    }
    windows
        .home
        .config(&format!("{CONFIG}wsl = \"separate\"\n"));
    let done = windows.run(GATEPASS, &["logout"], &[IN_WSL]);
    assert_ne!(done.code, 42, "{done:?}");
    // A profile of its own may decide otherwise.
    windows.home.config(&format!(
        "{CONFIG}wsl = \"separate\"\n[profile.work]\nwsl = \"delegate\"\n"
    ));
    let done = windows.run(GATEPASS, &["status", "--profile", "work"], &[IN_WSL]);
    assert_eq!(done.code, 42, "{done:?}");
    // A configuration that cannot be read decides nothing, and is not skipped.
    windows.home.config("nonsense");
    windows.run(GATEPASS, &[], &[IN_WSL]).expect(3);
}

#[test]
fn neither_the_environment_nor_somebody_else_chooses_the_binary() {
    let mut windows = Windows::new();
    windows.home.config(CONFIG);
    // No variable, no look; and a variable alone makes no WSL.
    let done = windows.run(GATEPASS, &["logout"], &[]);
    assert_ne!(done.code, 42, "{done:?}");
    windows.kernel = "6.1.0-18-amd64";
    let done = windows.run(GATEPASS, &["logout"], &[IN_WSL]);
    assert_ne!(done.code, 42, "{done:?}");

    windows.kernel = WSL;
    windows.change = "rm -r \"$d\"";
    let done = windows.run(GATEPASS, &["logout"], &[IN_WSL]);
    assert_ne!(done.code, 42, "not installed: {done:?}");
    for change in [
        "chmod 777 \"$d/gatepass.exe\"",
        "chmod 775 \"$d\"",
        "chmod 777 '/mnt/c/Program Files'",
        "chown 65534 \"$d/gatepass.exe\"",
        "mv \"$d/gatepass.exe\" /mnt/x && ln -s /mnt/x \"$d/gatepass.exe\"",
        "mv \"$d\" /mnt/x && ln -s /mnt/x \"$d\"",
        "mv \"$d/gatepass.exe\" /mnt/x && mkdir \"$d/gatepass.exe\"",
    ] {
        windows.change = change;
        let done = windows.run(GATEPASS, &[], &[IN_WSL]);
        done.expect(3);
        assert!(
            done.stderr.contains("not safe to use from here"),
            "{change}: {done:?}"
        );
        assert!(!done.stderr.contains("from-windows"), "{change}: {done:?}");
    }
    // WSL without interoperability.
    for change in [
        "printf 'MZ' > \"$d/gatepass.exe\" && rm /proc/sys/fs/binfmt_misc/*",
        "echo disabled > /proc/sys/fs/binfmt_misc/WSLInterop",
    ] {
        windows.change = change;
        let done = windows.run(GATEPASS, &[], &[IN_WSL]);
        done.expect(3);
        assert!(
            done.stderr.contains("interoperability is switched off"),
            "{done:?}"
        );
    }
}
