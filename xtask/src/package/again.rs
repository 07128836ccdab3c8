//! Makes everything a second time, from another folder into another one, and compares.

use std::fs;

use super::{Package, Release, make_folder, sums};
use crate::process::{answer, command, root, run, step};

/// Fails if a file of the second run differs from that of the first.
///
/// With `--no-build` the second run packs the same binaries; otherwise it builds them again, from a clone.
pub(super) fn check(package: &Package, first: &Release) -> Result<(), String> {
    let place = first.native.join("again");
    let _ = fs::remove_dir_all(&place);
    let second = Release {
        version: first.version.clone(),
        epoch: first.epoch,
        source: if package.build {
            place.join("source")
        } else {
            root()
        },
        target_dir: place.join("built"),
        native: first.native.clone(),
        packages: place.join("packages"),
    };
    make_folder(&second.packages)?;
    step("a second time, in another folder", || {
        if package.build {
            clone(&second)?;
            package.build(&second)?;
        } else {
            copies(package, first, &second)?;
        }
        package.pack(&second)
    })?;
    let (before, after) = (sums::of(&first.packages)?, sums::of(&second.packages)?);
    let different: Vec<&str> = after
        .lines()
        .filter(|line| !before.lines().any(|other| other == *line))
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    if !different.is_empty() {
        return Err(format!(
            "not the same as the first time: {}; both are kept, the second ones in {}",
            different.join(", "),
            second.packages.display()
        ));
    }
    println!(
        "\n{} files are the same, byte for byte",
        after.lines().count()
    );
    fs::remove_dir_all(&place).map_err(|e| e.to_string())
}

/// The commit in a folder of its own.
fn clone(second: &Release) -> Result<(), String> {
    if answer("git", &["status", "--porcelain"]).is_none_or(|changed| !changed.is_empty()) {
        return Err(
            "what is built twice is the commit: commit or stash what you changed".to_owned(),
        );
    }
    run(command("git", &["clone", "--quiet", "--shared"])
        .arg(root())
        .arg(&second.source))
}

fn copies(package: &Package, first: &Release, second: &Release) -> Result<(), String> {
    let programs = package.programs(first).into_iter();
    for ((_, from), (_, to)) in programs.zip(package.programs(second)) {
        let folder = to.parent().ok_or("a program in no folder")?;
        make_folder(folder)?;
        fs::copy(&from, &to).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    Ok(())
}
