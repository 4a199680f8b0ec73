//! Messages byte by byte, and what is refused before it becomes one.

use super::*;
use crate::nft::{Field, Statement, Verdict};

fn table() -> Table {
    Table::new(Family::Ip, "t")
}

/// The bytes behind the netlink header, four to a word, as hexadecimal digits.
fn words(change: &Change) -> String {
    let message = change.encode(0).unwrap();
    let words = message.bytes()[16..].chunks(4).map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect());
    words.collect::<Vec<String>>().join(" ")
}

#[test]
fn an_element_of_a_map_is_key_data_and_comment() {
    let address = |text: &str| Value::Address(text.parse().unwrap());
    let element = Element {
        key: vec![Value::Protocol(6), Value::Port(8080)],
        data: Some(Data::Values(vec![address("10.42.1.9"), Value::Port(80)])),
        comment: Some("me".into()),
    };
    let change = Change::AddElement { table: table(), set: "m".into(), element, existing: Existing::Refused };
    let expected = [
        "02000000",                            // struct nfgenmsg: IPv4
        "06000100 74000000 06000200 6d000000", // table "t", set "m"
        "34000380 30000180",                   // elements, element
        "10000180 0c000100 06000000 1f900000", // key: 6 . 8080, each padded
        "10000280 0c000100 0a2a0109 00500000", // data: 10.42.1.9 . 80
        "09000600 00036d65 00000000",          // user data: comment, 3 bytes, "me"
    ];
    assert_eq!(words(&change), expected.join(" "));
    assert_eq!(change.encode(0).unwrap().bytes()[4..8], [0x0c, 0x0a, 0x01, 0x06], "NEWSETELEM, REQUEST|CREATE|EXCL");
}

#[test]
fn a_network_in_a_set_ends_behind_its_last_address() {
    let key = vec![Value::Network("10.0.0.0/8".parse().unwrap())];
    let change = Change::DeleteElement { table: table(), set: "m".into(), key, missing_ok: false };
    let expected = [
        "02000000 06000100 74000000 06000200 6d000000",
        "2c000380",
        "10000180 0c000180 08000100 0a000000",
        "18000180 0c000180 08000100 0b000000 08000300 00000001", // INTERVAL_END
    ];
    assert_eq!(words(&change), expected.join(" "));
    let all = vec![Value::Network("0.0.0.0/0".parse().unwrap())];
    let change = Change::DeleteElement { table: table(), set: "m".into(), key: all, missing_ok: false };
    assert_eq!(words(&change).matches("18000180").count(), 0, "nothing is behind the last address");
}

#[test]
fn a_rule_carries_the_fingerprint_of_its_expressions() {
    let rule = Rule { statements: vec![Statement::Verdict(Verdict::Drop)], comment: None };
    let change = Change::AddRule { table: table(), chain: "c".into(), rule: rule.clone() };
    let fingerprint = fingerprint(Family::Ip, &rule).unwrap();
    let expected = format!("0e000700 f008{:016x}0000", fingerprint).replace(' ', "");
    assert!(words(&change).replace(' ', "").ends_with(&expected), "{}", words(&change));
    let other = Rule { statements: vec![Statement::accept()], comment: None };
    assert_ne!(super::fingerprint(Family::Ip, &other).unwrap(), fingerprint);
}

#[test]
fn inet_tables_ask_for_the_ip_version_once_before_an_address() {
    let from = Statement::from("10.0.0.0/8".parse().unwrap());
    let length = |family, statements: &[Statement]| Expressions::encode(family, statements).unwrap().len();
    let (once, twice) = (vec![from.clone()], vec![from.clone(), from.clone()]);
    let question = length(Family::Inet, &once) - length(Family::Ip, &once);
    assert!(question > 0);
    assert_eq!(length(Family::Inet, &twice) - length(Family::Ip, &twice), question);
    assert!(Expressions::encode(Family::Ip6, &once).is_err());
    let both = vec![from, Statement::from("fd00::/8".parse().unwrap())];
    assert!(Expressions::encode(Family::Inet, &both).is_err(), "no packet is of both versions");
}

#[test]
fn more_fields_than_registers_are_refused() {
    let key = vec![Field::Ipv6Source; 5];
    let statement = Statement::Lookup { key, set: "s".into(), negated: false };
    assert!(Expressions::encode(Family::Ip6, &[statement]).is_err());
}
