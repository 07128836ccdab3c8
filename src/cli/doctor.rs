//! `gatepass doctor`: a line for each check as soon as it is done, and a remedy below what is not good.

use std::io::IsTerminal;

use super::args::{Args, DoctorArgs};
use super::{config, run};
use crate::config::Sources;
use crate::config::policy::Policy;
use crate::config::redirect_path;
use crate::error::{Failure, Result};
use crate::output;
use crate::usecase::doctor::bundle::{Bundle, Contents};
use crate::usecase::doctor::{Check, CheckResult, DoctorReport, Examination};
use crate::{logging, text};

/// Lines of the log that go into a bundle.
const LOG_LINES: usize = 200;

/// Width of the first two columns.
const OUTCOME: usize = 9;
const NAME: usize = 20;

pub(super) fn doctor(args: &Args, doctor: &DoctorArgs) -> Result<()> {
    let bundle = doctor.bundle.as_deref().map(Bundle::create).transpose()?;
    let profile = run::profile(args)?;
    let policy = Policy::read();
    let sources = Sources::read(args.config.as_deref());
    let settings = match &sources {
        Ok(sources) => crate::config::load(sources, &profile),
        Err(failure) => Err(failure.clone()),
    };
    if let Ok(settings) = &settings {
        logging::keep(settings);
    }
    let examination = Examination {
        profile: profile.as_str(),
        policy: policy.as_ref().map(Option::as_ref),
        configuration: settings.as_ref(),
        file: sources
            .as_ref()
            .ok()
            .map(|sources| sources.file.path.as_path()),
        profiles: sources.as_ref().map_or_else(
            |_| Vec::new(),
            |sources| sources.profiles().iter().map(ToString::to_string).collect(),
        ),
        neighbours: match (&sources, &settings) {
            (Ok(sources), Ok(settings)) => redirect_path::neighbours(sources, settings),
            _ => Vec::new(),
        },
        model: doctor.model.as_deref(),
        machine: doctor.machine,
    };
    let look = Look::here();
    let mut unprinted = None;
    let report = examination.run(&mut |check| {
        if !doctor.json && unprinted.is_none() {
            unprinted = output::print(look.line(check).as_bytes()).err();
        }
    });
    if let Some(failure) = unprinted {
        return Err(failure);
    }
    let written = bundle.map(|bundle| {
        bundle.write(&Contents {
            report: &report,
            configuration: config::effective(args).unwrap_or_else(|failure| failure.what),
            settings: settings.as_ref().ok(),
            log: logging::tail(LOG_LINES),
        })
    });
    if doctor.json {
        let mut json = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::internal(error.to_string()))?;
        json.push('\n');
        output::print(json.as_bytes())?;
    } else {
        output::print(summary(&report).as_bytes())?;
    }
    if let Some(path) = &doctor.bundle
        && !doctor.json
    {
        let words = format!("wrote {}; read it before you send it\n", path.display());
        output::print(words.as_bytes())?;
    }
    written.unwrap_or(Ok(()))?;
    let Some(failure) = report.failure().cloned() else {
        return Ok(());
    };
    match &settings {
        Ok(settings) => run::with_support(settings, Err(failure)),
        Err(_) => Err(failure),
    }
}

fn summary(report: &DoctorReport) -> String {
    let counts: Vec<String> = ["failed", "warning", "skipped", "ok"]
        .into_iter()
        .filter(|word| report.count(word) > 0)
        .map(|word| format!("{} {word}", report.count(word)))
        .collect();
    format!("\n{}\n", counts.join(", "))
}

/// How lines look where standard output goes.
struct Look {
    colour: bool,
    /// The terminal's width; lines that go elsewhere stay whole, so that they can be searched.
    width: Option<usize>,
}

impl Look {
    fn here() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: terminal && !set("NO_COLOR") && !dumb,
            width: terminal
                .then(terminal_size::terminal_size)
                .flatten()
                .map(|(width, _)| usize::from(width.0)),
        }
    }

    fn line(&self, check: &Check) -> String {
        let word = check.finding.word();
        let head = format!("{:NAME$}", check.id);
        let indent = OUTCOME + NAME;
        let mut out = format!("{}{head}", self.coloured(&check.finding, word));
        out.push_str(&self.wrapped(check.finding.what(), indent));
        out.push('\n');
        if let Some(remedy) = check.finding.remedy() {
            out.push_str(&" ".repeat(indent));
            out.push_str(&self.wrapped(&format!("try: {remedy}"), indent));
            out.push('\n');
        }
        out
    }

    fn wrapped(&self, text: &str, indent: usize) -> String {
        match self.width {
            Some(width) => text::wrapped(text, indent, width),
            None => text.to_owned(),
        }
    }

    fn coloured(&self, finding: &CheckResult, word: &str) -> String {
        let padded = format!("{word:OUTCOME$}");
        let code = match finding {
            CheckResult::Ok(_) => "32",
            CheckResult::Warning { .. } => "33",
            CheckResult::Failed(_) => "1;31",
            CheckResult::Skipped { .. } => "2",
        };
        if self.colour {
            format!("\u{1b}[{code}m{padded}\u{1b}[0m")
        } else {
            padded
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_outcome_the_id_and_below_it_the_remedy() {
        let check = Check {
            id: "gateway",
            finding: CheckResult::Warning {
                what: "something is odd here".to_owned(),
                remedy: "mend it".to_owned(),
            },
        };
        let whole = Look {
            colour: false,
            width: None,
        };
        assert_eq!(
            whole.line(&check),
            "warning  gateway             something is odd here\n                             try: mend it\n"
        );
        let narrow = Look {
            colour: true,
            width: Some(44),
        };
        assert_eq!(
            narrow.line(&check),
            "\u{1b}[33mwarning  \u{1b}[0mgateway             something is odd\n                             here\n                             try: mend it\n"
        );
    }
}
