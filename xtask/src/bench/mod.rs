//! `cargo xtask bench`: how long a host waits for gatepass, and what a run costs.
//!
//! Times differ between machines and hours, so they are only shown. Counts (instructions, system calls, requests)
//! hardly do, so they are kept in a file, and `--check` fails when one of them grows.

mod count;
mod grown;
mod peers;
mod plot;
mod report;
mod stage;
mod time;

use std::path::PathBuf;
use std::process::Command;

use gatepass_testkit::provider::client;

use crate::process::{cargo, run};
use grown::Machine;
use report::Measured;
use stage::{Cache, Stage};
use time::{Pairs, Spread};

/// How the release is built.
const BUILD: [&str; 4] = ["build", "--release", "--bin", "gatepass"];

/// How often each pair of programs runs.
const PAIRS: usize = 400;

/// How often a session is refreshed.
const REFRESHES: usize = 60;

/// How many callers ask at once, and how often each crowd does.
const CALLERS: [usize; 4] = [1, 10, 25, 50];
const CROWDS: usize = 7;

/// Most redirects of a sign-in.
const REDIRECTS: usize = 8;

const MEBIBYTE: u64 = 1024 * 1024;

/// What was asked for.
pub(crate) enum Bench {
    /// Measures everything and shows it.
    Show {
        /// Writes it down as well.
        write: bool,
    },
    /// Compares the counts with those that were written down.
    Check,
    /// Measures only the other programs that are installed.
    Peers,
    /// Shows which functions the instructions of a hot run belong to.
    HotSpots,
    /// What gatepass runs as its browser.
    Visit {
        /// Where the sign-in begins.
        address: String,
    },
}

impl Bench {
    pub(crate) fn from_arguments(arguments: &[&str]) -> Option<Self> {
        match *arguments {
            [] => Some(Self::Show { write: false }),
            ["--write"] => Some(Self::Show { write: true }),
            ["--check"] => Some(Self::Check),
            ["--peers"] => Some(Self::Peers),
            ["--hot-spots"] => Some(Self::HotSpots),
            ["visit", address] => Some(Self::Visit {
                address: address.to_owned(),
            }),
            _ => None,
        }
    }

    pub(crate) fn run(self) -> Result<(), String> {
        match self {
            Self::Show { write } => {
                let load = report::load();
                let measured = measure()?;
                report::show(&measured);
                if write {
                    report::write(&measured, &load)?;
                }
                Ok(())
            }
            Self::Check => {
                let stage = Stage::set(build(&BUILD, &[])?)?;
                stage.sign_in()?;
                let requests = refreshes(&stage, 3)?.requests;
                report::check(&count::all(&stage, requests)?)
            }
            Self::Peers => {
                peers::provide();
                let stage = Stage::set(build(&BUILD, &[])?)?;
                stage.sign_in()?;
                println!("{}", report::peers(&peers::measure(&stage)));
                Ok(())
            }
            Self::HotSpots => {
                // The same code with its names: a profile of numbers says nothing.
                let words = ["rustc", "--release", "--bin", "gatepass"];
                let stage = Stage::set(build(&words, &["--", "-Cstrip=debuginfo"])?)?;
                stage.sign_in()?;
                count::hot_spots(&stage)
            }
            Self::Visit { address } => visit(&address),
        }
    }
}

/// Builds the release, and says where it is.
fn build(words: &[&str], compiler_options: &[&str]) -> Result<PathBuf, String> {
    println!("building the release; the first time this takes a few minutes");
    run(cargo(words).args(compiler_options))?;
    // Nothing is left to do for this one; it says where the program is.
    let told = cargo(words)
        .args(["--message-format=json", "--quiet"])
        .args(compiler_options)
        .output()
        .map_err(|e| format!("cargo cannot be started: {e}"))?;
    String::from_utf8_lossy(&told.stdout)
        .rsplit_once(r#""executable":""#)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(path, _)| path.into())
        .ok_or_else(|| "cargo does not say where the program is".to_owned())
}

fn measure() -> Result<Measured, String> {
    let program = build(&BUILD, &[])?;
    let size = std::fs::metadata(&program)
        .map_err(|e| format!("{}: {e}", program.display()))?
        .len();
    let stage = Stage::set(program)?;

    let against_empty =
        |mut run: Command, code| time::pairs((&mut run, code), (&mut stage.empty(), 0), PAIRS);
    println!("runs that end at once");
    let at_once = against_empty(stage.at_once(), 3)?;
    println!("silent runs of somebody who never signed in");
    let never = against_empty(stage.gatepass(&[]), 4)?;
    println!("silent runs of somebody who signed out");
    stage.sign_in()?;
    stage.sign_out()?;
    let silent = against_empty(stage.gatepass(&[]), 4)?;
    stage.sign_in()?;

    println!("runs that find a good token");
    let hot = against_empty(stage.gatepass(&[]), 0)?;
    let memory = count::peak_memory(&mut stage.gatepass(&[]))?;

    println!("the same with a large policy, and with a large token");
    let large_policy = large_policy(&stage);
    let (mut long, mut usual) = stage.long_token()?;
    let large_token = time::pairs((&mut long, 0), (&mut usual, 0), PAIRS)?;
    stage.configure(Cache::Auto);

    println!("the same without a cache beside the keychain");
    stage.configure(Cache::Keychain);
    let keychain = time::pairs(
        (&mut stage.gatepass(&[]), 0),
        (&mut stage.secret_tool()?, 0),
        PAIRS,
    )?;
    stage.configure(Cache::Auto);

    println!("refreshes");
    let refreshes = refreshes(&stage, REFRESHES)?;
    let worker_memory = count::worker_memory(&stage)?;
    println!("many callers at once");
    let crowds = crowds(&stage)?;
    println!("counts");
    let counts = count::all(&stage, refreshes.requests)?;
    println!("other programs");
    peers::provide();
    let peers = peers::measure(&stage);
    stage.sign_out_everywhere()?;

    Ok(Measured {
        peers,
        at_once,
        never,
        silent,
        hot,
        large_policy,
        large_token,
        keychain,
        counts,
        refreshes,
        crowds,
        memory,
        worker_memory,
        size,
    })
}

/// A run that finds a good token below a policy of 16 KiB, and the usual one. Why not, where that cannot be measured.
fn large_policy(stage: &Stage) -> Result<Pairs, String> {
    let machine = Machine::with_policy()?;
    let mut large = machine.run(&stage.gatepass(&[]))?;
    let mut usual = grown::run_here(&stage.gatepass(&[]))?;
    time::pairs((&mut large, 0), (&mut usual, 0), PAIRS)
}

/// What refreshes cost.
struct Refreshes {
    /// How long each took, as a caller sees it.
    time: Spread,
    /// Processor time of each, whichever process of gatepass's spent it, in milliseconds.
    processor: f64,
    /// Requests to the provider, of whatever kind, for each.
    requests: f64,
}

fn refreshes(stage: &Stage, times: usize) -> Result<Refreshes, String> {
    let mut refresh = stage.gatepass(&["token", "--force-refresh"]);
    // The first one may fetch what is kept afterwards.
    time::once(&mut refresh, 0)?;
    stage.settle()?;
    stage.provider.clear_requests();
    let before = time::processor_time();
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        taken.push(time::once(&mut refresh, 0)?);
        stage.settle()?;
    }
    let each = |sum: f64| sum / times as f64;
    Ok(Refreshes {
        time: Spread::of(taken),
        processor: each(time::processor_time() - before),
        requests: each(stage.provider.requests().len() as f64),
    })
}

/// What callers at once cost.
struct Crowd {
    callers: usize,
    /// How long it took until all were answered, with a good token.
    good: Spread,
    /// The same with an expired one, when the provider takes its time.
    expired: Spread,
    /// Most refreshes that it led to.
    refreshes: usize,
}

fn crowds(stage: &Stage) -> Result<Vec<Crowd>, String> {
    CALLERS
        .iter()
        .map(|callers| crowd(stage, *callers))
        .collect()
}

fn crowd(stage: &Stage, callers: usize) -> Result<Crowd, String> {
    let mut good = Vec::with_capacity(CROWDS);
    let mut expired = Vec::with_capacity(CROWDS);
    let mut most = 0;
    for _ in 0..CROWDS {
        good.push(stage.answered(callers)?);
        stage.expire()?;
        let before = stage.provider.token_grants("refresh_token");
        expired.push(stage.crowd(callers)?);
        most = most.max(stage.provider.token_grants("refresh_token") - before);
    }
    Ok(Crowd {
        callers,
        good: Spread::of(good),
        expired: Spread::of(expired),
        refreshes: most,
    })
}

/// Follows the provider's redirects to gatepass's last page.
fn visit(address: &str) -> Result<(), String> {
    let mut address = address.to_owned();
    for _ in 0..REDIRECTS {
        let reply = client::get(&address).map_err(|e| format!("{address}: {e}"))?;
        match reply.header("location") {
            Some(next) if next.contains("://") => address = next.to_owned(),
            // A path of the same server.
            Some(next) => {
                let server: Vec<&str> = address.splitn(4, '/').take(3).collect();
                address = format!("{}{next}", server.join("/"));
            }
            None if reply.status == 200 => return Ok(()),
            None => return Err(format!("{address} answers {}", reply.status)),
        }
    }
    Err(format!("more than {REDIRECTS} redirects"))
}
