//! The contract of the object store, held against every engine: one test per case and engine. What only one of them
//! has or suffers stands beside.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod cases;
mod files;
mod s3_cross_origin;
mod s3_faults;
mod s3_lifecycle;
mod s3_links;
mod s3_parts;
mod s3_requests;
mod s3_start;
mod store;

/// One test per case, in a module per engine, so that a failure names both.
macro_rules! conformance {
    ($engine:ident, $open:path, { $($group:ident: [$($case:ident),* $(,)?]),* $(,)? }) => {
        mod $engine {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let Some(store) = $open().await else { return };
                    super::cases::$group::$case(&store).await;
                    store.close().await;
                }
            )*)*
        }
    };
}

/// Every case. A new engine adds a line below, and nothing else.
macro_rules! every_case {
    ($engine:ident, $open:path) => {
        conformance!($engine, $open, {
            writing: [
                an_object_is_read_as_it_was_written,
                objects_around_the_edges_of_parts,
                a_streamed_object_is_the_sum_of_its_pieces,
                an_object_is_invisible_until_it_is_finished,
                a_writer_that_is_dropped_leaves_nothing,
                many_puts_at_once,
            ],
            reading: [
                any_range_is_read_alone,
                a_range_over_the_edges_of_parts,
                what_is_absent_is_none,
                an_object_of_another_length_is_not_read_whole,
                what_is_read_while_it_is_deleted_is_whole_or_an_error,
            ],
            deleting: [
                deleting_is_repeatable,
                many_keys_are_deleted_at_once,
                deleting_nothing_is_nothing,
            ],
            listing: [
                lists_are_in_order_and_page,
                kinds_are_listed_apart,
                a_list_goes_on_after_a_key_that_is_gone,
            ],
            keys: [kinds_do_not_meet, damaged_keys_are_refused],
            identity: [the_store_id_is_kept, the_store_id_is_no_object],
        });
    };
}

every_case!(filesystem, super::store::Store::filesystem);
every_case!(s3, super::store::Store::s3);
// Any server: see CONTRIBUTING.md. Without its address each case passes at once.
every_case!(s3_endpoint, super::store::Store::endpoint);
