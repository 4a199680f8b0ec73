//! Attributes as netfilter wants them: numbers in network byte order, nested ones marked, each padded to four bytes.

/// Set in the type of an attribute that holds attributes (linux/netlink.h).
const NLA_F_NESTED: u16 = 1 << 15;
/// The bits of the type that are the type.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Length of an attribute's header, in bytes.
const HEADER: usize = 4;
/// `NFNETLINK_V0` (linux/netfilter/nfnetlink.h).
const VERSION: u8 = 0;

/// The body of a netfilter message under construction.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Begins with the header of every netfilter message (`struct nfgenmsg`): family of the addresses and a resource number.
    pub(crate) fn message(family: u8, resource: u16) -> Self {
        let [high, low] = resource.to_be_bytes();
        Self(vec![family, VERSION, high, low])
    }

    /// Begins with nothing, for bytes that go into a message later.
    pub(crate) const fn bare() -> Self {
        Self(Vec::new())
    }

    /// What has been written.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// An attribute that holds bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.raw(kind, |body| body.extend_from_slice(value));
    }

    /// An attribute that holds text, ended by a zero byte.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.raw(kind, |body| {
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        });
    }

    /// An attribute that holds one byte.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    /// An attribute that holds a 32-bit number.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds a 64-bit number.
    pub(crate) fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(start);
    }

    /// An attribute that holds attributes written earlier.
    pub(crate) fn nested_bytes(&mut self, kind: u16, attributes: &[u8]) {
        self.bytes(kind | NLA_F_NESTED, attributes);
    }

    fn raw(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.open(kind);
        fill(&mut self.0);
        self.close(start);
        self.0.resize(self.0.len().next_multiple_of(HEADER), 0);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// Writes the length. Nothing here comes near 64 KiB: names, comments and the statements of a rule are limited before.
    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = self.0.get_mut(start..start + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// The attributes in `bytes` as (type, value). A malformed rest is dropped: the kernel sends none.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(HEADER)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & NLA_TYPE_MASK, value))
    })
}

/// The value of the first attribute of this type.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// The value of the attribute as text.
pub(crate) fn find_text(bytes: &[u8], kind: u16) -> Option<String> {
    find(bytes, kind).map(text)
}

/// The value of the attribute as a 32-bit number.
pub(crate) fn find_u32(bytes: &[u8], kind: u16) -> Option<u32> {
    find(bytes, kind)?.first_chunk().map(|number| u32::from_be_bytes(*number))
}

/// The value of the attribute as a 64-bit number.
pub(crate) fn find_u64(bytes: &[u8], kind: u16) -> Option<u64> {
    find(bytes, kind)?.first_chunk().map(|number| u64::from_be_bytes(*number))
}

/// The attributes of a message, which stand behind the four bytes of `struct nfgenmsg`.
pub(crate) fn body(payload: &[u8]) -> &[u8] {
    payload.get(4..).unwrap_or_default()
}

/// Bytes up to the first zero as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_again() {
        let mut writer = Writer::bare();
        writer.text(1, "abc");
        writer.nest(2, |inner| {
            inner.u8(1, 7);
            inner.u64(2, 1 << 40);
        });
        writer.u32(3, 9);
        let bytes = writer.finish();
        assert_eq!(bytes.len(), 8 + (4 + 8 + 12) + 8);
        assert_eq!(find_text(&bytes, 1).as_deref(), Some("abc"));
        let inner = find(&bytes, 2).unwrap();
        assert_eq!((find(inner, 1), find_u64(inner, 2)), (Some(&[7][..]), Some(1 << 40)));
        assert_eq!((find_u32(&bytes, 3), find(&bytes, 4)), (Some(9), None));
    }

    #[test]
    fn a_truncated_attribute_ends_the_list() {
        let mut writer = Writer::bare();
        writer.u32(1, 5);
        writer.u32(2, 6);
        let bytes = writer.finish();
        assert_eq!(attributes(&bytes[..12]).count(), 1);
        assert_eq!(attributes(&[0, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }
}
