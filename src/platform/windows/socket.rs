//! A listening socket that no other process can share.
#![allow(unsafe_code, reason = "one socket option has no safe call")]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::windows::io::AsRawSocket;

use socket2::{Domain, Socket, Type};
use windows_sys::Win32::Networking::WinSock::{SO_EXCLUSIVEADDRUSE, SOL_SOCKET, setsockopt};

/// Connections that may wait to be accepted.
const WAITING: i32 = 128;

/// Binds an address for this process alone. Without the option another program could bind the same port and be
/// handed our answers.
pub fn exclusive_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    let on: i32 = 1;
    // SAFETY: an open socket of ours; the pointer and length are those of an integer that outlives the call.
    let failed = unsafe {
        setsockopt(
            socket.as_raw_socket() as usize,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            ptr_of(&on),
            size_of::<i32>() as i32,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(&address.into())?;
    socket.listen(WAITING)?;
    Ok(socket.into())
}

fn ptr_of(number: &i32) -> *const u8 {
    std::ptr::from_ref(number).cast()
}
