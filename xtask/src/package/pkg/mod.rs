//! Packages for the macOS installer ("flat" packages), written here: Apple's tools run on Macs alone.
//!
//! A package is a xar archive with a description for the installer's window (`Distribution`) and one component:
//! `PackageInfo`, the bill of materials and the compressed payload. With the programs for both processors it is
//! universal.

mod bom;
mod payload;
mod universal;
mod xar;

use std::fs;

use super::stage::{Stage, compressed};
use super::{Release, packaging, read, sbom, write};
use crate::process::root;
use crate::templates::escaped;
use payload::Payload;
use xar::Member;

/// What the installer knows the package by, in every version.
const IDENTIFIER: &str = "io.gatepass.helper";

/// The program that people without a terminal find among their applications.
const APP: &str = "Applications/Sign in to the AI gateway.app/Contents";

/// What comes from the laid-out folder, and where it goes below `/usr/local`.
const FILES: [(&str, &str); 8] = [
    ("gatepass.1", "share/man/man1/gatepass.1"),
    ("gatepass.bash", "etc/bash_completion.d/gatepass"),
    ("_gatepass", "share/zsh/site-functions/_gatepass"),
    (
        "gatepass.fish",
        "share/fish/vendor_completions.d/gatepass.fish",
    ),
    ("LICENSE-MIT", "share/doc/gatepass/LICENSE-MIT"),
    ("LICENSE-APACHE", "share/doc/gatepass/LICENSE-APACHE"),
    ("CHANGELOG.md", "share/doc/gatepass/CHANGELOG.md"),
    (
        "THIRD-PARTY-LICENCES.txt",
        "share/doc/gatepass/THIRD-PARTY-LICENCES.txt",
    ),
];

/// Makes the package from one laid-out target or from both.
pub(super) fn make(stages: &[Stage], release: &Release) -> Result<(), String> {
    let first = stages.first().ok_or("no program for macOS")?;
    let payload = payload(stages, release)?;
    let processors: Vec<&str> = stages
        .iter()
        .map(|stage| {
            if stage.target.is_arm() {
                "arm64"
            } else {
                "x86_64"
            }
        })
        .collect();
    let filled = |template: &str| {
        Ok::<_, String>(
            read(&packaging(template))?
                .replace("@IDENTIFIER@", IDENTIFIER)
                .replace("@VERSION@", &escaped(&release.version))
                .replace("@PROCESSORS@", &processors.join(","))
                .replace("@FILES@", &payload.entries.len().to_string())
                .replace("@KILOBYTES@", &payload.kilobytes().to_string())
                .into_bytes(),
        )
    };
    let archive = first.folder.join("Payload");
    write(&archive, payload.cpio())?;
    compressed(&archive)?;
    let packed = archive.with_extension("gz");
    let component = vec![
        Member::File("Bom", bom::of(&payload)?),
        Member::File("PackageInfo", filled("macos/PackageInfo")?),
        Member::File("Payload", fs::read(&packed).map_err(|e| e.to_string())?),
    ];
    let members = [
        Member::File("Distribution", filled("macos/Distribution")?),
        Member::Folder("gatepass.pkg".to_owned(), component),
    ];
    let package = xar::of(&members, &sbom::timestamp(release.epoch))?;
    for file in [archive, packed] {
        fs::remove_file(file).map_err(|e| e.to_string())?;
    }
    let name = match stages {
        [one] => one.target.name(),
        _ => "macos-universal",
    };
    write(
        &release
            .packages
            .join(format!("gatepass-{}-{name}.pkg", release.version)),
        package,
    )
}

/// What is installed.
fn payload(stages: &[Stage], release: &Release) -> Result<Payload, String> {
    let date = u32::try_from(release.epoch).map_err(|e| e.to_string())?;
    let mut payload = Payload::new(date);
    let bytes =
        |path: &std::path::Path| fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let programs = stages
        .iter()
        .map(|stage| bytes(&stage.binary))
        .collect::<Result<_, _>>()?;
    payload.file("usr/local/bin/gatepass", true, universal::of(programs)?);
    for stage in stages {
        let bill = match stages {
            [_] => "gatepass.cdx.json".to_owned(),
            _ => format!("gatepass-{}.cdx.json", stage.target.name()),
        };
        payload.file(
            &format!("usr/local/share/doc/gatepass/{bill}"),
            false,
            bytes(&stage.folder.join("gatepass.cdx.json"))?,
        );
        for (from, to) in FILES {
            let content = bytes(&stage.folder.join(from))?;
            payload.file(&format!("usr/local/{to}"), false, content);
        }
    }
    payload.file(
        "usr/local/share/gatepass/gatepass.schema.json",
        false,
        bytes(&root().join("schema/gatepass.schema.json"))?,
    );
    payload.file(
        "usr/local/share/gatepass/uninstall",
        true,
        bytes(&packaging("macos/uninstall"))?,
    );
    let about = read(&packaging("macos/Info.plist"))?.replace("@VERSION@", &release.version);
    payload.file(&format!("{APP}/Info.plist"), false, about.into_bytes());
    payload.file(
        &format!("{APP}/MacOS/sign-in"),
        true,
        bytes(&packaging("macos/sign-in"))?,
    );
    Ok(payload)
}
