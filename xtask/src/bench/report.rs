//! What was measured, for people and for the next time.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use super::count::{Cost, Counts};
use super::time::{Pairs, Spread};
use super::{CALLERS, CROWDS, Crowds, MEBIBYTE, PAIRS, REFRESHES, Refreshes};
use crate::process::{answer, root};

/// Between these two lines of docs/performance.md stands what was measured; the rest is written by hand.
const BEGIN: &str = "<!-- Written by `cargo xtask bench --write`: -->";
const END: &str = "<!-- End of what was written. -->";

/// A count may grow by so many hundredths of what was written down.
const GROWTH: f64 = 5.0;

/// Everything that was measured.
pub(super) struct Measured {
    pub(super) hot: Pairs,
    pub(super) keychain: Pairs,
    /// A silent run that knows from its state file that nobody is signed in.
    pub(super) silent: Pairs,
    /// One that has to ask the keychain.
    pub(super) never: Pairs,
    pub(super) refreshes: Refreshes,
    pub(super) crowds: Crowds,
    /// Peak memory of a hot run, in bytes.
    pub(super) memory: u64,
    /// Size of the binary, in bytes.
    pub(super) size: u64,
    pub(super) counts: Counts,
    /// What the program that does nothing costs.
    pub(super) floor: Cost,
}

/// One line of the list of costs.
struct Row {
    what: &'static str,
    measured: String,
    target: String,
    met: Option<bool>,
}

impl Row {
    fn free(what: &'static str, measured: String) -> Self {
        Self {
            what,
            measured,
            target: String::new(),
            met: None,
        }
    }

    fn target(what: &'static str, measured: String, target: impl Into<String>, met: bool) -> Self {
        Self {
            what,
            measured,
            target: target.into(),
            met: Some(met),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.met {
            None => "",
            Some(true) => "yes",
            Some(false) => "**no**",
        }
    }
}

fn milliseconds(spread: &Spread) -> String {
    let Spread {
        median,
        quick,
        slow,
    } = spread;
    format!("{median:.2} ({quick:.2} to {slow:.2})")
}

impl Measured {
    fn table(&self) -> String {
        let mut out = String::from(
            "| a run of gatepass that … | ms | compared with | ms | difference | target | met |\n\
             |---|--:|---|--:|--:|--:|---|\n",
        );
        let compared = [
            (
                "prints a good token, `cache = \"auto\"`",
                &self.hot,
                "an empty program",
                Some(0.5),
            ),
            (
                "prints a good token, `cache = \"keychain\"`",
                &self.keychain,
                "`secret-tool lookup` of the same entry",
                None,
            ),
            (
                "may not prompt, after a sign-out",
                &self.silent,
                "an empty program",
                Some(3.0),
            ),
            (
                "may not prompt, where nobody ever signed in",
                &self.never,
                "an empty program",
                None,
            ),
        ];
        for (what, pairs, other, target) in compared {
            let (difference, quick) = (pairs.difference(), pairs.quick_difference());
            let (target, met) = match target {
                None => (String::new(), ""),
                Some(most) if difference <= most => (format!("≤ {most}"), "yes"),
                Some(most) => (format!("≤ {most}"), "**no**"),
            };
            let _ = writeln!(
                out,
                "| {what} | {} | {other} | {} | {difference:+.2} ({quick:+.2}) | {target} | {met} |",
                milliseconds(&pairs.gatepass),
                milliseconds(&pairs.other),
            );
        }
        out.push_str("\n| what | measured | target | met |\n|---|--:|--:|---|\n");
        for row in self.rows() {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                row.what,
                row.measured,
                row.target,
                row.verdict()
            );
        }
        out
    }

    fn rows(&self) -> Vec<Row> {
        let Counts {
            hot,
            silent,
            requests,
        } = &self.counts;
        let mebibytes = |bytes: u64| format!("{:.2} MiB", bytes as f64 / MEBIBYTE as f64);
        let instructions = |cost: &Cost| {
            let floor = self.floor.instructions;
            let own = cost.instructions.saturating_sub(floor);
            format!(
                "{} k ({} k over an empty program)",
                cost.instructions / 1000,
                own / 1000
            )
        };
        let calls = |cost: &Cost| format!("{} ({} its own)", cost.calls, cost.own_calls);
        vec![
            Row::target(
                "hot run: instructions",
                instructions(hot),
                "≤ 700 k",
                hot.instructions <= 700_000,
            ),
            Row::target(
                "hot run: system calls",
                calls(hot),
                "< 120",
                hot.calls < 120,
            ),
            Row::target(
                "hot run: peak memory",
                mebibytes(self.memory),
                "≤ 6 MiB",
                self.memory <= 6 * MEBIBYTE,
            ),
            Row::free(
                "silent run after a sign-out: instructions",
                instructions(silent),
            ),
            Row::free("silent run after a sign-out: system calls", calls(silent)),
            Row::free("refresh: time, ms", milliseconds(&self.refreshes.time)),
            Row::target(
                "refresh: processor time, all of gatepass's processes",
                format!("{:.1} ms", self.refreshes.processor),
                "≤ 15 ms",
                self.refreshes.processor <= 15.0,
            ),
            Row::target(
                "refresh: requests to the provider",
                format!("{requests}"),
                "1",
                *requests == 1.0,
            ),
            Row::target(
                "50 callers at once, token expired, provider takes 100 ms: until all are answered, ms",
                milliseconds(&self.crowds.time),
                "≤ 1500",
                self.crowds.time.median <= 1500.0,
            ),
            Row::target(
                "the same: refreshes",
                self.crowds.refreshes.to_string(),
                "1",
                self.crowds.refreshes == 1,
            ),
            Row::target(
                "size of the binary",
                mebibytes(self.size),
                "≤ 6 MiB",
                self.size <= 6 * MEBIBYTE,
            ),
        ]
    }
}

/// How busy the machine is, as its kernel says it.
pub(super) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// The machine, one fact on each line.
fn machine(load: &str) -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let after = |text: &str, key: &str, separator: char| {
        let mut lines = text.lines().filter(|line| line.starts_with(key));
        let value = lines.next().and_then(|line| line.split_once(separator));
        value.map_or_else(String::new, |(_, value)| {
            value.trim().trim_matches('"').to_owned()
        })
    };
    let first_line = |program: &str, arguments: &[&str]| {
        let said = answer(program, arguments).unwrap_or_default();
        said.lines().next().unwrap_or_default().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let facts = [
        ("date", first_line("date", &["-u", "+%Y-%m-%d"])),
        (
            "processor",
            format!(
                "{} cores of {}",
                cores,
                after(&read("/proc/cpuinfo"), "model name", ':')
            ),
        ),
        ("load before", load.to_owned()),
        (
            "kernel",
            format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        ),
        (
            "system",
            after(&read("/etc/os-release"), "PRETTY_NAME=", '='),
        ),
        ("compiler", first_line("rustc", &["--version"])),
        ("counted with", first_line("valgrind", &["--version"])),
    ];
    facts.iter().fold(String::new(), |mut out, (name, value)| {
        let _ = writeln!(out, "- {name}: {value}");
        out
    })
}

pub(super) fn show(measured: &Measured) {
    println!("\n{}", measured.table());
    for (what, cost) in [
        ("hot run", &measured.counts.hot),
        ("silent run", &measured.counts.silent),
    ] {
        println!("{what}, its own system calls: {}", by_name(cost));
    }
}

fn by_name(cost: &Cost) -> String {
    let names: Vec<String> = cost
        .by_name
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    names.join(", ")
}

/// Puts what was measured into the documentation, and the counts where `check` finds them.
pub(super) fn write(measured: &Measured, load: &str) -> Result<(), String> {
    let file = root().join("docs/performance.md");
    let old = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let (before, rest) = old
        .split_once(BEGIN)
        .ok_or_else(|| format!("{} has no line {BEGIN}", file.display()))?;
    let (_, after) = rest
        .split_once(END)
        .ok_or_else(|| format!("{} has no line {END}", file.display()))?;
    let text = format!(
        "{before}{BEGIN}\n\n{}\n{}\n\
         Medians; in parentheses what a tenth undercut and a tenth exceeded, and the difference of the quick tenths. \
         {PAIRS} pairs of runs, {REFRESHES} refreshes, {CROWDS} times {CALLERS} callers. A hot run is one that \
         prints a good token, `cache = \"auto\"`.\n\n\
         The hot run's own system calls: {}.\n\n{END}{after}",
        machine(load),
        measured.table(),
        by_name(&measured.counts.hot),
    );
    fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    let file = baseline_file();
    fs::write(&file, baseline(&measured.counts)).map_err(|e| format!("{}: {e}", file.display()))?;
    println!("written to docs/performance.md and xtask/bench-baseline.toml");
    Ok(())
}

fn baseline_file() -> PathBuf {
    root().join("xtask/bench-baseline.toml")
}

fn guarded(counts: &Counts) -> [(&'static str, f64); 5] {
    [
        ("hot_run_instructions", counts.hot.instructions as f64),
        ("hot_run_system_calls", counts.hot.calls as f64),
        ("silent_run_instructions", counts.silent.instructions as f64),
        ("silent_run_system_calls", counts.silent.calls as f64),
        ("refresh_requests", counts.requests),
    ]
}

fn baseline(counts: &Counts) -> String {
    let mut out = String::from(
        "# Written by `cargo xtask bench --write`. `cargo xtask bench --check` fails where one grows by more than 5 %.\n",
    );
    for (name, count) in guarded(counts) {
        let _ = writeln!(out, "{name} = {count}");
    }
    out
}

/// Compares with what was written down.
pub(super) fn check(counts: &Counts) -> Result<(), String> {
    let file = baseline_file();
    let baseline = fs::read_to_string(&file).map_err(|e| {
        format!(
            "{}: {e} (`cargo xtask bench --write` makes it)",
            file.display()
        )
    })?;
    let mut grown = Vec::new();
    for (name, count) in guarded(counts) {
        let before = written(&baseline, name)
            .ok_or_else(|| format!("{} does not name {name}", file.display()))?;
        let change = growth(before, count);
        println!("{name}: {count}, was {before} ({change:+.1} %)");
        if change > GROWTH {
            grown.push(name);
        } else if change < -GROWTH {
            println!("  write that down: cargo xtask bench --write");
        }
    }
    if grown.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "grown by more than {GROWTH} %: {}",
            grown.join(", ")
        ))
    }
}

/// By how many hundredths a count has grown.
fn growth(before: f64, now: f64) -> f64 {
    (now - before) / before * 100.0
}

/// A number that was written down.
fn written(baseline: &str, name: &str) -> Option<f64> {
    baseline
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .find(|(key, _)| *key == name)
        .and_then(|(_, number)| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Counts, baseline, growth, guarded, written};
    use crate::bench::count::Cost;

    #[test]
    fn what_is_written_down_is_read_again() {
        let cost = |instructions| Cost {
            instructions,
            calls: 90,
            ..Cost::default()
        };
        let counts = Counts {
            hot: cost(612_345),
            silent: cost(1_000_000),
            requests: 1.0,
        };
        let text = baseline(&counts);
        for (name, count) in guarded(&counts) {
            assert_eq!(written(&text, name), Some(count), "{name} in {text}");
        }
        assert_eq!(written(&text, "run_instructions"), None);
    }

    #[test]
    fn growth_is_in_hundredths() {
        assert_eq!(growth(200.0, 210.0), 5.0);
        assert_eq!(growth(200.0, 100.0), -50.0);
    }
}
