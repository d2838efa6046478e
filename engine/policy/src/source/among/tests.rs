//! Choices in a table, and what holds of all of them.

use proptest::prelude::*;

use super::*;

const NOW: UnixMs = UnixMs(1_700_000_000_000);
const LATER: UnixMs = UnixMs(1_700_000_900_000);
const PROVIDER: u16 = 3;

fn candidates(sources: &[u16]) -> Vec<Candidate> {
    sources.iter().map(|&source| Candidate { source, weight: 1 }).collect()
}

fn wish(identity: &str) -> Wish<'_> {
    Wish {
        identity,
        class: Class::Bulk,
        provider: PROVIDER,
        provider_name: "google",
        keep: None,
        is_good: true,
    }
}

fn standings() -> Standings {
    Standings::new(8, 4)
}

fn source_of(choice: Choice) -> Option<u16> {
    match choice {
        Choice::Source { source, .. } => Some(source),
        Choice::Wait { .. } => None,
    }
}

/// The sender's order of three sources: what it uses when those before are burnt.
fn order(identity: &str, main: &[Candidate]) -> Vec<u16> {
    let standings = standings();
    let mut order = Vec::new();
    while order.len() < main.len() {
        let pool = Candidates { main, reserve: &[] };
        let source = source_of(choose_among(&wish(identity), &pool, &standings, NOW)).expect("one is left");
        order.push(source);
        standings.burn(source, PROVIDER, LATER);
    }
    order
}

#[test]
fn the_table_of_choices() {
    let main = candidates(&[0, 1, 2]);
    let reserve = candidates(&[6]);
    let order = order("a.test", &main);
    let [own, second, third] = order[..] else { panic!("three sources") };
    let good = wish("a.test");
    let bad = Wish { is_good: false, ..good };
    let kept = |source| Wish { keep: Some(source), ..good };
    let from = |source, ground| Ok((source, ground));
    use SourceGround::{Affinity, Kept, Overflow, Reserve};
    // Who; burnt sources; sources without allowance; the choice, or until when it waits.
    type Row<'a> = (&'a str, Wish<'a>, Vec<u16>, Vec<u16>, Result<(u16, SourceGround), UnixMs>);
    let rows: Vec<Row<'_>> = vec![
        ("its own", good, vec![], vec![], from(own, Affinity)),
        ("its own, used up", good, vec![], vec![own], from(second, Overflow)),
        ("its own burnt", good, vec![own], vec![], from(second, Overflow)),
        ("the second used up too", good, vec![own], vec![second], from(third, Overflow)),
        ("the pool used up", good, vec![], vec![0, 1, 2], Err(NOW + ALLOWANCE_WAIT_BULK)),
        ("the pool burnt", good, vec![0, 1, 2], vec![], from(6, Reserve)),
        ("own burnt, others used up", good, vec![own], vec![second, third], from(6, Reserve)),
        ("own used up, others burnt", good, vec![second, third], vec![own], Err(NOW + ALLOWANCE_WAIT_BULK)),
        ("all burnt", good, vec![0, 1, 2, 6], vec![], Err(LATER)),
        ("bad: its own", bad, vec![second, third], vec![], from(own, Affinity)),
        ("bad: its own burnt", bad, vec![own], vec![], Err(LATER)),
        ("bad: its own used up", bad, vec![], vec![own], Err(NOW + ALLOWANCE_WAIT_BULK)),
        ("kept", kept(third), vec![], vec![], from(third, Kept)),
        ("kept, used up", kept(third), vec![], vec![third], from(third, Kept)),
        ("kept, burnt", kept(third), vec![third], vec![], from(own, Affinity)),
        ("kept, not of the pool", kept(5), vec![], vec![], from(own, Affinity)),
        ("kept of the reserve", kept(6), vec![], vec![], from(6, Kept)),
    ];
    for (name, wish, burnt, used_up, expected) in rows {
        let standings = standings();
        burnt.iter().for_each(|&source| standings.burn(source, PROVIDER, LATER));
        used_up.iter().for_each(|&source| standings.set_allowance(source, PROVIDER, Some(0)));
        let pool = Candidates { main: &main, reserve: &reserve };
        let found = match choose_among(&wish, &pool, &standings, NOW) {
            Choice::Source { source, ground } => Ok((source, ground)),
            Choice::Wait { until, .. } => Err(until),
        };
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_pool_of_one_has_no_other() {
    let (main, standings) = (candidates(&[2]), standings());
    let pool = Candidates { main: &main, reserve: &[] };
    let only = Choice::Source { source: 2, ground: SourceGround::Only };
    assert_eq!(choose_among(&wish("a.test"), &pool, &standings, NOW), only);
    let bad = Wish { is_good: false, ..wish("a.test") };
    assert_eq!(choose_among(&bad, &pool, &standings, NOW), only);
    for wish in [wish("a.test"), bad] {
        assert!(source_of(choose_among(&wish, &Candidates::default(), &standings, NOW)).is_none());
    }
}

#[test]
fn an_allowance_is_used_to_the_last_and_no_further() {
    let (main, standings) = (candidates(&[0, 1]), standings());
    let pool = Candidates { main: &main, reserve: &[] };
    let own = order("a.test", &main)[0];
    standings.set_allowance(own, PROVIDER, Some(5));
    let chosen: Vec<_> =
        (0..8).filter_map(|_| source_of(choose_among(&wish("a.test"), &pool, &standings, NOW))).collect();
    assert_eq!(chosen.iter().filter(|&&source| source == own).count(), 5);
    assert_eq!(chosen.len(), 8);
    standings.give_back(own, PROVIDER);
    assert_eq!(source_of(choose_among(&wish("a.test"), &pool, &standings, NOW)), Some(own));
}

#[test]
fn without_troubles_it_is_the_plain_choice() {
    let (main, standings) = (candidates(&[0, 1, 2, 4]), standings());
    let pool = Candidates { main: &main, reserve: &[] };
    for n in 0..500 {
        let identity = format!("s{n}.test");
        let plain = super::super::choose(&identity, Class::Bulk, "google", &main);
        assert_eq!(source_of(choose_among(&wish(&identity), &pool, &standings, NOW)), plain);
    }
}

#[test]
fn a_better_name_draws_more_senders() {
    let (main, standings) = (candidates(&[0, 1]), standings());
    standings.set_score(1, PROVIDER, 20);
    let pool = Candidates { main: &main, reserve: &[] };
    let chosen = |n: u32| {
        // All that was chosen before is sent.
        (0..2).for_each(|source| standings.set_load(source, PROVIDER, 0, 50.0));
        source_of(choose_among(&wish(&format!("s{n}.test")), &pool, &standings, NOW))
    };
    let of_worse = (0..5_000).filter(|&n| chosen(n) == Some(1)).count();
    assert!((900..1_100).contains(&of_worse), "a fifth: {of_worse}");
}

proptest! {
    /// Whatever becomes of one source, only the senders that used it, or come to use it, move.
    #[test]
    fn a_source_that_changes_moves_only_its_own_senders(
        scores in prop::collection::vec(0_u8..=100, 6),
        changed in 0_u16..6,
        (burns, score) in (any::<bool>(), 0_u8..=100),
        seed in any::<u32>(),
    ) {
        let main = candidates(&[0, 1, 2, 3, 4, 5]);
        let pool = Candidates { main: &main, reserve: &[] };
        let standings = standings();
        for (source, &score) in (0..).zip(&scores) {
            standings.set_score(source, PROVIDER, score);
        }
        let names: Vec<_> = (0..100).map(|n| format!("s{n}-{seed}.test")).collect();
        let all = || -> Vec<_> {
            names.iter().map(|name| source_of(choose_among(&wish(name), &pool, &standings, NOW))).collect()
        };
        let before = all();
        match burns {
            true => standings.burn(changed, PROVIDER, LATER),
            false => standings.set_score(changed, PROVIDER, score),
        }
        let after = all();
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(before == after || *before == Some(changed) || *after == Some(changed));
        }
        if !burns && step_of(score) == step_of(scores[usize::from(changed)]) {
            prop_assert_eq!(&before, &after, "a score that drifts within its step moves nobody");
        }
        standings.heal(changed, PROVIDER);
        standings.set_score(changed, PROVIDER, scores[usize::from(changed)]);
        prop_assert_eq!(before, all(), "what is healed has its senders back");
    }

    /// A sender without a good name uses one source, whatever becomes of any of them.
    #[test]
    fn a_bad_sender_burns_at_most_one_source(
        story in prop::collection::vec((0_u16..6, 0_u8..=100, any::<bool>(), prop::option::of(0_u32..3)), 1..40),
    ) {
        let main = candidates(&[0, 1, 2, 3]);
        let reserve = candidates(&[4, 5]);
        let pool = Candidates { main: &main, reserve: &reserve };
        let standings = standings();
        let bad = Wish { is_good: false, ..wish("bad.test") };
        let mut used = std::collections::BTreeSet::new();
        for (source, score, burns, left) in story {
            standings.set_score(source, PROVIDER, score);
            standings.set_allowance(source, PROVIDER, left);
            match burns {
                true => standings.burn(source, PROVIDER, LATER),
                false => standings.heal(source, PROVIDER),
            }
            used.extend(source_of(choose_among(&bad, &pool, &standings, NOW)));
        }
        prop_assert!(used.len() <= 1, "{used:?}");
    }

    /// No burnt source is ever chosen, and nobody waits while one may send.
    #[test]
    fn burnt_sources_are_not_chosen_and_good_senders_find_what_there_is(
        burnt in prop::collection::vec(any::<bool>(), 6),
        left in prop::collection::vec(prop::option::of(0_u32..3), 6),
        keep in prop::option::of(0_u16..8),
    ) {
        let main = candidates(&[0, 1, 2, 3]);
        let reserve = candidates(&[4, 5]);
        let standings = standings();
        for source in 0..6_u16 {
            if burnt[usize::from(source)] {
                standings.burn(source, PROVIDER, LATER);
            }
            standings.set_allowance(source, PROVIDER, left[usize::from(source)]);
        }
        let may_send = |source: u16| !burnt[usize::from(source)] && left[usize::from(source)] != Some(0);
        let pool = Candidates { main: &main, reserve: &reserve };
        match choose_among(&Wish { keep, ..wish("a.test") }, &pool, &standings, NOW) {
            Choice::Source { source, ground } => {
                prop_assert!(!burnt[usize::from(source)]);
                prop_assert!(may_send(source) || ground == SourceGround::Kept);
            }
            Choice::Wait { until, reason } => {
                prop_assert!(until > NOW && !reason.is_empty());
                prop_assert!((0..4).all(|source| !may_send(source)), "one of the pool may send");
            }
        }
    }
}
