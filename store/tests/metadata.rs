//! The contract of the metadata store, held against every engine: one test per case and engine.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test that cannot go on should say where")]

mod conformance;
mod engines;

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
            ],
            versionstamps: [
                order_across_concurrent_writers_and_after_reopen,
                key_and_value_carry_the_same_stamp,
                unreadable_keys,
                a_cleared_key_is_readable_again,
            ],
            limits: [keys, values, transactions, many_small_writes, reserved_keys],
            watches: [
                a_watch_ends_after_a_change,
                a_watch_counts_from_what_was_seen,
                a_watch_of_an_own_write_ends_after_the_next_one,
            ],
            durability: [reopening_shows_all_acknowledged, bytes_survive_reopening],
            model: [random_transactions_agree_with_a_map, concurrent_history_is_serializable, money_is_neither_made_nor_lost],
        });
    };
}

every_case!(embedded, super::Engine::Embedded);
#[cfg(feature = "foundationdb")]
every_case!(foundationdb, super::Engine::FoundationDb);
