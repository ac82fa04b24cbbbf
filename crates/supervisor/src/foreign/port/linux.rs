//! Linux: the kernel's list of sockets, and which of them a process has open.

use std::{collections::BTreeSet, fs, io, iter};

use super::Owner;
use crate::process_tree;

/// State of a socket that listens, as the list writes it.
const LISTENS: &str = "0A";

pub(super) fn owner(port: u16, root: u32) -> Owner {
    let listening = listening(port);
    if listening.is_empty() {
        return Owner::Nobody;
    }
    let mut open = BTreeSet::new();
    let mut is_hidden = false;
    for pid in iter::once(root).chain(process_tree::descendants(root)) {
        match sockets(pid) {
            Ok(sockets) => open.extend(sockets),
            Err(error) => is_hidden |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    if listening.is_subset(&open) {
        Owner::Program
    } else if is_hidden {
        Owner::Unknown
    } else if listening == self::listening(port) {
        Owner::Other
    } else {
        // Whoever came or went meanwhile is looked at again.
        Owner::Nobody
    }
}

/// The sockets that get what is sent to this port of 127.0.0.1.
fn listening(port: u16) -> BTreeSet<u64> {
    let lists = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    lists.iter().flatten().flat_map(|list| in_list(list, port)).collect()
}

fn in_list(list: &str, port: u16) -> impl Iterator<Item = u64> {
    list.lines().filter_map(move |line| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, its_port) = fields.next()?.split_once(':')?;
        let state = fields.nth(1)?;
        let socket = fields.nth(5)?.parse().ok()?;
        let is_it = state == LISTENS && u16::from_str_radix(its_port, 16) == Ok(port);
        (is_it && hears_loopback(address)).then_some(socket)
    })
}

/// Each word of an address is written as the machine's own number: 127.0.0.1, every address, and
/// both as IPv6 has them.
fn hears_loopback(address: &str) -> bool {
    let number = |bytes| format!("{:08X}", u32::from_ne_bytes(bytes));
    let mapped = format!("{:016}{}", 0, number([0, 0, 0xff, 0xff]));
    let address = address.strip_prefix(&mapped).unwrap_or(address);
    address == number([127, 0, 0, 1]) || address.bytes().all(|digit| digit == b'0')
}

/// The sockets that a process has open.
fn sockets(pid: u32) -> io::Result<Vec<u64>> {
    let files = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let socket = |file: io::Result<fs::DirEntry>| {
        let target = fs::read_link(file.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Ok(files.filter_map(socket).collect())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, process::Command};

    use super::*;

    #[test]
    fn the_kernel_s_own_lines_are_read() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0 100 0\n\
            \x20  1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 100 0\n\
            \x20  2: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0 100 0\n\
            \x20  3: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 14 1 0 100 0\n\
            \x20  4: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 15 1 0 100 0\n\
            \x20  5: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 16 1\n\
            \x20  6: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 17 1\n\
            \x20  7: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 18 1\n";
        let found: Vec<u64> = in_list(list, 8080).collect();
        if cfg!(target_endian = "little") {
            assert_eq!(found, [11, 12, 16, 17]);
        }
    }

    #[test]
    fn a_listener_is_its_own_process_s_and_nobody_else_s() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let seen = [owner(port, std::process::id()), owner(port, stranger.id())];
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(seen, [Owner::Program, Owner::Other]);
        drop(listener);
        assert_eq!(owner(port, std::process::id()), Owner::Nobody);
    }
}
