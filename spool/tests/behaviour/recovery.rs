//! What a start finds after an end of any kind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use mail::{CampaignId, Class, Disposition, UnixMs};
use spool::{CampaignPhase, CampaignState, DamageKind, Durability, Log, ReadError, SpoolError};

use crate::support::{
    Place, SMALL, content, copy_tree, finish, full_recipient, outcome, recipient, send, template, waiting,
    waiting_ids,
};

#[test]
fn everything_flushed_and_not_finished_waits_again_with_its_attempts() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let mut ids = Vec::new();
    let mut critical = content("acme");
    critical.class = Class::Critical;
    let message =
        log.append_message(&critical, b"body", &[full_recipient(), recipient("b@x.test")], &mut ids).unwrap();
    let template_id = log.append_content(&template("autumn"), b"{}").unwrap();
    let mut member = recipient("c@x.test");
    member.content = template_id;
    let joined = log.append_recipient(&member).unwrap();
    let campaign = CampaignId(template_id.0);
    let state = CampaignState { campaign, phase: CampaignPhase::Paused, at: UnixMs(7) };
    log.append_campaign_state(&state).unwrap();
    log.append_outcome(ids[0], &outcome(Disposition::Deferred, 1)).unwrap();
    log.append_outcome(ids[0], &outcome(Disposition::Unknown, 2)).unwrap();
    finish(&mut log, ids[1]);
    log.flush().unwrap();
    let mut unflushed = Vec::new();
    log.append_message(&content(""), b"never written", &[recipient("d@x.test")], &mut unflushed).unwrap();
    drop(log);

    let (log, found) = place.open();
    assert_eq!((found.waiting, found.corrected, found.damage.len()), (2, 0, 0));
    assert_eq!(found.campaigns, [state]);
    let ledger = log.ledger();
    assert_eq!((ledger.accepted, ledger.delivered, ledger.unknown_retries, ledger.queued()), (3, 1, 1, 2));
    let found = waiting(&log);
    assert_eq!([found[0].id, found[1].id], [ids[0], joined]);
    assert_eq!((found[0].content, found[0].class, &*found[0].tenant), (message, Class::Critical, "acme"));
    assert_eq!((found[0].attempts, found[0].next_attempt), (2, Some(UnixMs(120_000))));
    let wanted = full_recipient();
    assert_eq!((found[0].deadline, found[0].expiry), (wanted.deadline, wanted.expiry));
    assert_eq!((found[0].not_before, found[0].campaign), (wanted.not_before, None));
    assert_eq!((found[1].attempts, found[1].next_attempt, found[1].campaign), (0, None, Some(campaign)));
    assert!(found.iter().all(|waiting| !waiting.damaged));
    assert_eq!(log.reader().content(message).unwrap().body(), b"body");
    assert!(log.reader().recipient(unflushed[0]).is_err());
}

#[test]
fn positions_are_never_used_twice() {
    let place = Place::new(Durability::Memory);
    let mut last = 0;
    for _ in 0..5 {
        let mut log = place.log();
        let flushed = send(&mut log, b"x", 1)[0];
        let mut ids = Vec::new();
        log.append_message(&content(""), b"lost", &[recipient("a@x.test")], &mut ids).unwrap();
        assert!(flushed.0.position() > last);
        last = ids[0].0.position();
    }
    let (log, found) = place.open();
    assert_eq!((found.waiting, waiting_ids(&log).len()), (5, 5));
}

#[test]
fn starts_without_mail_leave_no_pile_of_segments() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let ids = send(&mut log, b"x", 1);
    finish(&mut log, ids[0]);
    log.commit().unwrap();
    drop(log);
    for _ in 0..4 {
        let (log, found) = place.open();
        assert_eq!((found.ledger.delivered, found.ledger.accepted), (1, 1));
        drop(log);
    }
    assert_eq!(place.segments().len(), 2);
}

/// The state of a small log after each of its records, by the position behind it.
fn small_log(place: &Place) -> BTreeMap<u64, (Vec<mail::RecipientId>, mail::Ledger)> {
    let mut log = place.log();
    let mut states = BTreeMap::new();
    let note = |log: &mut Log, states: &mut BTreeMap<_, _>| {
        log.flush().unwrap();
        states.insert(log.appended().offset(), (waiting_ids(log), log.ledger()));
    };
    note(&mut log, &mut states);
    let id = log.append_content(&content("acme"), b"the body of a message").unwrap();
    note(&mut log, &mut states);
    for number in 0..3 {
        let mut member = recipient(&format!("r{number}@example.test"));
        member.content = id;
        let member = log.append_recipient(&member).unwrap();
        note(&mut log, &mut states);
        let disposition = [Disposition::Delivered, Disposition::Deferred, Disposition::Unknown][number];
        log.append_outcome(member, &outcome(disposition, 1)).unwrap();
        note(&mut log, &mut states);
    }
    states
}

/// What must be found when the log ends at `length` bytes of its only segment.
fn check_prefix(
    place: &Place,
    states: &BTreeMap<u64, (Vec<mail::RecipientId>, mail::Ledger)>,
    length: u64,
    spoil: impl Fn(&Path),
) {
    let copy = Place::new(Durability::Memory);
    copy_tree(&place.path().join("spool"), &copy.path().join("spool"));
    spoil(&copy.segments()[0]);
    let (log, found) = copy.open();
    let empty = (Vec::new(), mail::Ledger::default());
    let wanted = states.range(..=length).next_back().map_or(&empty, |(_, state)| state);
    assert_eq!((waiting_ids(&log), log.ledger()), *wanted, "cut at {length}");
    assert_eq!(found.corrected, 0, "cut at {length}");
    drop(log);
    // What was cut is cut for good: the next start finds nothing torn.
    let (log, found) = copy.open();
    assert_eq!((waiting_ids(&log), log.ledger()), *wanted, "cut at {length}, second start");
    let torn = found.damage.iter().filter(|damage| damage.kind == DamageKind::TornTail).count();
    assert_eq!(torn, 0, "cut at {length}, second start");
}

#[test]
fn a_log_cut_at_any_byte_keeps_every_whole_record() {
    let place = Place::new(Durability::Memory);
    let states = small_log(&place);
    let end = *states.keys().next_back().unwrap();
    for length in (0..64).chain(2040..2120).chain(4090..=end) {
        check_prefix(&place, &states, length, |segment| {
            fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(length).unwrap();
        });
    }
}

#[test]
fn a_log_zeroed_from_any_byte_keeps_every_whole_record() {
    let place = Place::new(Durability::Memory);
    let states = small_log(&place);
    let end = *states.keys().next_back().unwrap();
    let first = *states.keys().next().unwrap();
    for length in first..=end {
        // Zeros that were zeros before are no loss: the padding of a record may be missing.
        let whole = fs::read(&place.segments()[0]).unwrap();
        let padding = whole[..usize::try_from(length).unwrap()].len() as u64;
        let lost = whole[usize::try_from(length).unwrap()..usize::try_from(end).unwrap()].iter();
        let zeros = lost.take_while(|byte| **byte == 0).count() as u64;
        check_prefix(&place, &states, padding + zeros, |segment| {
            let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
            file.write_all_at(&vec![0; usize::try_from(SMALL - length).unwrap()], length).unwrap();
        });
    }
}

#[test]
fn a_damaged_record_in_the_middle_is_kept_aside_and_the_rest_recovered() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let before = send(&mut log, b"before", 1);
    let hurt = send(&mut log, b"hurt", 2);
    let behind = send(&mut log, b"behind", 1);
    let hurt_content = log.reader().recipient(hurt[0]).unwrap().content();
    log.commit().unwrap();
    drop(log);
    // One byte of the first recipient's head, and one of the content's body.
    let segment = &place.segments()[0];
    let bytes = fs::read(segment).unwrap();
    let recipient_at = usize::try_from(hurt[0].0.position()).unwrap();
    let body_at = bytes.windows(4).position(|window| window == b"hurt").unwrap();
    let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
    file.write_all_at(&[bytes[recipient_at + 40] ^ 1], recipient_at as u64 + 40).unwrap();
    file.write_all_at(b"H", body_at as u64).unwrap();

    let (log, found) = place.open();
    assert_eq!(waiting_ids(&log), [before[0], hurt[1], behind[0]]);
    assert_eq!(found.damage.iter().map(|damage| damage.id).collect::<Vec<_>>(), [hurt_content.0, hurt[0].0]);
    for damage in &found.damage {
        let begin = usize::try_from(damage.id.position()).unwrap();
        let kept = fs::read(damage.kept_in.as_ref().unwrap()).unwrap();
        assert_eq!(kept.len() as u64, damage.bytes);
        assert_eq!(kept[..32], bytes[begin..begin + 32]);
        assert_eq!(damage.kind, DamageKind::Record);
    }
    assert_eq!(log.reader().content(hurt_content).unwrap_err(), ReadError::Damaged(hurt_content.0));
    assert_eq!(log.reader().recipient(hurt[0]).unwrap_err(), ReadError::Damaged(hurt[0].0));
    // The books follow what can be accounted for.
    let ledger = log.ledger();
    assert_eq!((ledger.accepted, ledger.queued(), found.waiting), (3, 3, 3));
    drop(log);
    let (_, again) = place.open();
    assert_eq!((again.damage, again.waiting), (found.damage, 3), "reported until the segment is reclaimed");
}

#[test]
fn a_content_whose_header_is_damaged_leaves_its_recipients_marked() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let ids = send(&mut log, b"hurt", 1);
    send(&mut log, b"behind", 1);
    let id = log.reader().recipient(ids[0]).unwrap().content();
    drop(log);
    let file = fs::OpenOptions::new().write(true).open(&place.segments()[0]).unwrap();
    file.write_all_at(&[0xff; 32], id.0.position()).unwrap();
    let (mut log, found) = place.open();
    assert_eq!(found.damage.len(), 1);
    let marks: Vec<_> = waiting(&log).iter().map(|waiting| (waiting.id, waiting.damaged)).collect();
    assert_eq!(marks[0], (ids[0], true));
    assert!(!marks[1].1);
    // Such a recipient can be given its end.
    log.append_outcome(ids[0], &outcome(Disposition::Bounced, 0)).unwrap();
    assert_eq!(log.ledger().queued(), 1);
}

#[test]
fn a_newer_format_and_a_foreign_segment_are_refused_untouched() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    send(&mut log, b"x", 1);
    drop(log);
    let segment = place.segments()[0].clone();
    let whole = fs::read(&segment).unwrap();
    let mut newer = whole.clone();
    (newer[48], newer[2048 + 48]) = (2, 2);
    fs::write(&segment, &newer).unwrap();
    let error = Log::open(place.path(), 0, place.options).unwrap_err();
    assert!(matches!(error, SpoolError::Newer { found: 2, known: 1, .. }), "{error}");
    assert_eq!((fs::read(&segment).unwrap(), place.segments().len()), (newer, 1));

    fs::write(&segment, &whole).unwrap();
    fs::create_dir_all(place.path().join("spool/1")).unwrap();
    let foreign = place.path().join("spool/1").join(segment.file_name().unwrap());
    fs::write(&foreign, &whole).unwrap();
    let error = Log::open(place.path(), 1, place.options).unwrap_err();
    assert!(matches!(error, SpoolError::WrongShard { found: 0, shard: 1, .. }), "{error}");
    assert_eq!(fs::read(&foreign).unwrap(), whole);
}

#[test]
fn a_file_whose_header_is_lost_is_set_aside_and_a_blank_one_removed() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    while place.segments().len() < 3 {
        send(&mut log, &[b'x'; 3000], 1);
    }
    log.commit().unwrap();
    let all = waiting_ids(&log).len();
    drop(log);
    let segments = place.segments();
    let lost = fs::read(&segments[1]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&segments[1]).unwrap();
    file.write_all_at(&[0xaa; 4096], 0).unwrap();
    fs::write(place.shard_directory().join("0000000099.seg"), [0; 8192]).unwrap();
    let (log, found) = place.open();
    assert!(found.waiting > 0 && found.waiting < all as u64);
    let damage = &found.damage[0];
    assert_eq!((damage.kind, found.damage.len()), (DamageKind::Segment, 1));
    assert_eq!(fs::read(damage.kept_in.as_ref().unwrap()).unwrap()[4096..], lost[4096..]);
    assert!(!segments[1].exists());
    assert_eq!(log.ledger().queued(), found.waiting);
    assert_ne!(found.corrected, 0, "the totals of the next segment tell that some are missing");
    assert!(!place.shard_directory().join("0000000099.seg").exists());
}

#[test]
fn bytes_of_another_segment_are_not_believed() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    send(&mut log, b"one", 1);
    drop(log);
    let other = Place::new(Durability::Memory);
    let mut log = other.log();
    for _ in 0..5 {
        send(&mut log, b"stale", 1);
    }
    drop(log);
    // The records of another file behind ours, at the very same offsets, as a recycled disk block would leave them.
    let mut bytes = fs::read(&place.segments()[0]).unwrap();
    let stale = fs::read(&other.segments()[0]).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes[end..].copy_from_slice(&stale[end..]);
    fs::write(&place.segments()[0], &bytes).unwrap();
    let (log, found) = place.open();
    assert_eq!((found.waiting, waiting_ids(&log).len()), (1, 1));
}

#[test]
fn files_of_noise_do_not_stop_a_start() {
    let mut seed = 7_u64;
    let mut noise = move |bytes: usize| -> Vec<u8> {
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u8::try_from(seed >> 56).unwrap()
        };
        std::iter::repeat_with(next).take(bytes).collect()
    };
    for round in 0..20_u64 {
        let place = Place::new(Durability::Memory);
        let mut log = place.log();
        send(&mut log, b"x", 3);
        drop(log);
        let segment = place.segments()[0].clone();
        let mut bytes = fs::read(&segment).unwrap();
        let at = 4096 + usize::try_from(round * 40).unwrap();
        let junk = noise(bytes.len() - at);
        bytes[at..].copy_from_slice(&junk);
        fs::write(&segment, &bytes).unwrap();
        fs::write(place.shard_directory().join("0000000050.seg"), noise(10_000)).unwrap();
        fs::write(place.shard_directory().join("notes.txt"), b"not ours").unwrap();
        let (log, found) = place.open();
        assert_eq!(log.ledger().queued(), found.waiting);
        assert!(place.shard_directory().join("notes.txt").exists());
    }
}

#[test]
fn a_record_that_made_two_starts_die_is_passed_over_and_kept_aside() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let ids: Vec<_> = (0..3).flat_map(|n| send(&mut log, format!("body {n}").as_bytes(), 1)).collect();
    drop(log);
    // What two starts leave that died there: the place, once more the place, and how often before.
    let position = ids[1].0.position();
    let note = [position, position, 1].map(u64::to_le_bytes).concat();
    fs::write(place.shard_directory().join("starting"), note).unwrap();
    for start in 0..3 {
        let (log, found) = place.open();
        assert_eq!(waiting_ids(&log), [ids[0], ids[2]], "start {start}");
        assert_eq!(found.ledger.queued(), 2);
        let [damage] = &found.damage[..] else { panic!("{:?}", found.damage) };
        assert_eq!((damage.kind, damage.id), (DamageKind::Poison, ids[1].0));
        let kept = fs::read(damage.kept_in.as_ref().unwrap()).unwrap();
        assert_eq!(kept.len() as u64, damage.bytes);
        assert!(!place.shard_directory().join("starting").exists());
    }
    // The operator takes the copy away: the record is read again.
    fs::remove_dir_all(place.shard_directory().join("quarantine")).unwrap();
    assert_eq!(waiting_ids(&place.log()), ids);
}
