//! What is sent in the demo: a newsletter over the HTTP API, and single messages over SMTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mail::Class;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::stage::{Doors, SIGHTS};
use crate::engine::{Body, Client, Target, value};

/// Single messages per second.
const TRANSACTIONAL_PER_SECOND: u64 = 60;
const CRITICAL_PER_SECOND: u64 = 6;
/// Recipients in one request: what the engine takes as one.
const BATCH: u64 = 1_000;
/// The newsletter's template.
const NEWSLETTER: &str = include_str!("newsletter.html");

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) newsletter: u64,
    pub(super) transactional: u64,
    pub(super) critical: u64,
    seconds: u64,
}

impl Plan {
    pub(super) const fn new(newsletter: u64, seconds: u64) -> Self {
        let transactional = TRANSACTIONAL_PER_SECOND * seconds;
        Self { newsletter, transactional, critical: CRITICAL_PER_SECOND * seconds, seconds }
    }
}

/// How much was acknowledged so far.
#[derive(Debug, Default)]
pub(super) struct Sent {
    newsletter: AtomicU64,
    singles: AtomicU64,
    /// How long handing over the list took.
    list_ms: AtomicU64,
}

impl Sent {
    /// Recipients of the newsletter.
    pub(super) fn newsletter(&self) -> u64 {
        self.newsletter.load(Ordering::Relaxed)
    }

    /// Everything.
    pub(super) fn all(&self) -> u64 {
        self.newsletter() + self.singles.load(Ordering::Relaxed)
    }

    /// Recipients of the newsletter that were taken per second.
    pub(super) fn list_per_second(&self) -> f64 {
        let ms = self.list_ms.load(Ordering::Relaxed).max(1);
        self.newsletter() as f64 * 1000.0 / ms as f64
    }
}

/// Begins to send, on a thread of its own.
///
/// # Errors
/// When there is no thread to be had. What goes wrong later is the thread's result.
pub(super) fn start(
    plan: Plan,
    doors: Doors,
    sent: Arc<Sent>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async move {
        let singles =
            |class, count| Singles { class, count, seconds: plan.seconds, doors: &doors, sent: &sent };
        tokio::try_join!(
            newsletter(plan, &doors, &sent, stopped.clone()),
            singles(Class::Transactional, plan.transactional).send(stopped.clone()),
            singles(Class::Critical, plan.critical).send(stopped.clone()),
        )
        .map(drop)
    };
    std::thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || runtime.block_on(work))
        .context("the load generator has no thread")
}

async fn newsletter(
    plan: Plan,
    doors: &Doors,
    sent: &Sent,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut client = Client::new(Target::Unix(doors.control.clone()), None);
    let campaign = serde_json::json!({
        "name": "Spring newsletter", "from": "Trattoria Staffetta <news@trattoria.test>",
        "subject": "{{ first_name }}, the new menu of {{ city }} is here", "html": NEWSLETTER,
        "text": "Ciao {{ first_name }}!\n\nThe new menu of {{ city }} is here; your code is {{ code }}.\n",
        "list_unsubscribe_url": "https://trattoria.test/unsubscribe/{{ code }}",
    });
    let answer = client.post("/v1/campaigns", Body::json(&campaign)).await?;
    let id = value::text(&answer, "id");
    client.post(&format!("/v1/campaigns/{id}/start"), Body::empty()).await?;
    let begun = std::time::Instant::now();
    let mut handed = 0;
    while handed < plan.newsletter && !*stopped.borrow() {
        let until = (handed + BATCH).min(plan.newsletter);
        let mut csv = String::from("email,first_name,city,code\n");
        for number in handed..until {
            csv.push_str(&recipient(number, doors));
        }
        let path = format!("/v1/campaigns/{id}/recipients");
        let answer = client.post_patiently(&path, Body::of("text/csv", csv.into_bytes())).await?;
        ensure!(
            value::number(&answer, "accepted") == until - handed,
            "the engine rejected recipients: {answer}"
        );
        handed = until;
        sent.newsletter.store(handed, Ordering::Relaxed);
        sent.list_ms.store(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// One row of the list: providers by their shares, their domains in turn.
fn recipient(number: u64, doors: &Doors) -> String {
    const NAMES: [&str; 8] = ["Anna", "Luca", "Giulia", "Marco", "Sofia", "Paolo", "Elena", "Nicolò"];
    const CITIES: [&str; 6] = ["Torino", "Milano", "Bologna", "Napoli", "Bari", "Palermo"];
    let pick =
        |list: &[&'static str], salt: u64| list[(number.wrapping_mul(salt) >> 7) as usize % list.len()];
    let name = pick(&NAMES, 0x9e37_79b9);
    let city = pick(&CITIES, 0x85eb_ca6b);
    format!("{},{name},{city},{number:06x}\n", address(number, doors))
}

fn address(number: u64, doors: &Doors) -> String {
    let mut place = number.wrapping_mul(37) % 100;
    let mut provider = 0;
    while place >= SIGHTS[provider].share {
        place -= SIGHTS[provider].share;
        provider += 1;
    }
    let domains = &doors.domains[provider];
    format!("reader{number}@{}", domains[(number / 100) as usize % domains.len()])
}

/// Messages of one class that are sent one after another, evenly over the time.
struct Singles<'a> {
    class: Class,
    count: u64,
    seconds: u64,
    doors: &'a Doors,
    sent: &'a Sent,
}

impl Singles<'_> {
    async fn send(self, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut smtp = Smtp::connect(self.doors.smtp).await?;
        let pause = Duration::from_secs(self.seconds) / u32::try_from(self.count.max(1))?;
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..self.count {
            ticks.tick().await;
            if *stopped.borrow() {
                break;
            }
            let to = address(number.wrapping_mul(7919) + 1, self.doors).replace("reader", "customer");
            smtp.send("shop@trattoria.test", &to, &self.message(number, &to)).await?;
            self.sent.singles.fetch_add(1, Ordering::Relaxed);
        }
        smtp.quit().await
    }

    fn message(&self, number: u64, to: &str) -> String {
        let (subject, headers, text) = match self.class {
            Class::Critical => {
                let code = 100_000 + number * 7919 % 900_000;
                (
                    "Your one-time code",
                    "X-Staffetta-Deadline: 10s\r\n",
                    format!("Your code is {code}. It is good for ten minutes."),
                )
            }
            _ => ("Your order is on its way", "", format!("Order {number} has left our kitchen.")),
        };
        format!(
            "From: Trattoria Staffetta <shop@trattoria.test>\r\nTo: {to}\r\nSubject: {subject}\r\n\
             X-Staffetta-Class: {}\r\n{headers}Content-Type: text/plain\r\n\r\n{text}\r\n",
            self.class
        )
    }
}

/// A plain SMTP client: one command, one reply.
struct Smtp {
    stream: BufReader<TcpStream>,
}

impl Smtp {
    async fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(to).await.with_context(|| format!("the engine's {to} cannot be reached"))?;
        stream.set_nodelay(true)?;
        let mut smtp = Self { stream: BufReader::new(stream) };
        smtp.expect(220).await?;
        smtp.say("EHLO shop.trattoria.test\r\n", 250).await?;
        Ok(smtp)
    }

    async fn send(&mut self, from: &str, to: &str, message: &str) -> anyhow::Result<()> {
        self.say(&format!("MAIL FROM:<{from}>\r\n"), 250).await?;
        self.say(&format!("RCPT TO:<{to}>\r\n"), 250).await?;
        self.say("DATA\r\n", 354).await?;
        self.say(&format!("{message}.\r\n"), 250).await
    }

    async fn quit(mut self) -> anyhow::Result<()> {
        self.say("QUIT\r\n", 221).await
    }

    async fn say(&mut self, command: &str, code: u16) -> anyhow::Result<()> {
        self.stream.write_all(command.as_bytes()).await?;
        self.expect(code).await
    }

    async fn expect(&mut self, code: u16) -> anyhow::Result<()> {
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line).await? > 0, "the engine closed the connection");
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if !line.starts_with(&format!("{code:03}")) {
                bail!("the engine answered {}", line.trim_end());
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn recipients_follow_the_shares_and_are_all_different() {
        let domains = SIGHTS.iter().map(|sight| vec![format!("{}.test", sight.name)]).collect();
        let doors = Doors { smtp: ([127, 0, 0, 1], 25).into(), control: PathBuf::new(), domains };
        let addresses: std::collections::HashSet<String> =
            (0..10_000).map(|number| address(number, &doors)).collect();
        assert_eq!(addresses.len(), 10_000);
        for sight in &SIGHTS {
            let count = addresses
                .iter()
                .filter(|address| address.ends_with(&format!("@{}.test", sight.name)))
                .count();
            assert_eq!(count as u64, sight.share * 100, "{}", sight.name);
        }
        assert_eq!(SIGHTS.iter().map(|sight| sight.share).sum::<u64>(), 100);
    }
}
