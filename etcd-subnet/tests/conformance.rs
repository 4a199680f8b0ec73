//! One suite for every store: what a node may rely on, whichever keeps its leases. Each case runs against a fresh directory and a fresh etcd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test what cannot be is a failure"
)]

#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/harness.rs"]
mod harness;
mod support;

macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod file {
            $(#[tokio::test]
            async fn $case() {
                crate::cases::$case(&crate::harness::Directory::new()).await;
            })*
        }

        mod etcd {
            $(#[tokio::test]
            async fn $case() {
                if let Some(server) = crate::harness::Server::new().await {
                    crate::cases::$case(&server).await;
                }
            })*
        }
    };
}

conformance!(
    a_configuration_is_waited_for_and_its_faults_are_named,
    writing_the_configuration_is_idempotent_and_never_replaces_unasked,
    a_new_node_gets_a_subnet_of_the_network_for_a_day,
    a_restarted_node_gets_its_subnet_again,
    the_remembered_subnet_is_given_when_it_is_free_and_fits,
    a_lease_outside_the_network_is_replaced,
    fifty_nodes_starting_together_get_fifty_subnets,
    a_full_network_says_so,
    a_watch_tells_a_snapshot_and_then_every_difference,
    a_renewal_is_no_news_and_keeps_the_lease,
    another_nodes_lease_is_never_overwritten,
    a_lost_lease_is_taken_again_under_the_same_subnet,
    a_node_whose_subnet_was_taken_moves_and_sees_the_other_as_a_peer,
    the_own_lease_is_not_told_as_a_peer,
    new_attributes_reach_the_peers,
    bad_keys_and_values_are_skipped_and_harm_nobody,
    a_reservation_is_used_by_its_node_and_stays_one,
    a_lease_that_is_not_renewed_runs_out_and_its_subnet_is_free,
    a_member_outlives_its_first_lease,
    a_released_lease_is_gone,
);
