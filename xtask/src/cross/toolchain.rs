//! A Rust tool chain for other systems: the machine's own compiler, a standard library, a C compiler.
//!
//! Where the machine has the target's standard library (`rustup target add`), that is used. Where not, it is
//! compiled along, from the sources of exactly this compiler version: the machine's own (`rustup component add
//! rust-src`), else Debian's package of them, which apt fetches and verifies without any change to the machine.
//! The C compiler is Zig's, from the Python package index. Everything fetched is kept for the next run.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install;
use crate::process::{answer, command, find, root, run};

/// Where Debian keeps a current compiler for its stable release.
const SUITES: [&str; 2] = ["trixie-backports", "sid"];

/// Debian's own mirror, where the machine's apt names none.
const MIRROR: &str = "http://deb.debian.org/debian";

/// The keys that Debian's archive is signed with.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder in which tools are kept between runs.
pub(crate) fn kept() -> Result<PathBuf, String> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("GATEPASS_LAB").map(PathBuf::from);
    let caches = set("XDG_CACHE_HOME").map(PathBuf::from);
    let home = set("HOME").map(|home| Path::new(&home).join(".cache"));
    let folder = folder
        .or_else(|| Some(caches.or(home)?.join("gatepass-lab")))
        .ok_or("set GATEPASS_LAB to a folder in which tools may be kept")?;
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // A compiler's messages name paths; and the folder of a run must not depend on where it was started.
    fs::canonicalize(&folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// The machine's compiler.
struct Compiler {
    sysroot: PathBuf,
    release: String,
    host: String,
}

impl Compiler {
    fn of_this_machine() -> Result<Self, String> {
        let about = answer("rustc", &["-vV"]).ok_or("rustc does not run")?;
        let field = |name: &str| {
            let line = about.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
                .ok_or(format!("rustc names no {name}"))
        };
        Ok(Self {
            sysroot: answer("rustc", &["--print", "sysroot"])
                .ok_or("rustc has no sysroot")?
                .into(),
            release: field("release:")?,
            host: field("host:")?,
        })
    }

    /// Whether the target's standard library is installed.
    fn has_library(&self, target: &str) -> bool {
        let library = self.sysroot.join("lib/rustlib").join(target).join("lib");
        fs::read_dir(library).is_ok_and(|mut files| files.next().is_some())
    }

    /// Its own library's sources, if they are installed.
    fn own_sources(&self) -> Option<PathBuf> {
        let sources = self.sysroot.join("lib/rustlib/src/rust");
        sources
            .join("library/std/Cargo.toml")
            .is_file()
            .then_some(sources)
    }
}

/// A tool chain that builds for other systems.
pub(crate) struct Toolchain {
    /// Where the tools and the build products are kept.
    kept: PathBuf,
    /// The compiler that finds the library's sources, where the library must be compiled along.
    rustc: Option<PathBuf>,
    /// The folder of `cargo-zigbuild` and its Python.
    tools: PathBuf,
}

impl Toolchain {
    /// Finds or fetches what these targets need.
    pub(crate) fn provide(targets: &[&str]) -> Result<Self, String> {
        let kept = kept()?;
        let compiler = Compiler::of_this_machine()?;
        let rustc = if targets.iter().all(|target| compiler.has_library(target)) {
            println!("the standard libraries are installed");
            None
        } else {
            let sources = match compiler.own_sources() {
                Some(sources) => sources,
                None => library_sources(&kept, &compiler.release)?,
            };
            println!("the standard library comes from {}", sources.display());
            Some(compiler_with(&kept, &compiler, &sources)?)
        };
        let tools = zig(&kept)?;
        Ok(Self { kept, rustc, tools })
    }

    /// Where the build products lie.
    pub(crate) fn target_dir(&self) -> PathBuf {
        self.kept.join("target")
    }

    /// The C compiler for a system, by Zig's name for it.
    pub(crate) fn c_compiler(&self, system: &str) -> Command {
        let mut compiler = Command::new(self.tools.join("python"));
        compiler.args(["-m", "ziglang", "cc", "-target", system]);
        compiler
    }

    /// A cargo command for other targets. Only this command sees the switch that lets a stable compiler build its
    /// own library.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let program = self.tools.join("cargo-zigbuild");
        let mut cargo = Command::new(program);
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(
            [self.tools.clone()]
                .into_iter()
                .chain(env::split_paths(&path)),
        );
        cargo
            .arg(subcommand)
            .current_dir(root())
            .env("PATH", path.unwrap_or_default())
            .env("CARGO_TARGET_DIR", self.target_dir())
            // Nobody debugs these builds, and the library is compiled for each target.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // Meant for this machine's own builds.
            .env_remove("RUSTFLAGS");
        if let Some(rustc) = &self.rustc {
            cargo
                .arg("-Zbuild-std=std,panic_unwind,panic_abort")
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1");
        }
        cargo
    }
}

/// The sources of the standard library of this version, as Debian packages them.
fn library_sources(kept: &Path, release: &str) -> Result<PathBuf, String> {
    let folder = kept.join(format!("rust-src-{release}"));
    let sources = folder.join(format!("usr/src/rustc-{release}"));
    if sources.join("library/std/Cargo.toml").is_file() {
        return Ok(sources);
    }
    let by_hand = format!("rustup component add rust-src (for rustc {release})");
    for program in ["apt-get", "dpkg"] {
        if find(program).is_none() {
            return Err(format!(
                "the standard library's sources are not installed, and there is no {program} to fetch them; run: {by_hand}"
            ));
        }
    }
    let package = fetch_package(kept, "rust-src", release).map_err(|why| {
        format!("the standard library's sources of rustc {release} cannot be fetched: {why}; run: {by_hand}")
    })?;
    let unpacked = kept.join("unpacking");
    let _ = fs::remove_dir_all(&unpacked);
    run(command("dpkg", &["--extract"]).arg(&package).arg(&unpacked))?;
    let _ = fs::remove_dir_all(&folder);
    // In one step, so that an interrupted run leaves nothing that looks complete.
    fs::rename(&unpacked, &folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let _ = fs::remove_file(package);
    Ok(sources)
}

/// The Debian mirror that this machine's own apt uses.
pub(crate) fn mirror() -> String {
    answer("apt-get", &["indextargets", "--format", "$(REPO_URI)"])
        .and_then(|all| {
            let main = |line: &&str| !line.contains("security") && line.contains("debian");
            all.lines().find(main).map(str::to_owned)
        })
        .unwrap_or_else(|| MIRROR.to_owned())
}

/// Fetches a Debian package by an apt of its own: same mirror as the machine's, own lists, signatures verified.
fn fetch_package(kept: &Path, package: &str, release: &str) -> Result<PathBuf, String> {
    let mirror = mirror();
    let place = kept.join("apt");
    let folders = ["state/lists/partial", "cache/archives/partial", "packages"];
    for folder in folders {
        fs::create_dir_all(place.join(folder)).map_err(|error| error.to_string())?;
    }
    let lines: String = SUITES
        .iter()
        .map(|suite| format!("deb [signed-by={KEYS}] {mirror} {suite} main\n"))
        .collect();
    fs::write(place.join("sources.list"), lines).map_err(|error| error.to_string())?;
    let apt = |arguments: &[&str]| {
        let mut apt = command(arguments[0], &[]);
        for (option, value) in [
            ("Dir::Etc::SourceList", place.join("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::State", place.join("state")),
            ("Dir::State::status", "/dev/null".into()),
            ("Dir::Cache", place.join("cache")),
        ] {
            apt.arg("-o").arg(format!("{option}={}", value.display()));
        }
        apt.args(["-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]);
        // A mirror that does not answer is said to be one, not an empty one.
        apt.args(["-o", "APT::Update::Error-Mode=any"]);
        apt.args(&arguments[1..])
            .current_dir(place.join("packages"));
        apt
    };
    run(&mut apt(&["apt-get", "--quiet=2", "update"]))
        .map_err(|_| format!("{mirror} does not answer"))?;
    let offered = apt(&["apt-cache", "madison", package])
        .output()
        .map_err(|error| error.to_string())?;
    let offered = String::from_utf8_lossy(&offered.stdout);
    let version = offered
        .lines()
        .filter_map(|line| line.split('|').nth(1).map(str::trim))
        .find(|version| {
            version
                .strip_prefix(release)
                .is_some_and(|rest| rest.starts_with('+'))
        })
        .ok_or_else(|| format!("{mirror} offers no {package} {release}"))?;
    let wanted = format!("{package}={version}");
    run(&mut apt(&["apt-get", "--quiet=2", "download", &wanted]))?;
    let mut files = fs::read_dir(place.join("packages")).map_err(|error| error.to_string())?;
    files
        .find_map(|file| {
            let file = file.ok()?.path();
            let name = file.file_name()?.to_str()?;
            (name.starts_with(&format!("{package}_{release}")) && name.ends_with(".deb"))
                .then_some(file)
        })
        .ok_or_else(|| format!("apt fetched no {package}"))
}

/// The machine's compiler with the library's sources where cargo looks for them: a folder of links.
fn compiler_with(kept: &Path, compiler: &Compiler, sources: &Path) -> Result<PathBuf, String> {
    let place = kept.join(format!("sysroot-{}", compiler.release));
    let libraries = place.join("lib/rustlib");
    let failed = |error: std::io::Error| format!("{}: {error}", place.display());
    fs::create_dir_all(libraries.join("src")).map_err(failed)?;
    let link = |from: &Path, to: PathBuf| {
        if fs::read_link(&to).is_ok_and(|there| there == from) {
            return Ok(());
        }
        let _ = fs::remove_file(&to);
        symlink(from, to).map_err(failed)
    };
    let own = compiler.sysroot.join("lib/rustlib").join(&compiler.host);
    link(&own, libraries.join(&compiler.host))?;
    link(sources, libraries.join("src/rust"))?;
    let rustc = place.join("rustc");
    let script = format!(
        "#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n",
        compiler.sysroot.join("bin/rustc").display(),
        place.display()
    );
    // Written only if it changes: cargo compiles everything anew for a compiler that looks newer.
    if fs::read_to_string(&rustc).ok().as_deref() != Some(&script) {
        fs::write(&rustc, script).map_err(failed)?;
        fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(rustc)
}

/// Zig and `cargo-zigbuild` as `xtask/cross-requirements.txt` pins them.
fn zig(kept: &Path) -> Result<PathBuf, String> {
    let pins = root().join("xtask/cross-requirements.txt");
    let wanted = fs::read_to_string(&pins).map_err(|error| error.to_string())?;
    let place = kept.join("python");
    // Written last.
    let installed = place.join("installed.txt");
    let tools = place.join("bin");
    if fs::read_to_string(&installed).ok().as_deref() == Some(&wanted) {
        return Ok(tools);
    }
    let _ = fs::remove_dir_all(&place);
    let work = || {
        let environment = || run(command("python3", &["-m", "venv"]).arg(&place));
        // Debian's Python comes without it.
        environment()
            .or_else(|_| install::install(&["python3-venv"]).and_then(|()| environment()))?;
        let mut pip = Command::new(tools.join("python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]);
        run(pip.arg("--requirement").arg(&pins))
    };
    work().map_err(|why| {
        format!("Zig, the C compiler for other systems, cannot be fetched from the Python package index: {why}")
    })?;
    fs::write(&installed, wanted).map_err(|error| error.to_string())?;
    Ok(tools)
}
