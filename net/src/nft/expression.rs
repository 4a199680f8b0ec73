//! Statements as the kernel's expressions: little instructions that load registers, compare them and act.
//!
//! Numbers are from linux/netfilter/nf_tables.h unless another header is named.

use std::net::IpAddr;

use super::abi::{
    NF_ACCEPT, NF_DROP, NFT_GOTO, NFT_JUMP, NFT_RETURN, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_LIST_ELEM,
    NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
};
use super::model::Family;
use super::set::Value;
use super::statement::{ConnectionState, Field, Statement, Verdict};
use super::wire::Writer;

/// `NFT_REG_VERDICT`: where a verdict goes.
const VERDICT_REGISTER: u32 = 0;
/// `NFT_REG32_00`: the first of sixteen 32-bit registers.
const FIRST_REGISTER: u32 = 8;
/// How many there are.
const REGISTERS: u32 = 16;
/// `NFT_CMP_EQ`/`NFT_CMP_NEQ` and `NFT_RANGE_EQ`/`NFT_RANGE_NEQ`.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
/// `enum nft_meta_keys`.
const META_PROTOCOL: u32 = 1;
const META_MARK: u32 = 3;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
/// `enum nft_ct_keys`.
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const CT_PROTO_DST: u32 = 12;
/// `IP_CT_DIR_ORIGINAL` (linux/netfilter/nf_conntrack_tuple_common.h).
const DIRECTION_ORIGINAL: u8 = 0;
/// `IPS_DST_NAT` (linux/netfilter/nf_conntrack_common.h).
const STATUS_DST_NAT: u32 = 1 << 5;
/// `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_DADDR`, and `RTN_LOCAL` of linux/rtnetlink.h.
const FIB_RESULT_ADDRTYPE: u32 = 3;
const FIB_F_DADDR: u32 = 1 << 1;
const RTN_LOCAL: u32 = 2;
/// `enum nft_payload_bases`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// `enum nft_nat_types`.
const NAT_SNAT: u32 = 0;
const NAT_DNAT: u32 = 1;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY` (linux/netfilter/nf_nat.h).
const NAT_RANDOM_FULLY: u32 = 1 << 4;
/// `NFPROTO_IPV4`, `NFPROTO_IPV6` (linux/netfilter.h).
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

/// The version of IP that a statement speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

/// The expressions of a rule under construction.
#[derive(Debug)]
pub(super) struct Expressions {
    family: Family,
    /// The version the packets are known to have at this point.
    version: Option<Version>,
    writer: Writer,
}

impl Expressions {
    /// Encodes the statements of a rule in a table of this family: the contents of `NFTA_RULE_EXPRESSIONS`.
    ///
    /// # Errors
    /// What is wrong with a statement, in words.
    pub(super) fn encode(family: Family, statements: &[Statement]) -> Result<Vec<u8>, String> {
        let version = match family {
            Family::Ip => Some(Version::V4),
            Family::Ip6 => Some(Version::V6),
            Family::Inet | Family::Bridge | Family::Netdev => None,
        };
        let mut expressions = Self { family, version, writer: Writer::bare() };
        for statement in statements {
            expressions.statement(statement)?;
        }
        Ok(expressions.writer.finish())
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), String> {
        match statement {
            Statement::Match { field, negated, value } => return self.compare_field(*field, *negated, value),
            Statement::Lookup { key, set, negated } => {
                self.load(key)?;
                self.lookup(set, None, *negated);
            }
            Statement::VerdictMap { key, map } => {
                self.load(key)?;
                self.lookup(map, Some(VERDICT_REGISTER), false);
            }
            Statement::LocalDestination { negated } => {
                self.expression("fib", |w| {
                    w.u32(1, FIRST_REGISTER);
                    w.u32(2, FIB_RESULT_ADDRTYPE);
                    w.u32(3, FIB_F_DADDR);
                });
                self.compare(*negated, &RTN_LOCAL.to_ne_bytes());
            }
            Statement::DestinationTranslated => self.connection_bits(CT_STATUS, STATUS_DST_NAT),
            Statement::State(states) => {
                self.connection_bits(CT_STATE, states.iter().fold(0, |bits, state| bits | state_bit(*state)));
            }
            Statement::Mark { value, mask, negated } => {
                self.meta(META_MARK, FIRST_REGISTER);
                if *mask != u32::MAX {
                    self.bitwise(&mask.to_ne_bytes(), &[0; 4]);
                }
                self.compare(*negated, &value.to_ne_bytes());
            }
            Statement::SetMark { value, mask } => self.set_mark(*value, *mask),
            Statement::Counter => self.expression("counter", |_| {}),
            Statement::Limit { per_second, burst } => self.expression("limit", |w| {
                w.u64(1, u64::from(*per_second));
                w.u64(2, 1);
                w.u32(3, *burst);
                w.u32(4, 0);
                w.u32(5, 0);
            }),
            Statement::Log { prefix } => self.expression("log", |w| w.text(2, prefix)),
            Statement::Masquerade { fully_random } => self.expression("masq", |w| {
                if *fully_random {
                    w.u32(1, NAT_RANDOM_FULLY);
                }
            }),
            Statement::Snat { address, port } => return self.source_nat(*address, *port),
            Statement::DnatMap { key, map } => return self.destination_nat(key, map),
            Statement::Verdict(verdict) => self.expression("immediate", |w| {
                w.u32(1, VERDICT_REGISTER);
                w.nest(2, |data| encode_verdict(data, verdict));
            }),
        }
        Ok(())
    }

    fn compare_field(&mut self, field: Field, negated: bool, value: &Value) -> Result<(), String> {
        if field.data_type() != value.data_type() {
            return Err(format!("{} cannot be compared with {value}", field.syntax()));
        }
        self.load(&[field])?;
        match value {
            Value::Network(network) if network.prefix_len() < network.max_prefix_len() => {
                let mask = Value::Address(network.netmask()).first_bytes();
                self.bitwise(&mask, &vec![0; mask.len()]);
                self.compare(negated, &value.first_bytes());
            }
            Value::Ports(first, last) if first != last => self.expression("range", |w| {
                w.u32(1, FIRST_REGISTER);
                w.u32(2, if negated { NOT_EQUAL } else { EQUAL });
                w.nest(3, |data| data.bytes(NFTA_DATA_VALUE, &first.to_be_bytes()));
                w.nest(4, |data| data.bytes(NFTA_DATA_VALUE, &last.to_be_bytes()));
            }),
            // Without the zero bytes behind it only the beginning of the name is compared.
            Value::Interface(name) => match name.strip_suffix('*') {
                Some(beginning) => self.compare(negated, beginning.as_bytes()),
                None => self.compare(negated, &value.first_bytes()),
            },
            value => self.compare(negated, &value.first_bytes()),
        }
        Ok(())
    }

    /// Loads the fields into the registers from the first on.
    fn load(&mut self, fields: &[Field]) -> Result<(), String> {
        for version in fields.iter().filter_map(|field| version_of(*field)) {
            self.require(version)?;
        }
        let mut register = FIRST_REGISTER;
        for field in fields {
            if register + field.data_type().registers() > FIRST_REGISTER + REGISTERS {
                return Err("too many fields for the registers".to_owned());
            }
            self.load_field(*field, register);
            register += field.data_type().registers();
        }
        Ok(())
    }

    fn load_field(&mut self, field: Field, register: u32) {
        match field {
            Field::Ipv4Source => self.payload(NETWORK_HEADER, 12, 4, register),
            Field::Ipv4Destination => self.payload(NETWORK_HEADER, 16, 4, register),
            Field::Ipv6Source => self.payload(NETWORK_HEADER, 8, 16, register),
            Field::Ipv6Destination => self.payload(NETWORK_HEADER, 24, 16, register),
            Field::SourcePort => self.payload(TRANSPORT_HEADER, 0, 2, register),
            Field::DestinationPort => self.payload(TRANSPORT_HEADER, 2, 2, register),
            Field::Protocol => self.meta(META_L4PROTO, register),
            Field::InputInterface => self.meta(META_IIFNAME, register),
            Field::OutputInterface => self.meta(META_OIFNAME, register),
            Field::Mark => self.meta(META_MARK, register),
            Field::OriginalDestinationPort => self.expression("ct", |w| {
                w.u32(1, register);
                w.u32(2, CT_PROTO_DST);
                w.u8(3, DIRECTION_ORIGINAL);
            }),
        }
    }

    /// Makes sure that only packets of this version go on, where the family of the table does not already.
    fn require(&mut self, version: Version) -> Result<(), String> {
        match self.version {
            Some(known) if known == version => return Ok(()),
            Some(_) => return Err("an address of the other IP version can never match here".to_owned()),
            None => self.version = Some(version),
        }
        if self.family == Family::Inet {
            self.meta(META_NFPROTO, FIRST_REGISTER);
            self.compare(false, &[version.nfproto()]);
        } else {
            self.meta(META_PROTOCOL, FIRST_REGISTER);
            self.compare(false, &version.ethertype().to_be_bytes());
        }
        Ok(())
    }

    fn set_mark(&mut self, value: u32, mask: u32) {
        if mask == u32::MAX {
            self.immediate(FIRST_REGISTER, &value.to_ne_bytes());
        } else {
            self.meta(META_MARK, FIRST_REGISTER);
            self.bitwise(&(!mask).to_ne_bytes(), &(value & mask).to_ne_bytes());
        }
        self.expression("meta", |w| {
            w.u32(2, META_MARK);
            w.u32(3, FIRST_REGISTER);
        });
    }

    fn connection_bits(&mut self, key: u32, bits: u32) {
        self.expression("ct", |w| {
            w.u32(1, FIRST_REGISTER);
            w.u32(2, key);
        });
        self.bitwise(&bits.to_ne_bytes(), &[0; 4]);
        self.compare(true, &[0; 4]);
    }

    fn source_nat(&mut self, address: IpAddr, port: Option<u16>) -> Result<(), String> {
        let version = if address.is_ipv4() { Version::V4 } else { Version::V6 };
        self.require(version)?;
        let port_register = FIRST_REGISTER + version.registers();
        self.immediate(FIRST_REGISTER, &Value::Address(address).first_bytes());
        if let Some(port) = port {
            self.immediate(port_register, &port.to_be_bytes());
        }
        self.nat(NAT_SNAT, version, port.map(|_| port_register));
        Ok(())
    }

    fn destination_nat(&mut self, key: &[Field], map: &str) -> Result<(), String> {
        self.load(key)?;
        let version = self.version.ok_or("the rule does not say which IP version is translated")?;
        self.lookup(map, Some(FIRST_REGISTER), false);
        self.nat(NAT_DNAT, version, Some(FIRST_REGISTER + version.registers()));
        Ok(())
    }

    /// Translates to the address in the first register and the port in another.
    fn nat(&mut self, kind: u32, version: Version, port_register: Option<u32>) {
        self.expression("nat", |w| {
            w.u32(1, kind);
            w.u32(2, u32::from(version.nfproto()));
            w.u32(3, FIRST_REGISTER);
            if let Some(register) = port_register {
                w.u32(5, register);
            }
        });
    }

    fn lookup(&mut self, set: &str, destination: Option<u32>, negated: bool) {
        self.expression("lookup", |w| {
            w.text(1, set);
            w.u32(2, FIRST_REGISTER);
            if let Some(register) = destination {
                w.u32(3, register);
            }
            if negated {
                w.u32(5, 1);
            }
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) {
        self.expression("payload", |w| {
            w.u32(1, register);
            w.u32(2, base);
            w.u32(3, offset);
            w.u32(4, length);
        });
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |w| {
            w.u32(1, register);
            w.u32(2, key);
        });
    }

    fn immediate(&mut self, register: u32, value: &[u8]) {
        self.expression("immediate", |w| {
            w.u32(1, register);
            w.nest(2, |data| data.bytes(NFTA_DATA_VALUE, value));
        });
    }

    /// Keeps the masked bits of the first register and flips others.
    fn bitwise(&mut self, mask: &[u8], flip: &[u8]) {
        let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
        self.expression("bitwise", |w| {
            w.u32(1, FIRST_REGISTER);
            w.u32(2, FIRST_REGISTER);
            w.u32(3, length);
            w.nest(4, |data| data.bytes(NFTA_DATA_VALUE, mask));
            w.nest(5, |data| data.bytes(NFTA_DATA_VALUE, flip));
        });
    }

    fn compare(&mut self, negated: bool, value: &[u8]) {
        self.expression("cmp", |w| {
            w.u32(1, FIRST_REGISTER);
            w.u32(2, if negated { NOT_EQUAL } else { EQUAL });
            w.nest(3, |data| data.bytes(NFTA_DATA_VALUE, value));
        });
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Writer)) {
        self.writer.nest(NFTA_LIST_ELEM, |w| {
            w.text(1, name);
            w.nest(2, fill);
        });
    }
}

/// Writes a verdict, as data of an expression or of an element.
pub(super) fn encode_verdict(writer: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (NF_ACCEPT, None),
        Verdict::Drop => (NF_DROP, None),
        Verdict::Return => (NFT_RETURN, None),
        Verdict::Jump(chain) => (NFT_JUMP, Some(chain)),
        Verdict::Goto(chain) => (NFT_GOTO, Some(chain)),
    };
    writer.nest(NFTA_DATA_VERDICT, |w| {
        w.u32(NFTA_VERDICT_CODE, code);
        if let Some(chain) = chain {
            w.text(NFTA_VERDICT_CHAIN, chain);
        }
    });
}

impl Version {
    const fn nfproto(self) -> u8 {
        match self {
            Self::V4 => NFPROTO_IPV4,
            Self::V6 => NFPROTO_IPV6,
        }
    }

    /// `ETH_P_IP`, `ETH_P_IPV6` (linux/if_ether.h).
    const fn ethertype(self) -> u16 {
        match self {
            Self::V4 => 0x0800,
            Self::V6 => 0x86dd,
        }
    }

    /// How many registers an address takes.
    const fn registers(self) -> u32 {
        match self {
            Self::V4 => 1,
            Self::V6 => 4,
        }
    }
}

const fn version_of(field: Field) -> Option<Version> {
    match field {
        Field::Ipv4Source | Field::Ipv4Destination => Some(Version::V4),
        Field::Ipv6Source | Field::Ipv6Destination => Some(Version::V6),
        _ => None,
    }
}

/// `NF_CT_STATE_INVALID_BIT`, `NF_CT_STATE_BIT()`, `NF_CT_STATE_UNTRACKED_BIT` (linux/netfilter/nf_conntrack_common.h).
const fn state_bit(state: ConnectionState) -> u32 {
    match state {
        ConnectionState::Invalid => 1,
        ConnectionState::Established => 1 << 1,
        ConnectionState::Related => 1 << 2,
        ConnectionState::New => 1 << 3,
        ConnectionState::Untracked => 1 << 6,
    }
}
