//! A second process of this program, which inherits nothing of its caller's but the pipes that it is given.

use std::io::Read;

#[cfg(unix)]
pub use super::unix::start_detached;
#[cfg(windows)]
pub use super::windows::start_detached;

/// The process that was started, as far as it is ours: the ends of its pipes.
pub struct Detached {
    /// What it writes to its standard output.
    pub output: Box<dyn Read + Send>,
    /// What it writes to its standard error, where that was asked for.
    pub log: Option<Box<dyn Read + Send>>,
    /// Waits for its end, so that it does not stay in the system's table of processes.
    pub wait: Box<dyn FnOnce() + Send>,
}

/// A command line that Windows programs take apart into exactly these words (the rules of `CommandLineToArgvW`).
#[cfg(any(windows, test))]
pub(super) fn command_line(
    program: &std::ffi::OsStr,
    arguments: &[std::ffi::OsString],
) -> std::ffi::OsString {
    let mut line = std::ffi::OsString::from("\"");
    // A program's name has no quotes in it and ends with no backslash.
    line.push(program);
    line.push("\"");
    for argument in arguments {
        line.push(" ");
        line.push(quoted(argument));
    }
    line
}

/// One argument in quotes. Backslashes stand for themselves except before a quote, where they come twice.
#[cfg(any(windows, test))]
fn quoted(argument: &std::ffi::OsStr) -> std::ffi::OsString {
    // Arguments are names, numbers and paths; a path that is no Unicode cannot have a quote next to the odd part.
    let Some(text) = argument.to_str() else {
        let mut whole = std::ffi::OsString::from("\"");
        whole.push(argument);
        whole.push("\"");
        return whole;
    };
    let mut whole = String::with_capacity(text.len() + 2);
    whole.push('"');
    let mut backslashes = 0;
    for character in text.chars() {
        match character {
            '\\' => backslashes += 1,
            '"' => {
                // As many again as are there already, and one for the quote.
                whole.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        whole.push(character);
    }
    whole.extend(std::iter::repeat_n('\\', backslashes));
    whole.push('"');
    whole.into()
}

#[cfg(test)]
mod tests {
    use std::ffi::{OsStr, OsString};

    use super::command_line;

    #[test]
    fn a_command_line_keeps_its_words_apart() {
        for (argument, written) in [
            ("plain", r#""plain""#),
            ("", r#""""#),
            (r"C:\with space\x.toml", r#""C:\with space\x.toml""#),
            (r"ends with \", r#""ends with \\""#),
            (r"two \\", r#""two \\\\""#),
            (r#"a "quote""#, r#""a \"quote\"""#),
            (r#"\" before"#, r#""\\\" before""#),
            ("Zoë", "\"Zoë\""),
        ] {
            let line = command_line(
                OsStr::new(r"C:\p q\gatepass.exe"),
                &[OsString::from(argument)],
            );
            assert_eq!(
                line.to_str().unwrap(),
                format!(r#""C:\p q\gatepass.exe" {written}"#)
            );
        }
    }
}
