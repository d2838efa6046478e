//! The rules against their own samples, and against replies that decide between them.

use std::collections::BTreeSet;

use mail::Enhanced;

use super::rules::{all, fits};
use super::*;

/// Reads `550 5.1.1 words`, with `phase|` before it if it is not that of RCPT.
fn sample(text: &str, rule_phases: &[Phase]) -> (Phase, Reply) {
    let (phase, line) = match text.split_once('|') {
        Some((name, line)) if table::phase(name).is_some() => (table::phase(name), line),
        _ => (rule_phases.first().copied(), text),
    };
    (phase.unwrap_or(Phase::Rcpt), reply(line))
}

fn reply(line: &str) -> Reply {
    let (code, rest) = line.split_once(' ').unwrap_or((line, ""));
    let code = code.parse().expect(line);
    match rest.split_once(' ').map(|(word, rest)| (Enhanced::parse(word), rest)) {
        Some((Some(enhanced), rest)) => Reply::enhanced(code, enhanced, rest),
        _ => Reply::new(code, rest),
    }
}

fn verdict(provider: &str, line: &str) -> Verdict {
    let (phase, reply) = sample(line, &[]);
    judge(phase, &reply, provider)
}

#[test]
fn each_rule_is_chosen_for_its_samples_and_so_can_be_reached() {
    let mut wrong = Vec::new();
    for rule in all() {
        assert!(!rule.samples.is_empty(), "{} has no sample", rule.id);
        let provider = rule.when.providers.first().map_or("default", String::as_str);
        for text in &rule.samples {
            let (phase, reply) = sample(text, &rule.when.phases);
            let chosen = judge(phase, &reply, provider).rule;
            if chosen != rule.id {
                wrong.push(format!("{}: {text} goes to {chosen}", rule.id));
            }
        }
        for text in &rule.others {
            let (phase, reply) = sample(text, &rule.when.phases);
            if fits(rule, phase, &reply, provider) {
                wrong.push(format!("{}: {text} must not fit", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rules_have_names_of_their_own_and_providers_that_exist() {
    let names: BTreeSet<_> = all().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(names.len(), all().len());
    let providers = crate::provider::Providers::builtin();
    for name in all().iter().flat_map(|rule| &rule.when.providers) {
        assert!(providers.by_name(name).is_some(), "{name}");
    }
}

#[test]
fn the_last_rule_fits_everything() {
    let last = all().last().expect("there are rules");
    assert_eq!((last.id.as_str(), last.when.group()), ("code.none", 5));
    assert!(fits(last, Phase::Routing, &Reply::new(0, ""), ""));
}

#[test]
fn the_nearest_knowledge_decides() {
    for (provider, line, rule) in [
        ("google", "421 4.7.28 You are sending messages with the same Message-ID: x", "google.message-id"),
        ("google", "421 4.7.28 An unusual rate of mail", "google.7-28"),
        ("default", "421 4.7.28 An unusual rate of mail", "text.rate"),
        ("default", "421 4.7.28 No", "enhanced.flood"),
        ("default", "rcpt|421 no", "code.closing"),
        ("google-workspace", "550 5.7.26 no", "google.none"),
        ("googleish", "550 5.7.26 no", "enhanced.several-proofs"),
        ("microsoft-365", "550 5.4.1 Recipient address rejected: Access denied.", "microsoft.no-such-user"),
        ("microsoft", "550 5.7.504 Recipient address rejected: Access denied.", "microsoft.recipient-banned"),
        (
            "default",
            "550 5.2.1 The user is receiving mail at a rate that prevents more",
            "text.recipient-rate",
        ),
        ("default", "550 5.2.1 The account is disabled", "text.disabled"),
        ("default", "452 4.2.2 Try again later", "enhanced.full"),
        ("default", "452 4.2.2 <a@x.test>: Mailbox size limit exceeded", "text.mailbox-size"),
        ("default", "552 5.3.4 Mailbox takes nothing above this size limit", "text.size"),
        (
            "microsoft-365",
            "421 4.3.2 The maximum number of concurrent server connections has exceeded a per-source limit",
            "microsoft.connections",
        ),
        ("microsoft", "421 4.3.2 Service not active", "text.system"),
    ] {
        assert_eq!(verdict(provider, line).rule, rule, "{provider}: {line}");
    }
}

#[test]
fn what_is_done_about_the_common_failures() {
    use Action::{Bounce, Defer, Hold, NextMx, Reconnect, SlowDown, Suspend};
    let hours = |count: u64| Duration::from_secs(count * 3600);
    for (provider, line, action, scope, suppress) in [
        ("default", "550 5.1.1 User unknown", Bounce, Scope::Recipient, true),
        ("default", "450 4.1.1 User unknown", Defer, Scope::Recipient, false),
        ("default", "rcpt|550 no", Bounce, Scope::Recipient, false),
        ("default", "552 5.2.2 Mailbox full", Bounce, Scope::Recipient, false),
        ("google", "550 5.2.1 receiving mail at a rate that prevents", Defer, Scope::Recipient, false),
        ("default", "451 4.7.1 Greylisted", Defer, Scope::Recipient, false),
        ("default", "body|550 5.7.1 Rejected as spam", Bounce, Scope::Message, false),
        ("default", "banner|554 mx.test", NextMx, Scope::Session, false),
        ("default", "mail|421 bye", Defer, Scope::Session, false),
        ("yahoo", "421 Max message per connection", Reconnect, Scope::Session, false),
        ("yahoo", "421 4.7.0 [TSS04] later", Suspend(hours(2)), Scope::Source, false),
        ("default", "554 5.7.1 blocked using zen.spamhaus.org", Suspend(hours(1)), Scope::Source, false),
        ("default", "450 too many messages", SlowDown, Scope::Source, false),
        (
            "google",
            "550 5.7.26 not accepted due to domain's DMARC policy",
            Hold(hours(1)),
            Scope::Identity,
            false,
        ),
        ("default", "556 5.1.10 null MX", Bounce, Scope::Site, true),
    ] {
        let found = verdict(provider, line);
        assert_eq!(
            (found.action, found.scope, found.suppress),
            (action, scope, suppress),
            "{provider}: {line}"
        );
    }
}

#[test]
fn our_own_faults_cost_no_attempt_and_alert() {
    for line in
        ["550 5.7.1 SPF fails", "550 5.7.20 DKIM fails", "550 5.7.25 no PTR record", "550 5.7.1 DMARC"]
    {
        let found = verdict("default", line);
        assert!(!found.action.counts_attempt() && found.alert, "{line}: {found:?}");
    }
}

proptest::proptest! {
    #[test]
    fn every_reply_has_a_verdict(code in 0_u16..=u16::MAX, phase in 0_usize..10, text in "\\PC{0,80}") {
        let found = judge(Phase::ALL[phase], &Reply::new(code, text), "google");
        proptest::prop_assert!(found.rule != "fallback");
        proptest::prop_assert!(code / 100 == 5 || code == 0 || !matches!(found.action, Action::Bounce) || found.class == "expired");
    }
}
