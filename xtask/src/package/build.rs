//! The release binary of one target, so that the same commit gives the same bytes in any folder.

use std::path::Path;
use std::process::Command;

use super::target::{System, Target};
use super::{Release, make_folder, packaging, tools, write};
use crate::cross::toolchain::Toolchain;
use crate::install::{Part, missing_of};
use crate::load_configuration;
use crate::process::{answer, run};

/// The oldest glibc that the Linux binaries run with: that of Red Hat Enterprise Linux 8 and Debian 10.
const GLIBC: &str = "2.28";

/// What compiles and links for Windows on x86-64: the tests of the Windows program are linked by it too, and it can
/// leave the time of the build out.
const MINGW: (&str, &str) = ("x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-ar");

/// Apple's libraries that gatepass is linked with, and where macOS has them.
const APPLE: [(&str, &str); 5] = [
    ("CoreFoundation", "A"),
    ("CoreServices", "A"),
    ("Foundation", "C"),
    ("Security", "A"),
    ("SystemConfiguration", "A"),
];

/// Builds the binary into `release.target_dir`.
pub(super) fn binary(target: Target, release: &Release) -> Result<(), String> {
    let toolchain = Toolchain::provide(&[target.triple()])?;
    let zig = toolchain.cargo("zigbuild");
    // cargo-auditable writes the list of crates into the binary, and passes everything else on.
    let mut cargo = Command::new(tools::installed(&tools::AUDITABLE)?);
    cargo
        .arg("auditable")
        .args(zig.get_args())
        .current_dir(&release.source);
    for (name, value) in zig.get_envs() {
        match value {
            Some(value) => cargo.env(name, value),
            None => cargo.env_remove(name),
        };
    }
    let triple = match target.system() {
        System::Linux => format!("{}.{GLIBC}", target.triple()),
        System::Windows | System::Mac => target.triple().to_owned(),
    };
    cargo
        .args([
            "--release",
            "--locked",
            "--package",
            "gatepass",
            "--bin",
            "gatepass",
        ])
        .args(["--target", &triple])
        .env("CARGO_TARGET_DIR", &release.target_dir)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(target, release)?.join("\u{1f}"),
        )
        .env("SOURCE_DATE_EPOCH", release.epoch.to_string())
        .env("ZERO_AR_DATE", "1");
    if target == Target::WindowsX64 {
        missing_of(&[(Part::Program(MINGW.0), "gcc-mingw-w64-x86-64")])?;
        cargo
            .env("CC_x86_64_pc_windows_gnu", MINGW.0)
            .env("AR_x86_64_pc_windows_gnu", MINGW.1)
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", MINGW.0);
    }
    run(&mut cargo)?;
    if target.system() == System::Windows {
        load_configuration::complete(&release.program(target))?;
    }
    Ok(())
}

/// Compiler flags: no path of this machine in the result.
fn flags(target: Target, release: &Release) -> Result<Vec<String>, String> {
    let cargo_home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .map_err(|_| "neither CARGO_HOME nor HOME is set")?;
    let sysroot = answer("rustc", &["--print", "sysroot"]).ok_or("rustc has no sysroot")?;
    let kept = crate::cross::toolchain::kept()?;
    let mut flags: Vec<String> = [
        (release.target_dir.as_path(), "/target"),
        (&release.source, "/gatepass"),
        (Path::new(&cargo_home), "/cargo"),
        (Path::new(&sysroot), "/rust"),
        (&kept, "/lab"),
    ]
    .iter()
    .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
    .collect();
    match target.system() {
        System::Linux => {}
        // The linker would write the time of the build into the file; Zig's for 64-bit Arm has no such switch.
        System::Windows if !target.is_arm() => {
            flags.push("-Clink-arg=-Wl,--no-insert-timestamp".to_owned());
        }
        System::Windows => {}
        System::Mac if std::env::var_os("SDKROOT").is_some() => {}
        System::Mac => flags.extend(stubs(release)?),
    }
    Ok(flags)
}

/// Stand-ins for Apple's libraries, for a machine without Apple's SDK: they say where the libraries are and leave
/// every name to be found when the program starts. Good for trying out packages and signing, not for shipping.
fn stubs(release: &Release) -> Result<Vec<String>, String> {
    let folder = release.target_dir.join("macos-stubs");
    let template = super::read(&packaging("macos/stub.tbd"))?;
    for (name, version) in APPLE {
        let framework = folder.join(format!("{name}.framework"));
        make_folder(&framework)?;
        let place =
            format!("/System/Library/Frameworks/{name}.framework/Versions/{version}/{name}");
        write(
            &framework.join(format!("{name}.tbd")),
            template.replace("@PLACE@", &place),
        )?;
    }
    Ok(vec![
        format!("-Clink-arg=-F{}", folder.display()),
        "-Clink-arg=-Wl,-undefined,dynamic_lookup".to_owned(),
    ])
}
