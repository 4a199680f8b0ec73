//! What of a desired state is not so in the kernel, and what is left of owners that are gone.

use std::collections::BTreeMap;

use super::encode::fingerprint;
use super::error::Error;
use super::model::{Base, Change, Rule, Table, Transaction};
use super::read::{ElementState, TableState};
use super::set::{DataType, Element, Value};
use super::socket::Socket;

/// What a table should hold after a transaction that says all about what it touches.
#[derive(Debug, Default)]
struct Desired<'a> {
    /// It was deleted first, so it holds nothing else.
    whole: bool,
    chains: BTreeMap<&'a str, (Option<Base>, Vec<&'a Rule>)>,
    sets: BTreeMap<&'a str, &'a [DataType]>,
    elements: BTreeMap<&'a str, Vec<&'a Element>>,
}

impl Socket {
    /// Compares the ruleset with the state that `transaction` leads to, and says in words what differs; nothing means that it
    /// need not be committed again.
    ///
    /// The transaction must be a desired state: chains with all their rules, in tables that are deleted before (then nothing else
    /// may be in them) or not. Rules are compared by their fingerprints, so a rule of somebody else's is a difference even if it
    /// does the same. Elements that the transaction does not mention are no difference.
    ///
    /// # Errors
    /// The kernel's refusal, a failure of the socket, or a rule that cannot be encoded.
    pub fn differences(&mut self, transaction: &Transaction) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for (table, desired) in desired(transaction) {
            match (self.read_table(table)?, desired) {
                (None, None) => {}
                (Some(_), None) => found.push(format!("table {table} is still there")),
                (None, Some(_)) => found.push(format!("table {table} is missing")),
                (Some(state), Some(desired)) => desired.compare(table, &state, &mut found)?,
            }
        }
        Ok(found)
    }

    /// The deletion of all elements in a table whose owner is gone. `keep` is asked about every element that carries a comment;
    /// those without one are nobody's and stay.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn stale_elements(
        &mut self,
        table: &Table,
        keep: impl Fn(&ElementState, &str) -> bool,
    ) -> Result<Transaction, Error> {
        let state = self.read_table(table)?.unwrap_or_default();
        let mut changes = Vec::new();
        for (name, set) in state.sets.into_iter().filter(|(_, set)| !set.interval) {
            for element in set.elements {
                if element.comment.as_deref().is_some_and(|comment| !keep(&element, comment)) {
                    let (table, set, key) = (table.clone(), name.clone(), element.key);
                    changes.push(Change::DeleteElement { table, set, key, missing_ok: true });
                }
            }
        }
        Ok(changes.into())
    }
}

/// The desired state of every table the transaction touches; `None` for tables that should be gone.
fn desired(transaction: &Transaction) -> BTreeMap<&Table, Option<Desired<'_>>> {
    let mut tables: BTreeMap<&Table, Option<Desired<'_>>> = BTreeMap::new();
    let mut deleted: Vec<&Table> = Vec::new();
    for change in &transaction.changes {
        let table = change.table();
        if let Change::DeleteTable { .. } = change {
            tables.insert(table, None);
            deleted.push(table);
            continue;
        }
        let slot = tables.entry(table).or_default();
        let desired = slot.get_or_insert_with(Desired::default);
        desired.whole |= deleted.contains(&table);
        desired.apply(change);
    }
    tables
}

impl<'a> Desired<'a> {
    fn apply(&mut self, change: &'a Change) {
        match change {
            Change::AddChain { chain, base, .. } => {
                self.chains.entry(chain).or_insert_with(|| (*base, Vec::new()));
            }
            Change::FlushChain { chain, .. } => {
                if let Some((_, rules)) = self.chains.get_mut(chain.as_str()) {
                    rules.clear();
                }
            }
            Change::AddRule { chain, rule, .. } => self.chains.entry(chain).or_default().1.push(rule),
            Change::AddSet { set, .. } => {
                self.sets.insert(&set.name, &set.key);
            }
            Change::AddElement { set, element, .. } => self.elements.entry(set).or_default().push(element),
            Change::DeleteElement { set, key, .. } => {
                self.elements.entry(set).or_default().retain(|element| element.key != *key);
            }
            Change::FlushSet { set, .. } => {
                self.elements.remove(set.as_str());
            }
            Change::DeleteChain { chain, .. } => {
                self.chains.remove(chain.as_str());
            }
            Change::DeleteSet { set, .. } => {
                self.sets.remove(set.as_str());
                self.elements.remove(set.as_str());
            }
            Change::AddTable { .. } | Change::DeleteTable { .. } | Change::DeleteRule { .. } => {}
        }
    }

    fn compare(&self, table: &Table, state: &TableState, found: &mut Vec<String>) -> Result<(), Error> {
        for (name, (base, rules)) in &self.chains {
            let Some(chain) = state.chains.get(*name) else {
                found.push(format!("chain {table} {name} is missing"));
                continue;
            };
            if chain.base != *base {
                found.push(format!("chain {table} {name} is not where it should be"));
            }
            let wanted = rules.iter().map(|rule| fingerprint(table.family, rule).map(Some));
            let wanted: Vec<_> = wanted.collect::<Result<_, _>>().map_err(|reason| Error {
                errno: libc::EINVAL,
                position: None,
                what: format!("compare chain {table} {name}"),
                explanation: Some(reason),
            })?;
            if !chain.rules.iter().map(|rule| rule.fingerprint).eq(wanted) {
                found.push(format!("chain {table} {name} does not have its rules"));
            }
        }
        for (name, key) in &self.sets {
            match state.sets.get(*name) {
                None => found.push(format!("set {table} {name} is missing")),
                Some(set) if set.key != *key => found.push(format!("set {table} {name} has another key")),
                Some(_) => {}
            }
        }
        for (name, elements) in &self.elements {
            let present = state.sets.get(*name).map_or(&[][..], |set| &set.elements);
            for element in elements.iter().filter(|element| !present.iter().any(|found| is_same(element, found))) {
                found.push(format!("element {{ {element} }} of {table} {name} is missing"));
            }
        }
        if self.whole {
            let chains = state.chains.keys().filter(|name| !self.chains.contains_key(name.as_str()));
            let sets = state.sets.keys().filter(|name| !self.sets.contains_key(name.as_str()));
            found.extend(chains.map(|name| format!("chain {table} {name} does not belong there")));
            found.extend(sets.map(|name| format!("set {table} {name} does not belong there")));
        }
        Ok(())
    }
}

/// Whether the element is the desired one. An interval is read back as its first value.
fn is_same(desired: &Element, found: &ElementState) -> bool {
    let first = |values: &[Value]| values.iter().map(Value::first_bytes).collect::<Vec<_>>();
    first(&desired.key) == first(&found.key) && desired.data == found.data
}
