//! Removal of stale connection-tracking entries.
