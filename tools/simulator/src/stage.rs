//! The engine's loop in virtual time: what happens next, and who works it. What the real engine does with sockets and
//! threads is done here with events; who decides is the same `queue` and the same `policy`.

use std::time::Duration;

use mail::{CampaignId, Class, RecipientId, UnixMs};
use queue::{PathId, Queue, Ticket};
use world::{Feedback, World};

use crate::clock::Clock;
use crate::letters::{Fate, Letters, id_of};
use crate::lines::Lines;
use crate::measure::Measure;
use crate::mind::Mind;
use crate::script::Script;

/// Recipients worked in one go.
const BATCH: usize = 512;
/// How often the slow decisions are made.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// The same while nothing can be sent.
const IDLE_TICK: Duration = Duration::from_secs(10);

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A campaign is sent.
    Launch(usize),
    /// A stream's next message is written; how many it has had.
    Write(usize, u32),
    /// Somebody on the timing wheel is due, or a rest ends.
    Due(UnixMs),
    /// A connection goes on; the turn it was told of.
    Step(u32, u32),
    /// A path is looked at again.
    Look(PathId, UnixMs),
    /// A second is over.
    Tick,
}

/// Everything that a rehearsal is made of.
pub(crate) struct Stage {
    pub(crate) clock: Clock<Event>,
    pub(crate) world: World,
    pub(crate) letters: Letters,
    pub(crate) queue: Queue,
    pub(crate) lines: Lines,
    pub(crate) script: Script,
    pub(crate) mind: Mind,
    pub(crate) measure: Measure,
    /// For when the wheel is looked at.
    due_at: Option<UnixMs>,
    feedback: Vec<Feedback>,
}

impl Stage {
    pub(crate) fn new(world: World, letters: Letters, script: Script) -> Self {
        let clock = Clock::new();
        let config = &script.config;
        let weights =
            [mail::Class::Critical, mail::Class::Transactional, mail::Class::Personal, mail::Class::Bulk]
                .map(|class| config.class(class).weight);
        let queue = Queue::new(weights, script.critical_share(), clock.now());
        let mind = Mind::new(&script, clock.now());
        let measure = Measure::new(&script, &letters);
        Self {
            clock,
            world,
            letters,
            queue,
            lines: Lines::default(),
            script,
            mind,
            measure,
            due_at: None,
            feedback: Vec::new(),
        }
    }

    /// Plays until everybody has an outcome, or the curtain falls.
    pub(crate) fn play(&mut self, curtain: Duration) {
        self.invite();
        while let Some(event) = self.clock.next() {
            if self.clock.elapsed() > curtain {
                break;
            }
            self.work(event);
            if matches!(event, Event::Tick) && self.is_over() {
                break;
            }
        }
        self.tidy_up();
    }

    fn invite(&mut self) {
        for index in 0..self.letters.batches.len() {
            let (starts, is_stream) =
                (self.script.starts[index], self.letters.batches[index].campaign.is_none());
            let event = if is_stream { Event::Write(index, 0) } else { Event::Launch(index) };
            self.clock.after(starts, event);
        }
        self.clock.after(TICK, Event::Tick);
    }

    /// Whether nobody is left but those whose campaign or tenant was stopped.
    fn is_over(&self) -> bool {
        self.letters.of(Fate::Unsent) == 0
            && self.lines.under_way() == 0
            && self.letters.of(Fate::Waiting) == self.stopped_waiting()
    }

    /// Those whose campaign or tenant was stopped.
    fn stopped_waiting(&self) -> u64 {
        self.letters.waiting(|batch| self.mind.is_stopped(batch.tenant, batch.campaign))
    }

    fn work(&mut self, event: Event) {
        match event {
            Event::Launch(batch) => self.launch(batch),
            Event::Write(batch, index) => self.write(batch, index),
            Event::Due(at) => self.due(at),
            Event::Step(line, turn) => self.step(line, turn),
            Event::Look(path, at) => {
                if self.lines.pool(path).disarm(at) {
                    self.dispatch(path);
                }
            }
            Event::Tick => self.tick(),
        }
    }

    fn launch(&mut self, batch: usize) {
        let (first, count) = (self.letters.batches[batch].first, self.letters.batches[batch].count);
        let is_bulk = self.letters.batches[batch].class == Class::Bulk;
        if let Some(campaign) = self.letters.batches[batch].campaign.filter(|_| is_bulk) {
            self.mind.tables.gates.announce(campaign, count.into());
        }
        for index in first..first + count {
            self.accept(batch, id_of(index));
        }
        self.dispatch_wanting();
    }

    fn write(&mut self, batch: usize, index: u32) {
        let (first, count) = (self.letters.batches[batch].first, self.letters.batches[batch].count);
        if index >= count {
            return;
        }
        self.accept(batch, id_of(first + index));
        self.dispatch_wanting();
        if index + 1 < count {
            self.clock.after(self.script.pauses[batch], Event::Write(batch, index + 1));
        }
    }

    fn accept(&mut self, batch: usize, id: RecipientId) {
        let now = self.clock.now();
        let class = self.letters.batches[batch].class;
        let deadline =
            self.letters.batches[batch].deadline_s.map_or(0, |within| now.seconds() as u32 + within);
        let expiry = (now + self.script.config.class(class).expiry).seconds() as u32;
        self.letters.set(id, Fate::Waiting);
        self.measure.accepted(id, self.clock.moment());
        self.start(Ticket { id, expiry, deadline, attempts: 0, class });
    }

    fn due(&mut self, at: UnixMs) {
        if self.due_at == Some(at) {
            self.due_at = None;
        }
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.queue.due(self.clock.now(), BATCH, &mut batch);
            if batch.is_empty() {
                break;
            }
            for ticket in batch.drain(..) {
                self.start(ticket);
            }
        }
        self.dispatch_wanting();
        self.note_due();
    }

    /// Notes when the wheel, or a rest that ends, calls next.
    pub(crate) fn note_due(&mut self) {
        let Some(next) = self.queue.next_due() else { return };
        if self.due_at.is_none_or(|at| next < at) {
            self.due_at = Some(next);
            self.clock.at_time(next, Event::Due(next));
        }
    }

    fn tick(&mut self) {
        self.expire();
        self.think();
        let mind = &self.mind;
        self.measure.tick(&self.queue, &self.clock, |flow| mind.is_stopped(flow.tenant, flow.campaign));
        if self.world.next_feedback().is_some_and(|at| at <= self.clock.now()) {
            self.hear();
        }
        self.dispatch_wanting();
        self.note_due();
        self.clock.after(if self.is_idle() { IDLE_TICK } else { TICK }, Event::Tick);
    }

    /// Whether nothing can be sent, and no campaign waits until its first recipients are judged.
    fn is_idle(&self) -> bool {
        let totals = self.queue.totals();
        self.lines.under_way() == 0 && totals.ready == [0; 4] && totals.held <= self.stopped_waiting()
    }

    fn expire(&mut self) {
        let mut expired = Vec::new();
        self.queue.expired(self.clock.now(), BATCH, &mut expired);
        expired.into_iter().for_each(|ticket| self.finish(ticket, Fate::Expired));
    }

    /// What recipients have done with their mail since.
    fn hear(&mut self) {
        let mut feedback = std::mem::take(&mut self.feedback);
        self.world.feedback(self.clock.now(), &mut feedback);
        for word in feedback.drain(..) {
            self.mind.heard(&self.letters, &word);
            self.measure.heard(&word);
        }
        self.feedback = feedback;
    }

    /// Sends what a campaign holds back for a provider on its way, as far as its canary lets it.
    pub(crate) fn release(&mut self, campaign: CampaignId, lane: Option<u16>) {
        let mut out = Vec::new();
        loop {
            let room = lane.map_or(u64::MAX, |provider| self.mind.tables.gates.room(campaign, provider));
            let most = BATCH.min(room as usize);
            if most == 0 {
                return;
            }
            let is_left = self.queue.release_some(campaign, lane, most, &mut out);
            let held = out.drain(..).map(|ticket| self.start(ticket)).filter(|&went| !went).count();
            if !is_left || held > 0 {
                return;
            }
        }
    }

    /// A recipient's story ends.
    pub(crate) fn finish(&mut self, ticket: Ticket, fate: Fate) {
        if !matches!(self.letters.fate(ticket.id), Fate::Unsent | Fate::Waiting) {
            self.measure.watch.broken.finished_twice += 1;
        }
        self.letters.set(ticket.id, fate);
        let counts = self.letters.is_awaited(self.letters.batch(ticket.id));
        self.measure.finished(ticket.id, fate, counts, self.clock.moment());
    }

    /// The curtain: what was stopped is withdrawn, as its sender would do.
    fn tidy_up(&mut self) {
        let stopped: Vec<_> = self.mind.stopped.campaigns.iter().copied().collect();
        for campaign in stopped {
            for ticket in self.queue.cancel_campaign(campaign) {
                self.finish(ticket, Fate::Cancelled);
            }
        }
        for ticket in std::mem::take(&mut self.mind.stopped.tickets) {
            self.finish(ticket, Fate::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Options, Report, rehearse};

    /// Two hundred recipients at one provider, of which `more` says more.
    fn report(more: &str) -> Report {
        let world = format!(
            "name = \"one\"\n[[provider]]\nname = \"one\"\nmanner = \"tiscali\"\ndomains = [\"one.test\"]\n\
             latency = {{ banner = \"20ms\", command = \"10ms\", body = \"50ms\" }}\n{more}\n\
             [[source]]\nname = \"a\"\nip = \"127.0.0.2\"\n\
             [[identity]]\ndomain = \"news.test\"\nstanding = 1.0\n\
             [[campaign]]\nname = \"news\"\nidentity = \"news.test\"\nrecipients = 200\n"
        );
        rehearse(&world, &Options::default()).expect("a world that can be played")
    }

    fn finish_s(report: &Report) -> f64 {
        report.speed.finish_s.expect("everybody has an outcome")
    }

    #[test]
    fn two_sources_share_what_their_connections_cannot_send_alone() {
        let world = include_str!("../../../perf/brain/real/slow-replies.toml");
        let report = rehearse(world, &Options::default()).expect("a world that can be played");
        let islands = report.providers.iter().find(|provider| provider.name == "islands");
        let (count, finish_s) = islands.map(|one| (one.delivered as f64, one.finish_s)).expect("it has mail");
        // Three connections of each source, half a second for each message.
        let alone_s = count * 0.5 / 3.0;
        assert!(finish_s < 0.75 * alone_s, "{finish_s} s, one source would take {alone_s} s");
    }

    #[test]
    fn a_connection_that_ends_early_costs_no_attempt() {
        let report = report("messages_per_connection = 20\ndocumented = false");
        assert!(report.attempts.total > report.books.delivered, "{report:?}");
        assert!(finish_s(&report) < 30.0, "{report:?}");
    }
}
