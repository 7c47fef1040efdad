//! The list of all behaviours, of which each store is tested for every one.
//!
//! A behaviour that is missing from the list is dead code, so the compiler reports it.

/// `conformance!(name, Harness)` tests a store for every behaviour.
#[macro_export]
macro_rules! conformance {
    ($store:ident, $harness:ty) => {
        mod $store {
            $crate::behaviours! { $harness;
                accepting: [
                    a_new_webhook_is_stored_and_answered
                    a_duplicate_is_answered_with_the_current_status
                    another_payload_under_a_used_key_is_refused
                    another_event_type_under_a_used_key_is_refused
                    the_same_key_from_another_source_is_another_webhook
                    keys_are_compared_byte_for_byte
                    payloads_are_compared_as_json_values
                    any_json_is_a_payload_and_comes_out_byte_for_byte
                    only_one_of_64_equal_concurrent_webhooks_is_stored
                    one_of_two_concurrent_webhooks_with_the_same_key_is_refused
                    ids_grow_beyond_4096_in_one_millisecond
                    ids_grow_when_the_clock_is_set_back
                ]
                arriving: [
                    ids_are_returned_in_their_order_after_a_place
                    the_statuses_of_webhooks_are_returned_by_id_without_those_that_are_gone
                    followers_are_notified_of_new_webhooks_and_not_of_duplicates
                ]
                bodies: [
                    any_bytes_are_a_payload_and_come_out_as_they_went_in
                    a_webhook_keeps_content_type_headers_and_verdict
                    as_many_headers_as_are_kept_are_stored
                    bytes_are_compared_as_they_are
                    headers_are_purged_with_the_payload
                ]
                large: [
                    a_small_webhook_does_not_wait_for_the_large_ones_before_it
                    large_webhooks_that_wait_are_stored_before_the_store_closes
                    ordered_jobs_of_large_and_small_webhooks_start_one_at_a_time
                ]
                jobs: [
                    a_webhook_gets_one_job_for_each_route
                    jobs_of_a_route_from_one_source_share_a_queue
                    a_webhook_without_jobs_is_filtered
                    the_status_of_a_webhook_is_derived_from_its_jobs
                    the_details_of_a_webhook_include_every_job
                    a_duplicate_is_answered_with_the_jobs_of_the_first
                    retry_and_cancel_act_on_the_job_of_a_route
                    retry_and_cancel_without_a_route_change_every_job_that_allows_it
                    every_job_of_a_webhook_counts_toward_the_backlog
                ]
                backlog: [
                    a_full_backlog_refuses_new_webhooks_and_answers_duplicates
                    a_job_counts_toward_the_backlog_until_it_is_finished
                    concurrent_webhooks_do_not_exceed_the_backlog_limit
                ]
                batches: [
                    a_batch_is_stored_and_answered_in_its_order
                    a_batch_answers_duplicates_of_stored_webhooks_and_of_its_own
                    a_conflict_refuses_the_whole_batch_and_names_its_webhook
                    a_batch_that_keeps_the_first_answers_conflicts_as_duplicates
                    an_empty_batch_stores_nothing
                    a_batch_has_webhooks_of_any_number_of_jobs
                    ordered_jobs_of_a_batch_start_in_its_order
                    a_batch_of_4096_webhooks_is_stored_whole
                    a_full_backlog_refuses_a_whole_batch
                    concurrent_batches_store_each_key_once
                    concurrent_batches_with_a_conflict_are_stored_whole_or_not_at_all
                    a_batch_wakes_the_dispatcher
                ]
                keeping_first: [
                    a_duplicate_comes_with_what_has_another_content
                    items_of_a_batch_are_compared_with_what_is_stored_under_their_key
                    with_a_full_backlog_another_content_is_a_duplicate_too
                    of_two_contents_at_once_one_is_stored_and_the_other_returned
                    what_is_refused_for_its_content_comes_with_the_error
                ]
                claiming: [
                    a_claim_takes_the_jobs_due_longest_up_to_its_threads
                    jobs_due_longest_come_first_whatever_their_source
                    a_retried_job_is_claimed_after_jobs_that_were_due_earlier
                    concurrent_claims_never_return_the_same_job
                    a_claim_returns_a_limited_number_of_bytes_and_the_next_one_the_rest
                    a_job_is_not_claimed_before_it_is_due
                    a_claimed_job_has_everything_that_its_handler_needs
                    attempts_count_up_and_tokens_grow_with_every_claim
                    a_stopped_attempt_does_not_count_in_its_run
                    a_claim_returns_when_the_next_job_is_due
                ]
                finishing: [
                    a_completed_attempt_is_recorded_with_status_and_result
                    a_failed_attempt_is_retried_when_it_is_due
                    a_dead_letter_is_not_claimed_again
                    a_stopped_attempt_is_recorded_and_its_job_due_again
                    a_status_has_the_last_error_and_the_next_due_time_of_its_jobs
                    attempts_are_listed_oldest_first_with_their_worker
                    what_was_sent_and_answered_is_kept_with_its_attempt
                    deliveries_are_read_of_the_last_attempts_of_each_job
                    of_many_attempts_those_that_are_asked_for_are_read
                    results_of_finish_are_in_the_order_of_its_arguments
                ]
                stale_leases: [
                    an_attempt_can_end_only_once
                    a_lease_that_was_taken_over_is_lost
                    a_lease_that_was_given_back_is_lost
                    a_lease_from_before_the_next_attempt_is_lost
                    a_lease_from_before_a_retry_by_hand_is_lost
                    a_lease_from_before_a_cancellation_is_lost
                    a_lease_of_a_process_that_is_gone_is_lost
                    an_unknown_lease_changes_nothing
                ]
                leasing: [
                    a_lease_is_shown_with_its_worker_and_lasts_from_its_renewal
                    a_renewal_returns_the_leases_that_were_lost
                    one_renewal_gives_each_lease_its_own_time
                    renewing_an_old_and_a_new_lease_of_a_job_loses_only_the_old_one
                    only_expired_leases_are_taken_over
                    a_job_taken_over_has_an_interrupted_attempt_and_is_due
                    a_job_without_attempts_left_is_dead_lettered_at_take_over
                    all_of_1100_leases_that_expire_at_once_are_taken_over
                    the_next_process_takes_over_the_leases_of_a_crashed_one
                ]
                ordering: [
                    jobs_of_one_value_start_one_at_a_time_in_order
                    jobs_accepted_at_the_same_time_start_in_order_of_arrival
                    jobs_of_different_values_run_concurrently
                    a_retrying_job_holds_the_jobs_behind_it
                    a_stopped_job_starts_again_before_those_behind
                    a_take_over_keeps_the_order
                    a_cancelled_job_leaves_its_lane
                    cancelling_a_retrying_job_lets_the_next_one_start
                    a_finished_job_wakes_the_dispatcher_for_the_next_job_of_its_lane
                    a_retried_job_starts_before_those_that_came_later
                    a_retried_job_does_not_wait_for_a_later_retrying_one
                    a_retried_job_does_not_wait_for_a_later_one_that_runs_and_then_fails
                    concurrent_claims_never_start_two_jobs_of_one_order_value
                    a_long_lane_does_not_delay_other_jobs_of_its_route
                ]
                blocking: [
                    a_dead_letter_blocks_the_jobs_behind_it
                    a_skipped_dead_letter_does_not_block
                    a_retried_dead_letter_starts_before_those_behind
                    a_retried_dead_letter_that_fails_again_blocks_again
                    a_cancelled_dead_letter_frees_the_jobs_behind_it
                    a_cancelled_job_behind_a_dead_letter_frees_nothing
                    an_interrupted_job_without_attempts_left_blocks
                    a_policy_that_skips_frees_blocked_values
                    a_process_whose_policy_skips_frees_blocked_values
                    a_blocked_value_of_a_route_that_is_gone_stays_blocked
                    purging_a_dead_letter_frees_the_jobs_behind_it
                ]
                limits: [
                    a_route_never_runs_more_jobs_than_its_concurrency
                    a_full_route_starts_another_job_when_one_ends
                    a_full_route_leaves_its_threads_to_others
                    concurrency_limits_all_sources_of_a_route_together
                    a_new_concurrency_counts_the_jobs_that_run
                    a_process_that_finds_a_route_full_starts_a_job_of_another_in_the_same_claim
                    jobs_of_a_crashed_process_count_toward_the_concurrency
                    order_and_concurrency_are_both_kept
                    starts_of_a_route_are_spread_at_its_rate
                    claims_made_too_early_do_not_exceed_the_rate
                    a_higher_rate_takes_effect_at_once
                ]
                breakers: [
                    a_breaker_opens_after_failures_in_a_row
                    only_what_was_found_out_about_the_target_counts
                    held_jobs_keep_their_attempts_and_start_later
                    a_half_open_breaker_lets_one_job_run_at_a_time
                    concurrent_claims_start_one_probe
                    a_probe_that_finds_the_target_up_lets_all_jobs_start
                    each_failed_probe_doubles_the_time_up_to_the_cap
                    a_probe_that_ends_without_a_result_makes_room_for_another
                    attempts_that_ran_when_it_opened_close_it_or_change_nothing
                    an_open_breaker_does_not_affect_other_routes
                    a_breaker_survives_a_restart
                    resuming_a_route_closes_its_breaker
                    a_policy_without_a_breaker_lets_jobs_start
                    a_breaker_does_not_stay_open_because_the_clock_was_set_back
                ]
                breaker_causes: [
                    an_opened_breaker_is_told_with_the_attempt_of_a_batch_that_opened_it
                ]
                sharing: [
                    threads_are_shared_evenly_between_routes
                    a_long_backlog_does_not_delay_another_route
                    running_jobs_count_in_the_share_of_a_route
                    a_route_with_few_jobs_leaves_its_threads_to_others
                    a_route_alone_gets_every_thread
                    each_of_1000_routes_starts_one_job_before_any_starts_a_second
                ]
                pausing: [
                    a_pause_holds_its_jobs_until_it_is_resumed
                    pausing_again_keeps_the_time_and_takes_the_new_actor_and_reason
                    a_job_held_by_two_pauses_starts_after_both_are_resumed
                    a_pause_survives_a_restart
                    a_pause_does_not_stop_running_jobs_or_new_webhooks
                    a_pause_of_an_ordered_route_keeps_its_order
                ]
                policies: [
                    attempts_are_limited_by_the_policy_in_force
                    a_restarted_process_applies_its_own_policies
                    new_policies_let_jobs_start_and_hold_others
                    an_interrupted_job_that_must_not_start_twice_becomes_a_dead_letter
                    a_stopped_job_that_must_not_start_twice_becomes_a_dead_letter
                    a_failed_job_is_retried_even_if_it_must_not_start_twice
                ]
                giving_back: [
                    a_job_given_back_is_as_if_it_had_not_been_claimed
                    a_job_given_back_frees_its_concurrency_and_its_lane
                    a_job_given_back_after_the_clock_was_set_back_is_due
                    a_job_given_back_does_not_use_up_the_rate_of_its_route
                    giving_back_lost_leases_changes_nothing
                ]
                pulled: [
                    the_pool_leases_no_jobs_of_pulled_routes
                    a_pulled_claim_leases_only_jobs_of_the_pulled_routes_that_it_names
                    pulled_jobs_keep_the_concurrency_and_the_rate_of_their_route
                    pulled_jobs_keep_their_order_and_are_paused
                    a_pulled_claim_returns_as_many_bytes_as_it_asks_for_or_one_job
                    jobs_that_a_pulled_claim_has_no_bytes_for_do_not_use_up_the_rate
                    everything_that_was_registered_is_woken
                    held_leases_are_returned_with_what_ends_their_attempts
                    lost_leases_and_those_of_other_workers_are_left_out
                    a_lease_is_renewed_and_given_back_only_by_its_worker
                    an_expired_pulled_lease_is_taken_over_and_the_history_names_its_worker
                    pulled_leases_survive_a_restart
                    pulled_leases_survive_a_restart_after_which_their_route_is_not_pulled
                    a_lease_of_a_dead_process_is_taken_over_although_its_route_is_pulled_now
                    a_pulled_lease_lasts_as_long_as_it_was_asked_for_after_the_clock_was_set_back
                    a_pulled_lease_lasts_as_long_as_it_was_asked_for_after_the_clock_was_set_forward
                ]
                gone: [
                    jobs_of_a_route_that_is_gone_are_held
                    an_interrupted_job_of_a_route_that_is_gone_becomes_a_dead_letter
                    a_job_of_a_dead_process_becomes_a_dead_letter_if_its_route_is_gone
                    an_attempt_of_a_route_that_is_gone_can_end
                    held_jobs_can_be_cancelled
                    held_jobs_can_be_moved_to_another_route
                    moving_or_cancelling_frees_an_order_value
                ]
                operating: [
                    a_retried_dead_letter_or_cancelled_job_is_due_at_once
                    every_retry_by_hand_gives_all_attempts_again
                    only_dead_letters_and_cancelled_jobs_are_retried
                    a_cancelled_job_does_not_start
                    a_cancelled_dead_letter_keeps_its_attempts_and_can_be_retried
                    cancelling_again_changes_nothing
                    a_running_or_completed_job_cannot_be_cancelled
                    an_unknown_webhook_cannot_be_retried_or_cancelled
                    of_a_concurrent_claim_and_cancellation_only_one_succeeds
                ]
                replaying: [
                    finished_jobs_run_again_and_keep_their_history
                    a_job_names_the_replay_that_began_its_run
                    the_oldest_webhooks_come_first_step_by_step
                    a_replay_goes_on_after_a_crash_and_restarts_each_job_once
                    concurrent_steps_restart_each_job_once
                    one_replay_runs_at_a_time
                    a_cancelled_replay_stops_and_what_it_restarted_runs
                    a_dry_run_counts_and_changes_nothing
                    webhooks_accepted_after_the_start_are_left
                    ordered_jobs_run_again_in_their_order
                    a_replayed_dead_letter_frees_the_jobs_behind_it
                    one_webhook_is_replayed
                    replays_are_kept_and_listed_newest_first
                    restarted_jobs_wake_the_dispatcher
                ]
                replay_filters: [
                    only_jobs_that_match_the_filter_run_again
                    times_limit_a_replay
                    a_time_within_a_millisecond_limits_a_replay
                    every_filter_of_a_list_limits_a_replay
                    few_matches_are_found_among_many_webhooks
                    jobs_without_their_payload_are_left
                    jobs_of_a_route_that_is_gone_are_left
                ]
                replay_pacing: [
                    a_rate_spreads_what_is_restarted
                    a_replay_waits_while_due_jobs_of_a_route_do_not_start
                    a_route_that_is_behind_does_not_hold_a_replay_of_others
                    a_replay_waits_while_the_backlog_is_high
                ]
                acting: [
                    actions_are_kept_as_they_were_recorded
                    actions_are_listed_newest_first_page_by_page
                    actions_are_purged_from_the_oldest_on
                ]
                reading: [
                    a_status_is_found_by_id_and_by_key
                    an_unknown_webhook_is_not_found
                    an_id_that_differs_only_after_its_first_60_bits_is_not_found
                    the_details_of_a_webhook_include_all_that_was_sent
                ]
                listing: [
                    every_filter_finds_exactly_the_webhooks_that_match
                    a_list_shows_the_current_status
                    pages_of_any_size_leave_nothing_out_and_repeat_nothing
                    a_webhook_accepted_between_pages_does_not_shift_them
                    an_empty_store_lists_one_empty_page
                    acceptance_times_do_not_decrease_when_the_clock_is_set_back
                    a_time_within_a_millisecond_limits_a_list
                ]
                searching: [
                    every_filter_finds_exactly_what_matches_alone_and_with_others
                    a_key_is_found_in_every_source_and_in_quarantine
                    pages_of_a_search_leave_nothing_out_and_repeat_nothing
                    a_page_says_how_far_it_has_looked
                    a_payload_that_was_purged_is_not_found
                    hostile_bodies_are_searched_like_others
                    what_is_hidden_is_not_found_and_fills_no_page
                    the_error_of_a_hidden_job_is_not_searched
                ]
                counting: [
                    counts_by_queue_equal_a_recount_after_a_restart
                    the_oldest_due_job_is_reported_until_it_is_claimed
                    the_oldest_due_job_is_reported_for_each_queue
                ]
                purging: [
                    a_payload_is_purged_after_its_retention_and_the_key_later
                    what_was_sent_and_answered_is_purged_with_the_payload
                    a_webhook_without_its_payload_answers_duplicates
                    a_key_whose_retention_is_over_may_be_used_again
                    a_job_without_its_payload_cannot_be_retried
                    the_retention_of_a_retried_job_starts_when_it_ends_again
                    unfinished_jobs_are_never_removed
                    a_purge_removes_a_bounded_number_and_reports_if_more_is_left
                    a_purge_removes_a_bounded_number_of_bytes
                    many_payloads_to_remove_do_not_delay_keys
                ]
                retention: [
                    a_payload_is_kept_until_the_retention_of_its_last_job_is_over
                    a_payload_counts_even_if_its_retention_ends_with_that_of_the_key
                    cancelling_one_of_two_dead_letters_restarts_its_retention
                    a_key_is_kept_until_the_retention_of_the_last_job_is_over
                    an_unfinished_job_keeps_the_payload_and_the_key
                    a_job_can_be_retried_as_long_as_the_payload_is_kept
                    the_retention_of_a_cancelled_dead_letter_starts_at_the_cancellation
                    a_filtered_webhook_is_purged_like_a_completed_one
                    many_webhooks_with_several_jobs_are_purged
                ]
                quarantine: [
                    a_quarantined_webhook_is_kept_without_jobs
                    a_quarantined_webhook_does_not_take_its_key
                    the_webhooks_of_a_request_are_quarantined_in_their_order
                    a_source_has_room_for_a_limited_number_of_quarantined_webhooks
                    a_quarantined_webhook_is_neither_retried_nor_cancelled
                    a_quarantined_webhook_is_purged_whole_after_its_retention
                    a_released_webhook_is_kept_as_long_as_any_other
                    a_purge_removes_a_bounded_number_of_quarantined_webhooks
                    a_closed_store_neither_quarantines_nor_releases
                ]
                releasing: [
                    a_released_webhook_gets_jobs_that_run
                    a_webhook_that_is_released_without_jobs_is_filtered
                    a_released_webhook_has_its_key
                    a_webhook_whose_key_is_taken_by_the_same_content_gives_way
                    a_webhook_whose_key_is_taken_by_another_content_stays_quarantined
                    a_webhook_that_may_be_a_duplicate_of_another_content_gives_way
                    only_quarantined_webhooks_are_released_and_discarded
                    a_discarded_webhook_is_gone
                    a_full_backlog_refuses_releases
                    a_released_job_starts_before_those_that_came_later
                    a_released_job_does_not_wait_for_a_later_retrying_one
                    of_concurrent_releases_of_one_key_only_one_gets_it
                    of_a_concurrent_release_and_acceptance_only_one_gets_the_key
                    of_concurrent_releases_and_discards_of_a_webhook_only_one_succeeds
                    a_release_at_the_time_of_a_purge_keeps_the_webhook_or_finds_it_gone
                ]
                announcing: [
                    every_change_is_announced_with_a_growing_revision
                    a_change_names_the_job_and_its_route
                    an_operation_without_effect_is_not_announced
                    every_watcher_of_a_webhook_receives_its_changes
                    a_webhook_is_watched_until_its_last_watcher_is_gone
                    the_dispatcher_is_woken_when_a_job_becomes_due
                ]
                closing: [
                    a_probe_reports_that_the_store_is_writable
                    a_closed_store_refuses_every_operation
                    a_closed_store_refuses_to_return_statistics
                    a_webhook_sent_while_closing_is_stored_or_refused
                    webhooks_are_still_stored_after_closing_and_opening
                ]
            }

            #[test]
            fn no_sequence_of_operations_breaks_the_model() {
                $crate::store::model::no_sequence_of_operations_breaks_the_model::<$harness>();
            }
        }
    };
}
