//! The rules against their own samples, and against replies that decide between them.

use std::collections::BTreeSet;

use mail::Phase;

use super::pattern::Text;
use super::rules::builtin;
use super::*;

fn verdict(provider: &str, line: &str) -> Verdict {
    let (phase, line) = match line.split_once('|') {
        Some((name, rest)) if table::phase(name).is_some() => (table::phase(name), rest),
        _ => (None, line),
    };
    Rules::builtin().judge(phase.unwrap_or(Phase::Rcpt), &Quoted::parse(line).reply, provider)
}

#[test]
fn each_rule_is_chosen_for_its_samples_and_so_can_be_reached() {
    let rules = Rules::builtin();
    let mut wrong = Vec::new();
    for rule in &builtin().rules {
        for finding in rules.lint(rule) {
            wrong.push(match finding {
                Finding::NoSample => format!("{} has no sample", rule.id),
                Finding::Missed { sample, taken_by } => {
                    format!("{}: {:?} goes to {taken_by:?}", rule.id, rule.samples[sample])
                }
                Finding::Caught { other } => format!("{}: {:?} must not fit", rule.id, rule.others[other]),
            });
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rules_have_names_of_their_own_and_providers_that_exist() {
    let rules = &builtin().rules;
    let names: BTreeSet<_> = rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(names.len(), rules.len());
    let providers = crate::provider::Providers::builtin();
    for name in rules.iter().flat_map(|rule| rule.when.providers.iter().chain(&rule.provider)) {
        assert!(providers.by_name(name).is_some(), "{name}");
    }
}

#[test]
fn hallmarks_show_who_speaks() {
    let rules = Rules::builtin();
    let mut wrong = Vec::new();
    for mark in &builtin().hallmarks {
        assert!(builtin().names(&mark.provider), "no rule is for {}", mark.provider);
        assert!(!mark.samples.is_empty(), "{}", mark.provider);
        for (texts, is_expected) in [(&mark.samples, true), (&mark.others, false)] {
            for text in texts {
                let reply = Quoted::parse(text).reply;
                let taken_for = rules.explain(Phase::Rcpt, &reply, "default").provider;
                if (taken_for == mark.provider) != is_expected {
                    wrong.push(format!("{}: {text:?} is taken for {taken_for}'s", mark.provider));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_provider_with_rules_is_not_taken_for_another() {
    let rules = Rules::builtin();
    let reply = Quoted::parse("550 5.1.1 no - gsmtp").reply;
    for (given, expected) in
        [("default", "google"), ("routed", "google"), ("yahoo", "yahoo"), ("microsoft-365", "microsoft-365")]
    {
        assert_eq!(rules.explain(Phase::Rcpt, &reply, given).provider, expected, "{given}");
    }
}

#[test]
fn the_last_rule_fits_everything() {
    let last = builtin().rules.last().expect("there are rules");
    assert_eq!((last.id.as_str(), last.group), ("code.none", 5));
    assert!(last.when.fits(Phase::Routing, 0, &Text::of(&mail::Reply::new(0, "")), ""));
}

/// What the words for people promise, the engine does; what they do not speak of, they do not promise.
#[test]
fn the_words_for_people_agree_with_what_is_done() {
    let mut wrong = Vec::new();
    for rule in &builtin().rules {
        for (is_permanent, deed) in [(false, &rule.then.transient), (true, &rule.then.permanent)] {
            let broken = broken_promises(&rule.then, deed, is_permanent);
            wrong.extend(
                broken.into_iter().map(|why| format!("{} {}: {}: {why}", rule.id, deed.words, deed.action)),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn broken_promises(then: &table::Then, deed: &table::Deed, is_permanent: bool) -> Vec<&'static str> {
    use Action::{Bounce, Hold, NextMx, NextTransaction, Reconnect, RequireTls, SlowDown, Suspend};
    let (words, action) = (deed.words.as_str(), deed.action);
    let says = |part: &str| words.contains(part);
    let is_pause = matches!(action, Suspend(_));
    let is_throttle = is_pause || matches!(action, SlowDown | Hold(_));
    let refrains = ["no-suppress", "never suppress", "suppress only after"].into_iter().any(says);
    let suppresses = says("suppress") && !refrains;
    let promises = [
        // Words about both kinds of code promise a bounce for 5yz; 4yz is tried again first, unless the server gave up.
        (is_permanent && says("bounce") && action != Bounce, "a bounce"),
        (action == Bounce && !says("bounce") && !says("peer quirk"), "no bounce"),
        (!is_permanent && action == Bounce, "a retry"),
        (suppresses != then.suppress, "whether to suppress"),
        (says("alert") && !then.alert, "an alert"),
        (says("hold identity") && !matches!((action, then.scope), (Hold(_), Scope::Identity)), "a hold"),
        (matches!(action, Hold(_)) && then.scope != Scope::Identity, "a hold of the identity alone"),
        (says("pause") != is_pause && !says("throttle"), "a pause"),
        (says("throttle") && !is_throttle, "less mail"),
        // A limit of recipients for each message is kept to by transactions of fewer.
        (says("lower connection limit") && !is_throttle && action != NextTransaction, "fewer connections"),
        (says("next MX") && !matches!(action, NextMx | Action::Defer), "the next MX"),
        (says("close, learn cap") && action != Reconnect, "a new connection"),
        (says("with TLS") && action != RequireTls, "TLS"),
        (is_pause && !matches!(then.scope, Scope::Source | Scope::Site), "a pause of a path"),
    ];
    promises.into_iter().filter(|(is_broken, _)| *is_broken).map(|(_, what)| what).collect()
}

#[test]
fn the_nearest_knowledge_decides() {
    for (provider, line, rule) in [
        ("google", "421 4.7.28 You are sending messages with the same Message-ID: x", "google.message-id"),
        ("google", "421 4.7.28 An unusual rate of mail", "google.7-28"),
        ("default", "421 4.7.28 An unusual rate of mail", "text.unusual-rate"),
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
        assert_eq!(verdict(provider, line).rule, RuleId::Builtin(rule), "{provider}: {line}");
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

#[test]
fn the_book_has_a_row_for_each_class() {
    let page = include_str!("../../../../docs/replies.md");
    for class in &builtin().classes {
        let then = class.then();
        let concerns = then.concerns.replace('|', "\\|");
        let (transient, permanent) = (&then.transient, &then.permanent);
        let words = match transient.words == permanent.words {
            true => permanent.words.clone(),
            false => format!("{} (4yz: {})", permanent.words, transient.words),
        };
        let (transient, permanent) = (transient.action, permanent.action);
        let row = format!("| `{}` | {concerns} | {words} | {transient} | {permanent} |\n", class.name);
        assert!(page.contains(&row), "docs/replies.md has no row {row}");
    }
}

#[test]
fn actions_are_written_as_in_the_file() {
    for (action, expected) in [
        (Action::Suspend(Duration::from_secs(90 * 60)), "suspend 90m"),
        (Action::Hold(Duration::from_secs(3600)), "hold 1h"),
        (Action::Hold(Duration::from_secs(61)), "hold 61s"),
        (Action::SlowDown, "slow-down"),
    ] {
        assert_eq!(action.to_string(), expected);
    }
}

proptest::proptest! {
    #[test]
    fn every_reply_has_a_verdict(code in 0_u16..=u16::MAX, phase in 0_usize..10, text in "\\PC{0,80}") {
        let found = Rules::builtin().judge(Phase::ALL[phase], &mail::Reply::new(code, text), "google");
        proptest::prop_assert!(code / 100 == 5 || code == 0 || found.action != Action::Bounce);
    }
}
