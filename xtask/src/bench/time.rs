//! Clocks.

use std::process::Command;
use std::time::{Duration, Instant};

/// Runs of each program before the first one that counts.
const WARM_UP: usize = 20;

/// Many measurements of the same, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    /// A tenth of them was quicker.
    pub(super) quick: f64,
    /// A tenth of them was slower.
    pub(super) slow: f64,
}

impl Spread {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |hundredths: usize| {
            let last = times.len().saturating_sub(1);
            // The nearest rank.
            let time = times.get((last * hundredths + 50) / 100);
            time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        Self {
            median: at(50),
            quick: at(10),
            slow: at(90),
        }
    }
}

/// The same task done by gatepass and by another program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs {
    pub(super) gatepass: Spread,
    pub(super) other: Spread,
}

impl Pairs {
    /// How much longer gatepass takes.
    pub(super) fn difference(&self) -> f64 {
        self.gatepass.median - self.other.median
    }

    /// The same of the quick runs, which a busy machine disturbs less.
    pub(super) fn quick_difference(&self) -> f64 {
        self.gatepass.quick - self.other.quick
    }
}

/// Runs two programs by turns, so that both meet the same noise.
pub(super) fn pairs(
    gatepass: (&mut Command, i32),
    other: (&mut Command, i32),
    times: usize,
) -> Result<Pairs, String> {
    let mut taken = (Vec::with_capacity(times), Vec::with_capacity(times));
    for turn in 0..WARM_UP + times {
        let pair = (once(gatepass.0, gatepass.1)?, once(other.0, other.1)?);
        if turn >= WARM_UP {
            taken.0.push(pair.0);
            taken.1.push(pair.1);
        }
    }
    Ok(Pairs {
        gatepass: Spread::of(taken.0),
        other: Spread::of(taken.1),
    })
}

/// Runs a program, from its start (`posix_spawn`) until it has been waited for.
pub(super) fn once(command: &mut Command, code: i32) -> Result<Duration, String> {
    let started = Instant::now();
    let status = command.status();
    let taken = started.elapsed();
    match status {
        Ok(status) if status.code() == Some(code) => Ok(taken),
        Ok(status) => Err(format!("{command:?} has to end with {code}, not {status}")),
        Err(e) => Err(format!("{command:?} cannot be started: {e}")),
    }
}

/// Processor time of all processes that have been waited for so far, in milliseconds.
///
/// The kernel counts it exactly and tells it in hundredths of a second: enough for the sum of many runs.
pub(super) fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses, and may have anything in it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // Fields 16 and 17 of proc_pid_stat(5), `cutime` and `cstime`.
    let ticks: f64 = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    ticks * 1e3 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Spread;

    #[test]
    fn the_spread_is_that_of_the_middle_four_fifths() {
        let times = (1..=101).rev().map(Duration::from_millis).collect();
        let expected = Spread {
            median: 51.0,
            quick: 11.0,
            slow: 91.0,
        };
        assert_eq!(Spread::of(times), expected);
        let one = Spread::of(vec![Duration::from_millis(7)]);
        assert_eq!((one.quick, one.median, one.slow), (7.0, 7.0, 7.0));
    }
}
