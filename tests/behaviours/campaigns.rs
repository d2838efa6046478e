//! A template, a list, and what a campaign's owner may do with them.

use std::time::Duration;

use content::template::CampaignDraft;
use mail::CampaignId;
use mta::{NewRecipient, Refusal};
use spool::CampaignPhase;

use crate::delivery::signing;
use crate::house::{House, PATIENCE, newsletter, to};
use crate::sink::{Manner, Sink};

fn draft() -> CampaignDraft {
    CampaignDraft {
        subject: "Hello {{ name }}".to_owned(),
        text: "Dear {{ name }}, your code is {{ code }}.".to_owned(),
        html: "<p>Dear {{ name }}, your code is <b>{{ code }}</b>.</p>".to_owned(),
        ..newsletter()
    }
}

fn create(house: &House, count: usize) -> CampaignId {
    let id = house.campaign(draft(), "").expect("created");
    let list: Vec<_> = (0..count)
        .map(|n| NewRecipient {
            values: vec![format!("c{n}"), format!("<N{n}>")],
            ..to(&format!("r{n}@d{}.test", n % 7))
        })
        .collect();
    house.add(id, &list).expect("added");
    id
}

#[test]
fn a_campaign_waits_for_its_start_and_renders_for_each_recipient() {
    let house = House::start("");
    let id = create(&house, 300);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((house.sink.count(), house.handle().ledger().queued()), (0, 300));
    house.set(id, CampaignPhase::Running).expect("started");
    let taken = house.sink.wait_for(300, PATIENCE);
    let one = taken.iter().find(|taken| taken.to.starts_with("r42@")).expect("recipient 42");
    for part in [
        "Subject: Hello <N42>",
        "code is c42",
        "&lt;N42&gt;",
        "List-Unsubscribe",
        "Content-Type: multipart/alternative",
    ] {
        assert!(one.body.contains(part), "{part}: {}", one.body);
    }
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 300);
}

#[test]
fn long_stretches_of_a_template_arrive_in_their_places() {
    let rows = "<p>.dots, and a line that is the same for everybody</p>\n.\n".repeat(100);
    let html = format!("<p>{{{{ name }}}}</p>\n{rows}<p>{{{{ code }}}}</p>\n{rows}<p>The end</p>\n");
    let offers = Manner::default();
    for manner in
        [offers, Manner { chunking: false, ..offers }, Manner { last_offer: "ENHANCEDSTATUSCODES", ..offers }]
    {
        let house = House::with_sink(Sink::with(manner), "");
        let id = house.campaign(CampaignDraft { html: html.clone(), ..draft() }, "").expect("created");
        let list = (0..50).map(|n| NewRecipient {
            values: vec![format!("c{n}"), format!("N{n}")],
            ..to(&format!("r{n}@d.test"))
        });
        house.add(id, &list.collect::<Vec<_>>()).expect("added");
        house.set(id, CampaignPhase::Running).expect("started");
        for taken in house.sink.wait_for(50, PATIENCE) {
            let number = taken.to.strip_prefix('r').and_then(|to| to.split('@').next()).expect("a recipient");
            let (_, part) = taken.body.split_once("text/html").expect("a part of HTML");
            let (_, part) = part.split_once("\r\n\r\n").expect("a head");
            let text = part.replace("=\r\n", "").replace("\r\n", "\n");
            let whole = html
                .replace("{{ name }}", &format!("N{number}"))
                .replace("{{ code }}", &format!("c{number}"));
            assert!(text.starts_with(&whole), "{}", taken.body);
        }
    }
}

#[test]
fn a_body_that_is_the_same_for_all_goes_behind_each_ones_signature() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::start(&signing(folder.path()));
    let text = "A line that is the same for everybody\n".repeat(100);
    let id = house.campaign(CampaignDraft { text: text.clone(), ..newsletter() }, "").expect("created");
    house.add(id, &[to("ann@d.test"), to("bob@d.test")]).expect("added");
    house.set(id, CampaignPhase::Running).expect("started");
    for taken in house.sink.wait_for(2, PATIENCE) {
        let (head, body) = taken.body.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.starts_with("DKIM-Signature: ") && head.contains(&format!("\r\nTo: {}\r\n", taken.to)),
            "{head}"
        );
        assert_eq!(body.replace("\r\n", "\n"), text);
    }
}

#[test]
fn a_paused_campaign_goes_on_where_it_stopped() {
    let house = House::start(
        "[provider.all]\ndomains = [\"d0.test\",\"d1.test\",\"d2.test\",\"d3.test\",\"d4.test\",\"d5.test\",\"d6.test\"]\nrate = \"100/s\"\n",
    );
    let id = create(&house, 300);
    house.set(id, CampaignPhase::Running).expect("started");
    house.sink.wait_for(20, PATIENCE);
    house.set(id, CampaignPhase::Paused).expect("paused");
    std::thread::sleep(Duration::from_millis(100));
    let at_pause = house.sink.count();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(house.sink.count(), at_pause, "nothing leaves while it is paused");
    house.set(id, CampaignPhase::Running).expect("resumed");
    house.sink.wait_for(300, PATIENCE);
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 300);
}

#[test]
fn a_cancelled_campaign_ends_and_balances() {
    let house = House::start("");
    let id = create(&house, 500);
    house.set(id, CampaignPhase::Cancelled).expect("cancelled");
    let ledger = house.wait_ledger("all cancelled", |ledger| ledger.finished() == 500);
    assert_eq!((ledger.cancelled, house.sink.count()), (500, 0));
    assert!(matches!(house.set(id, CampaignPhase::Running), Err(Refusal::Conflict(_))));
}

#[test]
fn a_wrong_template_is_refused_with_its_place() {
    let house = House::start("");
    let draft = CampaignDraft { text: "one\ntwo {{ name".to_owned(), ..draft() };
    let refusal = house.campaign(draft, "").expect_err("refused");
    assert_eq!(refusal.field(), Some("text"));
    assert!(refusal.to_string().contains('2'), "{refusal}");
}

#[test]
fn a_campaign_survives_a_restart_in_its_state() {
    let mut house = House::start("");
    let id = create(&house, 100);
    house.stop();
    house.begin();
    assert_eq!(house.handle().campaign(id).expect("known").phase(), CampaignPhase::Created);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(house.sink.count(), 0);
    house.set(id, CampaignPhase::Running).expect("started");
    house.sink.wait_for(100, PATIENCE);
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 100);
}

#[test]
fn a_campaign_that_is_cancelled_and_started_at_once_is_cancelled() {
    let house = House::start("");
    let id = create(&house, 200);
    let handle = house.handle();
    let change = |phase| handle.set_campaign(id, phase);
    let (cancelled, started) =
        house.wait(async { tokio::join!(change(CampaignPhase::Cancelled), change(CampaignPhase::Running)) });
    cancelled.expect("a campaign may be cancelled at any time");
    assert_eq!(handle.campaign(id).expect("known").phase(), CampaignPhase::Cancelled, "{started:?}");
    let ledger = house.wait_ledger("all ended", |ledger| ledger.finished() == 200);
    assert_eq!(ledger.cancelled + ledger.delivered, 200);
}

#[test]
fn a_running_campaign_knows_when_it_ends_and_one_that_does_not_run_does_not() {
    let slow = |count: usize, rate: &str| {
        format!(
            "[provider.p{count}]\ndomains = [\"d{count}.test\"]\nrate = \"{rate}\"\nrate_max = \"{rate}\"\n\
             recipients_per_message = 1\n"
        )
    };
    let house = House::start(&format!("[canary]\nenabled = false\n{}{}", slow(0, "100/s"), slow(1, "25/s")));
    let id = house.campaign(newsletter(), "").expect("created");
    let list: Vec<_> = (0..400).map(|n| to(&format!("r{n}@d{}.test", n % 2))).collect();
    house.add(id, &list).expect("added");
    let ends = |rate| house.wait(house.handle().campaign_ends(id, rate));
    assert_eq!(ends(0.0), None, "it is not started");
    house.set(id, CampaignPhase::Running).expect("started");
    house.sink.wait_for(40, PATIENCE);
    let (now, left) = (house.handle().now(), 400 - house.sink.count());
    let told = ends(0.0).expect("it runs");
    house.wait_ledger("all delivered", |ledger| ledger.delivered == 400);
    let (told, real) = (told.since(now).as_secs_f64(), house.handle().now().since(now).as_secs_f64());
    assert!((real - told).abs() < 0.2 * real + 0.5, "{told} s told and {real} s real for {left}");
    assert!(ends(0.0).is_some_and(|moment| moment <= house.handle().now()), "nothing waits");
}

#[test]
fn a_campaign_whose_recipients_wait_for_a_warm_up_does_not_know_its_end() {
    let house = House::start(
        "[canary]\nenabled = false\n[[source]]\nname = \"a\"\nip = \"127.0.0.2\"\nwarmup = \"generic\"\n\
         [provider.there]\ndomains = [\"there.test\"]\n",
    );
    let id = house.campaign(newsletter(), "").expect("created");
    let list: Vec<_> = (0..100).map(|n| to(&format!("r{n}@there.test"))).collect();
    house.add(id, &list).expect("added");
    house.set(id, CampaignPhase::Running).expect("started");
    house.sink.wait_for(1, PATIENCE);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(house.wait(house.handle().campaign_ends(id, 1.0)), None);
}
