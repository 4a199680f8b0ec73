//! Numbers of the kernel's interface that more than one file needs, named as in linux/netfilter/nf_tables.h and nfnetlink.h.

/// Subsystem of nftables, the upper byte of its message types.
pub(super) const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// Begin and end of a batch.
pub(super) const NFNL_MSG_BATCH_BEGIN: u16 = 16;
pub(super) const NFNL_MSG_BATCH_END: u16 = 17;
/// Attribute of the begin: the generation the batch was made for.
pub(super) const NFNL_BATCH_GENID: u16 = 1;
/// Multicast group of changes to the ruleset.
pub(super) const NFNLGRP_NFTABLES: u32 = 7;

/// Message types, without the subsystem.
pub(super) const NFT_MSG_NEWTABLE: u16 = 0;
pub(super) const NFT_MSG_GETTABLE: u16 = 1;
pub(super) const NFT_MSG_DELTABLE: u16 = 2;
pub(super) const NFT_MSG_NEWCHAIN: u16 = 3;
pub(super) const NFT_MSG_GETCHAIN: u16 = 4;
pub(super) const NFT_MSG_DELCHAIN: u16 = 5;
pub(super) const NFT_MSG_NEWRULE: u16 = 6;
pub(super) const NFT_MSG_GETRULE: u16 = 7;
pub(super) const NFT_MSG_DELRULE: u16 = 8;
pub(super) const NFT_MSG_NEWSET: u16 = 9;
pub(super) const NFT_MSG_GETSET: u16 = 10;
pub(super) const NFT_MSG_DELSET: u16 = 11;
pub(super) const NFT_MSG_NEWSETELEM: u16 = 12;
pub(super) const NFT_MSG_GETSETELEM: u16 = 13;
pub(super) const NFT_MSG_DELSETELEM: u16 = 14;
pub(super) const NFT_MSG_NEWGEN: u16 = 15;
pub(super) const NFT_MSG_GETGEN: u16 = 16;

/// `enum nft_table_attributes`.
pub(super) const NFTA_TABLE_NAME: u16 = 1;
pub(super) const NFTA_TABLE_USERDATA: u16 = 6;
/// `enum nft_chain_attributes`.
pub(super) const NFTA_CHAIN_TABLE: u16 = 1;
pub(super) const NFTA_CHAIN_NAME: u16 = 3;
pub(super) const NFTA_CHAIN_HOOK: u16 = 4;
pub(super) const NFTA_CHAIN_POLICY: u16 = 5;
pub(super) const NFTA_CHAIN_TYPE: u16 = 7;
/// `enum nft_hook_attributes`.
pub(super) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(super) const NFTA_HOOK_PRIORITY: u16 = 2;
/// `enum nft_rule_attributes`.
pub(super) const NFTA_RULE_TABLE: u16 = 1;
pub(super) const NFTA_RULE_CHAIN: u16 = 2;
pub(super) const NFTA_RULE_HANDLE: u16 = 3;
pub(super) const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(super) const NFTA_RULE_USERDATA: u16 = 7;
/// `enum nft_set_attributes`.
pub(super) const NFTA_SET_TABLE: u16 = 1;
pub(super) const NFTA_SET_NAME: u16 = 2;
pub(super) const NFTA_SET_FLAGS: u16 = 3;
pub(super) const NFTA_SET_KEY_TYPE: u16 = 4;
pub(super) const NFTA_SET_KEY_LEN: u16 = 5;
pub(super) const NFTA_SET_DATA_TYPE: u16 = 6;
pub(super) const NFTA_SET_DATA_LEN: u16 = 7;
pub(super) const NFTA_SET_DESC: u16 = 9;
pub(super) const NFTA_SET_ID: u16 = 10;
pub(super) const NFTA_SET_USERDATA: u16 = 13;
pub(super) const NFTA_SET_DESC_CONCAT: u16 = 2;
pub(super) const NFTA_SET_FIELD_LEN: u16 = 1;
/// `enum nft_set_flags`.
pub(super) const NFT_SET_INTERVAL: u32 = 0x4;
pub(super) const NFT_SET_MAP: u32 = 0x8;
pub(super) const NFT_SET_CONCAT: u32 = 0x80;
/// `NFT_DATA_VERDICT`, the data type of verdict maps.
pub(super) const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
/// `enum nft_set_elem_list_attributes`.
pub(super) const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
pub(super) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(super) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
/// `enum nft_set_elem_attributes`.
pub(super) const NFTA_SET_ELEM_KEY: u16 = 1;
pub(super) const NFTA_SET_ELEM_DATA: u16 = 2;
pub(super) const NFTA_SET_ELEM_FLAGS: u16 = 3;
pub(super) const NFTA_SET_ELEM_USERDATA: u16 = 6;
pub(super) const NFTA_SET_ELEM_KEY_END: u16 = 10;
pub(super) const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
/// `enum nft_list_attributes`.
pub(super) const NFTA_LIST_ELEM: u16 = 1;
/// `enum nft_data_attributes` and `enum nft_verdict_attributes`.
pub(super) const NFTA_DATA_VALUE: u16 = 1;
pub(super) const NFTA_DATA_VERDICT: u16 = 2;
pub(super) const NFTA_VERDICT_CODE: u16 = 1;
pub(super) const NFTA_VERDICT_CHAIN: u16 = 2;
/// `enum nft_gen_attributes`.
pub(super) const NFTA_GEN_ID: u16 = 1;

/// Verdicts (`enum nft_verdicts`, and `NF_DROP`, `NF_ACCEPT` of linux/netfilter.h), as the kernel's signed numbers in two's
/// complement.
pub(super) const NF_DROP: u32 = 0;
pub(super) const NF_ACCEPT: u32 = 1;
pub(super) const NFT_JUMP: u32 = 0xffff_fffd;
pub(super) const NFT_GOTO: u32 = 0xffff_fffc;
pub(super) const NFT_RETURN: u32 = 0xffff_fffb;

/// Types of user data: the same number for the comments of tables, rules and elements, another for sets (libnftnl/udata.h).
pub(super) const UDATA_COMMENT: u8 = 0;
pub(super) const UDATA_SET_COMMENT: u8 = 7;
/// How nft is to read the keys of a set: as numbers of the host's byte order or of the network's.
pub(super) const UDATA_SET_KEY_BYTE_ORDER: u8 = 0;
/// User data of our own beside the comment of a rule: the fingerprint of its expressions. Readers skip types they do not know.
pub(super) const UDATA_FINGERPRINT: u8 = 0xf0;

/// The type of an nftables message.
pub(super) const fn message_type(kind: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | kind
}
