//! content: what is done to each message on its way in, on its way out, and when it comes back.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use content::dkim::{
    Algorithm, BodyHash, Canonicalization, Key, Signatory, Signer, Unsigned, generate_ed25519,
    generate_rsa_2048, sign,
};
use content::dsn::{Event, Original, RecipientReport, Report, bounce};
use content::header::split_head_body;
use content::template::{CampaignDraft, RecipientContext, Template};
use content::{Received, Stamp, read_directives, received};
use criterion::{Criterion, Throughput};
use mail::{Address, CampaignId, Enhanced, RecipientId, Reply, UnixMs};

const MESSAGE_BYTES: usize = 10 * 1024;
const TEMPLATE_BYTES: usize = 20 * 1024;
const NOW: UnixMs = UnixMs(1_731_240_000_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    submission(&mut criterion);
    templates(&mut criterion);
    signatures(&mut criterion);
    notices(&mut criterion);
    criterion.final_summary();
}

fn submission(criterion: &mut Criterion) {
    let message = bench::message(MESSAGE_BYTES);
    let mut group = criterion.benchmark_group("content/submission of 10 KiB");
    group.throughput(Throughput::Bytes(MESSAGE_BYTES as u64));
    let stamp = Stamp { now: NOW, host: "mx.shop.example", unique: 1 };
    group.bench_function("Received and directives", |bencher| {
        bencher.iter(|| {
            let trace = received(&Received {
                helo: "app.shop.example",
                peer: Some([192, 0, 2, 7].into()),
                host: "mx.shop.example",
                with: "ESMTP",
                id: "0123456789abc",
                recipient: Some("ann@mail.example"),
                at: NOW,
            });
            read_directives(black_box(&message), &trace, &stamp).expect("it has no directives")
        });
    });
    group.finish();
}

/// A newsletter with five merge fields, of which half is HTML.
fn newsletter(html_begins: &str) -> CampaignDraft {
    let text =
        "New books this week, chosen for you by people who read them.\n".repeat(TEMPLATE_BYTES / 2 / 62);
    let row = "<tr><td class=\"b\"><a href=\"https://shop.example/b?n=4711&amp;s=n\">A book</a></td></tr>\n";
    let html = row.repeat(TEMPLATE_BYTES / 2 / row.len());
    CampaignDraft {
        name: "November".into(),
        from: "Shop <news@shop.example>".into(),
        subject: "{{ first_name }}, your books of {{ month }}".into(),
        text: format!(
            "Dear {{{{ first_name }}}} {{{{ last_name }}}},\n{text}\nYour number: {{{{ customer }}}}\n"
        ),
        html: format!(
            "<html><body>{html_begins}<p>{{{{ city }}}}</p><table>{html}</table>{{{{ customer }}}}</body></html>"
        ),
        headers: BTreeMap::from([("X-Customer".into(), "{{ customer }}".into())]),
        list_unsubscribe_url: "https://shop.example/u/{{ customer }}".into(),
        ..CampaignDraft::default()
    }
}

fn templates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("content/render 20 KiB");
    group.throughput(Throughput::Bytes(TEMPLATE_BYTES as u64));
    let known = [
        ("city", "Torino"),
        ("customer", "4711"),
        ("first_name", "Ann"),
        ("last_name", "O'Hara"),
        ("month", "May"),
    ];
    let recipient = RecipientContext {
        address: "ann@mail.example",
        id: RecipientId::from_raw(4711),
        campaign: CampaignId::from_raw(7),
        account: "shop",
        host: "shop.example",
        date: NOW,
    };
    for (name, begins) in [
        ("spliced", "<p>Dear {{ first_name }}</p>"),
        ("scripted", "{% if city == 'Torino' %}<p>Ciao {{ first_name|upper }}</p>{% endif %}"),
    ] {
        let template = Template::compile(&newsletter(begins)).expect("the draft is right");
        let value_of = |field: &str| known.iter().find(|(name, _)| *name == field).map(|(_, value)| *value);
        let values = template.values(value_of).expect("every field has a value");
        assert_eq!(values.len(), known.len());
        let mut out = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                template.render(black_box(&values), &recipient, &mut out).expect("the values fit");
            });
        });
    }
    group.bench_function("compile", |bencher| {
        let draft = newsletter("<p>Dear {{ first_name }}</p>");
        bencher.iter(|| Template::compile(black_box(&draft)).expect("the draft is right"));
    });
    group.finish();
}

fn signer(pem: &str, algorithm: Algorithm) -> [Signer; 1] {
    let key = Key::from_pem(pem, algorithm).expect("it was just made");
    [Signer { domain: "shop.example".into(), selector: "s2026".into(), key }]
}

fn signatures(criterion: &mut Criterion) {
    let message = bench::message(MESSAGE_BYTES);
    let (_, body) = split_head_body(&message);
    let hash = BodyHash::of(Canonicalization::Relaxed, body);
    let mut group = criterion.benchmark_group("content/DKIM of 10 KiB");
    group.throughput(Throughput::Bytes(MESSAGE_BYTES as u64));
    for (name, canonicalization) in
        [("body hash, relaxed", Canonicalization::Relaxed), ("body hash, simple", Canonicalization::Simple)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| BodyHash::of(canonicalization, black_box(body)));
        });
    }
    let rsa = signer(&generate_rsa_2048().expect("a key"), Algorithm::RsaSha256);
    let ed25519 = signer(&generate_ed25519().expect("a key"), Algorithm::Ed25519Sha256);
    let mut headers = Vec::new();
    for (name, signers, body_hash) in [
        ("sign, RSA-2048", &rsa, None),
        ("sign, RSA-2048, body hash known", &rsa, Some(&hash)),
        ("sign, Ed25519", &ed25519, None),
        ("sign, Ed25519, body hash known", &ed25519, Some(&hash)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                headers.clear();
                sign(signers, black_box(&message), body_hash, NOW.seconds(), &mut headers)
                    .expect("it has a From");
            });
        });
    }
    group.finish();
    private_operations(criterion);
}

/// The processor's time that this thread has taken.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The private operation alone, for so many messages at once: processor time, because it is long enough to be interrupted.
/// Time is per batch, throughput per signature.
fn private_operations(criterion: &mut Criterion) {
    let message = bench::message(MESSAGE_BYTES);
    let pem = generate_rsa_2048().expect("a key");
    let signers = signer(&pem, Algorithm::RsaSha256);
    let hash = BodyHash::of(Canonicalization::Relaxed, split_head_body(&message).1);
    let mut group = criterion.benchmark_group("content/RSA-2048 signatures");
    for (name, mut signatory) in
        [("aws-lc-rs", Signatory::one_by_one()), ("best of this processor", Signatory::new())]
    {
        for count in [1, 2, 3, 4, 5, 6, 7, 8] {
            if name == "aws-lc-rs" && count > 1 {
                break;
            }
            let unsigned =
                || Unsigned::new(&signers, &message, Some(&hash), NOW.seconds()).expect("it has a From");
            let mut messages: Vec<Unsigned> = (0..count).map(|_| unsigned()).collect();
            group.throughput(Throughput::Elements(count));
            group.bench_function(format!("{count} by {name}"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let began = cpu_time();
                    for _ in 0..rounds {
                        signatory.sign(black_box(&mut messages.iter_mut().collect::<Vec<_>>()));
                    }
                    cpu_time() - began
                });
            });
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("content/DKIM without the private operation");
    group.bench_function("select and hash the head", |bencher| {
        bencher.iter(|| Unsigned::new(&signers, black_box(&message), Some(&hash), NOW.seconds()));
    });
    group.bench_function("read an RSA key", |bencher| {
        bencher.iter(|| Key::from_pem(black_box(&pem), Algorithm::RsaSha256));
    });
    group.finish();
}

fn notices(criterion: &mut Criterion) {
    let message = bench::message(MESSAGE_BYTES);
    let address = Address::parse("ann@mail.example").expect("an address");
    let sender = Address::parse("bounce-4711@shop.example").expect("an address");
    let reply =
        Reply::enhanced(550, Enhanced(5, 1, 1), "The email account that you tried to reach does not exist.");
    let recipients = [RecipientReport {
        address: &address,
        original: Some("rfc822;ann@mail.example"),
        event: Event::Failed,
        reply: &reply,
        remote_host: "mx.mail.example",
        last_attempt: Some(NOW),
        retry_until: None,
    }];
    let mut group = criterion.benchmark_group("content/DSN");
    for (name, original) in
        [("with the head", Original::Headers(&message)), ("with all of 10 KiB", Original::Full(&message))]
    {
        let report = Report {
            host: "mx.shop.example",
            to: &sender,
            date: NOW,
            message_id: "0123456789abc.1@mx.shop.example",
            arrival: Some(NOW),
            envelope_id: None,
            recipients: &recipients,
            original,
        };
        group.bench_function(name, |bencher| bencher.iter(|| bounce(black_box(&report))));
    }
    group.finish();
}
