//! RPM packages, by cargo-generate-rpm; what is in them is in `Cargo.toml`, `package.metadata.generate-rpm`.

use super::stage::Stage;
use super::{Release, tools};
use crate::process::run;

/// Makes the package.
pub(super) fn make(stage: &Stage, release: &Release) -> Result<(), String> {
    let architecture = if stage.target.is_arm() {
        "aarch64"
    } else {
        "x86_64"
    };
    let file = format!("gatepass-{}-1.{architecture}.rpm", release.version);
    let mut rpm = tools::cargo_tool(&tools::RPM)?;
    rpm.args(["generate-rpm", "--target", stage.target.triple()])
        .args(["--arch", architecture, "--auto-req", "disabled"])
        .args(["--source-date", &release.epoch.to_string()])
        .args([
            "--set-metadata",
            &format!("version = \"{}\"", release.version),
        ])
        .arg("--target-dir")
        .arg(&release.target_dir)
        .arg("--output")
        .arg(release.packages.join(file));
    run(&mut rpm)
}
