//! A corpus of replies that rules were not written from: how many get their class, with the provider known and without.

use mail::Phase;

use super::{Quoted, Rules, table};

const CORPUS: &str = include_str!("corpus.tsv");

/// What the corpus says of one reply.
struct Labelled {
    is_sealed: bool,
    provider: &'static str,
    class: &'static str,
    phase: Phase,
    text: &'static str,
}

fn corpus() -> Vec<Labelled> {
    let lines = CORPUS.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &'static str| {
        let [half, provider, class, _, text] = line.split('\t').collect::<Vec<_>>().try_into().expect(line);
        let (phase, text) = match text.split_once('>') {
            Some((name, rest)) if table::phase(name).is_some() => (table::phase(name), rest),
            _ => (None, text),
        };
        let phase = phase.unwrap_or(Phase::Rcpt);
        Labelled { is_sealed: half == "sealed", provider, class, phase, text }
    };
    lines.map(read).collect()
}

/// Those that get another class, with what they get. A finer class than the label is right.
fn missed(labelled: &Labelled, provider: &str) -> Option<String> {
    let found = Rules::builtin().judge(labelled.phase, &Quoted::parse(labelled.text).reply, provider).class;
    let is_right =
        found.strip_prefix(labelled.class).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    (!is_right).then(|| format!("{} is not {}: {}", found, labelled.class, labelled.text))
}

#[test]
fn replies_that_rules_were_not_written_from_get_their_class() {
    let corpus = corpus();
    for (is_sealed, is_provider_known, missed_max_percent) in
        [(false, true, 3), (false, false, 3), (true, true, 8), (true, false, 8)]
    {
        let half: Vec<_> = corpus.iter().filter(|labelled| labelled.is_sealed == is_sealed).collect();
        assert!(half.len() >= 75, "{}", half.len());
        let wrong: Vec<String> = half
            .iter()
            .filter_map(|labelled| {
                missed(labelled, if is_provider_known { labelled.provider } else { "default" })
            })
            .collect();
        assert!(
            wrong.len() * 100 <= half.len() * missed_max_percent,
            "sealed {is_sealed}, provider known {is_provider_known}: {} of {}",
            wrong.len(),
            half.len()
        );
    }
}

#[test]
fn the_corpus_names_classes_and_providers_that_exist() {
    let providers = crate::provider::Providers::builtin();
    for labelled in corpus() {
        assert!(Rules::classes().any(|class| class == labelled.class), "{}", labelled.class);
        assert!(providers.by_name(labelled.provider).is_some(), "{}", labelled.provider);
    }
}
