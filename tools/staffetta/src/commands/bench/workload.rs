//! The runs: load into an engine, and what it cost until the last message was in the sink and in the ledger.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use capacity::{Way, Work};
use serde_json::json;

use super::config::DOMAIN;
use super::scene::{Figures, Scene};
use super::stage::{self, Stage};
use crate::engine::{Body, value};

/// Messages that open connections and fill caches before anything is measured, and tell how long a run will take.
const WARM_MESSAGES: u64 = 500;
/// Fewer are not worth a measurement: processor time is told in hundredths of a second.
const MESSAGES_MIN: u64 = 4_000;
/// More are not needed, however fast the machine is.
const MESSAGES_MAX: u64 = 200_000;
/// What a run may write at most.
const BYTES_MAX: u64 = 512 << 20;
/// What is written for a recipient of a campaign, generously.
const RECIPIENT_BYTES: u64 = 1024;
/// A campaign is so much faster than a relay, about.
const CAMPAIGN_FACTOR: u64 = 4;
/// Connections of the injector.
const CONNECTIONS: u16 = 20;
/// Recipients of a campaign in one request.
const BATCH: u64 = 10_000;
/// Rows of the newsletter.
const ROW: &str =
    "<tr><td style=\"padding:4px 8px\">A line of the newsletter about something worth reading</td></tr>\n";

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// So many messages.
    Messages(u64),
    /// As many as take about so long.
    Seconds(f64),
}

impl Length {
    /// Messages of this work, where so many relays were done a second before.
    fn messages(self, work: Work, relays_per_s: f64) -> u64 {
        match self {
            Self::Messages(messages) => messages,
            Self::Seconds(seconds) => {
                let is_campaign = work.way == Way::Campaign;
                let wanted = (relays_per_s * seconds) as u64 * if is_campaign { CAMPAIGN_FACTOR } else { 1 };
                let fits = BYTES_MAX / if is_campaign { RECIPIENT_BYTES } else { work.bytes.max(1) };
                wanted.clamp(MESSAGES_MIN, MESSAGES_MAX).min(fits.max(MESSAGES_MIN))
            }
        }
    }
}

/// Measures one scene once.
///
/// # Errors
/// When the engine does not start, or a message is refused, lost or doubled.
pub(super) fn measure(scene: &Scene, dir: &Path, shards: u16, length: Length) -> anyhow::Result<Figures> {
    let work = scene.work;
    let mut stage = Stage::set(work, dir, shards)?;
    let warm = match length {
        Length::Messages(messages) => WARM_MESSAGES.min(messages),
        Length::Seconds(_) => WARM_MESSAGES,
    };
    let begun = Instant::now();
    load(&stage, work, (0, warm))?;
    stage.wait(warm)?;
    let messages = length.messages(work, warm as f64 / begun.elapsed().as_secs_f64());
    match work.way {
        Way::Relay => relay(&mut stage, work, (warm, messages)),
        Way::Send => send(&mut stage, work, (warm, messages)),
        Way::Campaign => campaign(&mut stage, work, (warm, messages)),
        Way::Accept => bail!("what is taken in is measured before it is sent"),
    }
}

/// The tools alone: what injector and sink reach with nothing between them. Their processor time is of both together.
///
/// # Errors
/// When a message is lost.
pub(super) fn ceiling(length: Length) -> anyhow::Result<Figures> {
    let mut receiver = stage::sink(None)?;
    let to = receiver.doors()[0].address;
    let work = Work { way: Way::Relay, bytes: 10_240, signing: capacity::Signing::None, tls: false };
    let messages = length.messages(work, 20_000.0);
    let report = inject::run(&options(to, work, (0, messages)))?;
    let tally = receiver.stop()?;
    ensure!(
        report.is_clean() && tally.messages == messages,
        "the tools alone lost messages: {:?}",
        report.errors()
    );
    Ok(Figures {
        messages,
        per_s: report.per_second(),
        mb_per_s: report.per_second() * work.bytes as f64 / 1e6,
        cpu_us: report.cpu_us_per_message().context("there is no /proc to read processor time from")?,
        accept_ms: Some((report.latency_ms(0.5), report.latency_ms(0.99))),
        ..Figures::default()
    })
}

fn options(to: std::net::SocketAddr, work: Work, (first, messages): (u64, u64)) -> inject::Options {
    inject::Options {
        to,
        connections: CONNECTIONS,
        messages,
        first,
        mode: inject::Mode::Pipelined,
        text: inject::Text {
            bytes: u32::try_from(work.bytes).unwrap_or(u32::MAX).max(inject::BYTES_MIN),
            from: format!("sender@{DOMAIN}"),
            stamp: true,
            ..inject::Text::default()
        },
        ..inject::Options::default()
    }
}

/// Sends messages of these numbers, first and how many, into the engine.
fn load(stage: &Stage, work: Work, numbers: (u64, u64)) -> anyhow::Result<inject::Report> {
    let report = inject::run(&options(stage.smtp(), work, numbers))?;
    ensure!(report.is_clean(), "the engine refused messages: {:?}", report.errors());
    Ok(report)
}

fn relay(stage: &mut Stage, work: Work, (warm, messages): (u64, u64)) -> anyhow::Result<Figures> {
    let before = stage.cpu_s()?;
    let report = load(stage, work, (warm, messages))?;
    stage.wait(warm + messages)?;
    let spent = stage.cpu_s()? - before;
    Ok(Figures {
        accept_ms: Some((report.latency_ms(0.5), report.latency_ms(0.99))),
        delivery_ms: stage.delivery_ms(),
        ..figures(work, messages, spent, span_s(stage, report.begun_at_us()))
    })
}

/// In while nothing may leave, then out of the full queue: two figures from one run.
fn send(stage: &mut Stage, work: Work, (warm, messages): (u64, u64)) -> anyhow::Result<Figures> {
    stage.hold()?;
    let before = stage.cpu_s()?;
    let report = load(stage, work, (warm, messages))?;
    let filled = stage.cpu_s()?;
    let begun_us = now_us();
    stage.release()?;
    stage.wait(warm + messages)?;
    let spent = stage.cpu_s()? - filled;
    Ok(Figures {
        accept_ms: Some((report.latency_ms(0.5), report.latency_ms(0.99))),
        accept_cpu_us: Some((filled - before) * 1e6 / messages as f64),
        accept_per_s: Some(report.per_second()),
        ..figures(work, messages, spent, span_s(stage, begun_us))
    })
}

/// A template and a list over the API, then everything out. Taking the list is in the cost of a recipient, not in the rate.
fn campaign(stage: &mut Stage, work: Work, (warm, messages): (u64, u64)) -> anyhow::Result<Figures> {
    let described = json!({
        "name": "bench", "from": format!("news@{DOMAIN}"), "subject": "News for {{ first_name }}", "html": template(work.bytes),
        "list_unsubscribe_url": format!("https://{DOMAIN}/u"),
    });
    let before = stage.cpu_s()?;
    let answer = stage.post("/v1/campaigns", Body::json(&described))?;
    let id = value::text(&answer, "id");
    let mut handed = 0;
    while handed < messages {
        let until = (handed + BATCH).min(messages);
        let rows = recipients(handed..until);
        let path = format!("/v1/campaigns/{id}/recipients");
        let answer = stage.post(&path, Body::of("text/csv", rows.into_bytes()))?;
        ensure!(
            value::number(&answer, "accepted") == until - handed,
            "the engine rejected recipients: {answer}"
        );
        handed = until;
    }
    let begun_us = now_us();
    stage.post(&format!("/v1/campaigns/{id}/start"), Body::empty())?;
    stage.wait(warm + messages)?;
    let spent = stage.cpu_s()? - before;
    Ok(figures(work, messages, spent, span_s(stage, begun_us)))
}

fn figures(work: Work, messages: u64, spent_s: f64, span_s: f64) -> Figures {
    let per_s = messages as f64 / span_s;
    Figures {
        messages,
        per_s,
        mb_per_s: per_s * work.bytes as f64 / 1e6,
        cpu_us: spent_s * 1e6 / messages as f64,
        ..Figures::default()
    }
}

/// Seconds until the last message was in the sink, told in milliseconds there.
fn span_s(stage: &Stage, begun_us: u64) -> f64 {
    stage.last_at_us().saturating_sub(begun_us).max(1_000) as f64 / 1e6
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// About so many bytes of HTML with five merge fields.
fn template(bytes: u64) -> String {
    const FIELDS: [&str; 5] = ["first_name", "city", "code", "product", "price"];
    let mut html = "<!doctype html><html><head><title>News</title></head><body>".to_owned();
    for name in FIELDS {
        html.push_str(&format!("<p>{name}: {{{{ {name} }}}}</p>\n"));
    }
    html.push_str("<table>\n");
    let tail = "</table></body></html>\n";
    while html.len() + ROW.len() + tail.len() <= bytes as usize {
        html.push_str(ROW);
    }
    html + tail
}

fn recipients(numbers: std::ops::Range<u64>) -> String {
    let mut rows = "email,first_name,city,code,product,price\n".to_owned();
    for n in numbers {
        rows.push_str(&format!(
            "user{n:07}@sink{}.test,Name{},City {},{n:08x},Product {},{}.90\n",
            n % 50,
            n % 1000,
            n % 300,
            n % 40,
            n % 90
        ));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use capacity::Signing;

    #[test]
    fn a_run_is_as_long_as_it_must_and_writes_no_more_than_it_may() {
        let work = |bytes| Work { way: Way::Relay, bytes, signing: Signing::None, tls: false };
        assert_eq!(Length::Messages(7).messages(work(1024), 1e6), 7);
        let second = Length::Seconds(1.0);
        assert_eq!(second.messages(work(1024), 10.0), MESSAGES_MIN);
        assert_eq!(second.messages(work(1024), 9_000.0), 9_000);
        assert_eq!(second.messages(work(1024), 1e9), MESSAGES_MAX);
        assert_eq!(second.messages(work(20_480), 1e9), BYTES_MAX / 20_480);
        let campaign = Work { way: Way::Campaign, ..work(20_480) };
        assert_eq!(second.messages(campaign, 9_000.0), 36_000);
    }

    #[test]
    fn the_template_has_its_size_and_its_fields() {
        let html = template(20_480);
        assert!(html.len().abs_diff(20_480) <= ROW.len() && html.matches("{{ ").count() == 5);
        assert_eq!(recipients(8..10).lines().count(), 3);
    }
}
