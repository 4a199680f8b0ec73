//! The addresses of a network and how they are cut into subnets, one a node. Both families follow one rule, so it is written once over
//! 128-bit numbers.

use super::FieldError;
use crate::fields::Fields;
use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// IPv4 addresses of a network. A subnet is `subnet_len` long and starts on a boundary of that length from `subnet_min` to `subnet_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Pool {
    /// `Network`, its host bits cleared.
    pub network: Ipv4Net,
    /// `SubnetLen`: prefix length of a node's subnet.
    pub subnet_len: u8,
    /// `SubnetMin`: the first subnet handed out.
    pub subnet_min: Ipv4Addr,
    /// `SubnetMax`: the last subnet handed out.
    pub subnet_max: Ipv4Addr,
}

impl Ipv4Pool {
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, FieldError> {
        let network: Ipv4Net = fields
            .parsed("Network", "an IPv4 network such as 10.5.0.0/16")?
            .ok_or_else(|| fields.error("Network", "is missing, and EnableIPv4 is true"))?;
        let network = network.trunc();
        let address = |name| -> Result<Option<u128>, FieldError> {
            let address = fields.parsed::<Ipv4Addr>(name, "an IPv4 address")?;
            Ok(address.map(|address| u128::from(u32::from(address))))
        };
        let family = Family {
            width: 32,
            shortest: 28,
            usual: 24,
            longest: 30,
            names: ["Network", "SubnetLen", "SubnetMin", "SubnetMax"],
        };
        let cut = family.cut(
            u128::from(u32::from(network.network())),
            network.prefix_len(),
            fields.number("SubnetLen", 32)?,
            address("SubnetMin")?,
            address("SubnetMax")?,
        )?;
        let narrow = |address: u128| Ipv4Addr::from(u32::try_from(address).unwrap_or(u32::MAX));
        Ok(Self { network, subnet_len: cut.len, subnet_min: narrow(cut.min), subnet_max: narrow(cut.max) })
    }

    /// Whether a subnet is one of those this pool hands out.
    pub fn fits(&self, subnet: Ipv4Net) -> bool {
        subnet.prefix_len() == self.subnet_len
            && subnet.trunc() == subnet
            && (self.subnet_min..=self.subnet_max).contains(&subnet.network())
    }

    /// All subnets this pool hands out, lowest first.
    pub fn subnets(&self) -> impl Iterator<Item = Ipv4Net> + use<> {
        let len = self.subnet_len;
        let step = 1_u64.checked_shl(32_u32.saturating_sub(u32::from(len))).unwrap_or(u64::MAX);
        let last = u64::from(u32::from(self.subnet_max));
        let mut next = u64::from(u32::from(self.subnet_min));
        std::iter::from_fn(move || {
            let address = u32::try_from(next).ok().filter(|_| next <= last)?;
            next = next.saturating_add(step);
            Ipv4Net::new(Ipv4Addr::from(address), len).ok()
        })
    }
}

/// IPv6 addresses of a network, the `IPv6…` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Pool {
    /// `IPv6Network`, its host bits cleared.
    pub network: Ipv6Net,
    /// `IPv6SubnetLen`: prefix length of a node's subnet.
    pub subnet_len: u8,
    /// `IPv6SubnetMin`: the first subnet handed out.
    pub subnet_min: Ipv6Addr,
    /// `IPv6SubnetMax`: the last subnet handed out.
    pub subnet_max: Ipv6Addr,
}

impl Ipv6Pool {
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, FieldError> {
        let network: Ipv6Net = fields
            .parsed("IPv6Network", "an IPv6 network such as fd00:5::/48")?
            .ok_or_else(|| fields.error("IPv6Network", "is missing, and EnableIPv6 is true"))?;
        let network = network.trunc();
        let address = |name| -> Result<Option<u128>, FieldError> {
            Ok(fields.parsed::<Ipv6Addr>(name, "an IPv6 address")?.map(u128::from))
        };
        let family = Family {
            width: 128,
            shortest: 124,
            usual: 64,
            longest: 126,
            names: ["IPv6Network", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax"],
        };
        let cut = family.cut(
            u128::from(network.network()),
            network.prefix_len(),
            fields.number("IPv6SubnetLen", 128)?,
            address("IPv6SubnetMin")?,
            address("IPv6SubnetMax")?,
        )?;
        Ok(Self {
            network,
            subnet_len: cut.len,
            subnet_min: Ipv6Addr::from(cut.min),
            subnet_max: Ipv6Addr::from(cut.max),
        })
    }
}

/// What differs between the families.
struct Family {
    /// Bits of an address.
    width: u8,
    /// The longest network prefix that can still be cut without a given subnet length.
    shortest: u8,
    /// The subnet length used when the network is at least two bits wider.
    usual: u8,
    /// The longest subnet.
    longest: u8,
    /// Names of the network, length, first and last subnet.
    names: [&'static str; 4],
}

/// A network cut into subnets.
struct Cut {
    len: u8,
    min: u128,
    max: u128,
}

impl Family {
    /// Fills in what is not given and checks what is.
    fn cut(
        &self,
        base: u128,
        prefix: u8,
        len: Option<u32>,
        min: Option<u128>,
        max: Option<u128>,
    ) -> Result<Cut, FieldError> {
        let [_, _, min_name, max_name] = self.names;
        let len = self.subnet_length(prefix, len)?;
        let size = 1_u128.checked_shl(u32::from(self.width.saturating_sub(len))).unwrap_or(0);
        let last = base | self.ones(prefix);
        // the first subnet stays unused so that no node has the network's own address
        let cut = Cut {
            len,
            min: min.unwrap_or(base.saturating_add(size)),
            max: max.unwrap_or(last.saturating_sub(size).saturating_add(1)),
        };
        for (name, address) in [(min_name, cut.min), (max_name, cut.max)] {
            if !(base..=last).contains(&address) {
                return Err(FieldError::new(name, format!("{} is outside the network", self.show(address))));
            }
            if address & self.ones(len) != 0 {
                return Err(FieldError::new(name, format!("{} is not the start of a /{len}", self.show(address))));
            }
        }
        if cut.min > cut.max {
            return Err(FieldError::new(min_name, format!("is above {max_name}: no subnet is left")));
        }
        Ok(cut)
    }

    fn subnet_length(&self, prefix: u8, len: Option<u32>) -> Result<u8, FieldError> {
        let [network_name, len_name, ..] = self.names;
        let least = prefix.saturating_add(2);
        match len.and_then(|len| u8::try_from(len).ok()).filter(|len| *len != 0) {
            None if prefix > self.shortest => {
                let reason =
                    format!("/{prefix} is too small to be cut into subnets, /{} is the longest", self.shortest);
                Err(FieldError::new(network_name, reason))
            }
            None => Ok(least.max(self.usual)),
            Some(len) if len > self.longest => {
                Err(FieldError::new(len_name, format!("{len} is too long, {} is the most", self.longest)))
            }
            Some(len) if len < least => Err(FieldError::new(
                len_name,
                format!("{len} leaves fewer than four subnets in a /{prefix}, use {least} or more"),
            )),
            Some(len) => Ok(len),
        }
    }

    /// The host bits of a prefix, all set.
    fn ones(&self, prefix: u8) -> u128 {
        let bits = u32::from(self.width.saturating_sub(prefix));
        1_u128.checked_shl(bits).map_or(u128::MAX, |end| end.wrapping_sub(1))
    }

    fn show(&self, address: u128) -> String {
        match u32::try_from(address) {
            Ok(address) if self.width == 32 => Ipv4Addr::from(address).to_string(),
            _ => Ipv6Addr::from(address).to_string(),
        }
    }
}
