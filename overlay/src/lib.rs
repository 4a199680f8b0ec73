//! What a node does once leases are known: backends, reconciliation, masquerading.
