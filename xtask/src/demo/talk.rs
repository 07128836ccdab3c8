//! What the demo says: plain words, at most 80 columns, colour only where somebody sees it.

use std::cell::Cell;
use std::env;
use std::io::IsTerminal;
use std::time::Duration;

use gatepass::text::lines;

const WIDTH: usize = 80;
const INDENT: &str = "   ";

/// Standard output, as a person sees it.
pub(super) struct Talk {
    colour: bool,
    step: Cell<usize>,
}

impl Talk {
    pub(super) fn new() -> Self {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        Self {
            colour: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
            step: Cell::new(1),
        }
    }

    /// The step that was begun last.
    pub(super) fn current_step(&self) -> usize {
        self.step.get()
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// A headline of its own.
    pub(super) fn title(&self, text: &str) {
        println!("\n{}", self.painted("1", text));
    }

    /// The headline of a step.
    pub(super) fn step(&self, number: usize, of: usize, text: &str) {
        self.step.set(number);
        self.title(&format!("{number}/{of} {text}"));
    }

    /// A sentence.
    pub(super) fn say(&self, text: &str) {
        for line in lines(text, WIDTH - INDENT.len()) {
            println!("{INDENT}{line}");
        }
    }

    /// A command as somebody could type it.
    pub(super) fn command(&self, command: &str) {
        println!("{INDENT}{}", self.painted("36", &format!("$ {command}")));
    }

    /// What a program said.
    pub(super) fn quote(&self, text: &str) {
        // Further indentation is part of what it said.
        let inner = &text[..text.len() - text.trim_start().len()];
        let indent = format!("{INDENT}  {inner}");
        for line in lines(text, WIDTH - indent.len()) {
            println!("{indent}{}", self.painted("2", &line));
        }
    }

    /// A name and its value.
    pub(super) fn fact(&self, name: &str, value: &str) {
        println!("{INDENT}  {name:<10} {value}");
    }

    /// A claim of the token and, where its name says nothing, what it means.
    pub(super) fn claim(&self, name: &str, value: &str, meaning: &str) {
        let meaning = self.painted("2", meaning);
        println!(
            "{}",
            format!("{INDENT}  {name:<10} {value:<36} {meaning}").trim_end()
        );
    }

    /// The gateway's answer.
    pub(super) fn answer(&self, request: &str, status: u16, text: &str) {
        let colour = if status < 300 { "32" } else { "33" };
        let status = self.painted(colour, &status.to_string());
        println!("{INDENT}  {request:<18} {status}  {text}");
    }
}

/// The first and the last characters of a secret.
pub(super) fn shortened(secret: &str) -> String {
    let characters: Vec<char> = secret.chars().collect();
    if characters.len() < 40 {
        return "...".to_owned();
    }
    let text = |part: &[char]| part.iter().collect::<String>();
    let (first, last) = (&characters[..12], &characters[characters.len() - 6..]);
    format!("{}...{}", text(first), text(last))
}

/// A time in the unit that people would use.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1000.0)
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, shortened};
    use std::time::Duration;

    #[test]
    fn a_shortened_secret_is_none() {
        assert_eq!(shortened(&"x".repeat(39)), "...");
        assert_eq!(shortened(&"ab".repeat(40)), "abababababab...ababab");
    }

    #[test]
    fn times_have_a_fitting_unit() {
        assert_eq!(duration(Duration::from_micros(2345)), "2.3 ms");
        assert_eq!(duration(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 5 s");
    }
}
