//! Dependencies point one way: the modules of `src`, and which of them each may name. No circle and no short cut
//! comes in unseen; `docs/architecture.md` draws the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the lowest to the highest, each with those that it names. A module stands after everything that
/// it names, so there is no circle.
const MODULES: &[(&str, &[&str])] = &[
    ("secret", &[]),
    ("credential", &["secret"]),
    ("text", &[]),
    ("error", &["text"]),
    ("platform", &["error", "text"]),
    ("clock", &["platform"]),
    (
        "config",
        &["error", "gatepass_host", "platform", "secret", "text"],
    ),
    ("caller", &["config", "platform"]),
    ("logging", &["clock", "config", "error", "platform", "text"]),
    (
        "audit",
        &["caller", "clock", "config", "error", "platform", "text"],
    ),
    (
        "session",
        &[
            "caller", "clock", "config", "error", "platform", "secret", "text",
        ],
    ),
    (
        "output",
        &[
            "caller",
            "clock",
            "config",
            "credential",
            "error",
            "platform",
            "session",
        ],
    ),
    (
        "store",
        &[
            "caller", "clock", "config", "error", "platform", "session", "text",
        ],
    ),
    (
        "oidc",
        &[
            "caller", "clock", "config", "error", "platform", "secret", "session", "text",
        ],
    ),
    ("sign_in_ui", &["error", "oidc"]),
    (
        "reader",
        &["caller", "clock", "config", "error", "session", "store"],
    ),
    (
        "writer",
        &[
            "audit",
            "caller",
            "clock",
            "config",
            "credential",
            "error",
            "oidc",
            "sign_in_ui",
            "platform",
            "reader",
            "secret",
            "session",
            "store",
            "text",
        ],
    ),
    (
        "worker",
        &[
            "audit",
            "caller",
            "clock",
            "config",
            "error",
            "logging",
            "sign_in_ui",
            "platform",
            "reader",
            "session",
            "store",
            "writer",
        ],
    ),
    (
        "usecase",
        &[
            "caller",
            "clock",
            "config",
            "error",
            "gatepass_host",
            "oidc",
            "sign_in_ui",
            "platform",
            "reader",
            "secret",
            "session",
            "store",
            "text",
            "worker",
            "writer",
        ],
    ),
    (
        "cli",
        &[
            "audit",
            "caller",
            "clock",
            "config",
            "credential",
            "error",
            "gatepass_host",
            "logging",
            "oidc",
            "output",
            "sign_in_ui",
            "platform",
            "reader",
            "secret",
            "session",
            "store",
            "text",
            "usecase",
            "worker",
            "writer",
        ],
    ),
];

/// What the crate of the host applications is built from: no network, no keychain, no cryptographic provider.
const HOST_CRATE_USES: &[&str] = &[
    "base64",
    "http",
    "plist",
    "serde_json",
    "sha2",
    "strsim",
    "toml",
    "url",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The source without comments and without what is compiled for tests alone.
fn code(source: &str) -> String {
    let production = source
        .split("#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default();
    production
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The first names of what stands in `{…}`.
fn first_names(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&group[start..at]);
                start = at + 1;
            }
            _ => (),
        }
    }
    names
}

fn word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The modules that a source names by `crate::`, and the crate of the hosts.
fn named(source: &str) -> BTreeSet<String> {
    let code = code(source);
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => names.extend(first_names(group).into_iter().map(word)),
            None => {
                names.insert(word(rest));
            }
        }
    }
    if code.contains("gatepass_host") {
        names.insert("gatepass_host");
    }
    names.remove("");
    names.into_iter().map(str::to_owned).collect()
}

/// What each module of `src` names, and where.
fn found() -> BTreeMap<String, BTreeMap<String, PathBuf>> {
    let mut modules: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    for path in sources(&root().join("src")) {
        let below = path.strip_prefix(root().join("src")).unwrap().to_owned();
        let first = below.components().next().unwrap().as_os_str();
        let module = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
        // The roots name what is below them, and the rest is for tests and fuzzing.
        let is_test = below.ends_with("tests.rs") || below.ends_with("model.rs");
        if is_test || matches!(module.as_str(), "lib" | "main" | "fuzzing") {
            continue;
        }
        let entry = modules.entry(module.clone()).or_default();
        for name in named(&fs::read_to_string(&path).unwrap()) {
            if name != module {
                entry.entry(name).or_insert_with(|| below.clone());
            }
        }
    }
    modules
}

#[test]
fn each_module_names_what_the_table_allows_and_nothing_else() {
    let mut wrong = Vec::new();
    let found = found();
    for (module, names) in &found {
        let Some((_, allowed)) = MODULES.iter().find(|(name, _)| name == module) else {
            wrong.push(format!("{module} is not in the table"));
            continue;
        };
        for (name, place) in names {
            if !allowed.contains(&name.as_str()) {
                wrong.push(format!("{module} names {name} ({})", place.display()));
            }
        }
        for name in *allowed {
            if !names.contains_key(*name) {
                wrong.push(format!("{module} no longer names {name}: take it off"));
            }
        }
    }
    for (module, _) in MODULES {
        if !found.contains_key(*module) {
            wrong.push(format!("there is no module {module}: take it off"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    let mut below = vec!["gatepass_host"];
    for (module, allowed) in MODULES {
        for name in *allowed {
            assert!(
                below.contains(name),
                "{module} names {name}, which is above"
            );
        }
        below.push(module);
    }
}

#[test]
fn the_hosts_know_nothing_of_gatepass() {
    let folder = root().join("crates/host");
    let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let uses: Vec<&str> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(uses, HOST_CRATE_USES);
    assert!(!manifest.contains_key("dev-dependencies"));
    for path in sources(&folder) {
        let source = code(&fs::read_to_string(&path).unwrap());
        assert!(!source.contains("gatepass::"), "{}", path.display());
    }
}

/// Where programs are started. On macOS and Windows the sign-in's address is in no argument list, where others could read
/// `state`: the system opens it from within this process. Only a browser that the person has configured, and on Linux the
/// desktop's launcher, get it as an argument.
#[test]
fn programs_are_started_in_these_places_alone() {
    const PLACES: [&str; 5] = [
        "platform/browser.rs",
        "platform/notify.rs",
        "platform/program.rs",
        "platform/unix.rs",
        "platform/wsl.rs",
    ];
    let mut found = BTreeSet::new();
    for path in sources(&root().join("src")) {
        let source = fs::read_to_string(&path).unwrap();
        let code = code(&source);
        assert!(!code.contains("bin/open"), "{}", path.display());
        if code.contains("Command::new(") && !code.contains("use clap::") {
            let path = path.strip_prefix(root().join("src")).unwrap();
            found.insert(path.display().to_string());
        }
    }
    assert_eq!(found, BTreeSet::from(PLACES.map(str::to_owned)));
    let browser = fs::read_to_string(root().join("src/platform/browser.rs")).unwrap();
    for (system, opens) in [
        ("macos", "super::launch_services::open(address)"),
        ("windows", "open::that_detached(address.as_str())"),
    ] {
        let (_, rest) = browser
            .split_once(&match system {
                "macos" => "#[cfg(target_os = \"macos\")]\nfn system(".to_owned(),
                system => format!("#[cfg({system})]\nfn system("),
            })
            .unwrap_or_else(|| panic!("{system}"));
        let body = rest.split("\n}").next().unwrap();
        assert!(
            body.contains(opens) && !body.contains("Command"),
            "{system}"
        );
    }
}

#[test]
fn this_test_sees_what_it_looks_for() {
    let source = "//! crate::nothing\nuse crate::{a, b::{c, d}, e as f};\nuse crate::g::h;\n\
        fn i() { crate::j::k() }\nuse gatepass_host::l;\n#[cfg(test)]\nmod tests { use crate::m; }\n";
    let names: Vec<String> = named(source).into_iter().collect();
    assert_eq!(names, ["a", "b", "e", "g", "gatepass_host", "j"]);
}
