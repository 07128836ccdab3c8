//! The crates that are linked into one binary: what `cargo metadata` resolves, without what only builds or tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::target::Target;
use crate::process::cargo;

/// A crate in a binary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crate {
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// Its licence, as an SPDX expression.
    pub(super) licence: String,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Where its source is developed, if it says so.
    pub(super) repository: Option<String>,
    /// Whether it is one of this workspace, and from no registry.
    pub(super) own: bool,
    /// What it needs, as `name@version`.
    pub(super) needs: BTreeSet<String>,
}

impl Crate {
    /// `name@version`.
    pub(super) fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// The crates in the binary for `target`, gatepass itself among them, sorted by name.
pub(super) fn linked(target: Target) -> Result<Vec<Crate>, String> {
    let output = cargo(&[
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        target.triple(),
    ])
    .output()
    .map_err(|e| format!("cargo metadata: {e}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("cargo metadata is not JSON: {e}"))?;
    reachable(&metadata).ok_or_else(|| "cargo metadata lacks what is needed".to_owned())
}

/// The SHA-256 of each crate's archive, by `name@version`, as the lock file has them.
pub(super) fn checksums() -> Result<BTreeMap<String, String>, String> {
    let lock = super::read(&crate::process::root().join("Cargo.lock"))?;
    let lock: toml::Table = lock.parse().map_err(|e| format!("Cargo.lock: {e}"))?;
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    Ok(lock
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let id = format!("{}@{}", text(package, "name")?, text(package, "version")?);
            Some((id, text(package, "checksum")?))
        })
        .collect())
}

/// What gatepass reaches by normal dependencies, leaving out macros, which run in the compiler alone.
fn reachable(metadata: &Value) -> Option<Vec<Crate>> {
    let packages: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()?
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()?
        .iter()
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let is_macro = |package: &Value| {
        package["targets"].as_array().is_some_and(|targets| {
            targets.iter().any(|target| {
                target["kind"]
                    .as_array()
                    .is_some_and(|kinds| kinds.iter().any(|kind| kind == "proc-macro"))
            })
        })
    };
    let name = |id: &str| {
        let package = packages.get(id)?;
        Some(format!(
            "{}@{}",
            package["name"].as_str()?,
            package["version"].as_str()?
        ))
    };
    let start = packages
        .iter()
        .find(|(_, package)| package["name"] == "gatepass")
        .map(|(id, _)| *id)?;
    let mut todo = vec![start];
    let mut found = BTreeMap::new();
    while let Some(id) = todo.pop() {
        if found.contains_key(id) {
            continue;
        }
        let package = packages.get(id)?;
        let needed: Vec<&str> = nodes
            .get(id)?
            .get("deps")?
            .as_array()?
            .iter()
            .filter(|dependency| {
                dependency["dep_kinds"]
                    .as_array()
                    .is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
            })
            .filter_map(|dependency| dependency["pkg"].as_str())
            .filter(|id| packages.get(id).is_some_and(|package| !is_macro(package)))
            .collect();
        todo.extend(&needed);
        let manifest = PathBuf::from(package["manifest_path"].as_str()?);
        found.insert(
            id,
            Crate {
                name: package["name"].as_str()?.to_owned(),
                version: package["version"].as_str()?.to_owned(),
                licence: package["license"].as_str()?.replace('/', " OR "),
                folder: manifest.parent()?.to_path_buf(),
                own: package["source"].is_null(),
                repository: package["repository"].as_str().map(str::to_owned),
                needs: needed.iter().filter_map(|id| name(id)).collect(),
            },
        );
    }
    let mut crates: Vec<Crate> = found.into_values().collect();
    crates.sort();
    Some(crates)
}

#[cfg(test)]
mod tests {
    use super::{checksums, linked, reachable};
    use crate::package::target::Target;
    use serde_json::json;

    #[test]
    fn what_only_builds_or_tests_is_left_out() {
        let package = |name: &str, kind: &str| {
            json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0",
                "manifest_path": format!("/{name}/Cargo.toml"), "targets": [{"kind": [kind]}]})
        };
        let need = |name: &str, kind| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [package("gatepass", "lib"), package("used", "lib"), package("built", "lib"),
                package("tested", "lib"), package("derive", "proc-macro")],
            "resolve": {"nodes": [
                {"id": "gatepass", "deps": [need("used", json!(null)), need("built", json!("build")),
                    need("tested", json!("dev"))]},
                {"id": "used", "deps": [need("derive", json!(null))]},
            ]},
        });
        let crates = reachable(&metadata).expect("complete metadata");
        let names: Vec<_> = crates.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["gatepass", "used"]);
        assert_eq!(crates[1].licence, "MIT OR Apache-2.0");
        assert_eq!(crates[0].needs.iter().collect::<Vec<_>>(), ["used@1.0.0"]);
    }

    #[test]
    fn systems_differ_and_every_crate_from_the_registry_has_a_checksum() {
        let names = |target| {
            linked(target)
                .expect("metadata")
                .into_iter()
                .map(|one| one.name)
                .collect::<Vec<_>>()
        };
        let linux = names(Target::LinuxX64);
        assert!(linux.contains(&"zbus".to_owned()), "{linux:?}");
        assert!(!linux.contains(&"proptest".to_owned()), "{linux:?}");
        assert!(!names(Target::WindowsX64).contains(&"zbus".to_owned()));
        let checksums = checksums().expect("a lock file");
        for one in linked(Target::LinuxX64).expect("metadata") {
            assert!(one.own != checksums.contains_key(&one.id()), "{}", one.id());
        }
        let own: Vec<_> = linked(Target::LinuxX64)
            .expect("metadata")
            .into_iter()
            .filter(|one| one.own)
            .map(|one| one.name)
            .collect();
        assert_eq!(own, ["gatepass", "gatepass-host"]);
    }
}
