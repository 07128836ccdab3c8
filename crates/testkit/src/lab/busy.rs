//! What a limit in time means on a machine that is busy with something else.
//!
//! A caller's limit holds for processes that get a processor when they need one. Where several wait for each processor,
//! as beside compilers, even a run that does nothing takes seconds.

use std::fs;
use std::thread;
use std::time::Duration;

/// How many times as long everything may take now, by the processes that share each processor.
fn factor() -> u32 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut words = load.split(' ');
    let average = words.next().and_then(|word| word.parse::<f64>().ok());
    // The average follows slowly; those that run at this very moment come with it.
    let running = words
        .nth(2)
        .and_then(|word| word.split('/').next()?.parse::<f64>().ok());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let sharing = average.unwrap_or(0.0).max(running.unwrap_or(0.0)) / processors as f64;
    1 + sharing as u32
}

/// The limit, as many times as processes share each processor now: the limit itself where the machine is quiet.
#[must_use]
pub fn on_this_machine(limit: Duration) -> Duration {
    limit * factor()
}
