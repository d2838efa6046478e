//! The negative control: the same files and scenes over atomics that are too weak. loom must find each mistake.

#[path = "../../engine/mta/src/io/mailbox/doorbell.rs"]
mod doorbell;
#[expect(dead_code, reason = "a change of the rate needs no strong exchange")]
#[path = "leases.rs"]
mod leases;
#[expect(dead_code, reason = "scenes whose mistake is their own need no weak atomics")]
#[path = "mailbox.rs"]
mod mailbox;
#[path = "../../engine/policy/src/lease/meter.rs"]
mod meter;
mod primitives;
#[expect(dead_code, reason = "scenes whose mistake is their own need no weak atomics")]
#[path = "receipts.rs"]
mod receipts;
#[path = "../../engine/mta/src/shard/receipts/written.rs"]
mod written;

use crate::explore;

#[test]
#[should_panic(expected = "a wake-up is lost")]
fn without_fences_a_wake_up_is_lost() {
    explore(mailbox::two_senders);
}

#[test]
#[should_panic(expected = "a wake-up is lost")]
fn without_fences_one_ring_for_two_items_is_lost() {
    explore(mailbox::one_ring_for_two);
}

#[test]
#[should_panic(expected = "a wake-up is lost")]
fn without_fences_the_last_senders_end_is_missed() {
    explore(mailbox::last_sender_goes);
}

#[test]
#[should_panic(expected = "an item is left behind")]
fn without_fences_an_item_is_left_behind() {
    explore(mailbox::receiver_goes);
}

#[test]
#[should_panic(expected = "a wake-up is lost")]
fn without_fences_nobody_is_told_of_a_receipt() {
    explore(receipts::told_after_counted);
}

#[test]
#[should_panic(expected = "its record is not written")]
fn a_relaxed_count_is_seen_before_its_record() {
    explore(receipts::written_before_counted);
}

#[test]
#[should_panic(expected = "are on loan")]
fn without_an_exchange_two_holders_get_the_same_tokens() {
    explore(leases::two_draw);
}

#[test]
#[should_panic(expected = "tokens")]
fn without_an_exchange_what_is_given_back_overwrites_what_is_drawn() {
    explore(leases::one_gives_back);
}
