//! What was measured, for people and for the next time.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use super::count::{Cost, Counts};
use super::peers::Peer;
use super::time::{Pairs, Spread};
use super::{CROWDS, Crowd, MEBIBYTE, PAIRS, REFRESHES, Refreshes, plot};
use crate::process::{answer, root};

/// Between these two lines of docs/performance.md stands what was measured; the rest is written by hand.
const BEGIN: &str = "<!-- Written by `cargo xtask bench --write`: -->";
const END: &str = "<!-- End of what was written. -->";

/// A count may grow by so many hundredths of what was written down.
const GROWTH: f64 = 5.0;

/// Everything that was measured.
pub(super) struct Measured {
    /// A run that ends before it has read anything.
    pub(super) at_once: Pairs,
    pub(super) hot: Pairs,
    /// A hot run below a large policy, or why that is not known.
    pub(super) large_policy: Result<Pairs, String>,
    /// A hot run with a token of 16 KiB.
    pub(super) large_token: Pairs,
    pub(super) keychain: Pairs,
    /// A silent run that knows from its state file that nobody is signed in.
    pub(super) silent: Pairs,
    /// One that has to ask the keychain.
    pub(super) never: Pairs,
    pub(super) refreshes: Refreshes,
    pub(super) crowds: Vec<Crowd>,
    /// Peak memory of a hot run, in bytes.
    pub(super) memory: u64,
    /// Peak memory of a worker whose provider does not answer yet, in bytes.
    pub(super) worker_memory: u64,
    /// Size of the binary, in bytes.
    pub(super) size: u64,
    pub(super) counts: Counts,
    pub(super) peers: Vec<Peer>,
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
                0.5,
            ),
            (
                "prints a good token, `cache = \"keychain\"`",
                &self.keychain,
                "`secret-tool lookup` of the same entry",
                0.0,
            ),
            (
                "may not prompt, after a sign-out",
                &self.silent,
                "an empty program",
                3.0,
            ),
            (
                "may not prompt, where nobody ever signed in",
                &self.never,
                "an empty program",
                3.0,
            ),
            (
                "prints a good token of 16 KiB",
                &self.large_token,
                "a token of 1.8 kB",
                0.2,
            ),
        ];
        let large_policy = self.large_policy.as_ref().ok().map(|pairs| {
            let what = "prints a good token, with a policy of 16 KiB †";
            (what, pairs, "without it †", 1.5)
        });
        for (what, pairs, other, target) in compared.into_iter().chain(large_policy) {
            let (difference, quick) = (pairs.difference(), pairs.quick_difference());
            let met = if difference <= target {
                "yes"
            } else {
                "**no**"
            };
            let target = if target > 0.0 {
                format!("≤ {target}")
            } else {
                "quicker".to_owned()
            };
            let _ = writeln!(
                out,
                "| {what} | {} | {other} | {} | {difference:+.2} ({quick:+.2}) | {target} | {met} |",
                milliseconds(&pairs.gatepass),
                milliseconds(&pairs.other),
            );
        }
        match &self.large_policy {
            Ok(_) => out.push_str("\n† Both started by `nsenter`, which shows the run a policy and takes its own time.\n"),
            Err(why) => {
                let _ = writeln!(out, "\nNot measured with a policy of 16 KiB: {why}.");
            }
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
            large_policy,
            requests,
            ..
        } = &self.counts;
        let mebibytes = |bytes: u64| format!("{:.2} MiB", bytes as f64 / MEBIBYTE as f64);
        let instructions = |cost: &Cost| {
            let own = self.counts.over_empty(cost);
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
            Row::target(
                "worker that waits for the provider: peak memory",
                mebibytes(self.worker_memory),
                "≤ 25 MiB",
                self.worker_memory <= 25 * MEBIBYTE,
            ),
            Row::free(
                "silent run after a sign-out: instructions",
                instructions(silent),
            ),
            Row::free("silent run after a sign-out: system calls", calls(silent)),
            Row::free(
                "hot run with a policy of 16 KiB: instructions",
                match large_policy {
                    Ok(cost) => instructions(cost),
                    Err(why) => why.clone(),
                },
            ),
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
                "size of the binary",
                mebibytes(self.size),
                "≤ 7 MiB",
                self.size <= 7 * MEBIBYTE,
            ),
        ]
    }

    /// Many callers at once.
    fn crowds(&self) -> String {
        let mut out = String::from(
            "| callers at once | good token: until all are answered, ms | expired token, provider takes 100 ms: ms | refreshes | target | met |\n\
             |--:|--:|--:|--:|--:|---|\n",
        );
        for crowd in &self.crowds {
            let target = (crowd.callers == 50).then_some(1500.0);
            let met = match target {
                None => "",
                Some(most) if crowd.expired.median <= most && crowd.refreshes == 1 => "yes",
                Some(_) => "**no**",
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {met} |",
                crowd.callers,
                milliseconds(&crowd.good),
                milliseconds(&crowd.expired),
                crowd.refreshes,
                target.map_or_else(String::new, |most| format!("≤ {most} ms, 1 refresh")),
            );
        }
        out
    }

    /// What a hot run's time consists of: each run goes one step further than the one before.
    fn steps(&self) -> [(&'static str, f64); 4] {
        let (start, known) = (self.at_once.difference(), self.silent.difference());
        [
            ("an empty C program", self.hot.other.median),
            ("loading gatepass, Rust's runtime", start),
            ("configuration, state", known - start),
            ("cached token, answer", self.hot.difference() - known),
        ]
    }

    /// The drawings, by name.
    fn drawings(&self) -> [(&'static str, String); 2] {
        let series = |time: fn(&Crowd) -> f64| -> Vec<(usize, f64)> {
            let crowds = self.crowds.iter();
            crowds.map(|crowd| (crowd.callers, time(crowd))).collect()
        };
        let (good, expired) = (
            series(|crowd| crowd.good.median),
            series(|crowd| crowd.expired.median),
        );
        [
            (
                "performance-hot-run.svg",
                plot::steps("Where the time of a hot run goes", &self.steps()),
            ),
            (
                "performance-callers.svg",
                plot::callers(
                    "Many callers at once",
                    [
                        ("good token", &good),
                        ("expired token, provider takes 100 ms", &expired),
                    ],
                ),
            ),
        ]
    }
}

/// gatepass and the others.
pub(super) fn peers(peers: &[Peer]) -> String {
    let mut out = String::from(
        "| gatepass prints a good token, `cache = \"auto\"`, ms | by turns with | ms | difference |\n\
         |--:|---|--:|--:|\n",
    );
    let mut missing = Vec::new();
    for Peer { name, measured } in peers {
        match measured {
            Ok(pairs) => {
                let _ = writeln!(
                    out,
                    "| {} | {name} | {} | {:+.2} ({:+.2}) |",
                    milliseconds(&pairs.gatepass),
                    milliseconds(&pairs.other),
                    pairs.difference(),
                    pairs.quick_difference(),
                );
            }
            Err(why) => missing.push(format!("{name}: {why}")),
        }
    }
    if !missing.is_empty() {
        let _ = write!(out, "\nNot measured: {}.\n", missing.join("; "));
    }
    out
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
    let others = peers(&measured.peers);
    println!("\n{}\n{}\n{others}", measured.table(), measured.crowds());
    for (what, time) in measured.steps() {
        println!("{what}: {:.0} µs", time * 1000.0);
    }
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
    let [hot_run, callers] = measured.drawings();
    let steps: Vec<String> = measured
        .steps()
        .iter()
        .map(|(what, time)| format!("{what} {:.0} µs", time * 1000.0))
        .collect();
    let text = format!(
        "{before}{BEGIN}\n\n{}\n{}\n{}\n\
         Medians; in parentheses what a tenth undercut and a tenth exceeded, and the difference of the quick tenths. \
         {PAIRS} pairs of runs, {REFRESHES} refreshes, {CROWDS} times each number of callers. A hot run is one that \
         prints a good token, `cache = \"auto\"`.\n\n\
         The hot run's own system calls: {}.\n\n\
         ![Where the time of a hot run goes: {}]({})\n\n\
         {}\n![How the time until all are answered grows with the number of callers; the table above has the numbers]({})\n\n{END}{after}",
        machine(load),
        measured.table(),
        peers(&measured.peers),
        by_name(&measured.counts.hot),
        steps.join(", "),
        hot_run.0,
        measured.crowds(),
        callers.0,
    );
    for (name, drawing) in [hot_run, callers] {
        let file = root().join("docs").join(name);
        fs::write(&file, drawing).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    let file = baseline_file();
    fs::write(&file, baseline(&measured.counts)).map_err(|e| format!("{}: {e}", file.display()))?;
    println!("written to docs/performance.md, its drawings and xtask/bench-baseline.toml");
    Ok(())
}

fn baseline_file() -> PathBuf {
    root().join("xtask/bench-baseline.toml")
}

/// Instructions count from those of an empty program on: the loader and the C library are the system's.
fn guarded(counts: &Counts) -> Vec<(&'static str, f64)> {
    let own = |cost: &Cost| counts.over_empty(cost) as f64;
    let calls = |cost: &Cost| cost.calls.saturating_sub(counts.empty.calls) as f64;
    let mut guarded = vec![
        ("hot_run_instructions", own(&counts.hot)),
        ("hot_run_system_calls", calls(&counts.hot)),
        ("silent_run_instructions", own(&counts.silent)),
        ("silent_run_system_calls", calls(&counts.silent)),
        ("refresh_requests", counts.requests),
    ];
    if let Ok(cost) = &counts.large_policy {
        guarded.push(("run_with_16_kib_policy_instructions", own(cost)));
        guarded.push(("run_with_16_kib_policy_system_calls", calls(cost)));
    }
    guarded
}

fn baseline(counts: &Counts) -> String {
    let mut out = String::from(
        "# Written by `cargo xtask bench --write`. `cargo xtask bench --check` fails where one grows by more than 5 %.\n\
         # Instructions and system calls are those that an empty program does not need.\n",
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
    if let Err(why) = &counts.large_policy {
        println!("not counted with a policy of 16 KiB: {why}");
    }
    let mut grown = Vec::new();
    for (name, count) in guarded(counts) {
        let before = written(&baseline, name).ok_or_else(|| {
            format!(
                "{} does not name {name} ({count} now): cargo xtask bench --write",
                file.display()
            )
        })?;
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
            large_policy: Ok(cost(1_500_000)),
            empty: Cost {
                calls: 30,
                ..cost(100_000)
            },
            requests: 1.0,
        };
        let text = baseline(&counts);
        for (name, count) in guarded(&counts) {
            assert_eq!(written(&text, name), Some(count), "{name} in {text}");
        }
        assert_eq!(written(&text, "run_instructions"), None);
        assert_eq!(written(&text, "hot_run_system_calls"), Some(60.0));
    }

    #[test]
    fn growth_is_in_hundredths() {
        assert_eq!(growth(200.0, 210.0), 5.0);
        assert_eq!(growth(200.0, 100.0), -50.0);
    }
}
