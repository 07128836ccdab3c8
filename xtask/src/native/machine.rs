//! What the report says about the machine.

use std::path::Path;
use std::thread::available_parallelism;
use std::{env, fs};

use sha2::{Digest, Sha256};

use super::report::Report;
use crate::process::answer;

/// System and processor.
pub(super) fn describe(report: &mut Report) {
    report.fact("system", system());
    report.fact(
        "processor",
        format!(
            "{}, {} at once",
            env::consts::ARCH,
            available_parallelism().map_or(0, usize::from)
        ),
    );
}

/// The program that is proved.
pub(super) fn program(report: &mut Report, program: &Path) -> Result<(), String> {
    let version = std::process::Command::new(program)
        .arg("--version")
        .output()
        .map_err(|e| format!("{} cannot be run: {e}", program.display()))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let bytes = fs::read(program).map_err(|e| format!("{}: {e}", program.display()))?;
    let sum = Sha256::digest(&bytes);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    let commit = answer("git", &["describe", "--always", "--dirty"]).unwrap_or_default();
    report.fact("gatepass", format!("{version} {commit}").trim());
    report.fact(
        "program",
        format!("{:.1} MB, SHA-256 {sum}", bytes.len() as f64 / 1e6),
    );
    if cfg!(target_os = "macos") {
        report.fact("signature", signature(program));
    }
    Ok(())
}

/// What `codesign` says of it, without names.
fn signature(program: &Path) -> String {
    let said = std::process::Command::new("/usr/bin/codesign")
        .args(["-dv"])
        .arg(program)
        .output();
    let said = said.map_or_else(|_| Vec::new(), |said| said.stderr);
    let said = String::from_utf8_lossy(&said).into_owned();
    let wanted = ["Identifier=", "Signature=", "TeamIdentifier="];
    let lines = said
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    let lines: Vec<&str> = lines.collect();
    if lines.is_empty() {
        "none".to_owned()
    } else {
        lines.join(", ")
    }
}

#[cfg(target_os = "linux")]
fn system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"')
        .to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let desktop = env::var("XDG_CURRENT_DESKTOP").unwrap_or_else(|_| "no desktop".to_owned());
    format!("{name}, Linux {}, {desktop}", kernel.trim())
}

#[cfg(target_os = "macos")]
fn system() -> String {
    let version = answer("/usr/bin/sw_vers", &["-productVersion"]).unwrap_or_default();
    let build = answer("/usr/bin/sw_vers", &["-buildVersion"]).unwrap_or_default();
    format!("macOS {version} ({build})")
}

#[cfg(windows)]
fn system() -> String {
    let said = |program: &str, words: &[&str]| {
        let done = std::process::Command::new(program).args(words).output();
        let done = done.ok().filter(|done| done.status.success())?;
        Some(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let version = said("cmd", &["/c", "ver"]).unwrap_or_else(|| "Windows".to_owned());
    // What looks like Windows may be Wine, whose registry says so.
    if said("reg", &["query", r"HKCU\Software\Wine"]).is_some() {
        format!("{version}, which is Wine")
    } else {
        version
    }
}
