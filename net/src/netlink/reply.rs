//! Taking a received datagram apart: message headers, error codes, and the kernel's explanations.

use netlink_packet_core::NlasIterator;

use super::message::HEADER;

/// Message type of an acknowledgement or an error.
pub(crate) const NLMSG_ERROR: u16 = 2;
/// Message type that ends a dump.
pub(crate) const NLMSG_DONE: u16 = 3;
/// Flag of a dump that changed while it was read.
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
/// Flag of an error that carries no more than the header of the request.
const NLM_F_CAPPED: u16 = 0x100;
/// Flag of an error with attributes behind it.
const NLM_F_ACK_TLVS: u16 = 0x200;
/// Attribute of an error: the explanation as text.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Port of the socket whose request caused the message.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

impl Reply<'_> {
    /// The error number of an error, an acknowledgement (0) or the end of a dump; positive.
    pub(crate) fn errno(&self) -> i32 {
        self.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code).saturating_neg())
    }

    /// The kernel's explanation of an error or of a dump that ended early.
    pub(crate) fn explanation(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let attributes = self.payload.get(self.attributes_start()?..)?;
        let text = NlasIterator::new(attributes).flatten().find(|nla| nla.kind() == NLMSGERR_ATTR_MSG)?;
        let text = text.value().split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// An error holds its code, then the header of the request, then (uncapped) the rest of the request, then the attributes.
    fn attributes_start(&self) -> Option<usize> {
        if self.kind == NLMSG_DONE {
            return Some(4);
        }
        if self.flags & NLM_F_CAPPED != 0 {
            return Some(4 + HEADER);
        }
        let request = self.payload.get(4..8)?.first_chunk().map(|length| u32::from_ne_bytes(*length))?;
        Some(4 + usize::try_from(request).ok()?.next_multiple_of(4))
    }
}

/// The messages of a datagram. A malformed rest is dropped: the kernel sends none.
pub(crate) fn replies(mut datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let header: &[u8; HEADER] = datagram.first_chunk()?;
        let word = |at: usize| header.get(at..at + 4).and_then(|b| b.first_chunk()).map(|b| u32::from_ne_bytes(*b));
        let half = |at: usize| header.get(at..at + 2).and_then(|b| b.first_chunk()).map(|b| u16::from_ne_bytes(*b));
        let length = usize::try_from(word(0)?).ok()?;
        let payload = datagram.get(HEADER..length)?;
        let reply = Reply { kind: half(4)?, flags: half(6)?, sequence: word(8)?, port: word(12)?, payload };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(reply)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(messages: &[(u16, u16, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, flags, sequence, payload) in messages {
            bytes.extend(u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(flags.to_ne_bytes());
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend(7_u32.to_ne_bytes());
            bytes.extend(*payload);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn every_message_of_a_datagram_is_found() {
        let bytes = datagram(&[(16, 0, 1, &[1, 2, 3]), (17, 2, 9, &[])]);
        let found: Vec<_> = replies(&bytes).map(|r| (r.kind, r.flags, r.sequence, r.port, r.payload.len())).collect();
        assert_eq!(found, [(16, 0, 1, 7, 3), (17, 2, 9, 7, 0)]);
    }

    #[test]
    fn a_truncated_or_lying_datagram_ends_quietly() {
        let bytes = datagram(&[(16, 0, 1, &[1, 2, 3, 4])]);
        for length in 0..bytes.len() {
            assert_eq!(replies(&bytes[..length]).count(), 0, "{length}");
        }
        let mut lying = bytes;
        lying[0] = 3;
        assert_eq!(replies(&lying).count(), 0);
    }

    #[test]
    fn the_explanation_is_read_from_capped_and_uncapped_errors() {
        let text = [&[12, 0, 1, 0][..], b"too bad\0"].concat();
        let mut request = vec![0; 20];
        request[0] = 20;
        let uncapped = [&(-17_i32).to_ne_bytes()[..], &request, &text].concat();
        let capped = [&(-17_i32).to_ne_bytes()[..], &request[..16], &text].concat();
        let bytes = datagram(&[
            (NLMSG_ERROR, NLM_F_ACK_TLVS, 1, &uncapped),
            (NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED, 2, &capped),
            (NLMSG_ERROR, NLM_F_CAPPED, 3, &capped[..20]),
        ]);
        let found: Vec<_> = replies(&bytes).map(|r| (r.errno(), r.explanation())).collect();
        let explained = (17, Some("too bad".to_owned()));
        assert_eq!(found, [explained.clone(), explained, (17, None)]);
    }
}
