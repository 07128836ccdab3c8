//! What distributions' own checkers say of the packages, and of the files that they are made from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gatepass_testkit::installed::Outcome;

use crate::Version;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn run(program: &str, arguments: &[&str], files: &[PathBuf]) -> Outcome {
    let mut command = Command::new(program);
    command.args(arguments).args(files).env("LC_ALL", "C.UTF-8");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Outcome::of(&mut command)
}

/// Every file below `packaging` that is one of these.
fn files(is: impl Fn(&Path, &str) -> bool) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![packaging()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path)
                && is(&path, &text)
            {
                found.push(path);
            }
        }
    }
    found
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn lintian_has_nothing_to_say() {
    let arguments = [
        "--allow-root",
        "--tag-display-limit=0",
        "--fail-on=error,warning,info",
    ];
    let said = run("lintian", &arguments, &[Version::This.package("deb")]);
    assert_eq!((said.code, said.stdout.trim()), (Some(0), ""), "{said:?}");
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn rpmlint_says_only_what_is_explained() {
    let rules = packaging().join("linux/rpmlint.toml").display().to_string();
    let said = run(
        "rpmlint",
        &["--strict", "--config", &rules],
        &[Version::This.package("rpm")],
    );
    assert!(said.stdout.contains(" 0 errors, 0 warnings"), "{said:?}");
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn the_rpm_package_is_whole() {
    run(
        "rpm",
        &["--checksig", "--nosignature"],
        &[Version::This.package("rpm")],
    )
    .expect(0);
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn what_is_xml_is_well_formed() {
    let mut found = files(|path, text| {
        let is_source = path.extension().is_some_and(|end| end == "in");
        text.starts_with("<?xml") && !is_source
    });
    let made = Version::This.package("msi");
    let made = made.parent().unwrap().parent().unwrap();
    // What the last package was made from, wherever it was made.
    let made = [made.join("target"), made.to_owned()]
        .map(|folder| folder.join("x86_64-pc-windows-gnu/release/package/msi/gatepass.wxs"));
    found.extend(made.into_iter().find(|file| file.exists()));
    assert!(
        found.iter().any(|file| file.ends_with("gatepass.wxs")),
        "{found:?}"
    );
    run("xmllint", &["--noout", "--nonet"], &found).expect(0);
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn property_lists_are_read_by_another_reader() {
    let found = files(|_, text| text.contains("<!DOCTYPE plist"));
    assert!(found.len() >= 2, "{found:?}");
    let script = "import plistlib, sys\n\
                  for name in sys.argv[1:]: assert plistlib.load(open(name, 'rb')), name";
    run("python3", &["-c", script], &found).expect(0);
}

#[test]
#[ignore = "needs packages: cargo xtask test --packages"]
fn scripts_are_what_shellcheck_expects() {
    let found = files(|_, text| text.starts_with("#!/bin/sh") || text.starts_with("#!/bin/bash"));
    assert!(found.len() >= 4, "{found:?}");
    let said = run("shellcheck", &["--severity=warning"], &found);
    assert_eq!((said.code, said.stdout.trim()), (Some(0), ""), "{said:?}");
}
