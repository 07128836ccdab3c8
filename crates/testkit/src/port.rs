//! Ports for the servers of tests.
//!
//! They lie below those that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere): a server that
//! is stopped and comes back finds its port as it left it.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

const RANGE: Range<u16> = 20_000..32_000;

/// Opens a listener on 127.0.0.1; port 0 is any free one of the range.
///
/// # Panics
/// Where that port, or each of many, is taken.
pub(crate) fn listen(port: u16) -> TcpListener {
    if port != 0 {
        return TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the loopback port is free");
    }
    let random = RandomState::new();
    (0..1000_u16)
        .find_map(|attempt| {
            let number = random.hash_one(attempt) % u64::from(RANGE.end - RANGE.start);
            let port = RANGE.start + u16::try_from(number).ok()?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
        })
        .expect("a free loopback port")
}

/// A port that was free a moment ago, for a server that has to be told one.
#[cfg(target_os = "linux")]
pub(crate) fn free() -> u16 {
    listen(0).local_addr().expect("a bound listener").port()
}
