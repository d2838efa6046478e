//! What the engine decides by itself while it delivers: how fast, from where, how much of a campaign, and how it says so.

use std::time::{Duration, Instant};

use mail::{CampaignId, Class, RecipientId, ReversePath};
use mta::{Decision, Feedback, FeedbackKind, Submission, SubmissionMeta, WarmUpOrder, Why};
use spool::CampaignPhase;

use crate::house::{House, PATIENCE, message, newsletter, to};
use crate::sink::{Manner, Sink};

/// One provider whose rate may be learned: it begins at 100/s.
const LEARNED: &str = "[provider.there]\ndomains = [\"there.test\"]\nrate = \"100/s\"\nrate_max = \"1000/s\"\n\
                       connections = 4\npipeline_depth = 4\nrecipients_per_message = 1\n";
/// Two sources of one pool.
const SOURCES: &str = "[[source]]\nname = \"a\"\nip = \"127.0.0.2\"\n[[source]]\nname = \"b\"\nip = \"127.0.0.3\"\n\
                       [[pool]]\nname = \"all\"\nsources = [\"a\", \"b\"]\n[class.transactional]\npool = \"all\"\n";

/// A provider that takes as much as comes.
const FAST: &str =
    "[provider.there]\ndomains = [\"there.test\"]\nrate = \"5000/s\"\nrecipients_per_message = 1\n";

fn submit(house: &House, from: &str, recipients: &[String]) -> Vec<RecipientId> {
    let sender: ReversePath = Some(from.parse().expect("an address"));
    let submission = Submission {
        meta: SubmissionMeta::new(sender, Class::Transactional),
        body: message("x").into_bytes(),
        recipients: recipients.iter().map(|address| to(address)).collect(),
    };
    house.wait(house.handle().submit(submission)).expect("taken").recipients
}

fn many(count: usize, domain: &str) -> Vec<String> {
    (0..count).map(|n| format!("r{n}@{domain}")).collect()
}

/// A campaign to these recipients, started.
fn campaign(house: &House, recipients: impl Iterator<Item = String>) -> CampaignId {
    let id = house.campaign(newsletter(), "").expect("created");
    let list: Vec<_> = recipients.map(|address| to(&address)).collect();
    house.add(id, &list).expect("added");
    house.set(id, CampaignPhase::Running).expect("started");
    id
}

fn why(house: &House, id: RecipientId) -> Why {
    house.wait(house.handle().explain(id)).expect("known")
}

fn decisions(house: &House) -> Vec<Decision> {
    house.handle().decisions(0, 10_000).0
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_hidden_limit_is_learned_from_refusals_and_no_attempt_is_lost_for_it() {
    let sink = Sink::with(Manner { rate_max: 40, ..Manner::default() });
    let house = House::with_sink(sink, LEARNED);
    submit(&house, "ann@sender.test", &many(400, "there.test"));
    house.sink.wait_for(400, PATIENCE);
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 400);
    let over = house.sink.over_rate();
    assert!(over > 0 && over < 100, "{over} refusals");
    let change = decisions(&house).into_iter().find(|one| one.kind == "budget.rate");
    let change = change.expect("the change is told");
    assert_eq!(change.about.provider.as_deref(), Some("there"));
    assert!(change.reason.contains("Rate limit exceeded"), "{change:?}");
}

#[test]
fn what_was_learned_is_kept_over_a_restart_and_a_damaged_file_is_put_aside() {
    let sink = Sink::with(Manner { rate_max: 20, ..Manner::default() });
    let mut house = House::with_sink(sink, LEARNED);
    submit(&house, "ann@sender.test", &many(100, "there.test"));
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 100);
    let rate = |house: &House| {
        let paths = house.wait(house.handle().paths());
        paths.into_iter().find_map(|path| path.budget?.rate_per_second)
    };
    let learned = rate(&house).expect("a path with a rate");
    assert!(learned < 100.0, "{learned}");
    house.stop();
    house.begin();
    submit(&house, "ann@sender.test", &many(1, "there.test"));
    house.wait_ledger("one more", |ledger| ledger.delivered == 101);
    let kept = rate(&house).expect("a path with a rate");
    assert!(kept < 100.0, "{kept} after the restart, {learned} before");
    house.stop();
    let file = house.folder().join("brain.json");
    std::fs::write(&file, "{\"version\":1,").expect("damaged");
    house.begin();
    assert!(house.folder().join("brain.damaged").exists(), "it was put aside");
    submit(&house, "ann@sender.test", &many(1, "there.test"));
    house.wait_ledger("mail goes on", |ledger| ledger.delivered == 102);
}

#[test]
fn mail_of_a_refused_source_leaves_by_the_other_within_a_second() {
    let sink = Sink::with(Manner { blocks: Some([127, 0, 0, 2]), ..Manner::default() });
    let extra = format!("{SOURCES}{FAST}");
    let house = House::with_sink(sink, &extra);
    // Some of these leave from either source.
    let began = Instant::now();
    for n in 0..20 {
        submit(&house, &format!("ann@sender{n}.test"), &many(10, "there.test"));
    }
    let taken = house.sink.wait_for(200, PATIENCE);
    let last = taken.iter().map(|taken| taken.at).max().expect("some");
    assert!(last - began < Duration::from_secs(2), "it took {:?}", last - began);
    assert!(taken.iter().all(|taken| taken.client.to_string() == "127.0.0.3"));
    let kinds: Vec<_> = decisions(&house).iter().map(|one| one.kind).collect();
    assert!(kinds.contains(&"source.burnt"), "{kinds:?}");
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 200);
    assert_eq!(house.handle().counters().deferrals, 0, "nobody has lost an attempt");
}

#[test]
fn a_site_that_is_no_providers_speaks_for_itself_alone() {
    let other = Sink::start();
    let sink = Sink::with(Manner { blocks: Some([127, 0, 0, 2]), ..Manner::default() });
    let route =
        format!("[[route]]\ndomain = \"other.test\"\nhosts = [\"{}\"]\ntls = \"off\"\n", other.address());
    let house = House::with_sink(sink, &format!("{SOURCES}{route}"));
    for n in 0..20 {
        submit(&house, &format!("ann@sender{n}.test"), &many(2, "there.test"));
    }
    house.sink.wait_for(1, PATIENCE);
    until("the other source rests there", || {
        house.wait(house.handle().paths()).iter().any(|path| path.suspended_until.is_some())
    });
    for n in 0..20 {
        submit(&house, &format!("ann@sender{n}.test"), &many(2, "other.test"));
    }
    let taken = other.wait_for(40, PATIENCE);
    assert!(taken.iter().any(|taken| taken.client.to_string() == "127.0.0.2"), "it is welcome elsewhere");
    assert!(decisions(&house).iter().all(|one| one.kind != "source.burnt"));
}

#[test]
fn a_reserve_takes_over_when_all_of_the_pool_are_refused() {
    let sink = Sink::with(Manner { blocks: Some([127, 0, 0, 2]), ..Manner::default() });
    let pool = SOURCES.replace("sources = [\"a\", \"b\"]", "sources = [\"a\"]\nreserve = [\"b\"]");
    let house = House::with_sink(sink, &format!("{pool}{FAST}"));
    submit(&house, "ann@sender.test", &many(20, "there.test"));
    let taken = house.sink.wait_for(20, PATIENCE);
    assert!(taken.iter().all(|taken| taken.client.to_string() == "127.0.0.3"));
    let standing = |house: &House| {
        let sources = house.wait(house.handle().sources());
        let first = sources.into_iter().next().expect("source a");
        first.providers.into_iter().find(|one| one.provider == "there").expect("a standing")
    };
    assert!(standing(&house).burnt_until.is_some());
    let filter = mta::PathFilter { source: Some("a".to_owned()), ..mta::PathFilter::default() };
    house.wait(house.handle().resume(filter));
    assert!(standing(&house).burnt_until.is_none(), "the operator has resumed it");
}

#[test]
fn a_source_that_warms_up_sends_its_share_and_a_warm_one_the_rest() {
    let warming = SOURCES.replacen("ip = \"127.0.0.2\"", "ip = \"127.0.0.2\"\nwarmup = \"generic\"", 1);
    let house = House::start(&format!("{warming}{FAST}"));
    for n in 0..20 {
        submit(&house, &format!("ann@sender{n}.test"), &many(10, "there.test"));
    }
    let taken = house.sink.wait_for(200, PATIENCE);
    let of_warming = taken.iter().filter(|taken| taken.client.to_string() == "127.0.0.2").count();
    assert!((1..=50).contains(&of_warming), "{of_warming} on the first day of the ladder");
    until("it is told", || {
        let warm_ups = house.handle().warm_ups();
        warm_ups.iter().any(|one| one.who == "source a" && one.provider == "there" && one.used > 0)
    });
}

#[test]
fn a_source_that_warms_up_alone_keeps_the_rest_waiting() {
    let alone = SOURCES
        .replacen("ip = \"127.0.0.2\"", "ip = \"127.0.0.2\"\nwarmup = \"generic\"", 1)
        .replace("sources = [\"a\", \"b\"]", "sources = [\"a\"]");
    let house = House::start(&format!("{alone}{FAST}"));
    let ids = submit(&house, "ann@sender.test", &many(200, "there.test"));
    house.sink.wait_for(1, PATIENCE);
    std::thread::sleep(Duration::from_secs(1));
    assert!(house.sink.count() <= 50, "{} on the first day of the ladder", house.sink.count());
    let codes: Vec<_> = ids.iter().map(|id| why(&house, *id).found.code).collect();
    assert!(codes.contains(&"source.warm_up"), "{codes:?}");
    assert_eq!(house.handle().counters().deferrals, 0, "waiting costs no attempt");
}

#[test]
fn a_warm_up_that_is_begun_while_the_engine_runs_holds_and_is_kept_over_a_restart() {
    let alone = SOURCES.replace("sources = [\"a\", \"b\"]", "sources = [\"a\"]");
    let mut house = House::start(&format!("{alone}{FAST}"));
    let order =
        |day| WarmUpOrder { source: "a".to_owned(), provider: Some("there".to_owned()), ladder: None, day };
    let begun = house.wait(house.handle().start_warm_up(order(1))).expect("begun");
    assert_eq!((begun.ladder.as_str(), begun.per_day, begun.providers), ("generic", Some(50), 1));
    assert!(decisions(&house).iter().any(|told| told.kind == "warmup.started"
        && told.reason.contains("the operator")
        && told.about.provider.as_deref() == Some("there")));
    submit(&house, "ann@sender.test", &many(20, "there.test"));
    house.sink.wait_for(1, PATIENCE);
    std::thread::sleep(Duration::from_secs(1));
    let first = house.sink.count();
    assert!(first <= 3, "{first} in the first hour of a day of fifty");
    // As after a crash: nothing but the order itself has written what is kept.
    let file = house.folder().join("brain.json");
    let ordered = std::fs::read(&file).expect("it was written when it was ordered");
    house.stop();
    std::fs::write(&file, ordered).expect("written");
    house.begin();
    let warm_ups = house.handle().warm_ups();
    assert_eq!(warm_ups.len(), 1, "{warm_ups:?}");
    assert_eq!((warm_ups[0].who.as_str(), warm_ups[0].day), ("source a", 1));
    house.wait(house.handle().start_warm_up(order(100))).expect("a day behind the last");
    let before = house.sink.count();
    submit(&house, "ann@sender.test", &many(50, "there.test"));
    house.sink.wait_for(before + 50, PATIENCE);

    for (order, code, field) in [
        (WarmUpOrder { source: "c".to_owned(), ..order(1) }, "not_found", None),
        (WarmUpOrder { provider: Some("nobody".to_owned()), ..order(1) }, "invalid", Some("provider")),
        (WarmUpOrder { ladder: Some("steep".to_owned()), ..order(1) }, "invalid", Some("ladder")),
        (order(0), "invalid", Some("day")),
        (WarmUpOrder { provider: Some("routed".to_owned()), ..order(1) }, "conflict", None),
    ] {
        let refusal = house.wait(house.handle().start_warm_up(order)).expect_err("refused");
        assert_eq!((refusal.code(), refusal.field()), (code, field), "{refusal}");
    }
}

#[test]
fn what_waits_for_a_source_asks_for_its_place_when_a_warm_up_begins() {
    let slow = FAST.replace("5000/s", "20/s");
    let house = House::start(&format!("{SOURCES}{slow}"));
    let ids = submit(&house, "ann@sender.test", &many(400, "there.test"));
    let own = house.sink.wait_for(5, PATIENCE)[0].client;
    let source = if own.to_string() == "127.0.0.2" { "a" } else { "b" };
    let order = WarmUpOrder { source: source.to_owned(), provider: None, ladder: None, day: 1 };
    let begun = house.wait(house.handle().start_warm_up(order)).expect("begun");
    assert!(begun.providers > 10, "{begun:?}");
    let at_start = house.sink.taken().iter().filter(|taken| taken.client == own).count();
    house.sink.wait_for(150, PATIENCE);
    let of_own = house.sink.taken().iter().filter(|taken| taken.client == own).count();
    // What was on the wire, and an hour's share of fifty.
    assert!(of_own <= at_start + 10, "{at_start} before it began, {of_own} now");
    let told = decisions(&house).into_iter().find(|told| told.kind == "warmup.started").expect("told");
    assert!(told.figures["rerouted"] > 100.0, "{told:?} of {}", ids.len());
}

#[test]
fn a_sender_that_warms_up_is_slowed_whatever_the_source_and_others_are_not() {
    let domain = "[[domain]]\nname = \"sender.test\"\nwarmup = \"generic\"\n";
    let house = House::start(&format!("{SOURCES}{FAST}{domain}"));
    // The brain hears of the sender by its first mail.
    submit(&house, "ann@sender.test", &many(1, "there.test"));
    house.wait_ledger("the first", |ledger| ledger.delivered == 1);
    std::thread::sleep(Duration::from_millis(2_500));
    let ids = submit(&house, "ann@sender.test", &many(200, "there.test"));
    submit(&house, "ann@other.test", &many(50, "there.test"));
    until("the other sender's mail has left", || {
        house.sink.taken().iter().filter(|taken| taken.from == "ann@other.test").count() == 50
    });
    let of_sender = house.sink.taken().iter().filter(|taken| taken.from == "ann@sender.test").count();
    assert!(of_sender <= 50, "{of_sender} on the first day of the ladder");
    let codes: Vec<_> = ids.iter().map(|id| why(&house, *id).found.code).collect();
    assert!(codes.contains(&"identity.rate"), "{codes:?}");
    assert_eq!(house.handle().counters().deferrals, 0, "waiting costs no attempt");
}

#[test]
fn an_account_that_harms_the_sources_is_stopped_until_somebody_lets_it_go_on() {
    let house = House::start(&format!("[[account]]\nname = \"shop\"\n{FAST}"));
    let send = |recipients: Vec<String>, class: Class| {
        let meta = SubmissionMeta {
            tenant: "shop".to_owned(),
            ..SubmissionMeta::new(Some("ann@sender.test".parse().expect("an address")), class)
        };
        let recipients = recipients.iter().map(|address| to(address)).collect();
        let submission = Submission { meta, body: message("x").into_bytes(), recipients };
        house.wait(house.handle().submit(submission)).expect("taken").recipients
    };
    send((0..1_000).map(|n| format!("refuse-{n}@there.test")).collect(), Class::Bulk);
    until("the account is stopped", || !house.handle().halted_accounts().is_empty());
    let halted = house.handle().halted_accounts();
    assert_eq!(halted[0].account, "shop");
    let waits = send(vec!["bob@there.test".to_owned()], Class::Bulk)[0];
    assert_eq!(why(&house, waits).found.code, "account.paused");
    send(vec!["carl@there.test".to_owned()], Class::Critical);
    until("critical mail goes", || house.sink.taken().iter().any(|taken| taken.to == "carl@there.test"));
    assert!(house.sink.taken().iter().all(|taken| taken.to != "bob@there.test"));
    assert!(house.handle().resume_account("shop"));
    assert!(!house.handle().resume_account("shop"));
    assert_ne!(why(&house, waits).found.code, "account.paused");
}

#[test]
fn a_campaign_to_a_bad_list_stops_early_and_says_why() {
    let house = House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"1000/s\"\n");
    let bad = |n: usize| {
        if n.is_multiple_of(2) { format!("refuse-{n}@there.test") } else { format!("r{n}@there.test") }
    };
    let id = campaign(&house, (0..10_000).map(bad));
    until("the campaign is paused", || {
        house.handle().campaign(id).expect("known").phase() == CampaignPhase::Paused
    });
    let asked = house.sink.asked().len();
    assert!(asked < 250, "{asked} of 10,000 were asked for");
    let reason = house.handle().why_paused(id).expect("a reason");
    assert!(reason.contains("unknown"), "{reason}");
    let told = decisions(&house);
    let stopped = told.iter().find(|one| one.about.campaign.as_deref() == Some(&id.to_string()));
    assert!(stopped.is_some(), "{told:?}");
    // Somebody takes the risk: it goes on, and is judged anew.
    house.set(id, CampaignPhase::Running).expect("resumed");
    until("more is asked for", || house.sink.asked().len() > asked);
    assert_eq!(
        house.handle().why_paused(id).is_some(),
        house.handle().campaign(id).expect("known").phase() == CampaignPhase::Paused
    );
}

#[test]
fn a_good_campaign_passes_its_canary_and_is_delivered_whole() {
    let house = House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"1000/s\"\n");
    campaign(&house, (0..3_000).map(|n| format!("r{n}@there.test")));
    house.sink.wait_for(3_000, PATIENCE);
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 3_000);
}

#[test]
fn a_campaign_goes_on_after_a_restart_in_the_middle_of_its_canary() {
    let mut house = House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"400/s\"\n");
    let id = campaign(&house, (0..2_000).map(|n| format!("r{n}@there.test")));
    house.sink.wait_for(30, PATIENCE);
    house.stop();
    let before = house.sink.count();
    assert!(before < 2_000, "the canary holds most of them");
    house.begin();
    assert_eq!(house.handle().campaign(id).expect("known").phase(), CampaignPhase::Running);
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 2_000);
    let mut taken: Vec<_> = house.sink.taken().into_iter().map(|taken| taken.to).collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 2_000);
}

#[test]
fn a_held_recipient_of_a_campaign_says_that_the_first_are_judged() {
    let house = House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"10/s\"\n");
    let id = campaign(&house, (0..500).map(|n| format!("r{n}@there.test")));
    house.sink.wait_for(1, PATIENCE);
    let readers = house.handle().readers();
    let mut codes: Vec<&str> = Vec::new();
    let reader = &readers[usize::from(id.0.shard())];
    for (_, record) in reader.tail(spool::Cursor(0)) {
        if let spool::RecordRef::Recipient(recipient) = record {
            codes.push(why(&house, recipient.id()).found.code);
        }
    }
    assert!(codes.contains(&"campaign.canary"), "{codes:?}");
    assert!(codes.contains(&"budget.rate"), "{codes:?}");
}

#[test]
fn a_full_mailbox_costs_one_attempt_however_many_messages_wait_for_it() {
    let house = House::start("[class.transactional]\nretry = [\"1s\"]\n");
    let first = submit(&house, "ann@sender.test", &["full-bob@there.test".to_owned()]);
    until("the first attempt", || house.handle().counters().deferrals == 1);
    for _ in 0..10 {
        submit(&house, "ann@sender.test", &["full-bob@there.test".to_owned()]);
    }
    until("all wait", || house.handle().counters().deferrals == 11);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(house.sink.asked().len(), 1, "{:?}", house.sink.asked());
    let why = why(&house, first[0]);
    assert!(why.found.until.is_some_and(|until| until.since(house.handle().now()) > Duration::from_secs(60)));
    assert_eq!(house.handle().ledger().queued(), 11);
    // Others at the same receiver are not held up.
    house.sink.empty_mailboxes();
    submit(&house, "ann@sender.test", &["carl@there.test".to_owned()]);
    house.sink.wait_for(1, Duration::from_secs(5));
}

#[test]
fn why_gives_a_stable_code_numbers_and_the_chain_of_decisions() {
    let house =
        House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"10/min\"\nconnections = 2\n");
    let ids = submit(&house, "ann@sender.test", &many(50, "there.test"));
    house.sink.wait_for(1, PATIENCE);
    let last = why(&house, ids[49]);
    assert_eq!(last.found.code, "budget.rate", "{last:?}");
    assert!(last.found.position.is_some_and(|position| position > 30), "{last:?}");
    let expected = last.found.expected.expect("a forecast").since(house.handle().now()).as_secs();
    assert!((150..400).contains(&expected), "{expected} s for some 49 at 10 a minute");
    let steps: Vec<_> = last.found.steps.iter().map(|step| (step.what, step.is.as_str())).collect();
    assert_eq!(steps, [("class", "transactional"), ("provider", "there"), ("source", "default")]);
    let budget = last.found.path.and_then(|path| path.budget).expect("a budget");
    assert_eq!((budget.set_by, budget.connections_max), ("cap", 2));
    let later = Submission {
        meta: SubmissionMeta {
            not_before: Some(house.handle().now() + Duration::from_secs(3600)),
            ..SubmissionMeta::new(Some("ann@sender.test".parse().expect("an address")), Class::Bulk)
        },
        body: message("x").into_bytes(),
        recipients: vec![to("r@there.test")],
    };
    let later = house.wait(house.handle().submit(later)).expect("taken").recipients[0];
    assert_eq!(why(&house, later).found.code, "time.not_before");
}

#[test]
fn a_deadline_that_cannot_be_kept_is_foreseen() {
    let house = House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"10/min\"\n");
    let meta =
        SubmissionMeta::new(Some("ann@sender.test".parse().expect("an address")), Class::Transactional);
    let address = "r@there.test".parse().expect("an address");
    let expected = |house: &House| house.wait(house.handle().expected(&meta, &[&address]))[0].expect("known");
    let idle = expected(&house).since(house.handle().now());
    assert!(idle < Duration::from_secs(5), "{idle:?}");
    submit(&house, "ann@sender.test", &many(60, "there.test"));
    house.sink.wait_for(1, PATIENCE);
    std::thread::sleep(Duration::from_millis(600));
    let busy = expected(&house).since(house.handle().now());
    assert!(busy > Duration::from_secs(200), "{busy:?}");
}

#[test]
fn greylisted_mail_is_tried_again_from_the_same_source() {
    let house = House::start(&format!("{SOURCES}retry = [\"1s\"]\n"));
    for n in 0..10 {
        submit(&house, &format!("ann@sender{n}.test"), &[format!("later-r{n}@there.test")]);
    }
    house.sink.wait_for(10, PATIENCE);
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 10);
}

#[test]
fn complaints_that_are_told_count_against_a_campaign() {
    let house = House::start("[provider.there]\ndomains = [\"there.test\"]\nrate = \"200/s\"\n");
    let id = campaign(&house, (0..20_000).map(|n| format!("r{n}@there.test")));
    house.sink.wait_for(150, PATIENCE);
    for _ in 0..60 {
        house.handle().feedback(Feedback {
            kind: FeedbackKind::Complaint,
            class: Class::Bulk,
            identity: "sender.test".to_owned(),
            tenant: String::new(),
            campaign: Some(id),
            source: "default".to_owned(),
            provider: "there".to_owned(),
        });
    }
    until("the campaign is paused", || {
        house.handle().campaign(id).expect("known").phase() == CampaignPhase::Paused
    });
    let reason = house.handle().why_paused(id).expect("a reason");
    assert!(reason.contains("complaint"), "{reason}");
    assert_eq!(house.handle().ledger().bounced, 0);
}
