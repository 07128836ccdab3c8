//! How a program ended.

use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// A program's exit code and words.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Runs it to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::of_child(command.spawn().unwrap())
    }

    /// Waits for its end.
    pub(crate) fn of_child(mut child: Child) -> Self {
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
        child.wait_with_output().unwrap().into()
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout has {} bytes; stderr:\n{}",
            self.stdout.len(),
            self.stderr
        );
        self
    }

    /// The token on standard output, which has nothing else on it.
    #[track_caller]
    pub(crate) fn token(self) -> String {
        let ended = self.expect(0);
        let token = ended.stdout.strip_suffix('\n').expect("a line");
        assert!(!token.is_empty() && !token.contains(char::is_whitespace));
        token.to_owned()
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
