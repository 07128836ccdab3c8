//! The package for macOS, taken apart by readers that share nothing with what makes it. No Mac is here to install it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use gatepass_testkit::installed::Outcome;

use crate::Version;

const APP: &str = "./Applications/Sign in to the AI gateway.app";

/// Folders that every Mac has, or that Homebrew makes; the installer leaves their owners alone.
const SHARED: [&str; 4] = [".", "./Applications", "./usr", "./usr/local"];

fn run(program: &str, arguments: &[&str], files: &[&Path]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).args(files).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Outcome::of(&mut command).expect(0).stdout
}

/// An unpacked package.
struct Package {
    folder: TempDir,
}

/// What an entry is: mode, owner, group, size, checksum.
type About = [u64; 5];

impl Package {
    fn unpack() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let package = Version::This.package("pkg");
        run(
            "bsdtar",
            &["-x", "-f"],
            &[&package, Path::new("-C"), folder.path()],
        );
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What an XML file says at a place, by another reader of XML.
    fn says(&self, file: &str, place: &str) -> String {
        let question = format!("string({place})");
        let said = run(
            "xmllint",
            &["--nonet", "--xpath", &question],
            &[&self.file(file)],
        );
        said.trim_end().to_owned()
    }

    /// What the payload and the bill of materials have in them.
    fn contents(&self) -> [BTreeMap<String, About>; 2] {
        let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages/pkg.py");
        let said: Value =
            serde_json::from_str(&run("python3", &[], &[&reader, self.folder.path()])).unwrap();
        ["payload", "bill"].map(|what| {
            let entries = said[what].as_array().unwrap();
            let read: BTreeMap<String, About> = entries
                .iter()
                .map(|entry| {
                    let about = std::array::from_fn(|place| entry[place + 1].as_u64().unwrap());
                    (entry[0].as_str().unwrap().to_owned(), about)
                })
                .collect();
            assert_eq!(read.len(), entries.len(), "{what}: nothing twice");
            read
        })
    }
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn it_is_the_same_product_in_every_version_and_for_the_whole_machine() {
    let package = Package::unpack();
    let info = "gatepass.pkg/PackageInfo";
    for (file, place, value) in [
        (info, "/pkg-info/@identifier", "io.gatepass.helper"),
        (info, "/pkg-info/@version", &*Version::This.number()),
        (info, "/pkg-info/@install-location", "/"),
        (info, "/pkg-info/@auth", "root"),
        (
            "Distribution",
            "//pkg-ref[@version]/@id",
            "io.gatepass.helper",
        ),
        ("Distribution", "//pkg-ref[@version]", "#gatepass.pkg"),
        ("Distribution", "//domains/@enable_localSystem", "true"),
        ("Distribution", "//domains/@enable_currentUserHome", "false"),
    ] {
        assert_eq!(package.says(file, place), value, "{file}: {place}");
    }
    let files = package.says(info, "/pkg-info/payload/@numberOfFiles");
    assert_eq!(files, package.contents()[0].len().to_string());
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn the_payload_is_roots_and_the_bill_of_materials_says_the_same() {
    let package = Package::unpack();
    let [payload, bill] = package.contents();
    for path in [
        "./usr/local/bin/gatepass",
        "./usr/local/share/man/man1/gatepass.1",
        "./usr/local/share/zsh/site-functions/_gatepass",
        "./usr/local/share/doc/gatepass/THIRD-PARTY-LICENCES.txt",
        "./usr/local/share/gatepass/uninstall",
        &format!("{APP}/Contents/Info.plist"),
        &format!("{APP}/Contents/MacOS/sign-in"),
        &format!("{APP}/Contents/Resources/gatepass.icns"),
    ] {
        assert!(payload.contains_key(path), "{path} in {:?}", payload.keys());
    }
    for (path, [mode, owner, group, size, _]) in &payload {
        let is_file = mode & 0o170_000 == 0o100_000;
        assert!(is_file || mode & 0o170_000 == 0o040_000, "{path}: {mode:o}");
        let runs = !is_file
            || ["bin/gatepass", "/uninstall", "MacOS/sign-in"]
                .iter()
                .any(|end| path.ends_with(end));
        if !SHARED.contains(&&**path) {
            assert_eq!(mode & 0o7777, if runs { 0o755 } else { 0o644 }, "{path}");
            assert_eq!((*owner, *group), (0, 0), "{path}");
        }
        assert!(!is_file || *size > 0, "{path}");
    }
    assert_eq!(bill, payload);
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn what_people_start_is_whole() {
    let package = Package::unpack();
    run(
        "bsdtar",
        &["-x", "-f"],
        &[
            &package.file("gatepass.pkg/Payload"),
            Path::new("-C"),
            package.folder.path(),
        ],
    );
    // Both processors in one file.
    let program = run(
        "file",
        &["--brief"],
        &[&package.file("usr/local/bin/gatepass")],
    );
    assert!(
        program.contains("universal binary")
            && program.contains("arm64")
            && program.contains("x86_64"),
        "{program}"
    );
    let plist = package.file(&format!("{APP}/Contents/Info.plist"));
    let script =
        "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let info: Value = serde_json::from_str(&run("python3", &["-c", script], &[&plist])).unwrap();
    assert_eq!(info["CFBundleExecutable"], "sign-in");
    assert_eq!(info["CFBundlePackageType"], "APPL");
    assert_eq!(info["CFBundleIconFile"], "gatepass");
    let icon = package.file(&format!("{APP}/Contents/Resources/gatepass.icns"));
    let icon = run("file", &["--brief"], &[&icon]);
    assert!(icon.starts_with("Mac OS X icon"), "{icon}");
    assert_eq!(info["CFBundleShortVersionString"], *Version::This.number());
    assert!(
        info["CFBundleIdentifier"]
            .as_str()
            .unwrap()
            .starts_with("io.gatepass."),
        "{info}"
    );
    let starts = package.file(&format!("{APP}/Contents/MacOS/sign-in"));
    run(
        "shellcheck",
        &["--severity=warning"],
        &[&starts, &package.file("usr/local/share/gatepass/uninstall")],
    );
    let text = std::fs::read_to_string(starts).unwrap();
    assert!(
        text.contains("/usr/local/bin/gatepass login --browser"),
        "{text}"
    );
}
