//! `/etc` of a machine that an administrator looks after.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Files in `/etc` as one test wants them. Runs see them through an overlay, in a mount namespace of their own; the
/// machine stays as it is.
#[derive(Debug)]
pub struct Etc {
    folder: TempDir,
}

impl Etc {
    /// The machine's own.
    ///
    /// # Panics
    /// Where the temporary folder cannot be made.
    #[must_use]
    pub fn new() -> Self {
        needs_mounts();
        let folder = tempfile::Builder::new()
            .prefix("gatepass-etc-")
            .tempdir()
            .expect("a temporary folder");
        open(folder.path(), 0o755);
        let etc = Self { folder };
        etc.make(&etc.path(""));
        etc
    }

    /// With a file of this text, which root alone may write, as its folder.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[must_use]
    pub fn with(self, path: &str, text: &str) -> Self {
        let file = self.path(path);
        if let Some(folder) = file.parent().filter(|folder| !folder.exists()) {
            self.make(folder);
        }
        fs::write(&file, text).expect("own file");
        open(&file, 0o644);
        self
    }

    /// Where a file or folder lies that runs see in `/etc`.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("upper").join(path)
    }

    fn make(&self, folder: &Path) {
        fs::create_dir(folder).expect("own folder");
        open(folder, 0o755);
    }

    /// What starts a program that sees the files. It writes none: many may start at once, and a folder for writes
    /// belongs to one mount.
    #[must_use]
    pub fn command(&self) -> [String; 6] {
        let base = self.folder.path().display();
        let script = format!(
            "mount -t overlay overlay -o lowerdir={base}/upper:/etc /etc && exec \"$0\" \"$@\""
        );
        [
            "unshare",
            "--mount",
            "--propagation=private",
            "/bin/sh",
            "-c",
            &script,
        ]
        .map(str::to_owned)
    }
}

impl Default for Etc {
    fn default() -> Self {
        Self::new()
    }
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("own file");
}

/// Skips the test where it may not mount anything, not even for itself.
///
/// # Panics
/// Where a test is not run by `cargo xtask test`.
pub fn needs_mounts() {
    let mut tried = Command::new("unshare");
    tried.args(["--mount", "true"]).stderr(Stdio::null());
    if !tried.status().is_ok_and(|status| status.success()) {
        crate::end_skipped("`unshare --mount` is not allowed here: run it as root");
    }
}
