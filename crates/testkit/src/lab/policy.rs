//! A policy of a machine that has none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// `/etc/gatepass` as one test wants it. Runs see it through an overlay over `/etc`, in a mount namespace of their own.
#[derive(Debug)]
pub struct PolicyFolder {
    folder: TempDir,
}

impl PolicyFolder {
    /// A policy with this text, owned by root and writable by root alone.
    ///
    /// # Panics
    /// Where the temporary folder cannot be made.
    #[must_use]
    pub fn new(text: &str) -> Self {
        needs_mounts();
        let folder = tempfile::Builder::new()
            .prefix("gatepass-policy-")
            .tempdir()
            .expect("a temporary folder");
        let mode = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.path(), mode(0o755)).expect("a mode");
        for part in ["upper", "upper/gatepass", "work"] {
            let path = folder.path().join(part);
            fs::create_dir(&path).expect("a folder");
            fs::set_permissions(&path, mode(0o755)).expect("a mode");
        }
        let policy = Self { folder };
        fs::write(policy.file(), text).expect("a policy");
        fs::set_permissions(policy.file(), mode(0o644)).expect("a mode");
        policy
    }

    /// The folder that runs see as `/etc/gatepass`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("upper/gatepass")
    }

    /// The file that runs see as `/etc/gatepass/policy.toml`.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.path().join("policy.toml")
    }

    /// What starts a program that sees the policy.
    #[must_use]
    pub fn command(&self) -> [String; 6] {
        let base = self.folder.path().display();
        let script = format!(
            "mount -t overlay overlay -o lowerdir=/etc,upperdir={base}/upper,workdir={base}/work /etc && exec \"$0\" \"$@\""
        );
        [
            "unshare".to_owned(),
            "--mount".to_owned(),
            "--propagation=private".to_owned(),
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            script,
        ]
    }
}

/// Skips the test where it may not mount anything, not even for itself.
pub fn needs_mounts() {
    let mut tried = Command::new("unshare");
    tried.args(["--mount", "true"]).stderr(Stdio::null());
    if !tried.status().is_ok_and(|status| status.success()) {
        crate::end_skipped("`unshare --mount` is not allowed here: run it as root");
    }
}
