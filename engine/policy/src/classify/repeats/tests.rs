//! The corpus of streams, and what memory comes to whatever is sent.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::classify::{Reading, Sketch};

const CORPUS: &str = include_str!("corpus.txt");
const BEGIN: UnixMs = UnixMs(1_795_000_000_000);
const FIRST: [&str; 12] =
    ["Anna", "Marco", "Giulia", "Luca", "Sofia", "Paolo", "Mary", "John", "Emma", "Peter", "Alice", "Bruno"];
const LAST: [&str; 10] =
    ["Rossi", "Bianchi", "Ferrari", "Russo", "Smith", "Miller", "Jones", "Gallo", "Fontana", "Brown"];
const PRODUCTS: [&str; 10] = [
    "red kettle",
    "lampada da tavolo",
    "winter coat",
    "libro di cucina",
    "running shoes",
    "trapano",
    "garden hose",
    "sedia di legno",
    "blue vase",
    "pilates",
];
const CITIES: [&str; 8] = ["Torino", "Milano", "Napoli", "Bologna", "London", "Leeds", "Palermo", "Trieste"];
const STREETS: [&str; 6] =
    ["via Garibaldi", "corso Francia", "Mill Lane", "piazza Dante", "High Street", "viale Monza"];

/// Streams of the corpus.
struct Written<'a> {
    name: String,
    account: &'a str,
    is_newsletter: bool,
    messages: u64,
    every_ms: u64,
    fields: Vec<&'a str>,
    text: &'a str,
}

fn corpus() -> Vec<Written<'static>> {
    let streams = CORPUS.split("\n== ").skip(1).map(|stream| {
        let (title, rest) = stream.split_once('\n').expect("a title");
        let (fields, text) = rest.split_once("\n\n").expect("an empty line");
        let parts: Vec<&str> = title.split(" | ").collect();
        let number = |at: usize| parts[at].parse::<u64>().expect("a number");
        Written {
            name: format!("{}: {}", parts[0], fields.lines().next().unwrap_or_default()),
            account: parts[0],
            is_newsletter: parts[1] == "newsletter",
            messages: number(2),
            every_ms: number(3) * 1000,
            fields: fields.lines().collect(),
            text,
        }
    });
    streams.collect()
}

/// Numbers that look random and are the same each time (SplitMix64).
fn mixed(seed: u64) -> u64 {
    let x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Written<'_> {
    fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|line| line.starts_with(field))
    }

    /// The message with this number, and the hash of its recipient.
    fn message(&self, number: u64) -> (Sketch, u64) {
        let chance = |salt: u64| mixed(number.wrapping_mul(977) ^ salt << 40);
        let pick = |list: &[&str], salt: u64| list[chance(salt) as usize % list.len()].to_owned();
        let (first, last) = (pick(&FIRST, 1), pick(&LAST, 2));
        let mail = format!("{}.{}{number}@mail.test", first.to_lowercase(), last.to_lowercase());
        let fill = |text: &str| {
            text.replace("{first}", &first)
                .replace("{last}", &last)
                .replace("{mail}", &mail)
                .replace("{code}", &format!("{:06}", chance(3) % 1_000_000))
                .replace("{n}", &(1_000 + number).to_string())
                .replace("{token}", &format!("{:016x}", chance(4)))
                .replace("{amount}", &format!("{},{:02}", 5 + chance(5) % 300, chance(6) % 100))
                .replace("{date}", &format!("{}/{}/2026", 1 + chance(7) % 28, 1 + chance(8) % 12))
                .replace("{product}", &pick(&PRODUCTS, 9))
                .replace("{city}", &pick(&CITIES, 10))
                .replace("{street}", &format!("{} {}", pick(&STREETS, 11), 1 + chance(12) % 90))
        };
        let subject = self.fields.iter().find_map(|line| line.strip_prefix("Subject: ")).expect("a subject");
        let (subject, text) = (fill(subject), fill(self.text));
        // The three of the monitoring read everything; others get one message each.
        let person = if self.has("To: ops") { number % 3 } else { mixed(number ^ 0xfeed) };
        let to = format!("{first} {last} <{mail}>");
        let bytes_max = if self.has("Html") { 5 * 1024 } else { 1024 };
        let sketch = Sketch::of(&Reading {
            subject: &subject,
            to: if self.has("To: ops") { "ops@hosting.example" } else { &to },
            // As much as the engine reads.
            text: &text.as_bytes()[..text.len().min(bytes_max)],
            is_html: self.has("Html"),
            tail: &text.as_bytes()[text.len().saturating_sub(384).max(text.len().min(bytes_max))..],
            attached: self.has("Attached").then(|| chance(13)),
            feedback: self.has("Feedback"),
        });
        (sketch, person)
    }
}

/// What came of each stream: after how many of its messages it was first recognised, and how often.
fn run(change: impl Fn(&mut Sketch)) -> Vec<(Written<'static>, Option<u64>, u64)> {
    let corpus = corpus();
    let mut due: Vec<(u64, usize, u64)> = Vec::new();
    for (place, stream) in corpus.iter().enumerate() {
        // Not all begin at once, and none is as regular as a clock.
        due.extend((0..stream.messages).map(|number| {
            let jitter = mixed(number ^ (place as u64) << 32) % stream.every_ms;
            (number * stream.every_ms + jitter + place as u64 * 37, place, number)
        }));
    }
    due.sort_unstable();
    let mut watch = Watch::new(Behaviour::default(), 64);
    let mut found: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for (at, place, number) in due {
        let stream = &corpus[place];
        let key = stream.account.bytes().fold(7_u64, |sum, byte| mixed(sum ^ u64::from(byte)));
        let now = UnixMs(BEGIN.0 + at);
        let Some(weight) = watch.wants(key, now) else { continue };
        let (mut sketch, person) = stream.message(number);
        change(&mut sketch);
        let sent = Sent { people: &[person], recipients: 1, weight };
        if watch.saw(key, &sketch, &sent, now).is_some() {
            found.entry(place).or_insert((number + 1, 0)).1 += 1;
        }
    }
    let judged = corpus.into_iter().enumerate();
    judged
        .map(|(place, stream)| match found.get(&place) {
            Some(&(first, count)) => (stream, Some(first), count),
            None => (stream, None, 0),
        })
        .collect()
}

#[test]
fn newsletters_are_recognised_and_awaited_mail_is_not() {
    let judged = run(|_| ());
    assert!(judged.len() >= 40, "{} streams", judged.len());
    let mut wrong = Vec::new();
    for (stream, first, count) in &judged {
        let is_right = match (stream.is_newsletter, first) {
            (true, Some(first)) => *first <= 320 && *count > stream.messages / 4,
            (expected, first) => expected == first.is_some(),
        };
        if !is_right {
            wrong.push(format!("{}: {first:?}, {count} of {}", stream.name, stream.messages));
        }
    }
    assert!(wrong.is_empty(), "{} of {} streams:\n{}", wrong.len(), judged.len(), wrong.join("\n"));
}

#[test]
fn without_what_is_the_readers_own_awaited_mail_would_be_taken_for_newsletters() {
    let judged = run(|sketch| (sketch.facts, sketch.links) = (Bits::default(), Bits::default()));
    let wrong = judged.iter().filter(|(stream, first, _)| !stream.is_newsletter && first.is_some());
    let wrong: Vec<&str> = wrong.map(|(stream, ..)| stream.name.as_str()).collect();
    assert!(wrong.len() >= 3, "the corpus shows what the figures are for: {wrong:?}");
    // And without the words by which lists are left, newsletters that differ from reader to reader pass.
    let judged = run(|sketch| sketch.list_words = false);
    assert!(judged.iter().any(|(stream, first, _)| stream.is_newsletter && first.is_none()));
}

/// A newsletter, and a number for each of its readers.
fn newsletter() -> Written<'static> {
    corpus().into_iter().find(|stream| stream.is_newsletter).expect("one of them")
}

#[test]
fn of_a_fast_stream_few_are_read_and_it_is_recognised_all_the_same() {
    let written = newsletter();
    let mut watch = Watch::new(Behaviour::default(), 8);
    let (mut read, mut first) = (0, None);
    for number in 0..20_000_u64 {
        // Two thousand a second.
        let now = UnixMs(BEGIN.0 + number / 2);
        let Some(weight) = watch.wants(1, now) else { continue };
        read += 1;
        let (sketch, person) = written.message(number);
        let sent = Sent { people: &[person], recipients: 1, weight };
        if let Some(found) = watch.saw(1, &sketch, &sent, now) {
            first.get_or_insert((number, found));
        }
    }
    assert!(read < 700, "{read} of 20,000 were read");
    let (number, found) = first.expect("recognised");
    assert!(number < 1_500 && found.signs.list_words && found.alike > 95, "{number} {found}");
}

#[test]
fn kinds_of_mail_that_take_turns_in_a_fast_stream_are_all_seen() {
    let written = corpus();
    let kinds: Vec<&Written<'_>> = written.iter().filter(|stream| stream.account == "shop").collect();
    let mut watch = Watch::new(Behaviour::default(), 8);
    let mut found = vec![0_u32; kinds.len()];
    for number in 0..20_000_u64 {
        let now = UnixMs(BEGIN.0 + number * 2);
        let Some(weight) = watch.wants(1, now) else { continue };
        let kind = number as usize % kinds.len();
        let (sketch, person) = kinds[kind].message(number);
        found[kind] += u32::from(
            watch.saw(1, &sketch, &Sent { people: &[person], recipients: 1, weight }, now).is_some(),
        );
    }
    for (kind, found) in kinds.iter().zip(&found) {
        assert_eq!(kind.is_newsletter, *found > 10, "{}: {found}", kind.name);
    }
}

#[test]
fn where_newsletters_become_bulk_all_of_a_stream_are_read_once_it_has_one() {
    let written = newsletter();
    let mut watch = Watch::new(Behaviour { action: Action::Reclass, ..Behaviour::default() }, 8);
    let (mut first, mut missed) = (None, 0);
    for number in 0..3_000_u64 {
        let now = UnixMs(BEGIN.0 + number);
        let found = watch.wants(1, now).and_then(|weight| {
            let (sketch, person) = written.message(number);
            watch.saw(1, &sketch, &Sent { people: &[person], recipients: 1, weight }, now)
        });
        match (first, found) {
            (None, Some(_)) => first = Some(number),
            (Some(_), None) => missed += 1,
            _ => {}
        }
    }
    assert!(first.is_some_and(|number| number < 1_500), "{first:?}");
    assert_eq!(missed, 0);
}

#[test]
fn the_same_to_few_or_over_days_is_no_newsletter() {
    let written = newsletter();
    let day = 86_400_000;
    for (what, people, every_ms) in [("to the same fifty", 50, 1_000), ("over days", u64::MAX, day / 100)] {
        let mut watch = Watch::new(Behaviour::default(), 8);
        for number in 0..1_000_u64 {
            let now = UnixMs(BEGIN.0 + number * every_ms);
            let weight = watch.wants(1, now).unwrap_or(1);
            let (sketch, _) = written.message(number);
            let sent = Sent { people: &[mixed(number % people)], recipients: 1, weight };
            assert_eq!(watch.saw(1, &sketch, &sent, now), None, "{what}, message {number}");
        }
    }
}

#[test]
fn recipients_are_counted_once_and_about_right() {
    for count in [1_u64, 20, 200, 1_000] {
        let mut people = People([0; 8]);
        (0..count * 3).for_each(|number| people.add(mixed(number % count)));
        let found = u64::from(people.count());
        assert!(found.abs_diff(count) <= count / 8 + 1, "{found} of {count}");
    }
}

#[test]
fn the_figures_are_told_in_words() {
    let signs = Signs { list_words: true, burst: true, ..Signs::default() };
    let found =
        Repetition { recipients: 230, within: Duration::from_secs(700), alike: 98, own: 0, weight: 1, signs };
    let expected = "about 230 recipients within 12 min, text 98 % alike, 0 % of numbers differ, says how to unsubscribe, \
        many within minutes";
    assert_eq!(found.to_string(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn memory_is_bounded_whatever_is_sent(
        streams_max in 1_usize..40,
        sent in proptest::collection::vec((0_u64..400, 0_u64..100_000, "[a-z]{1,6}( [a-z0-9@]{1,9}){0,40}", 0_u32..2_000), 1..300),
    ) {
        let mut watch = Watch::new(Behaviour { recipients: 20, ..Behaviour::default() }, streams_max);
        for (stream, after_ms, text, recipients) in sent {
            // Clocks are set back now and then.
            let now = UnixMs(BEGIN.0 + after_ms);
            let Some(weight) = watch.wants(stream, now) else { continue };
            let sketch = Sketch::of(&Reading { subject: "x", text: text.as_bytes(), ..Reading::default() });
            let people: Vec<u64> = (0..u64::from(recipients.min(64))).collect();
            watch.saw(stream, &sketch, &Sent { people: &people, recipients, weight }, now);
            prop_assert!(watch.streams() <= streams_max);
            prop_assert!(watch.bytes() <= Watch::bytes_max(streams_max), "{} bytes for {streams_max}", watch.bytes());
        }
    }

    #[test]
    fn any_bytes_have_a_sketch(text in proptest::collection::vec(any::<u8>(), 0..2_000), is_html in any::<bool>()) {
        let sketch = Sketch::of(&Reading { text: &text, tail: &text, is_html, ..Reading::default() });
        prop_assert_eq!(sketch.likeness(&sketch), 1.0);
    }

    #[test]
    fn any_markup_has_a_sketch(text in "(<a href=|<style|</style>|<!--|-->|\"|'|>|<| |https://x|&amp;|&|word1?){0,60}") {
        let sketch = Sketch::of(&Reading { text: text.as_bytes(), is_html: true, ..Reading::default() });
        prop_assert!(sketch.words <= 60);
    }
}
