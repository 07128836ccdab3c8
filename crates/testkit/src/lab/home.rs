//! A home folder of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::process;

/// An isolated home folder, owner-only. Dropping it ends every process that was started with it and removes it.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty home.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gatepass-home-")
            .tempdir()
            .expect("a temporary folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("own folder");
        Self { folder }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What gatepass has logged, where the configuration has a log.
    #[must_use]
    pub fn log(&self) -> Option<String> {
        fs::read_to_string(self.log_file()).ok()
    }

    /// Where gatepass keeps its log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.state().join("gatepass.log")
    }

    /// Where gatepass keeps its locks and its state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path().join(".local/state/gatepass")
    }

    /// Where gatepass looks for its configuration.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.path().join(".config/gatepass/config.toml")
    }

    /// Writes the configuration as its owner would: nobody else can write it.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn config(&self, toml: &str) {
        let file = self.config_file();
        let folder = file.parent().expect("the file lies in a folder");
        fs::create_dir_all(folder).expect("own folder");
        fs::set_permissions(folder, Permissions::from_mode(0o700)).expect("own folder");
        fs::write(&file, toml).expect("own file");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("own file");
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        process::end_all_with("HOME", &self.path().to_string_lossy());
    }
}
