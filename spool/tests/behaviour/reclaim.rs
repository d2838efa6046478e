//! Space comes back, and nothing that waits is lost on the way.

use std::fs;

use mail::{CampaignId, Disposition, RecipientId, UnixMs};
use spool::{CampaignPhase, CampaignState, Cursor, Durability, Log, ReclaimWait, RecordRef};

use crate::support::{Place, content, finish, outcome, recipient, send, template, waiting, waiting_ids};

/// Reclaims until nothing more can be done, syncing as the shell would.
pub(crate) fn reclaim(log: &mut Log) -> ReclaimWait {
    loop {
        let done = log.reclaim_step(1 << 20).unwrap();
        log.commit().unwrap();
        match done.waits_for {
            Some(ReclaimWait::Sync | ReclaimWait::Budget) | None => {}
            Some(wait) => return wait,
        }
    }
}

/// Fills segments with finished mail until there are `segments` files.
pub(crate) fn churn(place: &Place, log: &mut Log, segments: usize) {
    while place.segments().len() < segments {
        let ids = send(log, &[b'x'; 1500], 2);
        ids.into_iter().for_each(|id| finish(log, id));
    }
    log.commit().unwrap();
}

#[test]
fn finished_segments_are_dropped_and_the_ledger_stays_exact() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    for _ in 0..5 {
        churn(&place, &mut log, 6);
        assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
        assert_eq!(place.segments().len(), 1);
    }
    let ledger = log.ledger();
    assert!(ledger.accepted > 100);
    drop(log);
    let (log, found) = place.open();
    assert_eq!((found.ledger, found.corrected, found.waiting), (ledger, 0, 0));
    assert_eq!(log.ledger(), ledger);
}

#[test]
fn the_few_that_wait_are_carried_forward_with_all_they_need() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let late = send(&mut log, b"a late one", 3);
    finish(&mut log, late[1]);
    log.append_outcome(late[2], &outcome(Disposition::Deferred, 4)).unwrap();
    let message = log.reader().recipient(late[0]).unwrap().content();
    churn(&place, &mut log, 8);
    let before = waiting(&log);
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
    assert_eq!(place.segments().len(), 1);
    assert!(late[0].0.position() < 16 << 10, "it was in the first segment");
    let check = |log: &Log| {
        assert_eq!(waiting(log), before, "as if nothing had been carried");
        assert_eq!(log.reader().content(message).unwrap().body(), b"a late one");
        let read = log.reader().recipient(late[2]).unwrap();
        assert_eq!((read.id(), read.address(), read.content()), (late[2], "r2@example.test", message));
    };
    check(&log);
    let ledger = log.ledger();
    // Again, so that what was carried is carried on.
    churn(&place, &mut log, 8);
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
    check(&log);
    drop(log);
    let (mut log, found) = place.open();
    check(&log);
    assert_eq!((found.waiting, found.corrected), (2, 0));
    assert_eq!(log.ledger().unknown_retries, ledger.unknown_retries);
    finish(&mut log, late[0]);
    log.append_outcome(late[2], &outcome(Disposition::Bounced, 5)).unwrap();
    assert!(waiting_ids(&log).is_empty());
    assert_eq!(log.ledger().queued(), 0);
    log.commit().unwrap();
    drop(log);
    let (log, found) = place.open();
    assert_eq!((log.ledger().queued(), found.waiting, found.corrected), (0, 0, 0));
}

#[test]
fn a_crash_in_the_middle_of_carrying_leaves_each_recipient_once() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let late = send(&mut log, b"late", 4);
    churn(&place, &mut log, 4);
    // One record a step: the content, then one recipient, and no more.
    for _ in 0..2 {
        log.reclaim_step(1).unwrap();
    }
    log.flush().unwrap();
    drop(log);
    let (mut log, found) = place.open();
    assert_eq!(waiting_ids(&log), late);
    assert_eq!((found.corrected, log.ledger().queued()), (0, 4));
    let first = place.segments()[0].clone();
    reclaim(&mut log);
    assert!(!first.exists());
    assert_eq!(waiting_ids(&log), late);
    late.into_iter().for_each(|id| finish(&mut log, id));
    assert_eq!(log.ledger().queued(), 0);
}

#[test]
fn nothing_is_dropped_before_what_was_carried_is_durable() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    send(&mut log, b"late", 1);
    churn(&place, &mut log, 3);
    let done = log.reclaim_step(1 << 20).unwrap();
    assert_eq!((done.dropped_segments, done.waits_for), (0, Some(ReclaimWait::Sync)));
    assert_eq!(done.carried, 2);
    log.flush().unwrap();
    let target = log.sync_target().unwrap();
    assert_eq!(log.reclaim_step(1 << 20).unwrap().waits_for, Some(ReclaimWait::Sync));
    assert_eq!(place.segments().len(), 3);
    log.synced(target);
    assert_eq!(log.reclaim_step(1 << 20).unwrap().dropped_segments, 1);
    assert_eq!(place.segments().len(), 2);
}

#[test]
fn much_that_waits_is_not_carried_around() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let mut ids = Vec::new();
    while place.segments().len() < 4 {
        ids.extend(send(&mut log, &[b'x'; 1500], 1));
    }
    log.commit().unwrap();
    assert_eq!(reclaim(&mut log), ReclaimWait::Live);
    assert_eq!(place.segments().len(), 4);
    let (used, live) = log.size();
    assert!(live * 2 > used, "{live} of {used}");
    // With half of it finished: not yet worth it, unless the disk is nearly full.
    let half = ids.iter().step_by(2).copied().collect::<Vec<_>>();
    half.into_iter().for_each(|id| finish(&mut log, id));
    log.commit().unwrap();
    assert_eq!(reclaim(&mut log), ReclaimWait::Live);
    log.set_disk_low(true);
    let segments = place.segments();
    log.reclaim_step(1 << 20).unwrap();
    log.commit().unwrap();
    log.reclaim_step(1 << 20).unwrap();
    assert!(!segments[0].exists());
}

#[test]
fn a_reader_holds_what_it_needs_and_no_more() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let reader = log.reader();
    let hold = reader.hold(Cursor::default());
    let slow = send(&mut log, b"slow", 1)[0];
    churn(&place, &mut log, 4);
    finish(&mut log, slow);
    log.commit().unwrap();
    assert_eq!(reclaim(&mut log), ReclaimWait::Readers);
    let mut tail = reader.tail(Cursor::default());
    let mut told = 0;
    for (at, record) in tail.by_ref() {
        hold.advance(Cursor(at.position()));
        reclaim(&mut log);
        if let RecordRef::Outcome(outcome) = record {
            // Whatever an outcome speaks of can be looked up by the one who reads it.
            let recipient = reader.recipient(outcome.recipient()).unwrap();
            assert!(reader.content(recipient.content()).is_ok());
            told += 1;
        }
    }
    assert!(told > 20);
    hold.advance(tail.cursor());
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
    assert_eq!(place.segments().len(), 1);
}

#[test]
fn a_hold_that_is_dropped_holds_nothing() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let hold = log.reader().hold(Cursor::default());
    churn(&place, &mut log, 3);
    assert_eq!(reclaim(&mut log), ReclaimWait::Readers);
    drop(hold);
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
}

#[test]
fn a_view_outlives_its_segment() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let id = send(&mut log, b"kept in hand", 1)[0];
    let reader = log.reader();
    let recipient = reader.recipient(id).unwrap();
    let message = reader.content(recipient.content()).unwrap();
    finish(&mut log, id);
    churn(&place, &mut log, 3);
    reclaim(&mut log);
    assert!(reader.recipient(id).is_err());
    assert_eq!((recipient.address(), message.body()), ("r0@example.test", &b"kept in hand"[..]));
}

#[test]
fn a_campaign_keeps_its_template_and_state_while_it_is_open_or_awaited() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let id = log.append_content(&template("autumn"), b"{\"subject\":\"hello\"}").unwrap();
    let campaign = CampaignId(id.0);
    let running = CampaignState { campaign, phase: CampaignPhase::Running, at: UnixMs(9) };
    log.append_campaign_state(&running).unwrap();
    let join = |log: &mut Log| -> RecipientId {
        let mut member = recipient("a@x.test");
        member.content = id;
        log.append_recipient(&member).unwrap()
    };
    churn(&place, &mut log, 5);
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
    assert_eq!(log.reader().content(id).unwrap().body(), b"{\"subject\":\"hello\"}");
    let late = join(&mut log);
    log.commit().unwrap();
    drop(log);

    let (mut log, found) = place.open();
    assert_eq!(found.campaigns, [running]);
    assert_eq!(waiting(&log)[0].campaign, Some(campaign));
    // Cancelled, with one recipient that has not been told yet.
    let cancelled = CampaignState { phase: CampaignPhase::Cancelled, ..running };
    log.append_campaign_state(&cancelled).unwrap();
    churn(&place, &mut log, 6);
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
    assert_eq!((log.campaigns(), waiting_ids(&log)), (vec![cancelled], vec![late]));
    assert!(log.reader().content(id).is_ok());
    drop(log);
    let (mut log, found) = place.open();
    assert_eq!((found.campaigns, found.waiting), (vec![cancelled], 1));
    log.append_outcome(late, &outcome(Disposition::Cancelled, 0)).unwrap();
    churn(&place, &mut log, 6);
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
    assert!(log.campaigns().is_empty(), "nobody needs it any more");
    assert!(log.reader().content(id).is_err());
}

#[test]
fn a_waiting_recipient_that_rots_is_named_and_can_be_ended() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let hurt = send(&mut log, b"late", 1)[0];
    churn(&place, &mut log, 4);
    let mut bytes = fs::read(&place.segments()[0]).unwrap();
    let at = usize::try_from(hurt.0.position()).unwrap() + 40;
    bytes[at] ^= 1;
    std::os::unix::fs::FileExt::write_all_at(
        &fs::OpenOptions::new().write(true).open(&place.segments()[0]).unwrap(),
        &bytes[at..=at],
        at as u64,
    )
    .unwrap();
    assert_eq!(reclaim(&mut log), ReclaimWait::Damaged(hurt));
    log.append_outcome(hurt, &outcome(Disposition::Bounced, 0)).unwrap();
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
    assert_eq!(log.ledger().queued(), 0);
}

#[test]
fn carrying_costs_a_bounded_share_of_what_is_written() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let (mut carried, mut late) = (0, Vec::new());
    let begin = log.appended().offset();
    for round in 0..600_usize {
        let ids = send(&mut log, &[b'x'; 1500], 4);
        let waits = usize::from(round % 5 == 0);
        ids[waits..].iter().for_each(|id| finish(&mut log, *id));
        late.extend_from_slice(&ids[..waits]);
        if late.len() > 20 {
            finish(&mut log, late.remove(0));
        }
        log.flush().unwrap();
        loop {
            let done = log.reclaim_step(1 << 16).unwrap();
            log.flush().unwrap();
            carried += done.carried_bytes;
            if !matches!(done.waits_for, None | Some(ReclaimWait::Sync | ReclaimWait::Budget)) {
                break;
            }
        }
    }
    let written = log.appended().offset() - begin;
    assert!(carried * 3 <= written, "carried {carried} of {written}");
    assert!(place.segments().len() < 40, "{} segments", place.segments().len());
    assert_eq!(waiting_ids(&log), {
        late.sort_unstable();
        late
    });
}

#[test]
fn contents_without_recipients_go_with_their_segment() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let id = log.append_content(&content(""), b"for nobody").unwrap();
    churn(&place, &mut log, 3);
    assert_eq!(reclaim(&mut log), ReclaimWait::NothingElse);
    assert!(log.reader().content(id).is_err());
}

#[test]
fn a_template_that_is_awaited_while_it_is_open_is_carried_again_and_again() {
    let place = Place::volatile(Durability::Disk);
    let mut log = place.log();
    let campaign = log.append_content(&template("t"), b"{}").unwrap();
    churn(&place, &mut log, 2);
    let mut member = recipient("member@example.test");
    member.content = campaign;
    let member = log.append_recipient(&member).unwrap();
    for _ in 0..4 {
        churn(&place, &mut log, 4);
        log.commit().unwrap();
        reclaim(&mut log);
        let reader = log.reader();
        let content = reader.recipient(member).unwrap().content();
        assert_eq!(reader.content(content).unwrap().body(), b"{}");
    }
}
