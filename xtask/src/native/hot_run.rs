//! What a run that finds a good token takes, beside a program that does nothing.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of each before the first one that counts.
const WARM_UP: usize = 5;

/// Runs the two by turns, so that both meet the same noise, and says what they took.
pub(super) fn compare(
    hot: &mut Command,
    empty: Option<&mut Command>,
    times: usize,
) -> Result<String, String> {
    let (mut taken, mut nothing) = (Vec::new(), Vec::new());
    let mut empty = empty;
    for turn in 0..WARM_UP + times {
        let one = once(hot)?;
        let other = empty.as_deref_mut().map(once).transpose()?;
        if turn >= WARM_UP {
            taken.push(one);
            nothing.extend(other);
        }
    }
    let hot = in_words(&mut taken);
    Ok(if nothing.is_empty() {
        format!("{hot} ({times} runs; there was no empty program to compare it with)")
    } else {
        let empty = in_words(&mut nothing);
        format!("{hot}; an empty program {empty} ({times} runs of each, by turns)")
    })
}

fn once(command: &mut Command) -> Result<Duration, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let status = command
        .stderr(Stdio::null())
        .status()
        .map_err(|e| format!("a run cannot be started: {e}"))?;
    if status.success() {
        Ok(started.elapsed())
    } else {
        Err(format!("a run ended with {status}"))
    }
}

/// The median, and what lies between the quickest and the slowest tenth.
fn in_words(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |hundredths: usize| {
        let last = times.len().saturating_sub(1);
        times
            .get((last * hundredths + 50) / 100)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    format!("{:.1} ms (median; {:.1} to {:.1})", at(50), at(10), at(90))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::in_words;

    #[test]
    fn the_median_is_that_of_sorted_times() {
        let mut times: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(in_words(&mut times), "51.0 ms (median; 11.0 to 91.0)");
    }
}
