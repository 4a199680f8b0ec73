//! The moment at which a node has its last route: RTM_NEWROUTE notifications of the kernel, counted from inside its namespace.

use anyhow::{Context, Result, anyhow};
use netlink_sys::{Socket, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use std::fs::File;
use std::os::fd::AsFd;
use std::thread;
use std::time::Instant;

const NEW_ROUTE: u16 = 24;
/// RTMGRP_IPV4_ROUTE of `linux/rtnetlink.h`.
const ROUTES: u32 = 0x40;
/// Room for ten thousand notifications that nobody has read yet: the kernel drops what does not fit.
const BUFFER: usize = 64 << 20;
const HEADER: usize = 16;
/// Prefix length of a peer's subnet.
const SUBNET: u8 = 24;

/// A subscription to the routes of a namespace.
pub(crate) struct Routes {
    socket: Socket,
    seen: u32,
}

impl Routes {
    /// Subscribe inside the network namespace of process `pid`.
    pub(crate) fn watch(pid: u32) -> Result<Self> {
        let opened = thread::spawn(move || -> Result<Socket> {
            setns(File::open(format!("/proc/{pid}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
            let mut socket = Socket::new(0)?;
            socket.bind(&SocketAddr::new(0, ROUTES))?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        });
        let socket =
            opened.join().map_err(|_| anyhow!("the thread that subscribes died"))?.context("cannot watch routes")?;
        setsockopt(&socket.as_fd(), RcvBufForce, &BUFFER)?;
        Ok(Self { socket, seen: 0 })
    }

    /// How many routes to subnets were announced so far.
    pub(crate) fn seen(&self) -> u32 {
        self.seen
    }

    /// The moment at which `count` were announced; none if that is not before `deadline`.
    pub(crate) fn wait_for(&mut self, count: u32, deadline: Instant) -> Result<Option<Instant>> {
        let mut datagram = Vec::with_capacity(1 << 16);
        while self.seen < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout)?;
            datagram.clear();
            while self.socket.recv(&mut datagram, 0).is_ok_and(|length| length > 0) {
                self.seen += routes_in(&datagram);
                datagram.clear();
            }
        }
        Ok(Some(Instant::now()))
    }
}

/// New routes to subnets in a datagram of notifications.
fn routes_in(mut datagram: &[u8]) -> u32 {
    let mut count = 0;
    while let Some((length, kind)) = header(datagram) {
        let prefix = datagram.get(HEADER + 1);
        if kind == NEW_ROUTE && prefix == Some(&SUBNET) {
            count += 1;
        }
        let Some(rest) = datagram.get(length.max(HEADER).next_multiple_of(4)..) else { break };
        datagram = rest;
    }
    count
}

fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    Some((usize::try_from(length).ok()?, kind))
}
