//! policy: the three decisions that each delivery asks for. Tables are the built-in ones.

use std::hint::black_box;
use std::net::IpAddr;

use criterion::Criterion;
use mail::{Class, Enhanced, Phase, Reply};
use policy::provider::{ProviderIndex, Providers};
use policy::source::{Candidate, choose};
use policy::verdict::{RuleId, Rules};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    verdicts(&mut criterion);
    providers(&mut criterion);
    sources(&mut criterion);
    criterion.final_summary();
}

fn verdicts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy/judge");
    let rules = Rules::builtin();
    let unknown = "The email account that you tried to reach does not exist. Please try double-checking the \
        recipient's email address for typos or unnecessary spaces. NoSuchUser 5b1f17b1804b1-38.19 - smtp";
    for (name, provider, reply) in [
        ("the provider's words", "yahoo", reply(421, 4, 7, 0, "[TSS04] Messages from 192.0.2.7 deferred")),
        ("words known everywhere", "google", reply(550, 5, 1, 1, unknown)),
        ("the enhanced code", "default", reply(452, 4, 2, 2, "Later")),
        ("nothing but the code", "default", Reply::new(451, "")),
    ] {
        // A rule is found, or this measures something else than it says.
        assert_ne!(rules.judge(Phase::Rcpt, &reply, provider).rule, RuleId::Builtin("code.none"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| rules.judge(Phase::Rcpt, black_box(&reply), black_box(provider)));
        });
    }
    group.finish();
}

fn reply(code: u16, class: u8, subject: u16, detail: u16, text: &str) -> Reply {
    Reply::enhanced(code, Enhanced(class, subject, detail), text)
}

fn providers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy/identify the provider");
    let providers = Providers::builtin();
    let google = ["aspmx.l.google.com", "alt1.aspmx.l.google.com", "alt2.aspmx.l.google.com"];
    let none = ["mx1.company.example", "mx2.company.example"];
    let ips: Vec<IpAddr> = vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    for (name, domain, hosts, known) in [
        ("by its domain", "gmail.com", &[][..], true),
        ("by the names of its hosts", "company.example", &google, true),
        ("in vain", "company.example", &none, false),
    ] {
        let found = providers.identify(domain, hosts, &ips);
        assert_eq!(found != ProviderIndex::DEFAULT, known, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| providers.identify(black_box(domain), black_box(hosts), black_box(&ips)));
        });
    }
    group.finish();
}

fn sources(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy/choose the source");
    for count in [4, 64] {
        let candidates: Vec<Candidate> =
            (0..count).map(|source| Candidate { source, weight: 1 + u32::from(source % 3) }).collect();
        group.bench_function(format!("of {count}"), |bencher| {
            bencher.iter(|| choose(black_box("shop.example"), Class::Bulk, "google", black_box(&candidates)));
        });
    }
    group.finish();
}
