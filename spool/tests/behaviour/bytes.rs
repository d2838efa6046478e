//! One bit of every byte of a log flipped, one at a time: at most the record it belongs to is lost, every other one
//! is found, and no wrong content is ever returned.

use std::collections::BTreeSet;
use std::fs;

use mail::{Disposition, MessageId, RecipientId, RecordId};
use spool::{Cursor, Durability, Log, RecordRef};

use crate::support::{Place, content, copy_tree, outcome, recipient, template};

enum Event {
    Content(MessageId, Vec<u8>),
    Recipient(RecipientId, MessageId),
    Outcome(RecipientId, Disposition),
    Other,
}

/// The records of a small log of two contents, five recipients and some outcomes: where each stands and what it is.
fn build(place: &Place) -> Vec<(u64, Event)> {
    let mut log = place.log();
    let mut events = vec![(log.reader().tail(Cursor::default()).next().unwrap().0.position(), Event::Other)];
    let mut members = Vec::new();
    for (number, body) in
        [&b"a message of some length, longer than one line"[..], b"{}"].into_iter().enumerate()
    {
        let content = if number == 0 { content("acme") } else { template("autumn") };
        let id = log.append_content(&content, body).unwrap();
        events.push((id.0.position(), Event::Content(id, body.to_vec())));
        for member in 0..=number + 1 {
            let mut to = recipient(&format!("member{member}@example.test"));
            to.content = id;
            to.values = vec!["Ann".to_owned(); number];
            let member = log.append_recipient(&to).unwrap();
            events.push((member.0.position(), Event::Recipient(member, id)));
            members.push(member);
        }
    }
    let dispositions =
        [Disposition::Delivered, Disposition::Deferred, Disposition::Bounced, Disposition::Unknown];
    for (member, disposition) in members.iter().zip(dispositions) {
        let at = log.appended().offset();
        log.append_outcome(*member, &outcome(disposition, 1)).unwrap();
        events.push((at, Event::Outcome(*member, disposition)));
    }
    log.flush().unwrap();
    events.push((log.appended().offset(), Event::Other));
    events
}

/// Recipients that wait when the record at `lost` is not there.
fn waiting_without(events: &[(u64, Event)], lost: Option<u64>) -> BTreeSet<RecipientId> {
    let mut waiting = BTreeSet::new();
    for (_, event) in events.iter().filter(|(at, _)| Some(*at) != lost) {
        match event {
            Event::Recipient(id, _) => drop(waiting.insert(*id)),
            Event::Outcome(id, disposition) if disposition.is_final() => drop(waiting.remove(id)),
            _ => {}
        }
    }
    waiting
}

fn check(log: &Log, events: &[(u64, Event)], lost: Option<u64>, flip: (usize, u8)) {
    let found: BTreeSet<_> = log.waiting().map(|waiting| waiting.id).collect();
    assert_eq!(found, waiting_without(events, lost), "waiting, flip {flip:?}");
    assert_eq!(log.ledger().queued(), found.len() as u64, "ledger, flip {flip:?}");
    let reader = log.reader();
    for (at, event) in events {
        match event {
            Event::Content(id, body) => match reader.content(*id) {
                Ok(content) => assert_eq!(content.body(), body, "flip {flip:?}"),
                Err(_) => assert_eq!(Some(*at), lost, "flip {flip:?}"),
            },
            Event::Recipient(id, of) => match reader.recipient(*id) {
                Ok(recipient) => assert_eq!(recipient.content(), *of, "flip {flip:?}"),
                Err(_) => assert_eq!(Some(*at), lost, "flip {flip:?}"),
            },
            _ => {}
        }
    }
    let outcomes =
        reader.tail(Cursor::default()).filter(|(_, record)| matches!(record, RecordRef::Outcome(_)));
    let wanted = events.iter().filter(|(at, event)| matches!(event, Event::Outcome(..)) && Some(*at) != lost);
    let wanted: Vec<_> = wanted.map(|(at, _)| RecordId::new(0, *at)).collect();
    assert_eq!(outcomes.map(|(at, _)| at).collect::<Vec<_>>(), wanted, "outcomes, flip {flip:?}");
}

#[test]
fn a_flipped_bit_costs_one_record_and_never_a_wrong_one() {
    let place = Place::new(Durability::Memory);
    let events = build(&place);
    let segment = place.segments()[0].clone();
    let whole = fs::read(&segment).unwrap();
    let end = usize::try_from(events.last().unwrap().0).unwrap();
    let copy = Place::new(Durability::Memory);
    let spool = copy.path().join("spool");
    // Both copies of the segment header, and every record: one bit of each byte, another one each time.
    for at in (0..64).chain(2048..2112).chain(4096..end) {
        let bit = 1_u8 << (at * 5 % 8);
        let _ = fs::remove_dir_all(&spool);
        copy_tree(&place.path().join("spool"), &spool);
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        fs::write(&copy.segments()[0], &bytes).unwrap();
        let (log, found) = copy.open();
        // Padding is not part of anything, so flipping it loses nothing.
        let hurt = found.damage.first().map(|damage| damage.id.position());
        let owner = events.iter().map(|(begin, _)| *begin).rfind(|begin| *begin <= at as u64);
        assert!(hurt.is_none() || hurt == owner, "flip {at} hurt {hurt:?}");
        assert!(found.damage.len() <= 1);
        check(&log, &events, hurt, (at, bit));
        let in_header = events.iter().any(|(begin, _)| (*begin..*begin + 32).contains(&(at as u64)));
        assert!(hurt.is_some() || !in_header || at < 4096, "flip {at} went unnoticed");
    }
}
