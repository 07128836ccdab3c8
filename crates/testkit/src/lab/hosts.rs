//! The programs that run gatepass, and the libraries that take a token from it, each in the version that was tried.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

/// Where `cargo xtask test --hosts` keeps them between runs: several hundred megabytes, which every clone of this
/// repository shares.
#[derive(Debug, Clone, Copy)]
pub struct Hosts;

impl Hosts {
    /// The folder with npm's packages (`node_modules`) and Python's environment (`python`).
    #[must_use]
    pub fn folder() -> PathBuf {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        PathBuf::from(home).join(".cache/gatepass-lab/hosts")
    }

    /// The folder of this repository that says which versions: `package.json` with its lock, `requirements.txt`.
    ///
    /// # Panics
    /// Where it is not there.
    #[must_use]
    pub fn versions() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/hosts")
            .canonicalize()
            .expect("tests/hosts")
    }

    /// Each program's name and file. They are run as they come from npm, without their own start scripts.
    ///
    /// # Panics
    /// Where they are not installed.
    #[must_use]
    pub fn programs() -> Vec<(&'static str, PathBuf)> {
        let packages = Self::folder().join("node_modules");
        let arch = if ARCH == "aarch64" { "arm64" } else { "x64" };
        let all = [
            (
                "claude",
                format!("@anthropic-ai/claude-code-linux-{arch}/claude"),
            ),
            (
                "codex",
                format!("@openai/codex-linux-{arch}/vendor/{ARCH}-unknown-linux-musl/bin/codex"),
            ),
            ("copilot", format!("@github/copilot-linux-{arch}/copilot")),
            ("opencode", format!("opencode-linux-{arch}/bin/opencode")),
            ("pi", ".bin/pi".to_owned()),
        ];
        all.into_iter()
            .map(|(name, place)| (name, packages.join(place)))
            .inspect(|(_, file)| {
                assert!(
                    file.is_file(),
                    "{} is missing: `cargo xtask test --hosts` installs it",
                    file.display()
                );
            })
            .collect()
    }

    /// The Python that has the libraries.
    #[must_use]
    pub fn python() -> PathBuf {
        Self::folder().join("python/bin/python")
    }
}
