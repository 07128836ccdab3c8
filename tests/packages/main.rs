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
mod outcome;
mod pkg;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use gatepass_testkit::provider::{Provider, client};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

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

#[track_caller]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Does what the browser would do with the address that gatepass opened, and gives the page at the end.
fn visit(provider: &Provider, address: &str) -> String {
    assert!(address.starts_with(&provider.issuer()), "{address}");
    let back = client::get(address).unwrap();
    let redirect = back.header("location").expect("a redirect").to_owned();
    assert!(redirect.starts_with("http://127.0.0.1:"), "{redirect}");
    // The page is at another address than the one with the code.
    let done = client::get(&redirect).unwrap();
    let page = done.header("location").expect("another redirect");
    let here = redirect.find("/callback").expect("the path of a redirect");
    client::get(&format!("{}{page}", &redirect[..here]))
        .unwrap()
        .text()
}

/// Requests for another token.
fn refreshes(provider: &Provider) -> usize {
    provider.token_grants("refresh_token")
}
