//! Which rules have words that a reply has: found from the pairs of letters in the reply instead of rule by rule.
//!
//! The simple form is [`When::has_words`] of each rule in turn; a test holds the two against each other.

use super::pattern::{PLACES, Text};
use super::table::Rule;

/// Most rules of a table: what [`Worded`] has room for.
pub(super) const RULES_MAX: usize = 512;

/// The patterns of a table by their gates.
#[derive(Debug)]
pub(super) struct Index {
    /// Where the entries of each place begin; one more than there are places.
    starts: Vec<u32>,
    /// Position of a rule, and of a pattern in it.
    entries: Vec<(u16, u16)>,
    /// Patterns without a gate.
    ungated: Vec<(u16, u16)>,
}

/// A set of rules by their positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Worded([u64; RULES_MAX / 64]);

impl Worded {
    fn add(&mut self, rule: u16) {
        self.0[usize::from(rule) / 64] |= 1 << (rule % 64);
    }

    pub(super) const fn has(&self, rule: usize) -> bool {
        self.0[rule / 64] >> (rule % 64) & 1 == 1
    }
}

impl Index {
    /// The index of `rules`, of which there are at most [`RULES_MAX`].
    pub(super) fn of(rules: &[Rule]) -> Self {
        let mut by_place = vec![Vec::new(); PLACES];
        let mut ungated = Vec::new();
        for (rule, when) in (0_u16..).zip(rules.iter().map(|rule| &rule.when)) {
            for (pattern, gate) in (0_u16..).zip(&when.gates) {
                let entries = gate.place().map_or(&mut ungated, |place| &mut by_place[usize::from(place)]);
                entries.push((rule, pattern));
            }
        }
        let mut starts = vec![0];
        let mut entries = Vec::new();
        for place in by_place {
            entries.extend(place);
            starts.push(u32::try_from(entries.len()).expect("a table has few patterns"));
        }
        Self { starts, entries, ungated }
    }

    /// Those of `rules`, of which this is the index, that have words which `text` has.
    pub(super) fn worded(&self, rules: &[Rule], text: &Text) -> Worded {
        let mut worded = Worded::default();
        let mut look = |&(rule, pattern): &(u16, u16)| {
            let patterns = &rules[usize::from(rule)].when.patterns;
            if !worded.has(usize::from(rule)) && patterns[usize::from(pattern)].is_in(text) {
                worded.add(rule);
            }
        };
        self.ungated.iter().for_each(&mut look);
        for place in text.places() {
            let (begin, end) = (self.starts[place] as usize, self.starts[place + 1] as usize);
            self.entries[begin..end].iter().for_each(&mut look);
        }
        worded
    }
}

#[cfg(test)]
mod tests {
    use mail::Reply;
    use proptest::prelude::*;

    use super::super::rules::builtin;
    use super::*;

    fn assert_same(text: &str) {
        let (table, ready) = (builtin(), Text::of(&Reply::new(550, text)));
        let worded = table.index.worded(&table.rules, &ready);
        for (position, rule) in table.rules.iter().enumerate() {
            let has_words = !rule.when.patterns.is_empty() && rule.when.has_words(&ready);
            assert_eq!(worded.has(position), has_words, "{} in {text}", rule.id);
        }
    }

    #[test]
    fn the_index_finds_what_the_rules_find_for_their_samples() {
        for text in builtin().rules.iter().flat_map(|rule| rule.samples.iter().chain(&rule.others)) {
            assert_same(text);
        }
    }

    proptest! {
        #[test]
        fn the_index_finds_what_the_rules_find(text in "(user|mailbox|is |full|unknown|blocked|spam|[a-z ]){0,30}") {
            assert_same(&text);
        }
    }
}
