//! Sends the reports of a day in the hours after it, spread by chance, and again until they are taken.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use mail::{Address, Class, Notify, TlsWish, UnixMs};
use mta::https::Bounds;
use mta::{Handle, NewRecipient, Submission, SubmissionMeta, TlsReports};
use policy::tls_report::{Day, Destination, RECORD_LABELS, Report, Reporter, destinations};
use tokio::task::JoinSet;

use super::letter::{Letter, MEDIA_TYPE, compressed};

/// How often it is looked for reports that are due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Reports go out within this time after the end of the day (RFC 8460 section 4.1: not all at midnight).
const SPREAD: Duration = Duration::from_secs(4 * 3600);
/// A report that could not be sent is tried again after this, for as long as the engine keeps the counts: two days.
const RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Reports under way at the same time: each waits for DNS mostly.
const AT_ONCE_MAX: usize = 16;
/// What a host may take to accept a report.
const POST_BOUNDS: Bounds = Bounds { body_bytes_max: 16 << 10, time_max: Duration::from_secs(60) };

/// Sends what the engine has counted to the domains that want to know.
pub struct TlsReportSender {
    errand: Arc<Errand>,
    reports: TlsReports,
    /// Reports that could not be sent, and when they are tried again.
    again: HashMap<(Day, String), UnixMs>,
}

/// What every report is sent with.
struct Errand {
    handle: Handle,
    by: Reporter,
    from: Address,
}

/// What became of a report.
enum Fate {
    Sent,
    /// The domain asks for none.
    Unwanted,
    /// Nothing could be done for now.
    Failed(String),
}

impl TlsReportSender {
    /// A sender for the engine behind `handle`; `None` when its configuration names nobody who reports.
    #[must_use]
    pub fn new(handle: &Handle) -> Option<Self> {
        let config = handle.config();
        let stated = &config.tls_report;
        let from = stated.from.clone()?;
        let by = Reporter::new(&from, stated.organization.clone(), stated.contact.clone());
        let errand = Arc::new(Errand { handle: handle.clone(), by, from });
        Some(Self { errand, reports: handle.tls_reports(), again: HashMap::new() })
    }

    /// Sends reports when they are due, for as long as it is polled; on the engine's control runtime.
    pub async fn run(mut self) {
        loop {
            let now = self.errand.handle.now();
            self.send_due(now).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends what is due at `now`; returns how many reports have left.
    pub async fn send_due(&mut self, now: UnixMs) -> usize {
        self.again.retain(|(day, _), _| self.reports.days().contains(day));
        let mut sent = 0;
        let mut under_way = JoinSet::new();
        for (day, domain) in self.due(now) {
            if under_way.len() >= AT_ONCE_MAX
                && let Some(Ok(ended)) = under_way.join_next().await
            {
                sent += self.conclude(ended, now);
            }
            let (errand, reports) = (Arc::clone(&self.errand), self.reports.clone());
            under_way.spawn(async move {
                let fate = errand.send(&reports, day, &domain, now).await;
                (day, domain, fate)
            });
        }
        while let Some(ended) = under_way.join_next().await {
            sent += ended.map_or(0, |ended| self.conclude(ended, now));
        }
        sent
    }

    /// The domains that are to be told now of a day that is over.
    fn due(&self, now: UnixMs) -> Vec<(Day, String)> {
        let over = self.reports.days().into_iter().filter(|day| day.end() <= now);
        let all = over.flat_map(|day| self.reports.domains(day).into_iter().map(move |domain| (day, domain)));
        let is_due = |(day, domain): &(Day, String)| match self.again.get(&(*day, domain.clone())) {
            Some(at) => now >= *at,
            None => now >= day.end() + delay(&self.errand.by.submitter, domain, *day),
        };
        all.filter(is_due).collect()
    }

    fn conclude(&mut self, (day, domain, fate): (Day, String, Fate), now: UnixMs) -> usize {
        match fate {
            Fate::Sent | Fate::Unwanted => {
                self.reports.forget(day, &domain);
                usize::from(matches!(fate, Fate::Sent))
            }
            Fate::Failed(why) => {
                tracing::info!(domain, %day, why, "a TLS report could not be sent; it is tried again");
                self.again.insert((day, domain), now + RETRY_AFTER);
                0
            }
        }
    }
}

/// How long after the end of its day a report leaves: by chance, but the same after a restart.
fn delay(submitter: &str, domain: &str, day: Day) -> Duration {
    let mut hasher = DefaultHasher::new();
    (submitter, domain, day).hash(&mut hasher);
    Duration::from_millis(hasher.finish() % u64::try_from(SPREAD.as_millis()).unwrap_or(u64::MAX))
}

impl Errand {
    async fn send(&self, reports: &TlsReports, day: Day, domain: &str, now: UnixMs) -> Fate {
        let name = format!("{RECORD_LABELS}.{domain}");
        let places = match self.handle.resolver().texts(&name).await {
            Ok(texts) => destinations(&texts),
            Err((_, what)) => return Fate::Failed(what),
        };
        let mut to = Vec::new();
        let mut urls = Vec::new();
        for place in places {
            match place {
                Destination::Mail(address) if address.is_ascii() => to.push(address),
                Destination::Mail(_) => {}
                Destination::Https(url) => urls.push(url),
            }
        }
        if to.is_empty() && urls.is_empty() {
            return Fate::Unwanted;
        }
        let report = Report::new(&self.by, domain, day, reports.policies(day, Some(domain)));
        let file = match compressed(&report) {
            Ok(file) => file,
            Err(error) => return Fate::Failed(error.to_string()),
        };
        let letter = Letter { by: &self.by, from: &self.from, to: &to, domain, day, report: &report };
        let mut results = Vec::new();
        if !to.is_empty() {
            results.push(self.mail(&letter, &file, now).await);
        }
        for url in &urls {
            results.push(self.post(url, &file).await);
        }
        // One place that has it is enough: to try again would send it twice there.
        match results.iter().find_map(|result| result.as_ref().err()) {
            Some(why) if results.iter().all(Result::is_err) => Fate::Failed(why.clone()),
            why => {
                tracing::info!(domain, %day, failed = why, "TLS report sent");
                Fate::Sent
            }
        }
    }

    /// Puts the letter into the queue: from there on it is mail like any other, but less urgent.
    async fn mail(&self, letter: &Letter<'_>, file: &[u8], now: UnixMs) -> Result<(), String> {
        let meta = SubmissionMeta {
            identity: Some(self.from.domain().to_owned()),
            // As the letter's header says.
            tls: TlsWish::NotRequired,
            ..SubmissionMeta::new(Some(self.from.clone()), Class::Bulk)
        };
        // Nobody would read that a report did not arrive.
        let recipient =
            |to: &Address| NewRecipient { notify: Notify::NEVER, ..NewRecipient::plain(to.clone()) };
        let recipients = letter.to.iter().map(recipient).collect();
        let submission = Submission { meta, body: letter.write(file, now), recipients };
        self.handle.submit(submission).await.map(drop).map_err(|refusal| refusal.to_string())
    }

    async fn post(&self, url: &str, file: &[u8]) -> Result<(), String> {
        let body = file.to_vec().into();
        let answer = self.handle.https().post(url, MEDIA_TYPE, body, POST_BOUNDS).await;
        match answer {
            Ok(answer) if answer.status / 100 == 2 => Ok(()),
            Ok(answer) => Err(format!("{url}: HTTP status {}", answer.status)),
            Err(fault) => Err(format!("{url}: {fault}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_spread_over_four_hours_and_keep_their_time() {
        let delays: Vec<Duration> =
            (0..1_000).map(|n| delay("sender.test", &format!("{n}.test"), Day(20_000))).collect();
        assert!(delays.iter().all(|delay| *delay < SPREAD));
        for quarter in 0..4 {
            let within = |delay: &&Duration| delay.as_secs() / 3600 == quarter;
            assert!((200..300).contains(&delays.iter().filter(within).count()));
        }
        assert_eq!(delay("sender.test", "7.test", Day(20_000)), delays[7]);
    }
}
