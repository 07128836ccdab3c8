//! Servers that are programs of their own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{self, Part};
use crate::provider::client;

/// How long a server may take to come up. Keycloak takes half a minute on a quiet machine, and has taken more than three
/// on one with ten times as much to do as it has processors.
const LIMIT: Duration = Duration::from_secs(400);

/// A running server with a folder of its own, in which it finds its files and leaves its log.
#[derive(Debug)]
pub(super) struct Server {
    folder: TempDir,
    part: Option<Part>,
}

impl Server {
    /// A folder for a server. Others may look into it: some servers give up root's powers.
    pub(super) fn prepare(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("gatepass-{name}-"))
            .tempdir()
            .expect("a temporary folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("own folder");
        Self { folder, part: None }
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one of its files.
    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder().join(name), text).expect("own file");
    }

    /// Everything it has said.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// Starts it in its folder, and waits until this address answers.
    pub(super) fn start(&mut self, command: &Command, address: &str) {
        let mut logged = Command::new("/bin/sh");
        logged
            .args(["-c", "cd \"$0\" && exec \"$@\" > log 2>&1"])
            .arg(self.folder())
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                logged.env(name, value);
            }
        }
        let name = format!(
            "{:?} (`cargo xtask setup --interop` installs it)",
            command.get_program()
        );
        let log = self.folder.path().join("log");
        let (part, ()) = process::comes_up(
            &name,
            LIMIT,
            || Part::start(&logged),
            |part| {
                let up = client::get(address).is_ok_and(|reply| reply.status < 500);
                (up && part.runs()).then_some(())
            },
            |_| fs::read_to_string(&log).unwrap_or_default(),
        );
        self.part = Some(part);
    }
}
