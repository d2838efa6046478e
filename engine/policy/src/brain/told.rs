//! The sentences: each decision of the brain as an event with its code, its figures and its reason.

use mail::{CampaignId, UnixMs};

use crate::breaker::Trip;
use crate::reputation::Score;
use crate::warmup::{Ladder, Turn, Turned};

use super::Brain;
use super::burns::Burn;
use super::climbs::Climber;
use super::order::{CODES, Event, Order, Subject};
use super::trials::Stopped;

impl Brain {
    fn tell(
        &mut self,
        code: &'static str,
        subject: Subject,
        figures: Vec<(&'static str, f64)>,
        sentence: String,
        now: UnixMs,
    ) {
        debug_assert!(CODES.iter().any(|(known, _)| *known == code), "{code} is not in the table");
        self.pending.push(Order::Tell(Event { at: now, code, subject, figures, sentence }));
    }

    pub(super) fn tell_burnt(&mut self, source: u16, provider: u16, burn: &Burn, reason: &str, now: UnixMs) {
        let (name, at) = (self.setup.source(source), self.setup.provider(provider));
        let rest = span(burn.until.since(now).as_secs());
        let times = match burn.times {
            1 => String::new(),
            times => format!(" (the {}. time within a week)", times),
        };
        let sentence = format!("source {name} rests at {at} for {rest}{times}: {reason}");
        let figures = vec![("rest_s", burn.until.since(now).as_secs_f64()), ("times", f64::from(burn.times))];
        self.tell("source.burnt", Subject::Source { source, provider }, figures, sentence, now);
    }

    pub(super) fn tell_healed(&mut self, source: u16, provider: u16, now: UnixMs) {
        let score = self.source_score(source, provider, now);
        let (name, at) = (self.setup.source(source), self.setup.provider(provider));
        let sentence = format!("source {name} is tried again at {at}, with a score of {score}");
        let figures = vec![("score", f64::from(score))];
        self.tell("source.healed", Subject::Source { source, provider }, figures, sentence, now);
    }

    pub(super) fn tell_alarm(&mut self, source: u16, provider: u16, score: &Score, now: UnixMs) {
        let (name, at) = (self.setup.source(source), self.setup.provider(provider));
        let (value, recent) = (score.value, score.recent);
        let sentence = format!(
            "source {name} at {at} has a score of {recent} over the last minutes, of {value} over the day"
        );
        let figures = vec![("recent", f64::from(recent)), ("score", f64::from(value))];
        self.tell("score.alarm", Subject::Source { source, provider }, figures, sentence, now);
    }

    pub(super) fn tell_sender(&mut self, identity: u32, provider: Option<u16>, is_good: bool, now: UnixMs) {
        let (code, sentence) = match (is_good, provider) {
            (true, _) => {
                ("sender.good", "the sender has behaved for a day: other sources may help it again".into())
            }
            (false, Some(provider)) => {
                let at = self.setup.provider(provider);
                (
                    "sender.bad",
                    format!("a source was refused at {at} for the sender's mail: no other is risked for it"),
                )
            }
            (false, None) => {
                ("sender.bad", "a campaign of the sender was paused: no other source is risked for it".into())
            }
        };
        self.tell(code, Subject::Identity { identity, provider }, Vec::new(), sentence, now);
    }

    pub(super) fn tell_slowed(&mut self, identity: u32, provider: u16, rate: Option<f64>, now: UnixMs) {
        let at = self.setup.provider(provider);
        let subject = Subject::Identity { identity, provider: Some(provider) };
        match rate {
            Some(rate) => {
                let sentence =
                    format!("{at} wants less of the sender: {rate:.1} messages a second from now on");
                self.tell("identity.slowed", subject, vec![("rate", rate)], sentence, now);
            }
            None => {
                let sentence =
                    format!("{at} has taken the sender's mail well: it has no limit there any more");
                self.tell("identity.freed", subject, Vec::new(), sentence, now);
            }
        }
    }

    /// Tells that a campaign was stopped at its gates; the reason for the order.
    pub(super) fn tell_stopped(&mut self, stopped: &Stopped, now: UnixMs) -> String {
        let Stopped { campaign, trip, passed, recipients, .. } = *stopped;
        let of = if recipients == 0 { String::new() } else { format!(" of {recipients}") };
        let reason = format!("{trip}, after {passed} recipients{of}");
        let mut figures = figures_of(&trip);
        figures.extend([("passed", passed as f64), ("recipients", recipients as f64)]);
        let sentence = format!("campaign {campaign} is paused: {reason}");
        self.tell("canary.stopped", Subject::Campaign { campaign, provider: None }, figures, sentence, now);
        reason
    }

    pub(super) fn tell_broken(&mut self, campaign: CampaignId, trip: &Trip, now: UnixMs) -> String {
        let subject = Subject::Campaign { campaign, provider: None };
        let sentence = format!("campaign {campaign} is paused: {trip}");
        self.tell("breaker.campaign", subject, figures_of(trip), sentence, now);
        trip.to_string()
    }

    pub(super) fn tell_tenant(&mut self, tenant: u32, reason: &str, trip: &Trip, now: UnixMs) {
        let sentence = format!("the tenant is paused: {reason}");
        self.tell("breaker.tenant", Subject::Tenant { tenant }, figures_of(trip), sentence, now);
    }

    pub(super) fn tell_turn(&mut self, climber: Climber, turn: &Turn, now: UnixMs) {
        let (who, provider, subject, ladder) = match climber {
            Climber::Source(source, provider) => {
                let name = format!("source {}", self.setup.source(source));
                (name, provider, Subject::Source { source, provider }, self.climbs.ladder_of(climber))
            }
            Climber::Identity(identity, provider) => {
                let subject = Subject::Identity { identity, provider: Some(provider) };
                ("the sender".to_owned(), provider, subject, self.climbs.ladder_of(climber))
            }
        };
        let Some(ladder) = ladder else { return };
        let (code, sentence) = turn_words(&who, self.setup.provider(provider), turn, &ladder);
        let figures = vec![
            ("step", f64::from(turn.step) + 1.0),
            ("used", turn.used as f64),
            ("delivered", turn.delivered),
            ("refused", turn.refused),
        ];
        self.tell(code, subject, figures, sentence, now);
    }
}

fn turn_words(who: &str, at: &str, turn: &Turn, ladder: &Ladder) -> (&'static str, String) {
    let step = usize::from(turn.step);
    let next = match ladder.per_day(step) {
        Some(count) => format!("day {} of the ladder, {count} messages", step + 1),
        None => "no limit".to_owned(),
    };
    let (used, delivered, refused) = (turn.used, 100.0 * turn.delivered, 100.0 * turn.refused);
    let (code, why) = match turn.what {
        Turned::Advanced => ("warmup.advanced", format!("{delivered:.1} % of {used} were delivered")),
        Turned::Warm => {
            ("warmup.warm", format!("it has climbed the ladder, {delivered:.1} % were delivered"))
        }
        Turned::HeldForVolume => ("warmup.held", format!("{used} messages were too few to count")),
        Turned::HeldForTrouble => {
            ("warmup.held", format!("{delivered:.1} % of {used} were delivered, or too many were put off"))
        }
        Turned::SteppedBack => (
            "warmup.back",
            format!("it was refused, or {refused:.1} % of {used} were taken for spam or blocked"),
        ),
        Turned::Forgotten => ("warmup.forgotten", "it was idle for 30 days".to_owned()),
    };
    (code, format!("{who} at {at} has {next}: {why}"))
}

fn figures_of(trip: &Trip) -> Vec<(&'static str, f64)> {
    vec![("count", trip.count), ("of", trip.of), ("limit", trip.limit)]
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}
