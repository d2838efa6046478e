//! A campaign from its template to its last recipient: create, hand over the list, start, watch.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use policy::Rate;
use serde_json::Value;
use tokio::signal::ctrl_c;

use super::Send;
use super::letter::Letter;
use super::list::{BATCH_RECIPIENTS_MAX, Batch, List};
use super::preview::Compiled;
use crate::commands::campaign::{Standing, render};
use crate::engine::{Body, Client, value};
use crate::ui::progress::{Progress, Stream};
use crate::ui::{self, human, paint::Paint};

/// How often a running campaign is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);
/// With a rate, lists are handed over in slices of this time.
const SLICE: Duration = Duration::from_millis(200);
/// Rejected lines that are printed.
const REJECTED_SHOWN_MAX: usize = 20;
/// Rejected lines that the JSON report names: as many as the engine names of one batch.
const REJECTED_TOLD_MAX: usize = 1_000;

/// Creates, fills, starts and watches a campaign.
///
/// # Errors
/// When template or list are wrong, or the engine refuses.
pub(super) async fn send(send: &Send) -> anyhow::Result<()> {
    let file = send.what.recipients.as_deref().unwrap_or(Path::new(""));
    let list = List::open(file)?;
    let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let mut client = send.connect.client()?;
    let id = match send.how.campaign {
        Some(id) => id.to_string(),
        None => create(send, &list, &mut client).await?,
    };
    let mut run =
        Run { send, client, id, progress: Progress::new(send.connect.json), totals: Totals::default() };
    let ended = run.drive(list, bytes).await?;
    run.conclude(ended).await
}

/// The campaign of the command line as the API takes it.
///
/// # Errors
/// When the template cannot be read, or sender or subject are missing.
pub(super) fn letter_of(send: &Send) -> anyhow::Result<Value> {
    let mut letter = Letter::read(send.what.template.as_deref().context("what to send? Give --template")?)?;
    if let Some(text) = &send.what.text {
        let plain = std::fs::read_to_string(text);
        letter.text = Some(plain.with_context(|| format!("the text {} cannot be read", text.display()))?);
    }
    letter.from = send.what.from.clone().or(letter.from);
    letter.subject = send.what.subject.clone().or(letter.subject);
    letter.list_unsubscribe_url = send.what.list_unsubscribe.clone().or(letter.list_unsubscribe_url);
    for header in &send.what.header {
        let (name, text) =
            header.split_once(':').with_context(|| format!("`{header}` is no header: write NAME: VALUE"))?;
        letter.headers.push((name.trim().to_owned(), text.trim().to_owned()));
    }
    let name = send.what.name.clone().or_else(|| letter.subject.clone()).unwrap_or_default();
    letter.to_json(&name, send.how.class)
}

/// Creates the campaign, after what can be checked here was checked.
async fn create(send: &Send, list: &List, client: &mut Client) -> anyhow::Result<String> {
    let compiled = Compiled::new(send)?;
    list.check_fields(compiled.field_uses())?;
    let answer = client.post("/v1/campaigns", Body::json(&compiled.json)).await?;
    Ok(value::text(&answer, "id"))
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The last recipient has its outcome.
    Finished,
    /// The list is handed over; the engine goes on alone.
    Detached,
    /// Ctrl-C while the list was being handed over.
    InterruptedList,
    /// Ctrl-C while the campaign ran.
    Interrupted,
    /// Somebody else paused or cancelled it.
    Stopped,
}

#[derive(Debug, Default)]
struct Totals {
    accepted: u64,
    rejected: u64,
    /// Lines of the list that were handed over.
    lines: u64,
    shown: usize,
    /// The first rejected lines, for the JSON report.
    told: Vec<Value>,
}

struct Run<'a> {
    send: &'a Send,
    client: Client,
    id: String,
    progress: Progress,
    totals: Totals,
}

impl Run<'_> {
    async fn drive(&mut self, list: List, bytes: u64) -> anyhow::Result<Ended> {
        if self.send.how.rate.is_some() {
            self.command("start").await?;
        }
        if !self.hand_over(list, bytes).await? {
            if self.send.how.rate.is_some() {
                self.command("pause").await?;
            }
            return Ok(Ended::InterruptedList);
        }
        if self.send.how.rate.is_none() {
            self.command("start").await?;
        }
        if self.send.how.detach { Ok(Ended::Detached) } else { self.watch().await }
    }

    async fn command(&mut self, verb: &str) -> anyhow::Result<()> {
        let path = format!("/v1/campaigns/{}/{verb}", self.id);
        self.client.post(&path, Body::empty()).await.map(drop)
    }

    /// Hands over the list; false when Ctrl-C stopped it between two batches.
    async fn hand_over(&mut self, mut list: List, bytes: u64) -> anyhow::Result<bool> {
        let mut bar = self.progress.stream("handing over", bytes.max(1));
        bar.count_bytes();
        let mut pacer = self.send.how.rate.map(Pacer::new);
        let batch_max = pacer.as_ref().map_or(BATCH_RECIPIENTS_MAX, Pacer::batch);
        list.skip_lines(self.send.how.skip)?;
        let mut interrupt = std::pin::pin!(ctrl_c());
        while let Some(batch) = list.batch(batch_max)? {
            let recipients = batch.recipients;
            self.post(&list, batch).await?;
            self.totals.lines = list.lines();
            bar.set(list.bytes(), &human::plural(self.totals.accepted, "recipient"));
            let pause = pacer.as_mut().map_or(Duration::ZERO, |pacer| pacer.pause(recipients));
            tokio::select! {
                biased;
                _ = &mut interrupt => return Ok(false),
                () = tokio::time::sleep(pause) => {}
            }
        }
        bar.finish(&format!(
            "{}, {} rejected",
            human::plural(self.totals.accepted, "recipient"),
            self.totals.rejected
        ));
        Ok(true)
    }

    async fn post(&mut self, list: &List, batch: Batch) -> anyhow::Result<()> {
        let path = format!("/v1/campaigns/{}/recipients", self.id);
        let body = Body::of(list.format().media_type(), batch.body);
        let answer = self.client.post_patiently(&path, body).await.with_context(|| self.broken_off())?;
        self.totals.accepted += value::number(&answer, "accepted");
        self.totals.rejected += value::number(&answer, "rejected_count");
        for rejected in value::list(&answer, "rejected") {
            self.totals.shown += 1;
            let line = value::number(rejected, "line") + batch.line_offset;
            if self.totals.told.len() < REJECTED_TOLD_MAX {
                let mut told = rejected.clone();
                told["line"] = Value::from(line);
                self.totals.told.push(told);
            }
            match self.totals.shown {
                0..=REJECTED_SHOWN_MAX => {
                    self.progress
                        .say(&format!("  line {line} rejected: {}", value::text(rejected, "message")));
                }
                shown if shown == REJECTED_SHOWN_MAX + 1 => {
                    self.progress.say("  further rejected lines are only counted")
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn broken_off(&self) -> String {
        format!(
            "the list was handed over up to line {}; go on with:\n  {}\n",
            self.totals.lines,
            self.continuation()
        )
    }

    /// The command that hands over the rest of the list.
    fn continuation(&self) -> String {
        let list = self.send.what.recipients.as_deref().unwrap_or(Path::new("")).display();
        let rate = self.send.how.rate.map_or_else(String::new, |rate| format!(" --rate {rate}"));
        format!(
            "staffetta send --campaign {} --recipients {list} --skip {}{rate}{}",
            self.id,
            self.totals.lines,
            self.send.connect.repeat()
        )
    }

    /// Shows the campaign until every recipient has its outcome, somebody stops it, or Ctrl-C pauses it.
    async fn watch(&mut self) -> anyhow::Result<Ended> {
        let mut bar = self.progress.stream("sending", self.totals.accepted.max(1));
        let mut interrupt = std::pin::pin!(ctrl_c());
        loop {
            let standing = self.standing().await?;
            show(&mut bar, &standing);
            if standing.is_finished(self.totals.accepted) {
                bar.finish(&standing.summary());
                return Ok(Ended::Finished);
            }
            if standing.is_stopped() {
                bar.finish(&standing.summary());
                return Ok(Ended::Stopped);
            }
            tokio::select! {
                biased;
                _ = &mut interrupt => {
                    self.command("pause").await?;
                    return Ok(Ended::Interrupted);
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    async fn standing(&mut self) -> anyhow::Result<Standing> {
        let answer = self.client.get(&format!("/v1/campaigns/{}", self.id)).await?;
        Ok(Standing::of(&answer))
    }

    async fn conclude(mut self, ended: Ended) -> anyhow::Result<()> {
        self.progress.clear();
        let answer = self.client.get(&format!("/v1/campaigns/{}", self.id)).await?;
        if self.send.connect.json {
            let mut report = answer;
            report["rejected_lines"] = Value::from(self.totals.rejected);
            report["rejected"] = Value::from(std::mem::take(&mut self.totals.told));
            report["lines"] = Value::from(self.totals.lines);
            ui::json(&report)?;
        } else {
            ui::out(&render(&answer, Paint::stdout()))?;
        }
        let engine = self.send.connect.repeat();
        let id = &self.id;
        match ended {
            Ended::Finished => {}
            Ended::Detached => {
                eprintln!("The engine goes on alone. Look: staffetta campaign show {id}{engine}")
            }
            Ended::Stopped => eprintln!(
                "The campaign was stopped by somebody else. Go on: staffetta campaign resume {id}{engine}"
            ),
            Ended::Interrupted => eprintln!(
                "Paused. Go on:  staffetta campaign resume {id}{engine}\nGive up: staffetta campaign cancel {id}{engine}"
            ),
            Ended::InterruptedList => eprintln!(
                "Interrupted after line {} of the list; nothing more is sent. Go on:  {}\nGive up: staffetta campaign cancel {id}{engine}",
                self.totals.lines,
                self.continuation()
            ),
        }
        match ended {
            Ended::Finished | Ended::Detached => Ok(()),
            _ => Err(anyhow::Error::new(crate::Silent)),
        }
    }
}

fn show(bar: &mut Stream, standing: &Standing) {
    bar.set_total(standing.total().max(1));
    bar.set(standing.done(), &standing.note());
}

/// Spreads a list over time.
struct Pacer {
    per_second: f64,
    begun: Instant,
    handed: u64,
}

impl Pacer {
    fn new(rate: Rate) -> Self {
        Self {
            per_second: f64::from(rate.count()) / rate.per().as_secs_f64(),
            begun: Instant::now(),
            handed: 0,
        }
    }

    /// Recipients of one slice of time.
    fn batch(&self) -> usize {
        ((self.per_second * SLICE.as_secs_f64()) as usize).clamp(1, BATCH_RECIPIENTS_MAX)
    }

    /// How long to wait after handing over `recipients` more.
    fn pause(&mut self, recipients: u64) -> Duration {
        self.handed += recipients;
        let due = Duration::from_secs_f64(self.handed as f64 / self.per_second);
        due.saturating_sub(self.begun.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pacer_spreads_recipients_over_time() {
        let rate = Rate::new(500, Duration::from_secs(1)).expect("a rate");
        let mut pacer = Pacer::new(rate);
        assert_eq!(pacer.batch(), 100);
        let pause = pacer.pause(100);
        assert!(pause > Duration::from_millis(150) && pause <= Duration::from_millis(200), "{pause:?}");
        let slow = Pacer::new(Rate::new(5, Duration::from_secs(3600)).expect("a rate"));
        assert_eq!(slow.batch(), 1);
    }
}
