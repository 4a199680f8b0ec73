//! Operations as route-netlink messages, gathered into one datagram.

use super::errors::StepError;
use super::site::Site;
use crate::apply::FailureKind;
use crate::message::{address, link, route};
use crate::netlink::{Message, NetlinkError};
use crate::ns::Namespace;
use crate::op::{Op, Place, VethEnd};
use crate::snapshot::{link_by_index, link_by_name};

/// Which refusals of a message count as success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tolerate {
    Nothing,
    Existing,
    Missing,
}

impl Tolerate {
    pub(super) const fn accepts(self, error: &NetlinkError) -> bool {
        match self {
            Self::Nothing => false,
            Self::Existing => error.errno == libc::EEXIST,
            Self::Missing => error.is_missing(),
        }
    }
}

/// Messages for one place that wait to be sent, each with the position of its operation.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) place: Option<Place>,
    pub(super) messages: Vec<Message>,
    pub(super) origins: Vec<(usize, Tolerate)>,
    /// Links that a waiting message creates.
    created: Vec<(String, u32)>,
}

impl Batch {
    pub(super) fn push(&mut self, position: usize, message: Message, tolerate: Tolerate) {
        self.messages.push(message);
        self.origins.push((position, tolerate));
    }

    /// Whether an operation refers to a link that is only about to be created. It must wait: should the creation fail because name or
    /// index are taken, the operation would hit somebody else's link.
    pub(super) fn creates_link_of(&self, op: &Op) -> bool {
        let (index, name) = match op {
            Op::EnsureAddress { link, .. } | Op::RemoveAddress { link, .. } => (None, Some(link)),
            Op::LinkDown { name } => (None, Some(name)),
            Op::LinkUp { index, .. } | Op::AddAddress { index, .. } | Op::DeleteAddress { index, .. } => {
                (Some(*index), None)
            }
            Op::AddRoute(route) | Op::DeleteRoute(route) => (Some(route.index), None),
            _ => (None, None),
        };
        self.created.iter().any(|(created, at)| Some(*at) == index || Some(created) == name)
    }

    /// Adds the messages of an operation. What is needed of the kernel is asked through `site`; in an undo (`lenient`) a missing link
    /// leaves nothing to do.
    pub(super) fn add(
        &mut self,
        position: usize,
        op: &Op,
        site: &mut Site,
        pod: Option<&Namespace>,
        lenient: bool,
    ) -> Result<(), StepError> {
        let strict = if lenient { Tolerate::Missing } else { Tolerate::Nothing };
        match op {
            Op::EnsureAddress { link, address } => {
                let Some(index) = site.index(link)? else { return if lenient { Ok(()) } else { Err(no_link(link)) } };
                self.push(position, address::add(index, link, *address), Tolerate::Existing);
            }
            Op::RemoveAddress { link, address } => {
                let Some(index) = site.index(link)? else { return Ok(()) };
                self.push(position, address::delete(index, link, *address), Tolerate::Missing);
            }
            Op::CreateVeth { host, pod: far, mtu, bridge, group, .. } => {
                let far_namespace = pod.ok_or_else(StepError::namespace_gone)?;
                let far_namespace = Some(std::os::fd::AsFd::as_fd(far_namespace));
                let master = bridge.as_ref().map(|bridge| site.index(bridge)?.ok_or_else(|| no_link(bridge)));
                let (mtu, master, group) = (*mtu, master.transpose()?, *group);
                distinct_indexes(host, far)?;
                let veth = link::Veth { near: host, far, far_namespace, mtu, master, group };
                self.push(position, link::create_veth(&veth), Tolerate::Nothing);
                self.created.push((host.name.clone(), host.index));
            }
            Op::DeleteLinks { group: 0, names } => {
                names.iter().for_each(|name| self.push(position, link::delete_by_name(name), Tolerate::Missing));
            }
            Op::DeleteLinks { group, .. } => self.push(position, link::delete_group(*group), Tolerate::Missing),
            Op::LinkUp { index, arp_notify: true, name } => {
                self.push(position, link::set_up_announcing(*index, name), strict);
            }
            Op::LinkUp { index, name, .. } => self.push(position, link::set_up(*index, name), strict),
            Op::LinkDown { name } => {
                let Some(index) = site.index(name)? else { return Ok(()) };
                self.push(position, link::set_down(index, name), Tolerate::Missing);
            }
            Op::AddAddress { index, address, name } => {
                self.push(position, address::add(*index, name, *address), Tolerate::Nothing);
            }
            Op::DeleteAddress { index, address, name } => {
                self.push(position, address::delete(*index, name, *address), Tolerate::Missing);
            }
            Op::AddRoute(spec) => self.push(position, route::add(&spec.into()), Tolerate::Nothing),
            Op::DeleteRoute(spec) => self.push(position, route::delete(&spec.into()), Tolerate::Missing),
            _ => {}
        }
        Ok(())
    }
}

fn no_link(name: &str) -> StepError {
    StepError::other(Some(libc::ENODEV), format!("there is no interface {name}"))
}

fn distinct_indexes(host: &VethEnd, pod: &VethEnd) -> Result<(), StepError> {
    if host.index == pod.index && host.index != 0 {
        let cause = format!("both ends of the veth were given index {}: the planner must choose two", host.index);
        return Err(StepError::other(Some(libc::EINVAL), cause));
    }
    Ok(())
}

/// Finds out why a veth could not be created: the kernel says only that something exists. A taken index is the planner's bad luck, a
/// taken name its mistake.
pub(super) fn explain_veth(
    error: NetlinkError,
    near: &VethEnd,
    far: &VethEnd,
    host: &mut Site,
    pod: &mut Site,
) -> StepError {
    if !matches!(error.errno, libc::EEXIST | libc::EBUSY) {
        return error.into();
    }
    for (end, site, place) in [(near, host, "on the node"), (far, pod, "in the pod")] {
        let Ok(socket) = site.route() else { continue };
        if let Ok(Some(taken)) = link_by_name(socket, &end.name) {
            let cause = format!("interface {} exists already {place} (index {})", taken.name, taken.index);
            return StepError::new(FailureKind::NameTaken, Some(error.errno), cause);
        }
        if let Ok(Some(taken)) = link_by_index(socket, end.index) {
            let cause = format!("index {} chosen for {} belongs to {} {place}", end.index, end.name, taken.name);
            return StepError::new(FailureKind::IndexTaken, Some(error.errno), cause);
        }
    }
    error.into()
}
