//! Windows Installer packages, by wixl and msibuild (msitools).
//!
//! wixl writes the tables that it knows; some things that it cannot do are added to its result: the folder's place on
//! the machine's `PATH`, the menu entry's minimized window, the condition for going back to an older version, properties that may be given to an installation that runs with more rights than its caller,
//! and the processor for 64-bit Arm.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::sbom::{timestamp, uuid};
use super::stage::Stage;
use super::{Release, icon, make_folder, packaging, read, write};
use crate::process::{answer, command, run};
use crate::templates::{Setting, Takes, escaped, settings};

/// Never changes: by it Windows knows that one package follows another.
const UPGRADE_CODE: &str = "6F2B8F0A-1D5E-4B7C-9E43-5A0C7D1E9B21";

/// What lies beside the binary in the installed folder.
const FILES: [&str; 6] = [
    "gatepass.ps1",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "THIRD-PARTY-LICENCES.txt",
    "CHANGELOG.md",
    "gatepass.cdx.json",
];

/// The picture of the menu entry and of the package in the list of what is installed.
const ICON: &str = "gatepass.ico";

/// What an installation does, in this order; an older version goes before the new one comes.
const SEQUENCE: [(&str, u32); 24] = [
    ("FindRelatedProducts", 25),
    ("AppSearch", 50),
    ("LaunchConditions", 100),
    ("ValidateProductID", 700),
    ("CostInitialize", 800),
    ("FileCost", 900),
    ("CostFinalize", 1000),
    ("InstallValidate", 1400),
    ("InstallInitialize", 1500),
    ("RemoveExistingProducts", 1501),
    ("ProcessComponents", 1600),
    ("UnpublishFeatures", 1800),
    ("RemoveRegistryValues", 2600),
    ("RemoveShortcuts", 3200),
    ("RemoveEnvironmentStrings", 3300),
    ("RemoveFiles", 3500),
    ("InstallFiles", 4000),
    ("CreateShortcuts", 4500),
    ("WriteRegistryValues", 5000),
    ("WriteEnvironmentStrings", 5200),
    ("RegisterProduct", 6100),
    ("PublishFeatures", 6300),
    ("PublishProduct", 6400),
    ("InstallFinalize", 6600),
];

/// Where in that order properties get back what an earlier installation was given.
const KEEPING: u32 = 200;

/// Makes the package.
pub(super) fn make(stage: &Stage, release: &Release) -> Result<(), String> {
    let work = stage.folder.join("msi");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(|e| e.to_string())?;
    }
    make_folder(&work)?;
    let architecture = if stage.target.is_arm() {
        "arm64"
    } else {
        "x64"
    };
    let copy = |from: &Path, name: &str| {
        fs::copy(from, work.join(name))
            .map(drop)
            .map_err(|e| format!("{}: {e}", from.display()))
    };
    copy(&stage.binary, "gatepass.exe")?;
    for file in FILES {
        copy(&stage.folder.join(file), file)?;
    }
    write(&work.join(ICON), icon::for_windows()?)?;
    let settings = installable();
    let source = source(&release.version, architecture, &settings)?;
    write(&work.join("gatepass.wxs"), source)?;
    // File dates become part of the cabinet.
    let date = format!("--date=@{}", release.epoch);
    run(command("find", &[".", "-exec", "touch", &date, "{}", "+"]).current_dir(&work))?;
    // Both programs write the time into the package, and take it from no one but the system.
    let now = timestamp(release.epoch).replace('T', " ").replace('Z', "");
    let dated = |program: &str, arguments: &[&str]| {
        let mut command = command("faketime", &["-f", &now, program]);
        command.args(arguments).current_dir(&work).env("TZ", "UTC");
        command
    };
    run(&mut dated(
        "wixl",
        &["--arch", "x64", "--output", "out.msi", "gatepass.wxs"],
    ))?;
    tables(&work, &settings)?;
    let package_code = braced(&format!("package {architecture} {}", digest(&work)?));
    let processor = if stage.target.is_arm() {
        "Arm64;1033"
    } else {
        "x64;1033"
    };
    run(&mut dated(
        "msibuild",
        &[
            "out.msi",
            "-s",
            "gatepass",
            "gatepass developers",
            processor,
            &package_code,
        ],
    ))?;
    let name = format!("gatepass-{}-{architecture}.msi", release.version);
    let finished = release.packages.join(name);
    fs::copy(work.join("out.msi"), &finished)
        .map(drop)
        .map_err(|e| format!("{}: {e}", finished.display()))
}

/// What tells packages with different content apart: a digest of the source, the program and all that lies beside it.
fn digest(work: &Path) -> Result<String, String> {
    let mut digest = Sha256::new();
    for file in ["gatepass.wxs", "gatepass.exe", ICON].iter().chain(&FILES) {
        let content = fs::read(work.join(file)).map_err(|e| format!("{file}: {e}"))?;
        digest.update(Sha256::digest(&content));
    }
    Ok(format!("{:x}", digest.finalize()))
}

/// Settings that a property of the installation can give. A client secret would stay in the installer's log.
fn installable() -> Vec<Setting> {
    settings()
        .into_iter()
        .filter(|setting| setting.name != "client_secret")
        .collect()
}

/// An identifier made of a text, in the registry's spelling.
fn braced(text: &str) -> String {
    format!("{{{}}}", uuid(text).to_uppercase())
}

/// The source for wixl.
fn source(version: &str, architecture: &str, settings: &[Setting]) -> Result<String, String> {
    let mut files = String::new();
    let mut references = String::new();
    let mut remembered = String::new();
    let mut policy = String::new();
    for (place, file) in FILES.iter().enumerate() {
        let _ = write!(
            files,
            r#"
          <Component Id="Beside{place}" Guid="{}" Win64="yes">
            <File Id="Beside{place}" Name="{file}" Source="{file}" KeyPath="yes"/>
          </Component>"#,
            braced(&format!("component {file}"))
        );
        let _ = write!(references, "\n      <ComponentRef Id=\"Beside{place}\"/>");
    }
    for setting in settings {
        let (property, name) = (setting.property(), setting.camel());
        let _ = write!(
            remembered,
            r##"
    <Property Id="KEPT_{property}">
      <RegistrySearch Id="Search_{property}" Root="HKLM" Key="SOFTWARE\Gatepass\Installer" Name="{name}" Type="raw" Win64="yes"/>
    </Property>"##
        );
        let kind = match setting.takes {
            Takes::Number(..) | Takes::Flag => "integer",
            _ => "string",
        };
        let _ = write!(
            policy,
            r#"
          <Component Id="Policy_{property}" Guid="{}" Win64="yes">
            <RegistryValue Root="HKLM" Key="SOFTWARE\Policies\Gatepass" Name="{name}" Type="{kind}" Value="[{property}]" KeyPath="yes"/>
            <RegistryValue Root="HKLM" Key="SOFTWARE\Gatepass\Installer" Name="{name}" Type="string" Value="[{property}]"/>
          </Component>"#,
            braced(&format!("policy {name}"))
        );
        let _ = write!(
            references,
            "\n      <ComponentRef Id=\"Policy_{property}\"/>"
        );
    }
    let template = without_comments(&read(&packaging("windows/gatepass.wxs.in"))?);
    Ok(template
        .replace("@VERSION@", &escaped(version))
        .replace(
            "@PRODUCT_CODE@",
            &braced(&format!("product {version} {architecture}")),
        )
        .replace("@UPGRADE_CODE@", UPGRADE_CODE)
        .replace("@REMEMBERED@", &remembered)
        .replace("@FILES@", &files)
        .replace("@POLICY@", &policy)
        .replace("@REFERENCES@", &references))
}

/// wixl stops at comments in some elements.
fn without_comments(xml: &str) -> String {
    let mut parts = xml.split("<!--");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once("-->").map_or("", |(_, rest)| rest));
    }
    out
}

/// Adds what wixl cannot write: tables in the form that `msibuild -i` reads.
fn tables(work: &Path, settings: &[Setting]) -> Result<(), String> {
    let msi = work.join("out.msi").display().to_string();
    let import = |name: &str, rows: &[String]| {
        let mut text = rows.join("\r\n");
        text.push_str("\r\n");
        let file = work.join(format!("{name}.idt"));
        write(&file, text)?;
        run(&mut command(
            "msibuild",
            &[&msi, "-i", &file.display().to_string()],
        ))
    };
    let exported = |table: &str| {
        let text = answer("msiinfo", &["export", &msi, table])
            .ok_or(format!("msiinfo cannot export {table}"))?;
        Ok::<Vec<String>, String>(
            text.lines()
                .map(|line| line.trim_end().to_owned())
                .collect(),
        )
    };
    // `=-`: set at installation, removed at removal; `*`: the machine's; `[~];`: appended to what is there.
    import(
        "Environment",
        &[
            "Environment\tName\tValue\tComponent_".to_owned(),
            "s72\tl255\tL255\ts72".to_owned(),
            "Environment\tEnvironment".to_owned(),
            "Path\t=-*PATH\t[~];[INSTALLDIR]\tProgram".to_owned(),
        ],
    )?;
    import(
        "LaunchCondition",
        &[
            "Condition\tDescription".to_owned(),
            "s255\tl255".to_owned(),
            "LaunchCondition\tCondition".to_owned(),
            "Installed OR NOT NEWERFOUND OR ALLOWDOWNGRADE = \"1\"\tA newer version of gatepass is installed. To go back, \
             add ALLOWDOWNGRADE=1."
                .to_owned(),
        ],
    )?;
    // Set a property (51) to what an earlier installation had been given.
    let kept = |setting: &Setting| format!("Keep_{}", setting.property());
    let mut actions = vec![
        "Action\tType\tSource\tTarget".to_owned(),
        "s72\ti2\tS72\tS255".to_owned(),
        "CustomAction\tAction".to_owned(),
    ];
    actions.extend(settings.iter().map(|setting| {
        let property = setting.property();
        format!("{}\t51\t{property}\t[KEPT_{property}]", kept(setting))
    }));
    import("CustomAction", &actions)?;
    // wixl puts actions that follow one another into any order: the order is ours.
    let mut sequence = vec![
        "Action\tCondition\tSequence".to_owned(),
        "s72\tS255\tI2".to_owned(),
        "InstallExecuteSequence\tAction".to_owned(),
    ];
    sequence.extend(SEQUENCE.map(|(action, place)| format!("{action}\t\t{place}")));
    sequence.extend(settings.iter().zip(KEEPING..).map(|(setting, place)| {
        let property = setting.property();
        format!(
            "{}\tKEPT_{property} AND NOT {property}\t{place}",
            kept(setting)
        )
    }));
    import("InstallExecuteSequence", &sequence)?;
    // A value is written only where the installation was given it.
    let components: Vec<String> = exported("Component")?
        .into_iter()
        .map(|row| {
            let mut columns: Vec<&str> = row.split('\t').collect();
            if let (Some(property), 6) = (row.strip_prefix("Policy_"), columns.len()) {
                columns[4] = property.split('\t').next().unwrap_or_default();
            }
            columns.join("\t")
        })
        .collect();
    import("Component", &components)?;
    for change in [
        // wixl knows no minimized window (7).
        "UPDATE Shortcut SET ShowCmd = 7",
        // Windows Installer decides what to copy before it removes the version that is there, and leaves out a program
        // whose version is not above that one's: none of the two would be left. No program has a version above this.
        "UPDATE File SET Version = '65535.0.0.0' WHERE File = 'Program'",
    ] {
        run(&mut command("msibuild", &[&msi, "-q", change]))?;
    }
    let mut names: Vec<String> = settings.iter().map(Setting::property).collect();
    names.extend(["NEWERFOUND", "OLDERFOUND", "ALLOWDOWNGRADE"].map(str::to_owned));
    let mut properties = exported("Property")?;
    properties.retain(|row| !row.starts_with("SecureCustomProperties"));
    properties.push(format!("SecureCustomProperties\t{}", names.join(";")));
    import("Property", &properties)
}

#[cfg(test)]
mod tests {
    use super::{installable, source, without_comments};

    #[test]
    fn comments_go_and_the_rest_stays() {
        assert_eq!(
            without_comments("<a><!-- b --><c/><!--d--></a>"),
            "<a><c/></a>"
        );
    }

    #[test]
    fn every_setting_but_the_secret_is_a_property_and_nothing_is_left_open() {
        let settings = installable();
        let source = source("1.2.3", "x64", &settings).expect("a template");
        for setting in &settings {
            let property = format!("Value=\"[{}]\"", setting.property());
            assert!(source.contains(&property), "{property}");
        }
        assert!(!source.contains("CLIENT_SECRET]"));
        assert!(!source.contains('@'), "{source}");
    }
}
