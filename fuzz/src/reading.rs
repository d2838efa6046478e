//! Everything that a reader can do with a record. What it yields is of no interest, only that it yields.

use std::hint::black_box;
use std::path::Path;

use spool::inspect::{Inspection, What};
use spool::{ContentHead, OutcomeRef, RecipientRef, RecordRef};

/// Looks through the segment file at `path`.
///
/// # Panics
/// When the file cannot be read, or what was found contradicts itself.
pub fn inspect(path: &Path) {
    let inspection = Inspection::open(path).expect("a file that is there");
    black_box(inspection.state());
    let (mut records, mut before) = (0, None);
    for entry in inspection.entries() {
        assert!(before < Some(entry.id), "entries come in order, each once");
        before = Some(entry.id);
        black_box(format!("{} {:?}", entry.id, entry));
        if let Some(content) = &entry.content {
            assert_eq!(content.body_bytes(), content.body().len() as u64);
            head(content);
        }
        if let What::Record(_, found) = &entry.what {
            records += 1;
            record(found);
        }
    }
    let summary = inspection.summary();
    assert_eq!(summary.records.values().sum::<u64>(), records);
}

/// Reads all of a record.
pub fn record(found: &RecordRef) {
    black_box(format!("{found:?}"));
    match found {
        RecordRef::Content(content) => head(content),
        RecordRef::Recipient(found) => recipient(found),
        RecordRef::Outcome(found) => outcome(found),
        RecordRef::Campaign(state) => drop(black_box(state.phase.name())),
        RecordRef::Moved(id) => drop(black_box(id.to_string())),
        other => drop(black_box(format!("{other:?}"))),
    }
}

/// Reads all of a content but its body.
pub fn head(content: &ContentHead) {
    black_box((content.id(), content.kind(), content.accepted_at(), content.class(), content.campaign()));
    black_box((content.body_type(), content.smtputf8(), content.dsn_return(), content.body_bytes()));
    black_box((content.is_notice(), content.tls_wish()));
    let texts = [
        content.sender(),
        content.tenant(),
        content.envelope_id().unwrap_or_default(),
        content.metadata(),
        content.name(),
        content.identity(),
    ];
    texts.into_iter().chain(content.tags()).for_each(text);
}

/// Reads all of a recipient.
pub fn recipient(found: &RecipientRef) {
    black_box((found.id(), found.content(), found.not_before(), found.deadline(), found.expiry()));
    black_box(found.notify());
    let texts = [found.address(), found.original().unwrap_or_default()];
    texts.into_iter().chain(found.values()).for_each(text);
}

/// Reads all of an outcome.
pub fn outcome(found: &OutcomeRef) {
    let outcome = found.to_outcome();
    assert_eq!(
        (outcome.at, outcome.attempt, outcome.disposition, outcome.next_attempt),
        (found.at(), found.attempt(), found.disposition(), found.next_attempt())
    );
    black_box((found.recipient(), outcome));
}

/// Touches every character, so that a text that is none does not go unseen.
fn text(text: &str) {
    black_box(text.chars().map(u64::from).sum::<u64>());
}
