//! nftables transactions over netlink.

use serde::{Deserialize, Serialize};

/// Changes to the ruleset that the kernel takes as a whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Transaction {}
