//! Content that repeats: which of an account's messages say the same to many, though they come one by one.
//!
//! Of each stream (an account and a sender domain) the sketches of a few contents are remembered for a window, and about
//! each of them how many different recipients it had, how fast, and whether its messages differ in anything that is the
//! reader's own. A template alone makes no newsletter: a reset of a password, an order, an invoice are the same text to many
//! too. What separates them is stated at [`Content::judge`]. Memory is bounded per stream and in all; time is an argument.

use std::fmt;
use std::time::Duration;

use mail::UnixMs;
use rustc_hash::FxHashMap;

use super::sketch::{Bits, Sketch};

/// `[classify]`: what is done about content that repeats, and when it counts as repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// What is done.
    pub action: Action,
    /// How long content is remembered.
    pub window: Duration,
    /// How many recipients it must have had within that time.
    pub recipients: u32,
}

/// What is done about a message whose content repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is counted and logged.
    Warn,
    /// Where nothing but the default gave it a class, it becomes bulk as well.
    Reclass,
    /// Nothing: no content is read.
    Off,
}

impl Action {
    /// The names of the configuration file, in the order of [`Action::ALL`].
    pub const NAMES: [&'static str; 3] = ["warn", "reclass", "off"];
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Warn, Self::Reclass, Self::Off];
}

impl Default for Behaviour {
    /// As without a `[classify]` section.
    fn default() -> Self {
        Self { action: Action::Warn, window: Duration::from_secs(3600), recipients: 200 }
    }
}

/// Contents that are remembered of one stream: the one that is repeated least makes room.
pub const CONTENTS_MAX: usize = 16;
/// Likeness from which on two messages are of one content: about six of a text's seven words, less what a sketch errs.
const LIKE: f32 = 0.75;
/// Messages that must have been seen: the same to many in one message is a letter to a list of people, whoever wrote it.
const MESSAGES_MIN: u32 = 10;
/// Messages per second of a stream above which only some of them are read.
const RATE_READ_WHOLE: f32 = 5.0;
/// Of a very fast stream one message in so many is read.
const SKIP_MAX: u32 = 64;
/// How long every message of a stream is read when a newsletter was seen in it, where newsletters become bulk.
const FOUND_FOR: Duration = Duration::from_secs(600);
/// Half-life of the rate of a stream.
const RATE_HALF_LIFE: Duration = Duration::from_secs(5);
/// Half-life of the heat of a content: ten minutes of it weigh about as much as what came before.
const HEAT_HALF_LIFE: Duration = Duration::from_secs(300);
/// Share of facts or links of its own up to which a message counts as having none: what the small sets err.
const OWN_NONE: f32 = 0.03;
/// Share of facts of its own up to which a text is mostly the same, as the points of a customer card among prices.
const OWN_FEW: f32 = 0.3;
/// Words from which on a text is long, and links from which on a shorter one is as good.
const WORDS_LONG: u16 = 150;
const WORDS_LINKED: u16 = 60;
const LINKS_MANY: u16 = 5;

/// What is remembered of the content of many streams.
#[derive(Clone, Debug)]
pub struct Watch {
    behaviour: Behaviour,
    streams: FxHashMap<u64, Stream>,
    streams_max: usize,
}

/// A message that says the same to many, in figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repetition {
    /// Different recipients of the content within the window, about.
    pub recipients: u32,
    /// Since when.
    pub within: Duration,
    /// The share of the text that neighbouring messages have in common, in percent.
    pub alike: u8,
    /// The share of numbers and codes that are different from message to message, in percent.
    pub own: u8,
    /// Messages for which this one stands, since not all of a fast stream are read.
    pub weight: u32,
    /// What spoke for a newsletter.
    pub signs: Signs,
}

/// What speaks for a newsletter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The text says how to be rid of such mail, or how to see it in a browser.
    pub list_words: bool,
    /// It is long, or has many links.
    pub long: bool,
    /// It goes to many within minutes.
    pub burst: bool,
    /// Somebody counts complaints about it (`Feedback-ID`).
    pub feedback: bool,
}

impl fmt::Display for Repetition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recipients, within, alike, own, signs, .. } = self;
        let minutes = within.as_secs().div_ceil(60);
        write!(
            f,
            "about {recipients} recipients within {minutes} min, text {alike} % alike, {own} % of numbers differ"
        )?;
        let words = [
            (signs.list_words, "says how to unsubscribe"),
            (signs.long, "long or with many links"),
            (signs.burst, "many within minutes"),
            (signs.feedback, "Feedback-ID"),
        ];
        words.into_iter().filter(|(is_so, _)| *is_so).try_for_each(|(_, word)| write!(f, ", {word}"))
    }
}

impl Watch {
    /// Nothing is known yet; at most `streams_max` streams are remembered.
    #[must_use]
    pub fn new(behaviour: Behaviour, streams_max: usize) -> Self {
        Self { behaviour, streams: FxHashMap::default(), streams_max: streams_max.max(1) }
    }

    /// Whether a message of `stream` is to be read now, and how many it then stands for: all of slow streams are, of fast
    /// ones about every fourth, sixteenth or sixty-fourth. Where newsletters are to become bulk, all are of a stream that has one.
    pub fn wants(&mut self, stream: u64, now: UnixMs) -> Option<u32> {
        self.make_room(stream);
        let reads_all = self.behaviour.action == Action::Reclass;
        self.streams.entry(stream).or_insert_with(|| Stream::new(now)).wants(reads_all, now)
    }

    /// Takes note of a message that was read and stands for `weight`. It goes to `recipients` recipients, of which `people`
    /// gives the hashes of some. Says whether the content is a newsletter's.
    pub fn saw(&mut self, stream: u64, sketch: &Sketch, sent: &Sent<'_>, now: UnixMs) -> Option<Repetition> {
        let behaviour = self.behaviour;
        let stream = self.streams.get_mut(&stream)?;
        let content = stream.content(sketch, now);
        content.add(sketch, sent, behaviour.window, now);
        let found = content.judge(sketch, &behaviour, now)?;
        stream.found_at = Some(now);
        Some(Repetition { weight: sent.weight, ..found })
    }

    /// Streams that are remembered.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Memory that is taken, in bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let contents: usize = self.streams.values().map(|stream| stream.contents.capacity()).sum();
        contents * size_of::<Content>()
            + self.streams.capacity() * (size_of::<Stream>() + size_of::<u64>() + 1)
    }

    /// The most that [`Watch::bytes`] can be with so many streams: their table may be up to half empty.
    #[must_use]
    pub const fn bytes_max(streams_max: usize) -> usize {
        streams_max * CONTENTS_MAX * size_of::<Content>()
            + (streams_max * 16 / 7 + 8) * (size_of::<Stream>() + 9)
    }

    /// Forgets the stream that was silent longest, when there is no place for another.
    fn make_room(&mut self, stream: u64) {
        if self.streams.len() < self.streams_max || self.streams.contains_key(&stream) {
            return;
        }
        let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.arrivals.at).map(|(key, _)| *key);
        oldest.and_then(|key| self.streams.remove(&key));
    }
}

/// To whom a message went.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Hashes of recipients, all or some of them.
    pub people: &'a [u64],
    /// How many there are.
    pub recipients: u32,
    /// How many messages this one stands for.
    pub weight: u32,
}

/// The mail of one account and sender domain.
#[derive(Clone, Debug)]
struct Stream {
    arrivals: Heat,
    /// Counts the messages that were not read since the last that was.
    skipped: u32,
    /// Messages that were read, and how many further on the next is while not all are: by a number that looks random, since
    /// two kinds of mail that take turns would else be seen as one.
    read: u32,
    next: u32,
    /// When a newsletter was last seen in it.
    found_at: Option<UnixMs>,
    contents: Vec<Content>,
}

impl Stream {
    fn new(now: UnixMs) -> Self {
        Self {
            arrivals: Heat { level: 0.0, at: now },
            skipped: 0,
            read: 0,
            next: 1,
            found_at: None,
            contents: Vec::new(),
        }
    }

    fn wants(&mut self, reads_all: bool, now: UnixMs) -> Option<u32> {
        let level = self.arrivals.add(1.0, RATE_HALF_LIFE, now);
        let mut rate = level * std::f32::consts::LN_2 / RATE_HALF_LIFE.as_secs_f32() / RATE_READ_WHOLE;
        let mut every = 1;
        while rate > 1.0 && every < SKIP_MAX {
            rate /= 4.0;
            every *= 4;
        }
        self.skipped += 1;
        let is_found = self.found_at.is_some_and(|at| now.since(at) < FOUND_FOR);
        if every > 1 && self.skipped < self.next && !(reads_all && is_found) {
            return None;
        }
        self.read = self.read.wrapping_add(1);
        self.next = 1 + (self.read.wrapping_mul(0x9e37_79b1) >> 12) % (2 * every - 1);
        Some(std::mem::take(&mut self.skipped))
    }

    /// The content that a sketch is of; a new one when there is none like it.
    fn content(&mut self, sketch: &Sketch, now: UnixMs) -> &mut Content {
        let likeness = |content: &Content| content.sketch.likeness(sketch);
        let mut best = (LIKE, None);
        for (place, content) in self.contents.iter().enumerate() {
            let like = likeness(content);
            if like >= best.0 {
                best = (like, Some(place));
            }
        }
        let place = best.1.unwrap_or_else(|| self.place_for_another(sketch, now));
        &mut self.contents[place]
    }

    fn place_for_another(&mut self, sketch: &Sketch, now: UnixMs) -> usize {
        let new = Content::new(*sketch, now);
        if self.contents.len() < CONTENTS_MAX {
            // Most streams say few things; a vector that doubles stays within the limit, which is a power of two.
            self.contents.push(new);
            return self.contents.len() - 1;
        }
        let heat = |content: &Content| content.heat.now(HEAT_HALF_LIFE, now);
        let coldest = (0..self.contents.len())
            .min_by(|&a, &b| heat(&self.contents[a]).total_cmp(&heat(&self.contents[b])))
            .unwrap_or(0);
        self.contents[coldest] = new;
        coldest
    }
}

/// One content of a stream.
#[derive(Clone, Copy, Debug)]
struct Content {
    /// The first message's.
    sketch: Sketch,
    /// The last message's facts and links: neighbours are compared.
    facts: Bits,
    links: Bits,
    messages: u32,
    /// Means over some of the last messages: likeness to the first, facts and links that the one before did not have.
    alike: f32,
    own_facts: f32,
    own_links: f32,
    /// Recipients, with half of their weight gone every five minutes.
    heat: Heat,
    /// This half of the window, and the one before.
    halves: [Half; 2],
}

/// What went out in half a window.
#[derive(Clone, Copy, Debug)]
struct Half {
    begun: UnixMs,
    /// Recipients whose hashes were seen.
    seen: u32,
    /// Recipients for which those stand.
    stood_for: u32,
    people: People,
}

impl Half {
    const fn new(begun: UnixMs) -> Self {
        Self { begun, seen: 0, stood_for: 0, people: People([0; 8]) }
    }
}

impl Content {
    fn new(sketch: Sketch, now: UnixMs) -> Self {
        Self {
            sketch,
            facts: sketch.facts,
            links: sketch.links,
            messages: 0,
            alike: 1.0,
            own_facts: 0.0,
            own_links: 0.0,
            heat: Heat { level: 0.0, at: now },
            halves: [Half::new(now), Half::new(now)],
        }
    }

    fn add(&mut self, sketch: &Sketch, sent: &Sent<'_>, window: Duration, now: UnixMs) {
        self.turn(window, now);
        let stood_for = sent.recipients.saturating_mul(sent.weight);
        let half = &mut self.halves[0];
        half.seen = half.seen.saturating_add(u32::try_from(sent.people.len()).unwrap_or(u32::MAX));
        half.stood_for = half.stood_for.saturating_add(stood_for);
        sent.people.iter().for_each(|person| half.people.add(*person));
        self.heat.add(stood_for as f32, HEAT_HALF_LIFE, now);
        let mean = |mean: &mut f32, value: f32| *mean += (value - *mean) / 8.0;
        mean(&mut self.alike, self.sketch.likeness(sketch));
        if self.messages > 0 {
            mean(&mut self.own_facts, sketch.facts.own(self.facts));
            mean(&mut self.own_links, sketch.links.own(self.links));
        }
        (self.facts, self.links) = (sketch.facts, sketch.links);
        self.messages = self.messages.saturating_add(1);
    }

    /// Begins another half of the window when this one is over.
    fn turn(&mut self, window: Duration, now: UnixMs) {
        let age = now.since(self.halves[0].begun);
        if age < window / 2 {
            return;
        }
        self.halves[1] = if age < window { self.halves[0] } else { Half::new(now) };
        self.halves[0] = Half::new(now);
        if age >= window {
            self.messages = 0;
        }
    }

    /// Different recipients within the window, about.
    fn recipients(&self) -> u32 {
        let [now, before] = &self.halves;
        let seen = now.seen.saturating_add(before.seen);
        if seen == 0 {
            return 0;
        }
        let stood_for = f64::from(now.stood_for) + f64::from(before.stood_for);
        (f64::from(now.people.union(before.people).count()) * stood_for / f64::from(seen)) as u32
    }

    /// Whether this is a newsletter: the same content to enough different recipients, and
    ///
    /// - nothing in it is the reader's own (numbers, codes, attachments; a link among others that differs, unless it is
    ///   the one to unsubscribe), and two of these speak for it: it goes to many within minutes; it is long or has many
    ///   links; somebody counts complaints about it; where it says how to be rid of such mail, that counts for two;
    /// - or little in it is the reader's own, as the points of a customer card among prices, and all of unsubscribing,
    ///   length and minutes speak for it.
    fn judge(&self, sketch: &Sketch, behaviour: &Behaviour, now: UnixMs) -> Option<Repetition> {
        let recipients = self.recipients();
        if recipients < behaviour.recipients || self.messages < MESSAGES_MIN {
            return None;
        }
        let signs = Signs {
            list_words: sketch.list_words,
            long: sketch.words >= WORDS_LONG
                || (sketch.link_count >= LINKS_MANY && sketch.words >= WORDS_LINKED),
            burst: self.heat.now(HEAT_HALF_LIFE, now) >= behaviour.recipients as f32 * 0.7,
            feedback: sketch.feedback,
        };
        // All links differ where each is tracked; one among others, or the only one, is something to be done by this reader.
        let own_link = self.own_links > OWN_NONE && (self.own_links < 0.9 || sketch.link_count <= 2);
        let points = 2 * u8::from(signs.list_words)
            + u8::from(signs.long)
            + u8::from(signs.burst)
            + u8::from(signs.feedback);
        let is_newsletter = if self.own_facts <= OWN_NONE {
            points >= 2 && (signs.list_words || !own_link)
        } else {
            self.own_facts <= OWN_FEW && signs.list_words && signs.long && signs.burst
        };
        let percent = |share: f32| (share.clamp(0.0, 1.0) * 100.0).round() as u8;
        is_newsletter.then(|| Repetition {
            recipients,
            within: now.since(self.halves[1].begun.min(self.halves[0].begun)),
            alike: percent(self.alike),
            own: percent(self.own_facts),
            weight: 1,
            signs,
        })
    }
}

/// Something that cools down.
#[derive(Clone, Copy, Debug)]
struct Heat {
    level: f32,
    at: UnixMs,
}

impl Heat {
    fn now(&self, half_life: Duration, now: UnixMs) -> f32 {
        self.level * (-(now.since(self.at).as_secs_f32() / half_life.as_secs_f32())).exp2()
    }

    fn add(&mut self, amount: f32, half_life: Duration, now: UnixMs) -> f32 {
        self.level = self.now(half_life, now) + amount;
        self.at = self.at.max(now);
        self.level
    }
}

/// Counts different people by linear counting: 512 places, of which those that stay empty tell how many came. Beyond some
/// three thousand it says three thousand.
#[derive(Clone, Copy, Debug)]
struct People([u64; 8]);

impl People {
    fn add(&mut self, person: u64) {
        // Hashes of neighbouring addresses may be neighbours: mixed (SplitMix64), they fall where they like.
        let mixed = (person ^ (person >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let place = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 55;
        self.0[(place >> 6) as usize] |= 1 << (place & 63);
    }

    fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    fn count(self) -> u32 {
        let empty: u32 = self.0.iter().map(|word| word.count_zeros()).sum();
        (-512.0 * (f64::from(empty.max(1)) / 512.0).ln()).round() as u32
    }
}

#[cfg(test)]
mod tests;
