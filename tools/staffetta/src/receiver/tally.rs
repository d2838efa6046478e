//! What the receiver counts, and how it tells.

use std::hash::Hasher;
use std::net::IpAddr;

use content::header;
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use serde_json::{Value, json};
use smtp::server::ReceivedMessage;

use super::timed::{self, Times};
use crate::ui::{human, paint::Paint, table::Table};

/// Domains and addresses that are listed in a summary.
const LISTED_MAX: usize = 20;

/// Connections and messages of one client address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    connections: u64,
    open: u64,
    open_peak: u64,
    messages: u64,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Messages taken.
    pub(crate) messages: u64,
    /// Their recipients.
    pub(crate) recipients: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Of the smallest message, and of the largest.
    pub(crate) bytes_min: u64,
    pub(crate) bytes_max: u64,
    /// Recipients of messages that had been taken for them before, by Message-ID.
    pub(crate) duplicates: u64,
    /// Connections in all.
    pub(crate) connections: u64,
    /// Connections open now.
    pub(crate) open: u64,
    /// The most connections open at a time.
    pub(crate) open_peak: u64,
    clients: FxHashMap<IpAddr, Client>,
    domains: FxHashMap<String, u64>,
    first_at_ms: Option<u64>,
    last_at_ms: Option<u64>,
}

/// The counts, and what was seen before.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) tally: Tally,
    seen: FxHashSet<u64>,
    /// How long messages were on their way, when that is measured.
    times: Option<Times>,
}

impl Book {
    /// An empty book.
    ///
    /// # Errors
    /// When there is no room for the times.
    pub(super) fn new(timed: bool) -> anyhow::Result<Self> {
        let times = timed.then(Times::new).transpose()?;
        Ok(Self { times, ..Self::default() })
    }

    /// The counts as JSON, with those of the world's providers.
    pub(super) fn json(&self, providers: &[(String, world::Counters)]) -> Value {
        let mut json = final_json(&self.tally, providers);
        if let Some(times) = &self.times {
            json["delivery_ms"] = times.to_json();
        }
        json
    }

    /// A message was taken.
    pub(super) fn arrived(&mut self, client: IpAddr, message: &ReceivedMessage, arrival: &Arrival) {
        self.tally.arrived(client, message, arrival);
        for &key in &arrival.keys {
            self.tally.duplicates += u64::from(!self.seen.insert(key));
        }
        if let Some(times) = &mut self.times
            && let Some(elapsed_us) = timed::elapsed_us(&message.body)
        {
            times.add(elapsed_us);
        }
    }
}

/// What must be found in a message before it is counted; found without holding the counts.
pub(super) struct Arrival {
    /// One number per (Message-ID, recipient); none without a Message-ID.
    keys: Vec<u64>,
    at_ms: u64,
}

impl Arrival {
    pub(super) fn of(message: &ReceivedMessage) -> Self {
        let id = message_id(&message.body);
        let key = |address: &str| {
            let mut hasher = FxHasher::default();
            hasher.write(id.as_bytes());
            hasher.write_u8(0);
            hasher.write(address.as_bytes());
            hasher.finish()
        };
        let keys = match id.as_str() {
            "" => Vec::new(),
            _ => {
                message.envelope.recipients.iter().map(|recipient| key(recipient.address.as_str())).collect()
            }
        };
        Self { keys, at_ms: human::now_ms() }
    }
}

/// The Message-ID of a message; empty without one.
pub(super) fn message_id(message: &[u8]) -> String {
    let (head, _) = header::split_head_body(message);
    header::find(head, "Message-ID").map(|field| field.text().trim().to_owned()).unwrap_or_default()
}

impl Tally {
    pub(super) fn connected(&mut self, client: IpAddr) {
        self.connections += 1;
        self.open += 1;
        self.open_peak = self.open_peak.max(self.open);
        let client = self.clients.entry(client).or_default();
        client.connections += 1;
        client.open += 1;
        client.open_peak = client.open_peak.max(client.open);
    }

    pub(super) fn disconnected(&mut self, client: IpAddr) {
        self.open -= 1;
        if let Some(client) = self.clients.get_mut(&client) {
            client.open -= 1;
        }
    }

    fn arrived(&mut self, client: IpAddr, message: &ReceivedMessage, arrival: &Arrival) {
        self.messages += 1;
        let bytes = message.body.len() as u64;
        self.bytes += bytes;
        self.bytes_min = if self.messages == 1 { bytes } else { self.bytes_min.min(bytes) };
        self.bytes_max = self.bytes_max.max(bytes);
        self.first_at_ms.get_or_insert(arrival.at_ms);
        self.last_at_ms = Some(arrival.at_ms);
        self.clients.entry(client).or_default().messages += 1;
        for recipient in &message.envelope.recipients {
            self.recipients += 1;
            let domain = recipient.address.domain();
            match self.domains.get_mut(domain) {
                Some(count) => *count += 1,
                None => drop(self.domains.insert(domain.to_owned(), 1)),
            }
        }
    }

    /// Messages per second between the first and the last.
    pub(crate) fn per_second(&self) -> f64 {
        let span_ms = self.last_at_ms.unwrap_or(0).saturating_sub(self.first_at_ms.unwrap_or(0));
        if span_ms == 0 { 0.0 } else { self.messages as f64 * 1000.0 / span_ms as f64 }
    }
}

/// The counts as JSON, with those of the world's providers.
pub(crate) fn final_json(tally: &Tally, providers: &[(String, world::Counters)]) -> Value {
    let providers: serde_json::Map<String, Value> = providers
        .iter()
        .map(|(name, counts)| {
            let causes: serde_json::Map<String, Value> =
                counts.causes.iter().map(|(cause, count)| (cause.name().to_owned(), count.into())).collect();
            let counts = json!({
                "accepted": counts.accepted, "deferred": counts.deferred, "refused": counts.refused,
                "connections": counts.connections, "connections_peak": counts.open_peak, "turned_away": counts.turned_away,
                "causes": causes, "blocks": counts.blocks, "traps": counts.traps, "complaints": counts.readers.complaints,
            });
            (name.clone(), counts)
        })
        .collect();
    let clients: serde_json::Map<String, Value> = tally
        .clients
        .iter()
        .map(|(ip, client)| {
            let counts = json!({
                "connections": client.connections, "connections_peak": client.open_peak, "messages": client.messages,
            });
            (ip.to_string(), counts)
        })
        .collect();
    json!({
        "messages": tally.messages, "recipients": tally.recipients, "bytes": tally.bytes, "bytes_min": tally.bytes_min,
        "bytes_max": tally.bytes_max, "duplicates": tally.duplicates,
        "connections": tally.connections, "connections_peak": tally.open_peak, "connections_open": tally.open,
        "first_at_ms": tally.first_at_ms, "last_at_ms": tally.last_at_ms, "per_second": tally.per_second(),
        "clients": clients, "domains": tally.domains, "providers": providers,
    })
}

/// The counts as text.
pub(crate) fn summary(tally: &Tally, providers: &[(String, world::Counters)], paint: Paint) -> String {
    let duplicates = human::plural(tally.duplicates, "duplicate");
    let mut text = format!(
        "{} for {} ({}), {}; {}, at most {} at a time; {}\n",
        paint.bold(&human::plural(tally.messages, "message")),
        human::plural(tally.recipients, "recipient"),
        human::bytes(tally.bytes),
        if tally.duplicates > 0 { paint.yellow(&duplicates) } else { duplicates },
        human::plural(tally.connections, "connection"),
        human::count(tally.open_peak),
        human::rate(tally.per_second()),
    );
    let mut clients: Vec<_> = tally.clients.iter().collect();
    clients.sort_by_key(|(ip, client)| (std::cmp::Reverse(client.messages), **ip));
    let mut table = Table::new(&["from", ">messages", ">connections", ">at most"]);
    for (ip, client) in clients.iter().take(LISTED_MAX) {
        table.row([
            ip.to_string(),
            human::count(client.messages),
            human::count(client.connections),
            human::count(client.open_peak),
        ]);
    }
    if !clients.is_empty() {
        text.push_str(&format!("\n{}{}", table.render(paint), more(clients.len(), "addresses")));
    }
    if !providers.is_empty() {
        let mut table = Table::new(&[
            "provider",
            ">taken",
            ">put off",
            ">refused",
            ">connections",
            ">at most",
            ">turned away",
        ]);
        for (name, counts) in providers {
            let numbers = [
                counts.accepted,
                counts.deferred,
                counts.refused,
                counts.connections,
                counts.open_peak.into(),
                counts.turned_away,
            ];
            table.row(std::iter::once(name.clone()).chain(numbers.into_iter().map(human::count)));
        }
        text.push_str(&format!("\n{}", table.render(paint)));
    }
    let mut domains: Vec<_> = tally.domains.iter().collect();
    domains.sort_by_key(|(domain, count)| (std::cmp::Reverse(**count), domain.as_str()));
    let mut table = Table::new(&["domain", ">recipients"]);
    for (domain, count) in domains.iter().take(LISTED_MAX) {
        table.row([(*domain).clone(), human::count(**count)]);
    }
    if !domains.is_empty() {
        text.push_str(&format!("\n{}{}", table.render(paint), more(domains.len(), "domains")));
    }
    text
}

fn more(all: usize, what: &str) -> String {
    if all > LISTED_MAX { format!("  and {} more {what}\n", all - LISTED_MAX) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{Address, Envelope, Recipient};
    use std::net::Ipv4Addr;

    fn message(id: &str, to: &[&str]) -> ReceivedMessage {
        let recipients =
            to.iter().map(|to| Recipient::from(Address::parse(to).expect("an address"))).collect();
        ReceivedMessage {
            envelope: Envelope { recipients, ..Envelope::default() },
            body: format!("Subject: s\r\nMessage-ID: {id}\r\n\r\nhi\r\n").into_bytes(),
            helo: "x".into(),
            with: "ESMTP",
            account: None,
        }
    }

    #[test]
    fn messages_connections_and_duplicates_are_counted() {
        let (one, two) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
        let mut book = Book::default();
        book.tally.connected(one);
        book.tally.connected(two);
        book.tally.connected(one);
        book.tally.disconnected(one);
        for (client, id, to) in [
            (one, "<1@x>", &["a@x.test", "b@y.test"][..]),
            (two, "<2@x>", &["a@x.test"]),
            (one, "<1@x>", &["b@y.test"]),
        ] {
            let message = message(id, to);
            book.arrived(client, &message, &Arrival::of(&message));
        }
        let tally = book.tally;
        assert_eq!((tally.messages, tally.recipients, tally.duplicates), (3, 4, 1));
        assert_eq!((tally.connections, tally.open, tally.open_peak), (3, 2, 3));
        let json = final_json(&tally, &[]);
        assert_eq!(json["clients"]["127.0.0.1"]["connections_peak"], 2);
        assert_eq!(json["domains"]["y.test"], 2);
        assert_eq!((&json["bytes_min"], &json["bytes_max"]), (&json["bytes_max"], &json["bytes_min"]));
        let text = summary(&tally, &[], Paint::plain());
        assert!(text.contains("3 messages for 4 recipients") && text.contains("1 duplicate"), "{text}");
    }
}
