//! `.github`: workflows and the form for bug reports, checked against GitHub's schemas, since they cannot be run here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cross::toolchain::kept;
use crate::process::{command, root, run};
use crate::test::SKIPPED;

/// The checker and what it needs, each with its digest.
const PINS: &str = "xtask/workflow-requirements.txt";

/// Checks every workflow against the schema that comes with the checker.
///
/// Where it cannot be fetched, nobody looked at them: that is told as what was left out.
pub(crate) fn check() -> Result<(), String> {
    let tools = match checker(&kept()?) {
        Ok(tools) => tools,
        Err(why) => {
            println!("{SKIPPED}the workflows' schema: check-jsonschema cannot be fetched: {why}");
            return Ok(());
        }
    };
    let of = |schema: &str, files: &[PathBuf]| {
        let mut check = Command::new(tools.join("check-jsonschema"));
        check
            .current_dir(root())
            .args(["--builtin-schema", &format!("vendor.github-{schema}")])
            .args(files);
        run(&mut check)
    };
    of("workflows", &files()?)?;
    of(
        "issue-forms",
        &[PathBuf::from(".github/ISSUE_TEMPLATE/bug.yml")],
    )?;
    of(
        "issue-config",
        &[PathBuf::from(".github/ISSUE_TEMPLATE/config.yml")],
    )
}

/// Where the checker is; fetched where it is not there yet.
fn checker(kept: &Path) -> Result<PathBuf, String> {
    let wanted = fs::read_to_string(root().join(PINS)).map_err(|e| format!("{PINS}: {e}"))?;
    let place = kept.join("workflows");
    let (installed, tools) = (place.join("installed.txt"), place.join("bin"));
    if fs::read_to_string(&installed).ok().as_deref() == Some(&wanted) {
        return Ok(tools);
    }
    let _ = fs::remove_dir_all(&place);
    run(command("python3", &["-m", "venv"]).arg(&place))?;
    run(Command::new(tools.join("python"))
        .current_dir(root())
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(["--require-hashes", "--requirement", PINS]))?;
    // Written last.
    fs::write(&installed, &wanted).map_err(|e| e.to_string())?;
    Ok(tools)
}

/// All workflows.
fn files() -> Result<Vec<PathBuf>, String> {
    let folder = root().join(".github/workflows");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::files;
    use crate::process::root;

    fn texts() -> Vec<(String, String)> {
        let files = files().unwrap();
        assert!(files.len() >= 2);
        files
            .into_iter()
            .map(|file| {
                (
                    file.display().to_string(),
                    fs::read_to_string(file).unwrap(),
                )
            })
            .collect()
    }

    /// A tag can be moved to other code; a commit cannot.
    #[test]
    fn actions_are_pinned_by_commit() {
        for (file, text) in texts() {
            let uses = text.lines().filter_map(|line| line.split_once("uses: "));
            for (_, action) in uses {
                let (_, version) = action.split_once('@').unwrap();
                let commit = version.split(' ').next().unwrap();
                let is_commit =
                    commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
                assert!(is_commit && version.contains(" # v"), "{file}: {action}");
            }
        }
    }

    /// A workflow may read the repository and no more, and keeps no credentials for the commands that it runs.
    #[test]
    fn workflows_may_only_read() {
        for (file, text) in texts() {
            assert!(
                text.contains("\npermissions:\n  contents: read\n"),
                "{file}"
            );
            assert!(!text.contains(": write"), "{file}");
            assert!(!text.contains("pull_request_target"), "{file}");
            let (checkouts, kept) = (
                text.matches("actions/checkout@").count(),
                text.matches("persist-credentials: false").count(),
            );
            assert_eq!(checkouts, kept, "{file}");
        }
    }

    /// A command line stands in the machine's list of processes and, with its values, in the log.
    #[test]
    fn no_expression_stands_in_a_command() {
        for (file, text) in texts() {
            let mut of_command = None;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let indent = line.len() - line.trim_start().len();
                if of_command.is_some_and(|command| indent <= command) {
                    of_command = None;
                }
                let words = line.trim_start().trim_start_matches("- ");
                if words.starts_with("run:") {
                    // Where the word stands: the step's other keys begin in the same column.
                    of_command = Some(line.len() - words.len());
                }
                assert!(
                    of_command.is_none() || !line.contains("${{"),
                    "{file}: {line}"
                );
                // Secrets reach the job of one environment, as variables of the step that needs them.
                if line.contains("secrets.") {
                    assert!(text.contains("environment: release"), "{file}: {line}");
                }
            }
        }
    }

    #[test]
    fn every_command_is_one_of_ours() {
        for (file, text) in texts() {
            for rest in text.split("cargo xtask ").skip(1) {
                let line = rest.lines().next().unwrap();
                let line = line.replace("\"$TARGETS\"", "linux-x86_64,windows-x86_64");
                let words: Vec<&str> = line.split(' ').collect();
                let known = crate::Command::from_arguments(&words).is_some();
                assert!(known, "{file}: {line}");
            }
        }
        assert!(root().join(".ci/run").is_file());
    }
}
