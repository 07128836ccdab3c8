//! Who holds the other end of a connection on this machine, from the kernel's table of connections on macOS
//! (`net.inet.tcp.pcblist_n`).
//!
//! Apple describes the table in XNU's sources alone (`bsd/netinet/in_pcblist.c`, `in_pcb.h`, `sys/socketvar.h`). So a
//! table, or a part of it, that looks otherwise says nothing: the caller then knows no user.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Kinds of records (`sys/socketvar.h`): `XSO_SOCKET` and `XSO_INPCB`.
const SOCKET: u32 = 0x001;
const CONNECTION: u32 = 0x010;

/// Size of the head and of the end of a table (`struct xinpgen`).
const GENERATION: usize = 24;

/// The user of the socket whose own end is `peer` and whose far end is `ours`, if the table has it.
pub(super) fn user_of(table: &[u8], ours: SocketAddr, peer: SocketAddr) -> Option<u32> {
    let mut at = GENERATION;
    let mut is_wanted = false;
    loop {
        let record = table.get(at..)?;
        let length = usize::try_from(number(record, 0)?).ok()?;
        if length <= GENERATION {
            return None;
        }
        let record = record.get(..length)?;
        match number(record, 4)? {
            // A connection's record comes before its socket's.
            CONNECTION => is_wanted = ends(record) == Some((peer, ours)),
            SOCKET if is_wanted => return number(record, 64),
            _ => {}
        }
        at += length.next_multiple_of(8);
    }
}

/// The own and the far end in a `struct xinpcb_n`.
fn ends(record: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let port = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(record.get(at..at + 2)?.try_into().ok()?))
    };
    let is_v4 = record.get(44)? & 1 != 0;
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = record.get(at..at + 16)?.try_into().ok()?;
        if is_v4 {
            let last: [u8; 4] = bytes.get(12..)?.try_into().ok()?;
            return Some(Ipv4Addr::from(last).into());
        }
        Some(Ipv6Addr::from(bytes).into())
    };
    let (far, own) = (
        SocketAddr::new(address(48)?, port(16)?),
        SocketAddr::new(address(64)?, port(18)?),
    );
    Some((own, far))
}

fn number(record: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?))
}

/// The kernel's table.
#[cfg(target_os = "macos")]
#[allow(unsafe_code, reason = "the table is read by a system call")]
pub(super) fn table() -> Option<Vec<u8>> {
    use std::ptr;
    const NAME: &std::ffi::CStr = c"net.inet.tcp.pcblist_n";
    let mut size = 0;
    // SAFETY: asks for the size alone: no memory is given.
    let asked = unsafe {
        libc::sysctlbyname(
            NAME.as_ptr(),
            ptr::null_mut(),
            &mut size,
            ptr::null_mut(),
            0,
        )
    };
    if asked != 0 {
        return None;
    }
    // Connections are made while we look.
    let mut table = vec![0_u8; size + size / 4 + 4096];
    let mut size = table.len();
    // SAFETY: memory of ours of the size that is given; the call says how much of it was filled.
    let read = unsafe {
        libc::sysctlbyname(
            NAME.as_ptr(),
            table.as_mut_ptr().cast(),
            &mut size,
            ptr::null_mut(),
            0,
        )
    };
    table.truncate(size);
    (read == 0).then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, length: usize, fill: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut record = vec![0; length.next_multiple_of(8)];
        record[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
        record[4..8].copy_from_slice(&kind.to_ne_bytes());
        fill(&mut record);
        record
    }

    fn connection(own: SocketAddr, far: SocketAddr, user: u32) -> Vec<u8> {
        let mut table = record(CONNECTION, 104, |record| {
            record[16..18].copy_from_slice(&far.port().to_be_bytes());
            record[18..20].copy_from_slice(&own.port().to_be_bytes());
            for (at, end) in [(48, far), (64, own)] {
                match end.ip() {
                    IpAddr::V4(v4) => {
                        record[44] = 1;
                        record[at + 12..at + 16].copy_from_slice(&v4.octets());
                    }
                    IpAddr::V6(v6) => {
                        record[44] = 2;
                        record[at..at + 16].copy_from_slice(&v6.octets());
                    }
                }
            }
        });
        table.extend(record(SOCKET, 100, |record| {
            record[64..68].copy_from_slice(&user.to_ne_bytes());
        }));
        table.extend(record(0x020, 208, |_| ()));
        table
    }

    #[test]
    fn the_other_ends_user_is_found_by_the_whole_address() {
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        let ours = end("127.0.0.1:4711");
        let mut table = vec![0; GENERATION];
        for (own, far, user) in [
            (ours, end("127.0.0.1:50000"), 501),
            (end("127.0.0.2:50000"), ours, 666),
            (end("127.0.0.1:50000"), ours, 502),
            (end("[::1]:50000"), end("[::1]:4711"), 503),
        ] {
            table.extend(connection(own, far, user));
        }
        let whole = table.len();
        table.extend(record(0, GENERATION, |_| ()));
        assert_eq!(user_of(&table, ours, end("127.0.0.1:50000")), Some(502));
        assert_eq!(
            user_of(&table, end("[::1]:4711"), end("[::1]:50000")),
            Some(503)
        );
        assert_eq!(user_of(&table, ours, end("127.0.0.1:50001")), None);
        // Whatever is not as it is described says nothing.
        for cut in 0..whole {
            let found = user_of(&table[..cut], end("[::1]:4711"), end("[::1]:50000"));
            assert!(matches!(found, None | Some(503)), "{cut}");
        }
    }
}
