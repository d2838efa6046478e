//! Canaries, the breaker and warm-ups as they are written.

use std::time::Duration;

use mail::UnixMs;

use super::{MINIMAL, complaints, good};
use crate::brain::{CanarySettings, Setup, identity_of};
use crate::breaker::BreakerSettings;
use crate::warmup::LadderUnit;

const WRITTEN: &str = r#"
[canary]
size = 500
share = "0.25%"
least = 20
growth = 3
wait = "2m"
time_limit = "1h"

[breaker]
complaints = "0.1%"
unknown_users = "5 %"
spam = "2.5%"
blocks = "50%"
campaigns = 2

[[ladder]]
name = "mine"
unit = "hour"
steps = [10, 20, 20, 40]

[[source]]
name = "new"
warmup = "mine"
warmup_start = "2026-11-22"
warmup_day = 2

[[source]]
name = "old"

[[domain]]
name = "Fresh.test"
warmup = "sparkpost"
[[domain.dkim]]
selector = "s1"
key_file = "s1.pem"
"#;

#[test]
fn the_defaults_of_the_file_are_those_of_the_types() {
    let config = good(MINIMAL);
    assert_eq!(config.deliver.judgement.canary, CanarySettings::default());
    assert_eq!(config.deliver.judgement.breaker, BreakerSettings::default());
    let setup = Setup::of(&config);
    assert!(setup.sources[0].warm_up.is_none() && setup.identities.is_empty());
    assert_eq!(setup.providers[usize::from(setup.trusted[0])], "routed");
}

#[test]
fn every_key_of_the_judgement_is_taken() {
    let config = good(&format!("{MINIMAL}{WRITTEN}"));
    let canary = config.deliver.judgement.canary;
    assert_eq!((canary.size, canary.share_ppm, canary.least, canary.growth), (500, 2_500, 20, 3));
    assert_eq!((canary.wait, canary.time_limit), (Duration::from_secs(120), Duration::from_secs(3600)));
    let breaker = config.deliver.judgement.breaker;
    assert_eq!((breaker.complaints_ppm, breaker.unknown_users_ppm), (1_000, 50_000));
    assert_eq!((breaker.spam_ppm, breaker.blocks_ppm, breaker.campaigns), (25_000, 500_000, 2));
    let setup = Setup::of(&config);
    let plan = setup.sources[0].warm_up.as_ref().expect("it warms up");
    assert_eq!(
        (plan.ladder.unit, plan.ladder.steps.as_slice()),
        (LadderUnit::Hour, [10, 20, 20, 40].as_slice())
    );
    assert_eq!((plan.start, plan.day), (Some(UnixMs::from_seconds(1_795_305_600)), 2));
    assert!(setup.sources[1].warm_up.is_none());
    let plan = setup.identities.get(&identity_of("fresh.test")).expect("the domain warms up");
    assert_eq!((plan.ladder.name.as_str(), plan.start, plan.day), ("sparkpost", None, 1));
}

#[test]
fn an_own_ladder_goes_over_the_built_in_one_of_its_name() {
    let lines =
        "[[ladder]]\nname = \"generic\"\nsteps = [7]\n[[source]]\nname = \"a\"\nwarmup = \"generic\"\n";
    let config = good(&format!("{MINIMAL}{lines}"));
    let plan = config.sources[0].warm_up.as_ref().expect("it warms up");
    assert_eq!(plan.ladder.steps, [7]);
}

#[test]
fn what_is_wrong_with_them_is_named_with_its_cure() {
    for (lines, expected) in [
        ("[canary]\nshare = 1", "12 canary.share: write it like \"0.3%\" or \"10%\""),
        ("[canary]\nshare = \"200%\"", "12 canary.share: write it like \"0.3%\" or \"10%\""),
        ("[breaker]\nspam = \"5\"", "12 breaker.spam: write it like \"0.3%\" or \"10%\""),
        ("[[source]]\nname = \"a\"\nwarmup = \"sendgird\"", "13 source.warmup: did you mean `sendgrid`?"),
        (
            "[[source]]\nname = \"a\"\nwarmup = \"generic\"\nwarmup_start = \"22.11.2026\"",
            "14 source.warmup_start: write it like \"2026-11-22\"",
        ),
        (
            "[[source]]\nname = \"a\"\nwarmup_day = 3",
            "13 source.warmup_day: add warmup = \"sendgrid\", or remove the key",
        ),
        (
            "[[ladder]]\nname = \"a\"\nsteps = [50, 20]",
            "13 ladder.steps: write the messages of each day in growing order: [50, 100, 200]",
        ),
        (
            "[[ladder]]\nname = \"a\"\nsteps = []",
            "13 ladder.steps: write the messages of each day in growing order: [50, 100, 200]",
        ),
        ("[[ladder]]\nname = \"a\"", "11 ladder.steps: "),
    ] {
        let found = complaints(&format!("{MINIMAL}{lines}\n"));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{lines}: {found:?}");
    }
}
