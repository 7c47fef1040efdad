//! The list of behaviours, and the macro that makes a test of each of them for one store.
//!
//! A behaviour that is missing here is dead code, and the compiler says so.

use std::time::Duration;

/// No behaviour takes longer, unless something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a behaviour, and fails if it hangs.
pub(crate) async fn within_limit(behaviour: impl Future<Output = ()>) {
    tokio::time::timeout(LIMIT, behaviour).await.expect("nothing hangs");
}

/// `conformance!(name, Harness)` holds a store to every behaviour.
#[macro_export]
macro_rules! conformance {
    ($store:ident, $harness:ty) => {
        mod $store {
            $crate::behaviours! { $harness;
                accepting: [
                    a_new_webhook_is_stored_and_answered
                    the_same_again_is_a_duplicate_with_the_status_as_it_is_now
                    another_payload_under_a_used_key_is_refused_and_the_first_stays
                    another_event_type_under_a_used_key_is_refused_and_the_first_stays
                    the_same_key_from_another_source_is_another_webhook
                    keys_are_compared_byte_for_byte
                    payloads_are_compared_as_json_values
                    any_json_is_a_payload_and_comes_out_byte_for_byte
                    of_64_at_once_with_the_same_key_one_is_stored
                    of_two_different_webhooks_at_once_with_the_same_key_one_is_refused
                    more_webhooks_in_a_millisecond_than_its_counter_has_get_growing_ids
                    a_clock_that_goes_back_does_not_break_ids
                ]
                backlog: [
                    a_full_backlog_refuses_new_ones_and_answers_duplicates
                    whatever_is_unfinished_fills_the_backlog_and_whatever_ends_frees_it
                    many_at_once_do_not_overfill_the_backlog
                ]
                claiming: [
                    a_claim_takes_at_most_its_limit_and_those_due_longest_first
                    a_job_made_due_again_stands_behind_those_that_waited_longer
                    no_job_is_claimed_twice_by_claimers_at_once
                    a_job_is_not_claimed_before_it_is_due
                    a_claim_carries_all_that_its_handler_needs
                    attempts_count_up_and_tokens_grow_with_every_claim
                    failed_attempts_of_a_run_are_counted_anew_after_a_retry_by_hand
                    an_attempt_that_was_given_back_is_no_failed_one_of_its_run
                    a_claim_tells_when_the_next_job_is_due
                ]
                finishing: [
                    a_completed_attempt_is_recorded_with_the_status_and_the_result
                    a_failed_attempt_is_tried_again_when_it_was_said_to_be
                    a_dead_letter_is_not_claimed_again
                    a_job_given_back_is_due_again_and_may_start_as_often_as_before
                    attempts_are_told_oldest_first_by_whoever_ran_them
                ]
                stale_leases: [
                    an_attempt_ends_once
                    a_lease_that_was_taken_over_is_lost
                    a_lease_that_was_given_back_is_lost
                    a_lease_from_before_the_next_attempt_is_lost
                    a_lease_from_before_a_retry_by_hand_is_lost
                    a_lease_from_before_a_cancellation_is_lost
                    a_lease_of_a_process_that_is_gone_is_lost
                    a_lease_that_was_never_given_is_none
                ]
                leasing: [
                    a_renewed_lease_lasts_from_the_renewal
                    a_renewal_answers_the_leases_that_were_lost
                    an_old_lease_is_answered_as_lost_beside_the_new_one_of_its_job
                    only_expired_leases_are_taken_over
                    a_job_taken_over_has_an_interrupted_attempt_and_is_due
                    a_job_whose_attempts_are_used_up_is_dead_lettered_when_taken_over
                    however_many_leases_expire_at_once_all_are_taken_over
                    a_process_after_a_crash_goes_on_with_what_the_one_before_had_leased
                ]
                operating: [
                    a_dead_letter_or_a_cancelled_one_runs_again_at_once_when_retried
                    a_retry_by_hand_gives_a_fresh_budget_every_time
                    nothing_else_can_be_retried
                    a_waiting_webhook_that_is_cancelled_does_not_start
                    what_is_cancelled_may_be_cancelled_again_and_stays_as_it_is
                    nothing_else_can_be_cancelled
                    what_is_not_there_can_be_neither_retried_nor_cancelled
                    a_claim_and_a_cancellation_at_once_do_not_both_win
                ]
                reading: [
                    a_status_is_found_by_id_and_by_key
                    what_was_never_accepted_is_not_found
                    an_id_that_differs_behind_its_first_60_bits_is_not_found
                    a_webhook_in_full_has_all_that_was_sent
                ]
                listing: [
                    every_filter_finds_just_what_matches
                    what_is_listed_is_the_status_as_it_is_now
                    pages_of_any_size_leave_nothing_out_and_repeat_nothing
                    what_is_accepted_between_two_pages_does_not_shift_them
                    an_empty_store_lists_one_empty_page
                    times_of_acceptance_do_not_go_back_with_the_clock
                ]
                counting: [
                    counts_are_those_of_a_recount_also_after_a_restart
                    the_oldest_due_job_is_told_until_it_is_claimed
                ]
                purging: [
                    a_payload_goes_after_its_retention_and_the_key_after_a_longer_one
                    a_webhook_without_its_payload_still_answers_its_duplicates
                    a_key_whose_retention_is_over_may_be_used_anew
                    what_has_lost_its_payload_cannot_be_retried
                    what_was_retried_by_hand_is_kept_from_its_new_end
                    what_is_unfinished_is_never_removed
                    a_call_removes_a_bounded_number_and_says_whether_there_is_more
                    many_payloads_past_their_retention_do_not_keep_keys_from_going
                ]
                announcing: [
                    every_change_is_announced_in_order_with_growing_revisions
                    what_changes_nothing_is_not_announced
                    every_watcher_of_a_webhook_is_told
                    the_dispatcher_is_woken_by_whatever_makes_a_job_due
                ]
                closing: [
                    a_probe_says_that_the_store_can_be_written_and_its_tables_are_current
                    a_closed_store_refuses_every_operation_and_never_hangs
                    a_closed_store_tells_no_counts
                    what_is_under_way_when_a_store_closes_is_either_stored_or_refused
                    what_was_stored_is_there_after_closing_and_opening
                ]
            }

            #[test]
            fn no_sequence_of_operations_breaks_the_model() {
                $crate::model::no_sequence_of_operations_breaks_the_model::<$harness>();
            }
        }
    };
}

/// A module of tests for each topic.
#[macro_export]
macro_rules! behaviours {
    ($harness:ty; $($topic:ident: [$($behaviour:ident)*])*) => {
        $(mod $topic {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    $crate::conformance::within_limit(
                        $crate::behaviours::$topic::$behaviour::<$harness>(),
                    )
                    .await;
                }
            )*
        })*
    };
}
