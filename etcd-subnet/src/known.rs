//! What a watcher has reported so far. Every listing and every change goes through here, so that only real differences become events:
//! a renewal, a listing after a compaction or a reconnection to another server say nothing new.

use crate::lease::{Attributes, Lease, SubnetKey};
use crate::manager::Event;
use std::collections::HashMap;

/// The leases reported so far.
#[derive(Debug, Default)]
pub(crate) struct Known {
    leases: HashMap<SubnetKey, Attributes>,
    started: bool,
}

impl Known {
    /// A complete listing: the snapshot when it is the first, afterwards the differences, removals before additions.
    pub(crate) fn list(&mut self, listed: Vec<(SubnetKey, Attributes)>) -> Vec<Event> {
        let listed: HashMap<_, _> = listed.into_iter().collect();
        if !self.started {
            self.started = true;
            self.leases = listed;
            return vec![Event::Snapshot(self.leases.iter().map(|(key, value)| lease(*key, value.clone())).collect())];
        }
        let mut events = Vec::new();
        for key in self.leases.keys().filter(|key| !listed.contains_key(*key)).copied().collect::<Vec<_>>() {
            events.extend(self.remove(key));
        }
        for (key, attributes) in listed {
            events.extend(self.put(key, attributes));
        }
        events
    }

    /// A lease as it is now.
    pub(crate) fn put(&mut self, key: SubnetKey, attributes: Attributes) -> Option<Event> {
        match self.leases.insert(key, attributes.clone()) {
            Some(before) if before == attributes => None,
            Some(_) => Some(Event::Changed(lease(key, attributes))),
            None => Some(Event::Added(lease(key, attributes))),
        }
    }

    /// A lease that is gone.
    pub(crate) fn remove(&mut self, key: SubnetKey) -> Option<Event> {
        self.leases.remove(&key).map(|_| Event::Removed(key))
    }

    /// The attributes last reported of a lease.
    pub(crate) fn get(&self, key: SubnetKey) -> Option<&Attributes> {
        self.leases.get(&key)
    }
}

fn lease(key: SubnetKey, attributes: Attributes) -> Lease {
    Lease { subnet: key.subnet, subnet6: key.subnet6, attributes, expires: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::VxlanData;

    fn entry(subnet: &str, mac: &str) -> (SubnetKey, Attributes) {
        let data = VxlanData { vni: 1, vtep_mac: mac.into() };
        (subnet.parse().unwrap(), Attributes::vxlan([192, 168, 0, 1].into(), &data))
    }

    #[test]
    fn the_first_listing_is_a_snapshot_and_later_ones_are_differences() {
        let mut known = Known::default();
        let first = known.list(vec![entry("10.5.1.0-24", "a"), entry("10.5.2.0-24", "b")]);
        assert!(matches!(first.as_slice(), [Event::Snapshot(leases)] if leases.len() == 2));
        assert_eq!(known.list(vec![entry("10.5.1.0-24", "a"), entry("10.5.2.0-24", "b")]), []);
        let events = known.list(vec![entry("10.5.2.0-24", "c"), entry("10.5.3.0-24", "d")]);
        assert_eq!(events.first(), Some(&Event::Removed("10.5.1.0-24".parse().unwrap())));
        assert!(
            events
                .iter()
                .any(|event| matches!(event, Event::Changed(lease) if lease.key().to_string() == "10.5.2.0-24"))
        );
        assert!(
            events.iter().any(|event| matches!(event, Event::Added(lease) if lease.key().to_string() == "10.5.3.0-24"))
        );
        assert_eq!(events.len(), 3);
    }

    #[test]
    fn a_renewal_says_nothing_and_unknown_removals_neither() {
        let mut known = Known::default();
        known.list(Vec::new());
        let (key, attributes) = entry("10.5.1.0-24", "a");
        assert!(known.put(key, attributes.clone()).is_some());
        assert!(known.put(key, attributes).is_none());
        assert!(known.remove(key).is_some());
        assert!(known.remove(key).is_none());
    }
}
