//! The workloads: each warms the engine up, and is counted from then until the last message is delivered.

use std::fmt::Write;
use std::path::Path;

use clap::ValueEnum;
use serde_json::json;

use crate::house::House;
use crate::stretch::{Count, Stretch};

/// Domains of a campaign's recipients.
const DOMAINS: u64 = 50;
/// Size of a campaign's template.
const TEMPLATE_BYTES: usize = 20_480;

/// What is sent; the names are those of `perf/scenarios`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// 1 KiB, SMTP in, SMTP out
    #[value(name = "relay-1k")]
    Relay1k,
    /// 10 KiB, SMTP in, SMTP out
    #[value(name = "relay-10k")]
    Relay10k,
    /// 10 KiB, a full queue that leaves, 8 transactions on the wire
    #[value(name = "send-10k")]
    Send10k,
    /// A template of 20 KiB for a list: taking the list, and sending
    #[value(name = "campaign-20k")]
    Campaign20k,
}

impl Workload {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Runs it on an engine of its own.
    ///
    /// # Errors
    /// When something does not start, or a message is not delivered.
    pub(crate) fn run(
        self,
        place: (&Path, &Path),
        messages: u64,
        count: Count,
    ) -> anyhow::Result<Vec<Stretch>> {
        let depth = if self == Self::Send10k { 8 } else { 0 };
        let mut house = House::start(place.0, place.1, depth)?;
        match self {
            Self::Relay1k => relay(&mut house, messages, 1_024, count),
            Self::Relay10k => relay(&mut house, messages, 10_240, count),
            Self::Send10k => send(&mut house, messages, count),
            Self::Campaign20k => campaign(&house, messages, count),
        }
    }
}

fn warm_up(house: &mut House, messages: u64, bytes: u32) -> anyhow::Result<()> {
    house.inject(messages / 10 + 1, bytes)?;
    house.wait_delivered(0, messages / 10 + 1)
}

fn relay(house: &mut House, messages: u64, bytes: u32, count: Count) -> anyhow::Result<Vec<Stretch>> {
    warm_up(house, messages, bytes)?;
    let before = house.delivered();
    let relayed = count.stretch("relayed", messages, || {
        house.inject(messages, bytes)?;
        house.wait_delivered(before, messages)
    })?;
    Ok(vec![relayed])
}

fn send(house: &mut House, messages: u64, count: Count) -> anyhow::Result<Vec<Stretch>> {
    warm_up(house, messages, 10_240)?;
    let before = house.delivered();
    house.hold()?;
    let taken = count.stretch("taken", messages, || house.inject(messages, 10_240))?;
    let sent = count.stretch("sent", messages, || {
        house.release()?;
        house.wait_delivered(before, messages)
    })?;
    Ok(vec![taken, sent])
}

fn campaign(house: &House, messages: u64, count: Count) -> anyhow::Result<Vec<Stretch>> {
    let mut stretches = Vec::new();
    // The first is the warm-up.
    for messages in [messages / 10 + 1, messages] {
        let draft = json!({
            "name": "perf", "from": "news@perf.test", "subject": "News for {{ first_name }}", "html": template(),
            "list_unsubscribe_url": "https://perf.test/u",
        });
        let created = house.post("/v1/campaigns", &draft)?;
        let id = created["id"].as_str().unwrap_or_default().to_owned();
        let (list, before) = (list(messages), house.delivered());
        let taken = count.stretch("taken", messages, || house.post_list(&id, &list).map(drop))?;
        let sent = count.stretch("sent", messages, || {
            house.post(&format!("/v1/campaigns/{id}/start"), &json!({}))?;
            house.wait_delivered(before, messages)
        })?;
        stretches = vec![taken, sent];
    }
    Ok(stretches)
}

/// HTML with five merge fields, as `perf/harness/campaign.py` makes it.
fn template() -> String {
    let mut html = "<!doctype html><html><head><title>News</title></head><body>".to_owned();
    for field in ["first_name", "city", "code", "product", "price"] {
        let _ = writeln!(html, "<p>{field}: {{{{ {field} }}}}</p>");
    }
    html.push_str("<table>\n");
    while html.len() < TEMPLATE_BYTES - 120 {
        html.push_str("<tr><td style=\"padding:4px 8px\">A line of the newsletter about something worth reading</td></tr>\n");
    }
    html.push_str("</table></body></html>\n");
    html
}

/// The recipients, as CSV.
fn list(count: u64) -> String {
    let mut list = "email,first_name,city,code,product,price\n".to_owned();
    for n in 0..count {
        let domain = n % DOMAINS;
        let fields =
            format_args!("Name{},City {},{n:08x},Product {},{}.90", n % 1000, n % 300, n % 40, n % 90);
        // Writing to a text does not fail.
        let _ = writeln!(list, "user{n:07}@sink{domain}.test,{fields}");
    }
    list
}
