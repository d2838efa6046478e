//! `spool cat`: every record, one a line, in the order of the log.

use std::io::{BufWriter, Write};

use serde_json::{Value, json};
use spool::inspect::{Entry, Inspection, What};
use spool::{ContentHead, ContentKind, OutcomeRef, RecipientRef, RecordRef};

use super::Place;
use crate::ui::{human, table};

/// Prints all records.
pub(super) fn run(place: &Place, bodies: bool) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    for file in place.files()? {
        let inspection = Inspection::open(&file)?;
        for entry in inspection.entries() {
            let line = describe(&entry, bodies);
            if place.json {
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{}", plain(&line))?;
            }
        }
    }
    Ok(out.flush()?)
}

fn describe(entry: &Entry, bodies: bool) -> Value {
    let (kind, mut line) = match &entry.what {
        What::Record(kind, record) => (kind.name(), of_record(record)),
        What::Damaged(why) => ("damaged", json!({ "why": why })),
        What::Torn(why) => ("unfinished", json!({ "why": why })),
        What::End => ("end", json!({})),
    };
    line["id"] = Value::from(entry.id.to_string());
    line["kind"] = Value::from(kind);
    line["bytes"] = Value::from(entry.bytes);
    if let Some(content) = entry.content.as_ref().filter(|_| bodies) {
        line["body"] = Value::from(String::from_utf8_lossy(content.body()));
    }
    line
}

fn of_record(record: &RecordRef) -> Value {
    match record {
        RecordRef::Content(content) => of_content(content),
        RecordRef::Recipient(recipient) => of_recipient(recipient),
        RecordRef::Outcome(outcome) => of_outcome(outcome),
        RecordRef::Campaign(state) => {
            json!({ "campaign": state.campaign.to_string(), "state": state.phase.name() })
        }
        RecordRef::Moved(id) => json!({ "moved": id.to_string() }),
        RecordRef::Totals(ledger) => json!({ "ledger": ledger }),
        RecordRef::Damaged { what, .. } => json!({ "why": what }),
        _ => json!({}),
    }
}

fn of_content(content: &ContentHead) -> Value {
    json!({
        "what": match content.kind() { ContentKind::Message => "message", ContentKind::Template => "template" },
        "at": content.accepted_at().0, "sender": content.sender(), "class": content.class().name(),
        "account": content.tenant(), "name": content.name(), "body_bytes": content.body_bytes(),
        "campaign": content.campaign().map(|campaign| campaign.to_string()),
    })
}

fn of_recipient(recipient: &RecipientRef) -> Value {
    json!({
        "content": recipient.content().to_string(), "address": recipient.address(),
        "expires": u64::from(recipient.expiry()) * 1000, "deadline": u64::from(recipient.deadline()) * 1000,
        "not_before": recipient.not_before().0, "values": recipient.values().collect::<Vec<_>>(),
    })
}

fn of_outcome(outcome: &OutcomeRef) -> Value {
    let whole = outcome.to_outcome();
    json!({
        "recipient": outcome.recipient().to_string(), "at": whole.at.0, "event": whole.disposition.name(),
        "attempt": whole.attempt, "next_attempt": whole.next_attempt.map(|at| at.0), "phase": whole.phase.name(),
        "verdict": whole.verdict, "reply": whole.reply.to_string(),
        "source": whole.route.source, "provider": whole.route.provider, "mx": whole.route.mx,
    })
}

/// The line for people: the identifier, the kind, then what is not empty.
fn plain(line: &Value) -> String {
    const FIRST: [&str; 3] = ["id", "kind", "bytes"];
    const MOMENTS: [&str; 5] = ["at", "expires", "deadline", "not_before", "next_attempt"];
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut plain = format!("{}  {:<15} {:>7}", text(&line["id"]), text(&line["kind"]), text(&line["bytes"]));
    for (key, value) in line.as_object().into_iter().flatten() {
        let empty = value.is_null() || *value == "" || *value == 0 || *value == json!([]);
        if empty || FIRST.contains(&key.as_str()) {
            continue;
        }
        let shown = match value.as_u64().filter(|_| MOMENTS.contains(&key.as_str())) {
            Some(moment) => human::time(moment).replace(' ', "T"),
            None => text(value),
        };
        plain.push_str(&format!("  {key}={}", table::printable(&shown)));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_show_what_is_there_and_nothing_else() {
        let line = json!({
            "id": "0040000000c80", "kind": "recipient", "bytes": 96, "address": "a\n@x.test", "deadline": 0, "values": [],
            "campaign": null,
        });
        assert_eq!(plain(&line), "0040000000c80  recipient            96  address=a?@x.test");
    }
}
