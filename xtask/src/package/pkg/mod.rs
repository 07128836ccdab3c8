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
use super::{Release, icon, packaging, read, sbom, write};
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
        &format!("{APP}/Resources/gatepass.icns"),
        false,
        icon::for_macos()?,
    );
    payload.file(
        &format!("{APP}/MacOS/sign-in"),
        true,
        bytes(&packaging("macos/sign-in"))?,
    );
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::{FILES, make};
    use crate::package::stage::Stage;
    use crate::package::target::Target;
    use crate::package::{Release, make_folder, write};
    use crate::process::root;
    use apple_bom::ParsedBom;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    /// What bsdtar, which has nothing in common with our writers, makes of an archive.
    pub(super) fn unpacked(archive: &[u8]) -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("archive");
        write(&file, archive).expect("written");
        let status = Command::new("bsdtar")
            .args(["-x", "-f", "archive"])
            .current_dir(place.path())
            .status()
            .expect("bsdtar");
        assert!(status.success());
        place
    }

    /// Its list of an archive: mode, links, owner, group, size, date, path.
    pub(super) fn listed(archive: &[u8]) -> Vec<String> {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("archive");
        write(&file, archive).expect("written");
        let output = Command::new("bsdtar")
            .args(["-t", "-v", "--numeric-owner", "-f"])
            .arg(file)
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .output()
            .expect("bsdtar");
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).expect("text");
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).collect()
    }

    fn stage(target: Target, release: &Release, processor: u8) -> Stage {
        let binary = release.program(target);
        let folder = binary.with_file_name("package");
        make_folder(&folder).expect("a folder");
        let mut program = vec![0xcf, 0xfa, 0xed, 0xfe, processor, 0, 0, 1, 0, 0, 0, 0];
        program.resize(5000, processor);
        write(&binary, program).expect("written");
        for (file, _) in FILES.iter().chain(&[("gatepass.cdx.json", "")]) {
            write(&folder.join(file), file).expect("written");
        }
        Stage {
            target,
            binary,
            folder,
        }
    }

    fn release(place: &Path) -> Release {
        Release {
            version: "1.2.3".to_owned(),
            epoch: 1_700_000_000,
            source: root(),
            target_dir: place.to_owned(),
            native: place.to_owned(),
            packages: place.to_owned(),
        }
    }

    #[test]
    fn other_readers_find_the_same_files_in_the_payload_and_in_the_bill() {
        let place = tempfile::tempdir().expect("a folder");
        let release = release(place.path());
        let stages = [
            stage(Target::MacArm64, &release, 12),
            stage(Target::MacX64, &release, 7),
        ];
        make(&stages, &release).expect("a package");
        let package = place.path().join("gatepass-1.2.3-macos-universal.pkg");
        let outer = unpacked(&fs::read(package).expect("a package"));
        let read = |file: &str| fs::read(outer.path().join(file)).expect("a member");
        let text = |file: &str| String::from_utf8(read(file)).expect("text");
        let about = text("gatepass.pkg/PackageInfo");
        assert!(
            about.contains(r#"identifier="io.gatepass.helper" version="1.2.3""#),
            "{about}"
        );
        let window = text("Distribution");
        assert!(
            window.contains(r#"hostArchitectures="arm64,x86_64""#),
            "{window}"
        );
        assert!(window.contains(">#gatepass.pkg</pkg-ref>"), "{window}");
        for filled in [&about, &window] {
            assert!(!filled.contains('@'), "{filled}");
        }
        let payload = read("gatepass.pkg/Payload");
        let lines = listed(&payload);
        let program = "./usr/local/bin/gatepass";
        let app = "./Applications/Sign in to the AI gateway.app/Contents/MacOS/sign-in";
        for (line, path) in lines
            .iter()
            .flat_map(|line| Some((line, line.split_once("./")?.1)))
        {
            // Root's, and nobody else may write; the folder of applications is the administrators'.
            let expected = match format!("./{path}").as_str() {
                "./Applications" => "drwxrwxr-x 2 0 80 ",
                one if one == program || one == app || one.ends_with("/uninstall") => {
                    "-rwxr-xr-x 1 0 0 "
                }
                _ if line.starts_with('d') => "drwxr-xr-x 2 0 0 ",
                _ => "-rw-r--r-- 1 0 0 ",
            };
            assert!(line.starts_with(expected), "{line}");
        }
        let archive = read("gatepass.pkg/Bom");
        let bill = ParsedBom::parse(&archive).expect("a bill");
        let paths = bill.paths().expect("paths");
        let billed: BTreeSet<&str> = paths.iter().map(apple_bom::BomPath::path).collect();
        let packed: BTreeSet<String> = lines
            .iter()
            .map(|line| line.split_once(" 2023 ").expect("a date").1.to_owned())
            .collect();
        assert_eq!(billed, packed.iter().map(String::as_str).collect());
        assert!(billed.contains(program) && billed.contains(app));
        let inner = unpacked(&payload);
        let info = inner.path().join(app).with_file_name("../Info.plist");
        let info = plist::Value::from_file(info).expect("a property list");
        let info = info.as_dictionary().expect("a dictionary");
        let value = |key: &str| info.get(key).and_then(plist::Value::as_string);
        assert_eq!(
            value("CFBundleIdentifier"),
            Some("io.gatepass.helper.sign-in")
        );
        assert_eq!(value("CFBundleExecutable"), Some("sign-in"));
        assert_eq!(value("CFBundleVersion"), Some("1.2.3"));
        assert_eq!(
            fs::read(inner.path().join(program)).expect("a program")[..4],
            [0xca, 0xfe, 0xba, 0xbe]
        );
    }
}
