//! The kernel layer: netlink batches, nftables transactions, namespaces, sysctls, processes, and the executors of operations.
