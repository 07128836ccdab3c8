//! The packages, installed as administrators do it, used as people do it, replaced, and removed again.
//! `cargo xtask test --packages` builds them and runs these.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

mod lint;
mod linux;
mod machine;
mod msi;
mod pkg;

use std::env;
use std::fs;
use std::path::PathBuf;

/// Which packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// Those of this source.
    This,
    /// Those that will follow: another number, and newer formats of what is kept.
    Next,
}

impl Version {
    fn told(self, what: &str) -> String {
        let whose = match self {
            Self::This => "THIS",
            Self::Next => "NEXT",
        };
        given(&format!("GATEPASS_{whose}_{what}"))
    }

    /// Its number.
    fn number(self) -> String {
        self.told("VERSION")
    }

    /// Its package whose name ends like this, for the processor that tests run on.
    fn package(self, extension: &str) -> PathBuf {
        let folder = self.told("PACKAGES");
        let start = format!(
            "gatepass{}{}",
            if extension == "deb" { '_' } else { '-' },
            self.number()
        );
        let mut fitting = fs::read_dir(&folder).unwrap().flatten().filter(|file| {
            let name = file.file_name().into_string().unwrap();
            name.starts_with(&start)
                && name.ends_with(&format!(".{extension}"))
                && ["amd64", "x86_64", "x64", "universal"]
                    .iter()
                    .any(|word| name.contains(word))
        });
        let package = fitting.next();
        package
            .unwrap_or_else(|| panic!("no .{extension} in {folder}"))
            .path()
    }
}

/// What the lane hands over.
fn given(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable}: run `cargo xtask test --packages`"))
}
