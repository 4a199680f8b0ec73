//! The value of a lease.

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What the peers of a node must know to reach it. Serialises to exactly the text flannel writes, in its order.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attributes {
    /// The node's address on the underlay, as seen by its peers.
    #[serde(rename = "PublicIP")]
    pub public_ip: Ipv4Addr,
    /// The same for IPv6; written as null when there is none.
    #[serde(rename = "PublicIPv6")]
    pub public_ipv6: Option<Ipv6Addr>,
    /// `vxlan`, …; empty for flannel's udp and alloc, and then not written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backend_type: String,
    /// What the backend needs to know, as written: [`VxlanData`] for vxlan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_data: Option<Box<RawValue>>,
    /// The same for IPv6.
    #[serde(rename = "BackendV6Data", skip_serializing_if = "Option::is_none")]
    pub backend_v6_data: Option<Box<RawValue>>,
}

impl Attributes {
    /// The attributes of an IPv4 vxlan node.
    pub fn vxlan(public_ip: Ipv4Addr, data: &VxlanData) -> Self {
        Self {
            public_ip,
            public_ipv6: None,
            backend_type: "vxlan".into(),
            backend_data: serde_json::value::to_raw_value(data).ok(),
            backend_v6_data: None,
        }
    }

    /// What a vxlan peer tells about its end of the tunnel.
    ///
    /// # Errors
    /// There is no data or it is not a vxlan backend's.
    pub fn vxlan_data(&self) -> Result<VxlanData, serde_json::Error> {
        match &self.backend_data {
            Some(data) => serde_json::from_str(data.get()),
            None => Err(serde_json::Error::custom("BackendData is missing")),
        }
    }

    /// The value of the lease.
    pub fn to_json(&self) -> String {
        // a struct of strings, addresses and texts that already are JSON has no way to fail
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the value of a lease. Unknown fields are ignored and names match whatever their case, as flanneld does.
    ///
    /// # Errors
    /// Not JSON, no `PublicIP`, or a field of another type. Stricter than flanneld only in that `PublicIP` must be there: a lease without
    /// it cannot be reached.
    pub fn from_json(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

/// Two values are equal when they say the same, down to the spelling of the backend's data.
impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        fn text(data: Option<&RawValue>) -> Option<&str> {
            data.map(RawValue::get)
        }
        self.public_ip == other.public_ip
            && self.public_ipv6 == other.public_ipv6
            && self.backend_type == other.backend_type
            && text(self.backend_data.as_deref()) == text(other.backend_data.as_deref())
            && text(self.backend_v6_data.as_deref()) == text(other.backend_v6_data.as_deref())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the attributes of a lease")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
        let (mut public_ip, mut public_ipv6, mut backend_type) = (None, None, None);
        let (mut backend_data, mut backend_v6_data) = (None, None);
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key.eq_ignore_ascii_case("PublicIP") {
                public_ip = map.next_value()?;
            } else if key.eq_ignore_ascii_case("PublicIPv6") {
                public_ipv6 = map.next_value()?;
            } else if key.eq_ignore_ascii_case("BackendType") {
                backend_type = map.next_value::<Option<String>>()?;
            } else if key.eq_ignore_ascii_case("BackendData") {
                backend_data = map.next_value::<Option<Box<RawValue>>>()?;
            } else if key.eq_ignore_ascii_case("BackendV6Data") {
                backend_v6_data = map.next_value::<Option<Box<RawValue>>>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Attributes {
            public_ip: public_ip.ok_or_else(|| A::Error::missing_field("PublicIP"))?,
            public_ipv6,
            backend_type: backend_type.unwrap_or_default(),
            backend_data,
            backend_v6_data,
        })
    }
}

/// `BackendData` of a vxlan node: `{"VNI":1,"VtepMAC":"de:26:47:23:79:80"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VxlanData {
    /// The network identifier the node uses.
    #[serde(rename = "VNI", default)]
    pub vni: u32,
    /// The MAC address of its VXLAN device, lower case with colons.
    #[serde(rename = "VtepMAC")]
    pub vtep_mac: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vxlan() -> Attributes {
        let data = VxlanData { vni: 1, vtep_mac: "de:26:47:23:79:80".into() };
        Attributes::vxlan("192.168.7.1".parse().unwrap(), &data)
    }

    #[test]
    fn the_value_is_flannels_byte_for_byte() {
        let text = r#"{"PublicIP":"192.168.7.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"de:26:47:23:79:80"}}"#;
        assert_eq!(vxlan().to_json(), text);
        assert_eq!(Attributes::from_json(text.as_bytes()).unwrap(), vxlan());
    }

    #[test]
    fn the_value_of_a_udp_node_has_no_backend() {
        let text = r#"{"PublicIP":"192.168.7.1","PublicIPv6":null}"#;
        assert_eq!(Attributes::from_json(text.as_bytes()).unwrap().to_json(), text);
    }

    #[test]
    fn a_dual_stack_value_reads_back_as_written() {
        let text = r#"{"PublicIP":"1.2.3.4","PublicIPv6":"fd00::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"a"},"BackendV6Data":{"VNI":1,"VtepMAC":"b"}}"#;
        assert_eq!(Attributes::from_json(text.as_bytes()).unwrap().to_json(), text);
    }

    #[test]
    fn unknown_fields_and_other_cases_are_read() {
        let text = br#"{"publicip":"1.2.3.4","Future":{"a":[1]},"backendtype":"vxlan","BackendData":null}"#;
        let attributes = Attributes::from_json(text).unwrap();
        assert_eq!((attributes.backend_type.as_str(), attributes.backend_data.is_none()), ("vxlan", true));
        assert!(attributes.vxlan_data().is_err());
    }

    #[test]
    fn broken_values_are_refused() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            r#"{"PublicIP":5}"#,
            r#"{"PublicIP":"x"}"#,
            r#"{"BackendType":"vxlan"}"#,
            "{\"PublicIP\":\"1.2.3.4\"} x",
        ] {
            assert!(Attributes::from_json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn vxlan_data_is_read_from_the_value() {
        assert_eq!(vxlan().vxlan_data().unwrap(), VxlanData { vni: 1, vtep_mac: "de:26:47:23:79:80".into() });
    }
}
