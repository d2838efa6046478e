//! `spool verify`: every checksum of every record, and what there is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use spool::Kind;
use spool::inspect::{FileState, Inspection, Summary};

use super::Place;
use crate::Silent;
use crate::ui::{self, human, paint::Paint, table::Table};

/// One file and what was found in it.
struct Checked {
    file: PathBuf,
    state: FileState,
    summary: Summary,
    /// It is the last of its shard: there an unfinished end is what every crash, and every running engine, leaves.
    is_last: bool,
}

/// Checks all files.
pub(super) fn run(place: &Place) -> anyhow::Result<()> {
    let files = place.files()?;
    let mut checked = Vec::with_capacity(files.len());
    for (index, file) in files.iter().enumerate() {
        let inspection = Inspection::open(file)?;
        let is_last = files.get(index + 1).is_none_or(|next| next.parent() != file.parent());
        checked.push(Checked {
            file: file.clone(),
            state: inspection.state(),
            summary: inspection.summary(),
            is_last,
        });
    }
    let is_sound = checked.iter().all(Checked::is_sound);
    if place.json {
        ui::json(&to_json(&checked, is_sound))?;
    } else {
        ui::out(&render(&checked, is_sound, Paint::stdout()))?;
    }
    if is_sound { Ok(()) } else { Err(anyhow::Error::new(Silent)) }
}

impl Checked {
    fn is_sound(&self) -> bool {
        let readable = match self.state {
            FileState::Segment { .. } => true,
            FileState::Blank => self.is_last,
            FileState::Newer(_) | FileState::Unreadable => false,
        };
        readable && self.summary.damaged.is_empty() && (self.is_last || self.summary.torn.is_none())
    }

    fn state(&self) -> String {
        match self.state {
            _ if !self.summary.damaged.is_empty() => "damaged".into(),
            FileState::Segment { .. } if self.summary.torn.is_some() && !self.is_last => "damaged end".into(),
            FileState::Segment { .. } if self.summary.torn.is_some() => "unfinished end".into(),
            FileState::Segment { .. } if self.summary.complete => "complete".into(),
            FileState::Segment { .. } => "open".into(),
            FileState::Newer(version) => format!("written by a newer version (format {version})"),
            FileState::Blank => "blank".into(),
            FileState::Unreadable => "header damaged".into(),
        }
    }

    /// What is wrong, a line each.
    fn faults(&self) -> Vec<String> {
        let torn = self.summary.torn.iter().map(|torn| ("unfinished", torn));
        let damaged = self.summary.damaged.iter().map(|damaged| ("damaged", damaged));
        damaged
            .chain(torn)
            .map(|(how, (id, bytes, why))| format!("{id}: {bytes} bytes {how}: {why}"))
            .collect()
    }
}

fn totals(checked: &[Checked]) -> (BTreeMap<Kind, u64>, u64) {
    let mut records: BTreeMap<Kind, u64> = BTreeMap::new();
    let mut bytes = 0;
    for summary in checked.iter().map(|one| &one.summary) {
        bytes += summary.bytes;
        for (kind, count) in &summary.records {
            *records.entry(*kind).or_default() += count;
        }
    }
    (records, bytes)
}

fn render(checked: &[Checked], is_sound: bool, paint: Paint) -> String {
    let mut table =
        Table::new(&["file", ">contents", ">recipients", ">outcomes", ">bytes", "created", "state"]);
    let mut faults = String::new();
    for one in checked {
        let count = |kinds: &[Kind]| {
            let count: u64 = kinds.iter().filter_map(|kind| one.summary.records.get(kind)).sum();
            human::count(count)
        };
        let created = match one.state {
            FileState::Segment { created, .. } => human::time(created.0),
            _ => String::new(),
        };
        table.row([
            short(&one.file),
            count(&[Kind::Content, Kind::MovedContent]),
            count(&[Kind::Recipient, Kind::MovedRecipient]),
            count(&[Kind::Outcome]),
            human::bytes(one.summary.bytes),
            created,
            one.state(),
        ]);
        for fault in one.faults() {
            faults.push_str(&format!("  {}  {fault}\n", short(&one.file)));
        }
    }
    let (records, bytes) = totals(checked);
    let all: u64 = records.values().sum();
    let verdict = if is_sound { paint.green("✓ no damage") } else { paint.red("✗ damage found") };
    let sum = format!("{}, {}", human::plural(all, "record"), human::bytes(bytes));
    let gap = if faults.is_empty() { "" } else { "\n" };
    format!("{}{gap}{faults}\n  {verdict}; {sum}\n", table.render(paint))
}

/// Shard and name of a segment file.
fn short(file: &Path) -> String {
    let name = |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().to_string_lossy().into_owned();
    format!("{}/{}", name(file.parent().and_then(Path::file_name)), name(file.file_name()))
}

fn named(records: &BTreeMap<Kind, u64>) -> Value {
    records.iter().map(|(kind, count)| (kind.name().replace(' ', "_"), json!(count))).collect()
}

fn to_json(checked: &[Checked], is_sound: bool) -> Value {
    let files: Vec<Value> = checked
        .iter()
        .map(|one| {
            json!({
                "file": one.file.display().to_string(), "state": one.state(), "records": named(&one.summary.records),
                "bytes": one.summary.bytes, "faults": one.faults(),
            })
        })
        .collect();
    let (records, bytes) = totals(checked);
    json!({ "ok": is_sound, "records": named(&records), "bytes": bytes, "files": files })
}
