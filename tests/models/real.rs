//! The engine's files over loom's atomics: every scene must hold.

#[path = "../../engine/mta/src/io/mailbox/doorbell.rs"]
mod doorbell;
#[path = "leases.rs"]
mod leases;
#[path = "mailbox.rs"]
mod mailbox;
#[path = "../../engine/policy/src/lease/meter.rs"]
mod meter;
mod primitives;
#[path = "receipts.rs"]
mod receipts;
#[path = "../../engine/mta/src/shard/receipts/written.rs"]
mod written;

use crate::explore;

#[test]
fn no_wake_up_is_lost() {
    explore(mailbox::two_senders);
}

#[test]
fn one_ring_wakes_for_all_that_was_put_before() {
    explore(mailbox::one_ring_for_two);
}

#[test]
fn a_receiver_learns_that_the_last_sender_went() {
    explore(mailbox::last_sender_goes);
}

#[test]
fn no_item_is_left_behind_by_a_receiver_that_goes() {
    explore(mailbox::receiver_goes);
}

#[test]
#[should_panic(expected = "a wake-up is lost")]
fn a_receiver_that_does_not_look_twice_sleeps_for_ever() {
    explore(mailbox::no_second_look);
}

#[test]
fn a_receipt_is_seen_after_its_record() {
    explore(receipts::written_before_counted);
}

#[test]
fn who_is_told_finds_the_receipt() {
    explore(receipts::told_after_counted);
}

#[test]
#[should_panic(expected = "its record is not written")]
fn a_count_before_the_write_is_found_out() {
    explore(receipts::counted_before_written);
}

#[test]
fn two_holders_never_have_more_than_the_budget() {
    explore(leases::two_draw);
}

#[test]
fn what_is_given_back_is_neither_lost_nor_doubled() {
    explore(leases::one_gives_back);
}

#[test]
fn a_change_of_the_rate_makes_no_tokens() {
    explore(leases::the_rate_changes);
}
