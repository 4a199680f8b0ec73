//! Reading the ruleset back: what is there, whose it is, and whether it has changed.

use std::collections::BTreeMap;

use super::abi::*;
use super::encode::put_key_question;
use super::error::Error;
use super::model::{Base, Family, Hook, Kind, Policy, Table};
use super::set::{Data, DataType, Value};
use super::socket::Socket;
use super::statement::Verdict;
use super::value::split;
use super::wire::{Writer, attributes, body, find, find_text, find_u32, find_u64, text};
use crate::netlink::Message;

/// Request flags for the whole of a table (linux/netlink.h).
const NLM_F_DUMP: u16 = 0x300;
/// How often a table is read at most when the ruleset changes meanwhile.
const ATTEMPTS: usize = 10;

/// A table as it is in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableState {
    /// Who it belongs to.
    pub comment: Option<String>,
    /// Its chains by name.
    pub chains: BTreeMap<String, ChainState>,
    /// Its sets and maps by name.
    pub sets: BTreeMap<String, SetState>,
}

/// A chain as it is in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainState {
    /// Where packets enter it.
    pub base: Option<Base>,
    /// Its rules in order.
    pub rules: Vec<RuleState>,
}

/// A rule as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleState {
    /// The kernel's number for it, for [`super::Change::DeleteRule`].
    pub handle: u64,
    /// Who it belongs to or what it is for.
    pub comment: Option<String>,
    /// Hash of its expressions; rules that others made have none.
    pub fingerprint: Option<u64>,
}

/// A set or map as it is in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetState {
    /// Types of the key; empty when one is unknown here.
    pub key: Vec<DataType>,
    /// What the elements carry; `None` for a set.
    pub data: Option<Data<DataType>>,
    /// Keys may be networks and ranges.
    pub interval: bool,
    /// Its elements, in no order. Those of a set with unknown types are left out.
    pub elements: Vec<ElementState>,
}

/// An element as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementState {
    /// Key; of an interval its first value.
    pub key: Vec<Value>,
    /// What it leads to, in a map.
    pub data: Option<Data<Value, Verdict>>,
    /// Who it belongs to.
    pub comment: Option<String>,
}

impl Socket {
    /// The number of the ruleset's generation; every commit of anybody's makes a new one.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let question = question(NFT_MSG_GETGEN, 0, Writer::message(0, 0), "read nftables generation");
        let answer = self.netlink.get(&question, |kind, payload| {
            (kind == message_type(NFT_MSG_NEWGEN)).then(|| find_u32(body(payload), NFTA_GEN_ID)).flatten()
        })?;
        Ok(answer.unwrap_or_default())
    }

    /// All tables of the namespace.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn tables(&mut self) -> Result<Vec<Table>, Error> {
        let question = question(NFT_MSG_GETTABLE, NLM_F_DUMP, Writer::message(0, 0), "list nftables tables");
        Ok(self.netlink.dump(&question, |_, payload| {
            Some(Table::new(Family::from_number(*payload.first()?)?, find_text(body(payload), NFTA_TABLE_NAME)?))
        })?)
    }

    /// The table with all that is in it; `None` when it is missing. What is returned was there at one moment.
    ///
    /// # Errors
    /// The kernel's refusal, a failure of the socket, or `EINTR` when the ruleset never stood still.
    pub fn read_table(&mut self, table: &Table) -> Result<Option<TableState>, Error> {
        for _ in 0..ATTEMPTS {
            let before = self.generation()?;
            match self.read_parts(table) {
                // Something that was listed a moment ago has gone.
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(error),
                Ok(state) if self.generation()? == before => return Ok(state),
                Ok(_) => {}
            }
        }
        let explanation = Some(format!("the ruleset changed during each of {ATTEMPTS} readings"));
        Err(Error { errno: libc::EINTR, position: None, what: format!("read table {table}"), explanation })
    }

    /// Whether the table has this chain: what a planner asks before it adds elements that need a rule set's base.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn chain_exists(&mut self, table: &Table, chain: &str) -> Result<bool, Error> {
        let mut writer = Writer::message(table.family.number(), 0);
        writer.text(NFTA_CHAIN_TABLE, &table.name);
        writer.text(NFTA_CHAIN_NAME, chain);
        let question = question(NFT_MSG_GETCHAIN, 0, writer, "look for nftables chain");
        Ok(self.netlink.get(&question, |_, _| Some(()))?.is_some())
    }

    /// The comment of the element with this key, which says whose it is; `None` when the element is missing or has no comment.
    ///
    /// # Errors
    /// The kernel's refusal, a failure of the socket, or a key that cannot be encoded.
    pub fn owner(&mut self, table: &Table, set: &str, key: &[Value]) -> Result<Option<String>, Error> {
        let what = format!("read element of set {table} {set}");
        let mut writer = Writer::message(table.family.number(), 0);
        if let Err(reason) = put_key_question(&mut writer, &table.name, set, key) {
            return Err(Error { errno: libc::EINVAL, position: None, what, explanation: Some(reason) });
        }
        let question = question(NFT_MSG_GETSETELEM, 0, writer, &what);
        let answer = self.netlink.get(&question, |_, payload| {
            let elements = find(body(payload), NFTA_SET_ELEM_LIST_ELEMENTS)?;
            comment(find(find(elements, NFTA_LIST_ELEM)?, NFTA_SET_ELEM_USERDATA), UDATA_COMMENT)
        });
        Ok(answer?)
    }

    fn read_parts(&mut self, table: &Table) -> Result<Option<TableState>, Error> {
        let family = table.family.number();
        let what = format!("read table {table}");
        let named = |attribute| {
            let mut writer = Writer::message(family, 0);
            writer.text(attribute, &table.name);
            writer
        };
        let found = self.netlink.get(&question(NFT_MSG_GETTABLE, 0, named(NFTA_TABLE_NAME), &what), |_, payload| {
            Some(comment(find(body(payload), NFTA_TABLE_USERDATA), UDATA_COMMENT))
        })?;
        let Some(comment) = found else { return Ok(None) };
        let mut state = TableState { comment, ..TableState::default() };

        let chains = question(NFT_MSG_GETCHAIN, NLM_F_DUMP, named(NFTA_CHAIN_TABLE), &what);
        state.chains.extend(self.netlink.dump(&chains, |_, payload| {
            let chain = of_table(payload, NFTA_CHAIN_TABLE, table)?;
            Some((find_text(chain, NFTA_CHAIN_NAME)?, ChainState { base: parse_base(chain), rules: Vec::new() }))
        })?);
        let rules = question(NFT_MSG_GETRULE, NLM_F_DUMP, named(NFTA_RULE_TABLE), &what);
        for (chain, rule) in self.netlink.dump(&rules, |_, payload| {
            let rule = of_table(payload, NFTA_RULE_TABLE, table)?;
            Some((find_text(rule, NFTA_RULE_CHAIN)?, parse_rule(rule)?))
        })? {
            state.chains.entry(chain).or_default().rules.push(rule);
        }
        let sets = question(NFT_MSG_GETSET, NLM_F_DUMP, named(NFTA_SET_TABLE), &what);
        state.sets.extend(self.netlink.dump(&sets, |_, payload| {
            let set = of_table(payload, NFTA_SET_TABLE, table)?;
            Some((find_text(set, NFTA_SET_NAME)?, parse_set(set)))
        })?);
        for (name, set) in &mut state.sets {
            let mut writer = named(NFTA_SET_ELEM_LIST_TABLE);
            writer.text(NFTA_SET_ELEM_LIST_SET, name);
            let elements = question(NFT_MSG_GETSETELEM, NLM_F_DUMP, writer, &what);
            let parts = self.netlink.dump(&elements, |_, payload| {
                let list = find(body(payload), NFTA_SET_ELEM_LIST_ELEMENTS)?;
                Some(attributes(list).filter_map(|(_, element)| parse_element(element, set)).collect::<Vec<_>>())
            })?;
            set.elements = parts.into_iter().flatten().collect();
        }
        Ok(Some(state))
    }
}

fn question(kind: u16, flags: u16, writer: Writer, what: &str) -> Message {
    Message::raw(message_type(kind), flags, &writer.finish(), what)
}

/// The attributes of an object if it is in the table: older kernels ignore filters and dump everything.
fn of_table<'a>(payload: &'a [u8], attribute: u16, table: &Table) -> Option<&'a [u8]> {
    let attributes = body(payload);
    let same = payload.first() == Some(&table.family.number()) && text(find(attributes, attribute)?) == table.name;
    same.then_some(attributes)
}

fn parse_base(chain: &[u8]) -> Option<Base> {
    let hook = find(chain, NFTA_CHAIN_HOOK)?;
    let number = find_u32(hook, NFTA_HOOK_HOOKNUM)?;
    let priority = find(hook, NFTA_HOOK_PRIORITY)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))?;
    let kind = find_text(chain, NFTA_CHAIN_TYPE)?;
    let drops = find_u32(chain, NFTA_CHAIN_POLICY) == Some(NF_DROP);
    Some(Base {
        kind: [Kind::Filter, Kind::Nat, Kind::Route].into_iter().find(|known| known.as_str() == kind)?,
        hook: Hook::ALL.into_iter().find_map(|(hook, known)| (known == number).then_some(hook))?,
        priority,
        policy: if drops { Policy::Drop } else { Policy::Accept },
    })
}

fn parse_rule(rule: &[u8]) -> Option<RuleState> {
    let userdata = find(rule, NFTA_RULE_USERDATA);
    let fingerprint = userdata.and_then(|userdata| user_data(userdata, UDATA_FINGERPRINT));
    Some(RuleState {
        handle: find_u64(rule, NFTA_RULE_HANDLE)?,
        comment: comment(userdata, UDATA_COMMENT),
        fingerprint: fingerprint.and_then(|bytes| bytes.first_chunk()).map(|bytes| u64::from_be_bytes(*bytes)),
    })
}

fn parse_set(set: &[u8]) -> SetState {
    let types = |attribute| find_u32(set, attribute).and_then(DataType::from_concatenated_number);
    let flags = find_u32(set, NFTA_SET_FLAGS).unwrap_or_default();
    let data = match find_u32(set, NFTA_SET_DATA_TYPE) {
        _ if flags & NFT_SET_MAP == 0 => None,
        Some(NFT_DATA_VERDICT) => Some(Data::Verdict(())),
        _ => types(NFTA_SET_DATA_TYPE).map(Data::Values),
    };
    let key = types(NFTA_SET_KEY_TYPE).unwrap_or_default();
    SetState { key, data, interval: flags & NFT_SET_INTERVAL != 0, elements: Vec::new() }
}

/// An element; `None` for the ends of intervals, and for keys of unknown types.
fn parse_element(element: &[u8], set: &SetState) -> Option<ElementState> {
    if set.key.is_empty() || find_u32(element, NFTA_SET_ELEM_FLAGS).is_some_and(|f| f & NFT_SET_ELEM_INTERVAL_END != 0)
    {
        return None;
    }
    let key = split(&set.key, find(find(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?)?;
    let data = find(element, NFTA_SET_ELEM_DATA).and_then(|data| match set.data.as_ref()? {
        Data::Verdict(()) => parse_verdict(find(data, NFTA_DATA_VERDICT)?).map(Data::Verdict),
        Data::Values(types) => split(types, find(data, NFTA_DATA_VALUE)?).map(Data::Values),
    });
    Some(ElementState { key, data, comment: comment(find(element, NFTA_SET_ELEM_USERDATA), UDATA_COMMENT) })
}

fn parse_verdict(verdict: &[u8]) -> Option<Verdict> {
    let chain = || find_text(verdict, NFTA_VERDICT_CHAIN);
    Some(match find_u32(verdict, NFTA_VERDICT_CODE)? {
        NF_ACCEPT => Verdict::Accept,
        NF_DROP => Verdict::Drop,
        NFT_RETURN => Verdict::Return,
        NFT_JUMP => Verdict::Jump(chain()?),
        NFT_GOTO => Verdict::Goto(chain()?),
        _ => return None,
    })
}

fn comment(userdata: Option<&[u8]>, kind: u8) -> Option<String> {
    user_data(userdata?, kind).map(text)
}

/// The value of the first item of this type in user data: items of type, length and value, without padding.
fn user_data(mut bytes: &[u8], kind: u8) -> Option<&[u8]> {
    loop {
        let [found, length] = *bytes.first_chunk()?;
        let end = 2 + usize::from(length);
        if found == kind {
            return bytes.get(2..end);
        }
        bytes = bytes.get(end..)?;
    }
}

impl Family {
    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.number() == number)
    }
}
