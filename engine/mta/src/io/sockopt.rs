//! The one socket option that no safe crate sets.
#![allow(unsafe_code, reason = "socket2 has no setter for IP_BIND_ADDRESS_NO_PORT")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Says that a later bind to port 0 chooses no port: connect chooses it then, with the destination in view, so that
/// one source address has 28,000 ports per destination instead of 28,000 in all. Works for IPv4 and IPv6 sockets.
///
/// # Errors
/// What the kernel answered.
pub(super) fn set_bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).expect("an int is four bytes");
    // SAFETY: the descriptor is open while it is borrowed; the kernel reads `length` bytes at `on`, which is alive and
    // exactly that long, and keeps no pointer.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn both_families_take_the_option() {
        for domain in [socket2::Domain::IPV4, socket2::Domain::IPV6] {
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
            set_bind_address_no_port(socket.as_fd()).expect("the kernel knows the option");
        }
    }
}
