//! The interface: the same table of commands that the other systems run, and what the program says about itself.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use gatepass_testkit::installed;

use crate::{Settings, Windows, gatepass_exe, scratch, wine};

/// Cases that are not about Windows.
const LEFT_OUT: [&str; 2] = [
    // Homes are known folders there, which no variable names.
    "home-missing",
    // Access lists say there who may read a file, and the profile's folder has them.
    "config-readable-secret",
];

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn the_command_line_behaves_as_written_down() {
    let windows = Windows::new(Settings::default());
    fs::remove_file(Windows::config_file()).unwrap();
    // What the table calls gatepass: Wine, in a folder that has the table's files.
    let (folder, _) = scratch();
    let files = folder.join("tests/cmd/files");
    fs::create_dir_all(&files).unwrap();
    for file in fs::read_dir("tests/cmd/files").unwrap().flatten() {
        fs::copy(file.path(), files.join(file.file_name())).unwrap();
    }
    let script = folder.join("gatepass");
    let (wine, exe) = (wine().display().to_string(), gatepass_exe());
    fs::write(
        &script,
        format!("#!/bin/sh\nexec '{wine}' '{exe}' \"$@\"\n"),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();

    let cases = trycmd::TestCases::new();
    cases
        .case("tests/cmd/*.toml")
        .register_bin("gatepass", script.as_path())
        .env("GATEPASS_WINE_FOLDER", folder.display().to_string())
        .env("GATEPASS_LOG", "")
        .env("CLAUDE_HELPER_CONTEXT", "");
    for name in LEFT_OUT {
        let case = format!("tests/cmd/{name}.toml");
        assert!(Path::new(&case).is_file(), "{case}");
        cases.skip(case);
    }
    cases.run();
    drop(windows);
}

/// What Explorer shows, and the manifest that Windows follows, as another tool reads them out of the program.
#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn the_program_says_what_it_is() {
    let read = Command::new("x86_64-w64-mingw32-windres")
        .args(["--input-format", "coff", "--output-format", "rc"])
        .args(["-i", &gatepass_exe()])
        .output()
        .unwrap();
    assert!(read.status.success(), "{read:?}");
    let resources = String::from_utf8_lossy(&read.stdout);
    let version = env!("CARGO_PKG_VERSION");
    let numbers = version.replace('.', ", ");
    for expected in [
        "/* RT_ICON */".to_owned(),
        "/* Has 1 elements.  */".to_owned(),
        format!("FILEVERSION {numbers}, 0"),
        format!("PRODUCTVERSION {numbers}, 0"),
        "VALUE \"ProductName\", \"gatepass\"".to_owned(),
        format!(
            "VALUE \"FileDescription\", \"{}\"",
            env!("CARGO_PKG_DESCRIPTION")
        ),
        format!("VALUE \"ProductVersion\", \"{version}\""),
        "VALUE \"Translation\", 0x409, 1200".to_owned(),
        ">true</longPathAware>".to_owned(),
        ">UTF-8</activeCodePage>".to_owned(),
        "level=\"\"asInvoker\"\"".to_owned(),
    ] {
        assert!(resources.contains(&expected), "{expected} in:\n{resources}");
    }
}

/// The libraries that the program names are looked for in Windows' own folder, before `main` as well: `bcrypt.dll`,
/// `userenv.dll` and `ktmw32.dll`, say, that somebody has put beside a downloaded program are not loaded.
#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn libraries_come_from_windows_own_folder() {
    const FROM_SYSTEM32: u16 = 0x800;
    let flags = |program: &str| installed::dependent_load_flags(Path::new(program));
    assert_eq!(flags(&gatepass_exe()), Some(FROM_SYSTEM32));
    // What other programs of this linker say.
    let host = env::var("GATEPASS_HOST_EXE").expect("run `cargo xtask test --windows`");
    assert_eq!(flags(&host), None);
}
