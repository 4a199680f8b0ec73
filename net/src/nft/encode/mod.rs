//! Changes as netlink messages.

use super::abi::*;
use super::expression::{Expressions, encode_verdict};
use super::model::{Base, Change, Existing, Family, Hook, Policy, Rule, Table};
use super::set::{Data, DataType, Element, Set, Value};
use super::value::{concatenated, successor};
use super::wire::Writer;
use crate::netlink::Message;

/// Request flags (linux/netlink.h).
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
/// Longest name of a table, chain or set (`NFT_NAME_MAXLEN` with its zero byte).
const LONGEST_NAME: usize = 255;
/// Longest comment; the kernel keeps 256 bytes of user data, in which a rule's fingerprint has to fit too.
pub(super) const LONGEST_COMMENT: usize = 240;
/// Longest log prefix (`NF_LOG_PREFIXLEN` with its zero byte).
const LONGEST_PREFIX: usize = 127;
/// Most expressions in a rule (`NFT_RULE_MAXEXPRS`); a statement is one at least.
const MOST_STATEMENTS: usize = 128;

impl Family {
    /// `NFPROTO_*` (linux/netfilter.h).
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }
}

impl Hook {
    /// `enum nf_inet_hooks`; a bridge counts its hooks the same way.
    pub(super) const ALL: [(Self, u32); 5] =
        [(Self::Prerouting, 0), (Self::Input, 1), (Self::Forward, 2), (Self::Output, 3), (Self::Postrouting, 4)];

    fn number(self) -> u32 {
        Self::ALL.into_iter().find_map(|(hook, number)| (hook == self).then_some(number)).unwrap_or_default()
    }
}

impl Change {
    /// Encodes the change. `position` tells sets of one batch apart.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn encode(&self, position: usize) -> Result<Message, String> {
        let Table { family, name: table } = self.table();
        check_name(table)?;
        let mut body = Writer::message(family.number(), 0);
        let (kind, flags) = match self {
            Self::AddTable { comment, .. } => {
                body.text(NFTA_TABLE_NAME, table);
                let userdata = comment_bytes(UDATA_COMMENT, comment.as_deref())?;
                if !userdata.is_empty() {
                    body.bytes(NFTA_TABLE_USERDATA, &userdata);
                }
                (NFT_MSG_NEWTABLE, NLM_F_CREATE)
            }
            Self::DeleteTable { .. } => {
                body.text(NFTA_TABLE_NAME, table);
                (NFT_MSG_DELTABLE, 0)
            }
            Self::AddChain { chain, base, .. } => {
                put_names(&mut body, (NFTA_CHAIN_TABLE, table), (NFTA_CHAIN_NAME, chain))?;
                if let Some(base) = base {
                    put_base(&mut body, base);
                }
                (NFT_MSG_NEWCHAIN, NLM_F_CREATE)
            }
            Self::DeleteChain { chain, .. } => {
                put_names(&mut body, (NFTA_CHAIN_TABLE, table), (NFTA_CHAIN_NAME, chain))?;
                (NFT_MSG_DELCHAIN, 0)
            }
            Self::FlushChain { chain, .. } => {
                put_names(&mut body, (NFTA_RULE_TABLE, table), (NFTA_RULE_CHAIN, chain))?;
                (NFT_MSG_DELRULE, 0)
            }
            Self::AddRule { chain, rule, .. } => {
                put_names(&mut body, (NFTA_RULE_TABLE, table), (NFTA_RULE_CHAIN, chain))?;
                put_rule(&mut body, *family, rule)?;
                (NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND)
            }
            Self::DeleteRule { chain, handle, .. } => {
                put_names(&mut body, (NFTA_RULE_TABLE, table), (NFTA_RULE_CHAIN, chain))?;
                body.u64(NFTA_RULE_HANDLE, *handle);
                (NFT_MSG_DELRULE, 0)
            }
            Self::AddSet { set, .. } => {
                put_names(&mut body, (NFTA_SET_TABLE, table), (NFTA_SET_NAME, &set.name))?;
                put_set(&mut body, set, u32::try_from(position + 1).unwrap_or(u32::MAX))?;
                (NFT_MSG_NEWSET, NLM_F_CREATE)
            }
            Self::DeleteSet { set, .. } => {
                put_names(&mut body, (NFTA_SET_TABLE, table), (NFTA_SET_NAME, set))?;
                (NFT_MSG_DELSET, 0)
            }
            Self::FlushSet { set, .. } => {
                put_names(&mut body, (NFTA_SET_ELEM_LIST_TABLE, table), (NFTA_SET_ELEM_LIST_SET, set))?;
                (NFT_MSG_DELSETELEM, 0)
            }
            Self::AddElement { set, element, existing, .. } => {
                put_names(&mut body, (NFTA_SET_ELEM_LIST_TABLE, table), (NFTA_SET_ELEM_LIST_SET, set))?;
                put_element(&mut body, &element.key, Some(element))?;
                (NFT_MSG_NEWSETELEM, NLM_F_CREATE | if *existing == Existing::Kept { 0 } else { NLM_F_EXCL })
            }
            Self::DeleteElement { set, key, .. } => {
                put_names(&mut body, (NFTA_SET_ELEM_LIST_TABLE, table), (NFTA_SET_ELEM_LIST_SET, set))?;
                put_element(&mut body, key, None)?;
                (NFT_MSG_DELSETELEM, 0)
            }
        };
        Ok(Message::raw(message_type(kind), flags, &body.finish(), ""))
    }
}

/// The begin of a batch, made for a generation of the ruleset or for whichever there is.
pub(super) fn batch_begin(generation: Option<u32>) -> Message {
    let mut body = Writer::message(0, NFNL_SUBSYS_NFTABLES);
    if let Some(generation) = generation {
        body.u32(NFNL_BATCH_GENID, generation);
    }
    Message::raw(NFNL_MSG_BATCH_BEGIN, 0, &body.finish(), "begin nftables batch")
}

/// The end of a batch.
pub(super) fn batch_end() -> Message {
    let body = Writer::message(0, NFNL_SUBSYS_NFTABLES);
    Message::raw(NFNL_MSG_BATCH_END, 0, &body.finish(), "end nftables batch")
}

/// What tells a rule from others: a hash (FNV-1a) of its expressions. It travels in the rule's user data, and since a rule cannot
/// be changed without being replaced, a rule with the right fingerprint has the right expressions.
///
/// # Errors
/// What is wrong with the rule, in words.
pub(super) fn fingerprint(family: Family, rule: &Rule) -> Result<u64, String> {
    Expressions::encode(family, &rule.statements).map(|expressions| hash(&expressions))
}

/// Encodes the key of an element for a question about it.
///
/// # Errors
/// What is wrong with the key, in words.
pub(super) fn put_key_question(body: &mut Writer, table: &str, set: &str, key: &[Value]) -> Result<(), String> {
    put_names(body, (NFTA_SET_ELEM_LIST_TABLE, table), (NFTA_SET_ELEM_LIST_SET, set))?;
    put_element(body, key, None)
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn put_names(body: &mut Writer, table: (u16, &str), object: (u16, &str)) -> Result<(), String> {
    check_name(object.1)?;
    body.text(table.0, table.1);
    body.text(object.0, object.1);
    Ok(())
}

/// Names are those that nft's syntax takes without quotes, so that what we print can be fed to nft.
fn check_name(name: &str) -> Result<(), String> {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(ordinary) && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(format!("{name:?} is no name for an nftables object"))
}

/// Text in quotes: nft's syntax has no way to escape a quote.
fn check_text(text: &str, longest: usize) -> Result<(), String> {
    if text.contains(|c: char| c == '"' || c.is_control()) {
        return Err(format!("{text:?} holds a quote or a control character"));
    }
    if text.len() > longest { Err(format!("{text:?} is longer than {longest} bytes")) } else { Ok(()) }
}

fn put_base(body: &mut Writer, base: &Base) {
    body.nest(NFTA_CHAIN_HOOK, |hook| {
        hook.u32(NFTA_HOOK_HOOKNUM, base.hook.number());
        hook.bytes(NFTA_HOOK_PRIORITY, &base.priority.to_be_bytes());
    });
    body.u32(NFTA_CHAIN_POLICY, if base.policy == Policy::Accept { NF_ACCEPT } else { NF_DROP });
    body.text(NFTA_CHAIN_TYPE, base.kind.as_str());
}

fn put_rule(body: &mut Writer, family: Family, rule: &Rule) -> Result<(), String> {
    if rule.statements.len() > MOST_STATEMENTS {
        return Err(format!("a rule holds at most {MOST_STATEMENTS} statements"));
    }
    for statement in &rule.statements {
        check_words(statement)?;
    }
    let expressions = Expressions::encode(family, &rule.statements)?;
    body.nested_bytes(NFTA_RULE_EXPRESSIONS, &expressions);
    let mut userdata = comment_bytes(UDATA_COMMENT, rule.comment.as_deref())?;
    userdata.extend_from_slice(&[UDATA_FINGERPRINT, 8]);
    userdata.extend_from_slice(&hash(&expressions).to_be_bytes());
    body.bytes(NFTA_RULE_USERDATA, &userdata);
    Ok(())
}

fn check_words(statement: &super::Statement) -> Result<(), String> {
    use super::{Statement, Verdict};
    match statement {
        Statement::Lookup { set: name, .. }
        | Statement::VerdictMap { map: name, .. }
        | Statement::DnatMap { map: name, .. }
        | Statement::Verdict(Verdict::Jump(name) | Verdict::Goto(name)) => check_name(name),
        Statement::Log { prefix } => check_text(prefix, LONGEST_PREFIX),
        Statement::Match { value, .. } => check_value(value),
        _ => Ok(()),
    }
}

fn put_set(body: &mut Writer, set: &Set, id: u32) -> Result<(), String> {
    let concatenation = set.key.len() > 1;
    let mut flags = if set.interval { NFT_SET_INTERVAL } else { 0 };
    if set.interval && concatenation {
        flags |= NFT_SET_CONCAT;
    }
    if set.data.is_some() {
        flags |= NFT_SET_MAP;
    }
    body.u32(NFTA_SET_FLAGS, flags);
    body.u32(NFTA_SET_KEY_TYPE, DataType::concatenated_number(&set.key));
    body.u32(NFTA_SET_KEY_LEN, length(DataType::concatenated_length(&set.key)));
    match &set.data {
        None => {}
        Some(Data::Verdict(())) => body.u32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT),
        Some(Data::Values(types)) => {
            body.u32(NFTA_SET_DATA_TYPE, DataType::concatenated_number(types));
            body.u32(NFTA_SET_DATA_LEN, length(DataType::concatenated_length(types)));
        }
    }
    body.u32(NFTA_SET_ID, id);
    if set.interval && concatenation {
        body.nest(NFTA_SET_DESC, |desc| desc.nest(NFTA_SET_DESC_CONCAT, |fields| put_fields(fields, &set.key)));
    }
    let mut userdata = Vec::new();
    if let [single] = set.key.as_slice() {
        userdata.extend_from_slice(&[UDATA_SET_KEY_BYTE_ORDER, 4]);
        userdata.extend_from_slice(&single.byte_order().to_ne_bytes());
    }
    userdata.extend(comment_bytes(UDATA_SET_COMMENT, set.comment.as_deref())?);
    if !userdata.is_empty() {
        body.bytes(NFTA_SET_USERDATA, &userdata);
    }
    Ok(())
}

/// The lengths of a concatenation's parts, in bytes, as the kernel reads them in spite of its header's word "bits".
fn put_fields(fields: &mut Writer, key: &[DataType]) {
    for part in key {
        fields.nest(NFTA_LIST_ELEM, |field| field.u32(NFTA_SET_FIELD_LEN, length(part.length())));
    }
}

/// Writes one element: a key, with an end when it stands for several values. Sets of single intervals keep the end as an element
/// of its own that carries nothing but its flag and stands behind the last value.
fn put_element(body: &mut Writer, key: &[Value], element: Option<&Element>) -> Result<(), String> {
    key.iter().try_for_each(check_value)?;
    let comment = element.and_then(|element| element.comment.as_deref());
    let userdata = comment_bytes(UDATA_COMMENT, comment)?;
    let interval = key.iter().any(Value::is_interval);
    let single_end = match key {
        [single] if interval => successor(single.last_bytes()),
        _ => None,
    };
    body.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
        list.nest(NFTA_LIST_ELEM, |item| {
            put_data(item, NFTA_SET_ELEM_KEY, &concatenated(key, Value::first_bytes));
            if interval && key.len() > 1 {
                put_data(item, NFTA_SET_ELEM_KEY_END, &concatenated(key, Value::last_bytes));
            }
            match element.and_then(|element| element.data.as_ref()) {
                None => {}
                Some(Data::Verdict(verdict)) => item.nest(NFTA_SET_ELEM_DATA, |data| encode_verdict(data, verdict)),
                Some(Data::Values(values)) => {
                    put_data(item, NFTA_SET_ELEM_DATA, &concatenated(values, Value::first_bytes));
                }
            }
            if !userdata.is_empty() {
                item.bytes(NFTA_SET_ELEM_USERDATA, &userdata);
            }
        });
        if let Some(end) = single_end {
            list.nest(NFTA_LIST_ELEM, |item| {
                put_data(item, NFTA_SET_ELEM_KEY, &end);
                item.u32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            });
        }
    });
    Ok(())
}

fn put_data(writer: &mut Writer, kind: u16, value: &[u8]) {
    writer.nest(kind, |data| data.bytes(NFTA_DATA_VALUE, value));
}

fn check_value(value: &Value) -> Result<(), String> {
    match value {
        Value::Interface(name) if name.is_empty() || name.len() > 15 || name.contains(['"', '\0', '/']) => {
            Err(format!("{name:?} is no interface name"))
        }
        Value::Ports(first, last) if first > last => Err(format!("ports {first}-{last} run backwards")),
        _ => Ok(()),
    }
}

/// A comment as user data: type, length, text with its zero byte. Nothing without a comment.
fn comment_bytes(kind: u8, comment: Option<&str>) -> Result<Vec<u8>, String> {
    let Some(comment) = comment else { return Ok(Vec::new()) };
    check_text(comment, LONGEST_COMMENT)?;
    let mut bytes = vec![kind, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(comment.as_bytes());
    bytes.push(0);
    Ok(bytes)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
