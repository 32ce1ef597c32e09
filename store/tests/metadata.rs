//! The contract of the metadata store, held against every engine: one test per case and engine.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test that cannot go on should say where")]

mod conformance;
mod engines;
mod fixtures;

use engines::Engine;

/// One test per case, in a module per engine, so that a failure names both.
macro_rules! conformance {
    ($module:ident, $engine:expr, { $($group:ident: [$($case:ident),* $(,)?]),* $(,)? }) => {
        mod $module {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::conformance::run($engine, super::conformance::$group::$case).await;
                }
            )*)*
        }
    };
}

/// Every case. A new engine adds a line below, and nothing else.
macro_rules! every_case {
    ($module:ident, $engine:expr) => {
        conformance!($module, $engine, {
            isolation: [
                lost_update,
                write_skew,
                read_skew,
                phantom_in_range,
                a_cleared_range_conflicts_with_its_readers,
                snapshot_reads_do_not_conflict,
                blind_writes_do_not_conflict,
                own_writes_read_back_do_not_conflict,
                limited_range_conflicts_only_on_what_it_returned,
                explicit_conflict_ranges,
                read_only_transactions_cannot_write,
                a_function_that_fails_commits_nothing,
                contended_names_the_transaction,
            ],
            hermitage: [
                g0_write_cycles,
                g1a_aborted_reads,
                g1b_intermediate_reads,
                g1c_circular_information_flow,
                otv_observed_transaction_vanishes,
                pmp_predicate_many_preceders,
                p4_lost_update,
                g_single_read_skew,
                g2_item_write_skew,
                g2_anti_dependency_cycles,
            ],
            retries: [
                an_attempt_begins_from_nothing,
                errors_that_may_pass_are_tried_again,
                other_errors_end_at_once,
                everyone_gets_through,
            ],
            unknown: [
                a_marked_transaction_is_applied_exactly_once,
                an_unmarked_one_is_not,
                an_outcome_that_stays_unknown_is_told_as_such,
                random_faults_under_many_writers,
                the_models_transactions_are_applied_exactly_once,
            ],
            chunks: [
                chunk_edges,
                the_largest_record_fits_and_a_larger_one_is_refused,
                a_record_that_looks_like_a_head_is_itself,
                missing_and_mixed_chunks_are_corrupt,
                large_records_are_written_whole,
            ],
            tuples: [byte_order_is_tuple_order, subspaces_keep_their_order],
            writes: [
                read_your_writes,
                snapshot_reads_see_own_writes,
                a_cleared_range_is_empty_until_written_again,
                atomic_operations_merge_on_read,
                atomic_add_under_64_writers,
                atomic_max_under_writers,
                a_transaction_is_over_after_its_function,
            ],
            ranges: [
                empty_ranges,
                both_directions_and_limits,
                bytes_at_the_edges,
                own_writes_between_stored_rows,
                pages_cover_a_range,
                pages_need_no_open_transaction,
                every_edge_as_a_bound,
            ],
            versionstamps: [
                order_across_concurrent_writers_and_after_reopen,
                key_and_value_carry_the_same_stamp,
                unreadable_keys,
                a_cleared_key_is_readable_again,
                entries_of_one_transaction,
            ],
            limits: [keys, values, transactions, many_small_writes, reserved_keys, conflict_ranges_count],
            watches: [
                a_watch_ends_after_a_change,
                a_watch_counts_from_what_was_seen,
                a_watch_of_an_own_write_ends_after_the_next_one,
                watchers_hand_a_turn_to_and_fro,
                all_watches_of_a_key_end,
            ],
            durability: [reopening_shows_all_acknowledged, bytes_survive_reopening],
            model: [random_transactions_agree_with_a_map, concurrent_history_is_serializable, money_is_neither_made_nor_lost],
        });
    };
}

every_case!(embedded, super::Engine::Embedded);
#[cfg(feature = "foundationdb")]
every_case!(foundationdb, super::Engine::FoundationDb);
