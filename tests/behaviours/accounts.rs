//! What accounts may hand over, and by which sources their mail leaves.

use std::time::Duration;

use mail::{CampaignId, Class};
use mta::{Accepted, AccountView, NewRecipient, QuotaView, Refusal, Submission, SubmissionMeta, Why};
use spool::CampaignPhase;

use crate::house::{House, PATIENCE, message, newsletter, to};

/// Ten recipients a day: what comes back meanwhile is nothing that a test would see.
const TEN: &str = "[[account]]\nname = \"shop\"\nquota = \"10/d\"\n[[account]]\nname = \"other\"\n";

fn hand_over(house: &House, account: &str, class: Class, count: usize) -> Result<Accepted, Refusal> {
    let meta = SubmissionMeta {
        tenant: account.to_owned(),
        ..SubmissionMeta::new(Some("ann@sender.test".parse().expect("an address")), class)
    };
    let recipients = (0..count).map(|n| to(&format!("r{n}@there.test"))).collect();
    house.wait(house.handle().submit(Submission { meta, body: message("x").into_bytes(), recipients }))
}

/// So many recipients.
fn readers(count: usize) -> Vec<NewRecipient> {
    (0..count).map(|n| to(&format!("reader{n}@there.test"))).collect()
}

/// Why the recipients of a campaign wait that are not finished.
fn waiting(house: &House, id: CampaignId) -> Vec<Why> {
    let readers = house.handle().readers();
    let mut found = Vec::new();
    for (_, record) in readers[usize::from(id.0.shard())].tail(spool::Cursor(0)) {
        if let spool::RecordRef::Recipient(recipient) = record {
            found.extend(house.wait(house.handle().explain(recipient.id())));
        }
    }
    found
}

fn quota_of_shop(house: &House) -> QuotaView {
    let accounts = house.handle().accounts();
    let is_shop = |account: &AccountView| account.name == "shop";
    accounts.into_iter().find(is_shop).and_then(|account| account.quota).expect("a quota")
}

#[test]
fn an_account_hands_over_what_its_quota_allows_and_others_are_not_touched() {
    let house = House::start(TEN);
    hand_over(&house, "shop", Class::Transactional, 4).expect("taken");
    hand_over(&house, "shop", Class::Bulk, 5).expect("taken");
    let refusal = hand_over(&house, "shop", Class::Transactional, 2).expect_err("one is left");
    assert_eq!((refusal.code(), refusal.http_status()), ("quota_exceeded", 429));
    let wait = refusal.retry_after().expect("a wait");
    assert!(wait > Duration::from_secs(8_000) && wait <= Duration::from_secs(8_640), "{wait:?}");
    assert!(refusal.reply().to_string().starts_with("452 4.7.1 the account `shop`"), "{}", refusal.reply());
    hand_over(&house, "shop", Class::Transactional, 1).expect("the last one");
    hand_over(&house, "other", Class::Transactional, 50).expect("no quota");
    hand_over(&house, "", Class::Transactional, 50).expect("no account");
    house.wait_ledger("what was refused is not kept", |ledger| ledger.delivered == 110);
    assert_eq!((quota_of_shop(&house).used, quota_of_shop(&house).left), (10, 0));
}

#[test]
fn critical_mail_passes_a_quota_that_is_used_up_and_counts() {
    let house = House::start(TEN);
    hand_over(&house, "shop", Class::Bulk, 10).expect("taken");
    hand_over(&house, "shop", Class::Bulk, 1).expect_err("used up");
    hand_over(&house, "shop", Class::Critical, 10).expect("critical");
    hand_over(&house, "shop", Class::Critical, 1).expect_err("a whole quota of critical mail");
    let quota = quota_of_shop(&house);
    assert_eq!((quota.used, quota.critical_used, quota.waiting), (10, 10, 10));
    house.wait_ledger("all of it arrives", |ledger| ledger.delivered == 20);
}

#[test]
fn a_quota_is_kept_over_a_restart() {
    let mut house = House::start(TEN);
    hand_over(&house, "shop", Class::Transactional, 9).expect("taken");
    house.stop();
    house.begin();
    assert_eq!(quota_of_shop(&house).used, 9);
    hand_over(&house, "shop", Class::Transactional, 2).expect_err("one is left");
    hand_over(&house, "shop", Class::Transactional, 1).expect("the last one");
}

#[test]
fn a_campaign_beyond_the_quota_waits_says_so_and_gives_back_what_it_did_not_use() {
    let mut house = House::start(TEN);
    let id = house.campaign(newsletter(), "shop").expect("created");
    house.add(id, &readers(30)).expect("a list is not refused for today's quota");
    assert_eq!((quota_of_shop(&house).used, quota_of_shop(&house).waiting), (10, 20));
    house.set(id, CampaignPhase::Running).expect("started");
    house.sink.wait_for(10, PATIENCE);
    house.wait_ledger("ten arrive", |ledger| ledger.delivered == 10);
    house.stop();
    house.begin();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(house.handle().ledger().delivered, 10, "their moments hold over a restart");
    let why = waiting(&house, id);
    let is_for_quota = |why: &&Why| why.found.code == "account.quota";
    assert_eq!(why.iter().filter(is_for_quota).count(), 20);
    assert!(why.iter().filter(is_for_quota).all(|why| why.found.until > Some(house.handle().now())));
    house.add(id, &readers(300)).expect_err("beyond thirty days");
    house.set(id, CampaignPhase::Cancelled).expect("cancelled");
    house.wait_ledger("the rest is withdrawn", |ledger| ledger.queued() == 0);
    let quota = quota_of_shop(&house);
    assert_eq!((quota.used, quota.waiting), (10, 0));
}

#[test]
fn mail_of_an_account_with_a_pool_leaves_by_it_whatever_its_class() {
    let house = House::start(
        "[[source]]\nname = \"a\"\nip = \"127.0.0.2\"\n[[source]]\nname = \"b\"\nip = \"127.0.0.3\"\n\
         [[pool]]\nname = \"all\"\nsources = [\"a\"]\n[[pool]]\nname = \"own\"\nsources = [\"b\"]\n\
         [class.transactional]\npool = \"all\"\n[class.bulk]\npool = \"all\"\n\
         [[account]]\nname = \"shop\"\npool = \"own\"\n[[account]]\nname = \"other\"\n",
    );
    for class in [Class::Transactional, Class::Bulk, Class::Critical] {
        hand_over(&house, "shop", class, 5).expect("taken");
    }
    let taken = house.sink.wait_for(15, PATIENCE);
    assert!(taken.iter().all(|taken| taken.client.to_string() == "127.0.0.3"));
    hand_over(&house, "other", Class::Transactional, 5).expect("taken");
    let taken = house.sink.wait_for(20, PATIENCE);
    assert_eq!(taken.iter().filter(|taken| taken.client.to_string() == "127.0.0.2").count(), 5);
}
