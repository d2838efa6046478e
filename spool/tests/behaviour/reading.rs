//! What readers see: exactly what was appended, as soon as it is flushed, from any thread.

use mail::{CampaignId, Disposition, MessageId, RecordId, UnixMs};
use spool::{CampaignPhase, CampaignState, Cursor, Durability, ReadError, RecordRef};

use crate::support::{
    Place, content, finish, full_content, full_recipient, outcome, recipient, send, template,
};

#[test]
fn every_field_reads_back_as_it_was_appended() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let (mut wanted, body) = (full_content(), b"From: a\r\n\r\nhello\r\n");
    let mut ids = Vec::new();
    let id = log.append_message(&wanted, body, &[full_recipient()], &mut ids).unwrap();
    log.flush().unwrap();
    let reader = log.reader();
    let read = reader.content(id).unwrap();
    assert_eq!(read.body(), body);
    wanted.tags.clear();
    let rebuilt = spool::Content {
        kind: read.kind(),
        accepted_at: read.accepted_at(),
        sender: read.sender().to_owned(),
        tenant: read.tenant().to_owned(),
        class: read.class(),
        campaign: read.campaign(),
        needs: spool::Needs { body_type: read.body_type(), smtputf8: read.smtputf8(), tls: read.tls_wish() },
        dsn_return: read.dsn_return(),
        envelope_id: read.envelope_id().map(str::to_owned),
        tags: Vec::new(),
        metadata: read.metadata().to_owned(),
        name: read.name().to_owned(),
        identity: read.identity().to_owned(),
        notice: read.is_notice(),
        ground: spool::Ground { code: read.ground().0, because: read.ground().1.to_owned() },
    };
    assert_eq!(rebuilt, wanted);
    assert_eq!(read.tags().collect::<Vec<_>>(), ["a", "a longer tag"]);
    let (read, wanted) = (reader.recipient(ids[0]).unwrap(), full_recipient());
    assert_eq!((read.id(), read.content()), (ids[0], id));
    assert_eq!(read.address(), wanted.address);
    assert_eq!(
        (read.not_before(), read.deadline(), read.expiry()),
        (wanted.not_before, wanted.deadline, wanted.expiry)
    );
    assert_eq!((read.notify(), read.original()), (wanted.notify, wanted.original.as_deref()));
    assert!(read.values().eq(wanted.values.iter().map(String::as_str)));
}

#[test]
fn a_record_is_seen_when_it_is_flushed_and_not_before() {
    let place = Place::new(Durability::Disk);
    let mut log = place.log();
    let reader = log.reader();
    let mut tail = reader.tail(Cursor::default());
    while tail.next().is_some() {}
    let id = log.append_content(&content(""), b"x").unwrap();
    assert_eq!(reader.content(id).unwrap_err(), ReadError::Gone(id.0));
    assert!(tail.next().is_none());
    log.flush().unwrap();
    assert_eq!(reader.content(id).unwrap().body(), b"x");
    assert!(matches!(tail.next(), Some((at, RecordRef::Content(_))) if at == id.0));
    let mut durable = reader.tail(Cursor::default()).durable();
    assert!(!durable.any(|(at, _)| at == id.0), "not synced yet");
    log.commit().unwrap();
    assert!(durable.any(|(at, _)| at == id.0));
}

#[test]
fn identifiers_of_other_shards_kinds_and_places_are_told_apart() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let ids = send(&mut log, b"x", 1);
    let reader = log.reader();
    let other_shard = RecordId::new(1, ids[0].0.position());
    assert_eq!(reader.content(MessageId(other_shard)).unwrap_err(), ReadError::Gone(other_shard));
    assert_eq!(reader.content(MessageId(ids[0].0)).unwrap_err(), ReadError::OtherKind(ids[0].0));
    let beside = RecordId::new(0, ids[0].0.position() + 16);
    assert_eq!(reader.content(MessageId(beside)).unwrap_err(), ReadError::Damaged(beside));
    let beyond = RecordId::new(0, RecordId::POSITION_MAX);
    assert_eq!(reader.content(MessageId(beyond)).unwrap_err(), ReadError::Gone(beyond));
}

#[test]
fn a_tail_tells_the_whole_story_in_order_across_segments() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let mut wanted = Vec::new();
    for _ in 0..40 {
        let ids = send(&mut log, &[b'x'; 900], 2);
        for id in ids {
            finish(&mut log, id);
            wanted.push(id);
        }
    }
    log.flush().unwrap();
    assert!(place.segments().len() > 3);
    let mut seen = Vec::new();
    let mut last = RecordId::default();
    for (at, record) in log.reader().tail(Cursor::default()) {
        assert!(at > last);
        last = at;
        match record {
            RecordRef::Outcome(outcome) => {
                assert_eq!(outcome.to_outcome(), crate::support::outcome(Disposition::Delivered, 1));
                seen.push(outcome.recipient());
            }
            RecordRef::Damaged { what, .. } => panic!("{what}"),
            _ => {}
        }
    }
    assert_eq!(seen, wanted);
}

#[test]
fn a_tail_goes_on_behind_any_cursor() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    for _ in 0..12 {
        let ids = send(&mut log, &[b'x'; 2000], 1);
        finish(&mut log, ids[0]);
    }
    log.flush().unwrap();
    let reader = log.reader();
    let all: Vec<_> = reader.tail(Cursor::default()).map(|(at, _)| at).collect();
    for (index, at) in all.iter().enumerate() {
        let behind: Vec<_> = reader.tail(Cursor::after(*at)).map(|(at, _)| at).collect();
        assert_eq!(behind, all[index + 1..]);
        assert_eq!(reader.tail(Cursor(at.position())).next().map(|(at, _)| at), Some(*at));
    }
    // Numbers that a client made up find the next record too, and none is reported as damaged.
    for cursor in (0..all.last().unwrap().position()).step_by(37) {
        let wanted = all.iter().find(|at| at.position() >= cursor);
        let found = reader.tail(Cursor(cursor)).next().unwrap();
        assert_eq!(Some(&found.0), wanted);
        assert!(!matches!(found.1, RecordRef::Damaged { .. }));
    }
    // Behind the last record there is nothing, until there is more.
    let mut tail = reader.tail(Cursor::after(*all.last().unwrap()));
    assert!(tail.next().is_none());
    let ids = send(&mut log, b"more", 1);
    assert!(matches!(tail.next(), Some((_, RecordRef::Content(_)))));
    assert!(matches!(tail.next(), Some((at, RecordRef::Recipient(_))) if at == ids[0].0));
    assert!(reader.tail(Cursor(u64::MAX)).next().is_none());
}

#[test]
fn recipients_join_a_template_that_is_there_and_no_other_content() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let id = log.append_content(&template("autumn"), b"{}").unwrap();
    let campaign = CampaignId(id.0);
    assert_eq!(
        log.campaigns()[0],
        CampaignState { campaign, phase: CampaignPhase::Created, at: UnixMs(1_000) }
    );
    let mut member = recipient("a@x.test");
    member.content = id;
    let joined = log.append_recipient(&member).unwrap();
    log.flush().unwrap();
    let state = CampaignState { campaign, phase: CampaignPhase::Running, at: UnixMs(2_000) };
    log.append_campaign_state(&state).unwrap();
    assert_eq!(log.campaigns(), [state]);
    for wrong in [MessageId(joined.0), MessageId::from_raw(0), MessageId(RecordId::new(9, id.0.position()))] {
        member.content = wrong;
        assert!(log.append_recipient(&member).is_err(), "{wrong}");
    }
    let nobody = CampaignState { campaign: CampaignId(joined.0), ..state };
    assert!(log.append_campaign_state(&nobody).is_err());
    assert_eq!(log.ledger().accepted, 1);
}

#[test]
fn a_deferral_without_an_attempt_does_not_take_attempts_back() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let ids = send(&mut log, b"x", 1);
    log.append_outcome(ids[0], &outcome(Disposition::Deferred, 3)).unwrap();
    log.append_outcome(ids[0], &outcome(Disposition::Deferred, 0)).unwrap();
    log.flush().unwrap();
    assert_eq!(crate::support::waiting(&log)[0].attempts, 3);
}

#[test]
fn readers_follow_a_log_that_is_being_written() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let reader = log.reader();
    let follower = std::thread::spawn(move || {
        let (mut tail, mut bodies) = (reader.tail(Cursor::default()), 0_usize);
        while bodies < 300 {
            match tail.next() {
                Some((_, RecordRef::Content(head))) => {
                    let body = reader.content(head.id()).unwrap();
                    assert!(body.body().iter().all(|byte| usize::from(*byte) == bodies % 251));
                    bodies += 1;
                }
                Some((_, RecordRef::Damaged { what, .. })) => panic!("{what}"),
                Some(_) => {}
                None => std::thread::yield_now(),
            }
        }
    });
    for number in 0..300_usize {
        let byte = u8::try_from(number % 251).unwrap();
        send(&mut log, &vec![byte; 100 + number * 7 % 3000], 1);
    }
    follower.join().unwrap();
}

#[test]
fn a_campaign_recipient_takes_less_than_300_bytes() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let id = log.append_content(&template("autumn"), b"{}").unwrap();
    let mut member = recipient("annamaria.bianchi@mailbox.example.test");
    member.content = id;
    member.values =
        ["Annamaria", "Bianchi", "Reggio nell'Emilia", "2026-11-22", "https://example.test/o/1234567"]
            .map(str::to_owned)
            .to_vec();
    let before = log.appended().offset();
    log.append_recipient(&member).unwrap();
    assert!(log.appended().offset() - before < 300);
}

#[test]
fn recipients_of_one_message_are_neighbours() {
    let place = Place::new(Durability::Memory);
    let mut log = place.log();
    let reader = log.reader();
    let mut ids = send(&mut log, b"one", 3);
    ids.extend(send(&mut log, b"two", 1));
    ids.extend(send(&mut log, b"three", 2));
    let neighbours: Vec<_> = ids.iter().map(|id| reader.recipient(*id).unwrap().has_neighbour()).collect();
    assert_eq!(neighbours, [true, true, false, false, true, false]);
}
