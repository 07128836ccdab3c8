//! The report: one line per check, and the machine.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It holds; what was seen.
    Held(String),
    /// It does not; what was seen.
    Failed(String),
    /// It could not be tried here, and why.
    NotTried(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Held(_) => "holds",
            Self::Failed(_) => "FAILED",
            Self::NotTried(_) => "not tried",
        }
    }

    fn seen(&self) -> &str {
        match self {
            Self::Held(seen) | Self::Failed(seen) | Self::NotTried(seen) => seen,
        }
    }
}

/// Why a check did not hold.
#[derive(Debug)]
pub(super) enum Why {
    Failed(String),
    NotTried(String),
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<&str> for Why {
    fn from(why: &str) -> Self {
        Self::Failed(why.to_owned())
    }
}

impl From<crate::stage::place::NotHere> for Why {
    fn from(why: crate::stage::place::NotHere) -> Self {
        Self::NotTried(why.0)
    }
}

struct Check {
    promise: String,
    outcome: Outcome,
    took: Duration,
}

/// What was found out, in the order in which it was.
#[derive(Default)]
pub(super) struct Report {
    facts: Vec<(String, String)>,
    checks: Vec<Check>,
    doctor: Vec<(String, String)>,
    /// What stands in place of a text that says who somebody is, or is a secret.
    hidden: Vec<(String, &'static str)>,
}

impl Report {
    /// A report without the names of the person's folders.
    pub(super) fn new() -> Self {
        let mut report = Self::default();
        for variable in ["HOME", "USERPROFILE"] {
            if let Ok(home) = std::env::var(variable)
                && home.len() > 3
            {
                report.hidden.push((home, "~"));
            }
        }
        report
    }

    /// Something about the machine.
    pub(super) fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.facts.push((name.to_owned(), value.into()));
    }

    /// A check of `gatepass doctor` and what it found.
    pub(super) fn doctor(&mut self, check: &str, found: &str) {
        self.doctor.push((check.to_owned(), found.to_owned()));
    }

    /// From now on this stands nowhere in the report.
    pub(super) fn hide(&mut self, secrets: impl IntoIterator<Item = String>) {
        let secrets = secrets.into_iter().filter(|secret| secret.len() > 3);
        self.hidden
            .extend(secrets.map(|secret| (secret, "(hidden)")));
    }

    /// Hides what a folder is called.
    pub(super) fn hide_folder(&mut self, folder: &Path) {
        self.hidden
            .insert(0, (folder.display().to_string(), "(folder of the run)"));
    }

    /// Tries something, says how it ended and keeps that. The error is the person's interruption.
    pub(super) fn check(
        &mut self,
        promise: &str,
        work: impl FnOnce() -> Result<String, Why>,
    ) -> Result<(), String> {
        crate::stage::interrupted()?;
        let started = Instant::now();
        // The test kit stops by a panic.
        let done = crate::stage::caught(|| Ok(work()));
        let outcome = match done {
            Ok(Ok(seen)) => Outcome::Held(seen),
            Ok(Err(Why::NotTried(why))) => Outcome::NotTried(why),
            Ok(Err(Why::Failed(why))) | Err(why) => Outcome::Failed(why),
        };
        let check = Check {
            promise: promise.to_owned(),
            outcome,
            took: started.elapsed(),
        };
        println!("{}", self.cleaned(&line(&check)));
        self.checks.push(check);
        crate::stage::interrupted()
    }

    /// How many checks failed.
    pub(super) fn failed(&self) -> usize {
        self.count("FAILED")
    }

    fn count(&self, word: &str) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.outcome.word() == word).count()
    }

    fn cleaned(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (hidden, instead) in &self.hidden {
            text = text.replace(hidden, instead);
        }
        text
    }

    /// The report as one pastes it.
    pub(super) fn in_markdown(&self) -> String {
        let cell = |text: &str| text.replace(['\r', '\n'], " ").replace('|', r"\|");
        let mut text = String::from("## gatepass on this machine\n\n| | |\n|---|---|\n");
        for (name, value) in &self.facts {
            let _ = writeln!(text, "| {name} | {} |", cell(value));
        }
        text.push_str("\n| check | outcome | seconds | seen |\n|---|---|---|---|\n");
        for check in &self.checks {
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {} |",
                check.promise,
                check.outcome.word(),
                check.took.as_secs_f64(),
                cell(check.outcome.seen())
            );
        }
        if !self.doctor.is_empty() {
            text.push_str("\n`gatepass doctor`: ");
            let found = self.doctor.iter();
            let found: Vec<String> = found
                .map(|(check, found)| format!("{check} {found}"))
                .collect();
            let _ = writeln!(text, "{}", found.join(", "));
        }
        let _ = writeln!(
            text,
            "\n{} hold, {} failed, {} not tried",
            self.count("holds"),
            self.failed(),
            self.count("not tried")
        );
        self.cleaned(&text)
    }
}

fn line(check: &Check) -> String {
    let seen = check.outcome.seen();
    let seen = if seen.is_empty() {
        String::new()
    } else {
        format!("\n{:>21}{seen}", "")
    };
    format!(
        "{:<9} {:>6.1} s   {}{seen}",
        check.outcome.word(),
        check.took.as_secs_f64(),
        check.promise
    )
}

#[cfg(test)]
mod tests {
    use super::{Report, Why};

    #[test]
    fn the_report_counts_and_hides() {
        let mut report = Report::default();
        report.hide(["s3cret-token".to_owned()]);
        report.fact("system", "a | b");
        report
            .check("it holds", || Ok("seen s3cret-token".to_owned()))
            .unwrap();
        report
            .check("it fails", || Err(Why::Failed("two\nlines".to_owned())))
            .unwrap();
        report
            .check("it is not here", || Err(Why::NotTried("why".to_owned())))
            .unwrap();
        let text = report.in_markdown();
        assert!(text.contains("| system | a \\| b |"), "{text}");
        assert!(
            text.contains("| it holds | holds | 0.0 | seen (hidden) |"),
            "{text}"
        );
        assert!(text.contains("| two lines |"), "{text}");
        assert!(text.ends_with("1 hold, 1 failed, 1 not tried\n"), "{text}");
        assert_eq!(report.failed(), 1);
    }

    #[test]
    fn a_stopped_test_kit_is_a_failure() {
        let mut report = Report::default();
        report
            .check("it stops", || unreachable!("so it does"))
            .unwrap();
        assert_eq!(report.failed(), 1);
        assert!(report.in_markdown().contains("so it does"));
    }
}
