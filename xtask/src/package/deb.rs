//! Debian packages, by cargo-deb; what is in them is in `Cargo.toml`, `package.metadata.deb`.

use super::stage::Stage;
use super::{Release, tools};
use crate::process::run;

/// Makes the package.
pub(super) fn make(stage: &Stage, release: &Release) -> Result<(), String> {
    let architecture = if stage.target.is_arm() {
        "arm64"
    } else {
        "amd64"
    };
    let file = format!("gatepass_{}_{architecture}.deb", release.version);
    let mut deb = tools::cargo_tool(&tools::DEB)?;
    deb.args([
        "deb",
        "--package",
        "gatepass",
        "--no-build",
        "--no-strip",
        "--locked",
    ])
    .args(["--target", stage.target.triple()])
    .args(["--deb-version", &release.version])
    .arg("--output")
    .arg(release.packages.join(file))
    .env("CARGO_TARGET_DIR", &release.target_dir)
    .env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    run(&mut deb)
}
