//! classes: what it costs to tell the class of a message, by its words and by its content. Where a stream is fast only some
//! of its messages are read; `as the engine does it` has that in its figure, the others are of messages that are read.

use std::hint::black_box;

use content::excerpt::excerpt;
use content::header::split_head_body;
use criterion::Criterion;
use mail::{Address, Class, UnixMs};
use policy::classify::{
    Behaviour, Glob, HeaderSigns, Hints, Reading, Rule, RuleSubject, Sent, Sketch, Watch, classify,
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    words(&mut criterion);
    sketches(&mut criterion);
    streams(&mut criterion);
    criterion.final_summary();
}

fn words(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classes/by words");
    let from = Address::parse("shop@shop.example").expect("an address");
    let subject = RuleSubject {
        from: Some(&from),
        recipients: &[&from],
        subject: "Your order 4711 is on its way",
        header: &|_| None,
    };
    let rule =
        |number: usize| Rule { subject: Glob::parse(&format!("offer {number} *")), ..Rule::of(Class::Bulk) };
    let rules: Vec<Rule> = (0..10).map(rule).collect();
    for (name, hints) in [
        ("said by the sender", Hints { explicit: Some(Class::Critical), ..Hints::default() }),
        ("by nothing", Hints::default()),
        (
            "by the header",
            Hints {
                header: HeaderSigns { list: Some("List-Id"), ..HeaderSigns::default() },
                ..Hints::default()
            },
        ),
        ("ten rules in vain", Hints { rules: &rules, ..Hints::default() }),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| classify(black_box(&hints), black_box(&subject)));
        });
    }
    group.finish();
}

/// Mail as it comes: a short notice, a letter of 10 KiB, a newsletter of 40 KiB in HTML with style, both in quoted-printable.
fn messages() -> [(&'static str, Vec<u8>); 4] {
    let head = "From: Shop <shop@shop.example>\r\nTo: Ann Example <ann@mail.example>\r\nSubject: x\r\nDate: D\r\n\
        Message-ID: <1@shop.example>\r\nMIME-Version: 1.0\r\n";
    let notice = format!(
        "{head}\r\nHello Ann,\r\nyour code to sign in is 482913. It holds for 10 minutes. Tell it to nobody, we shall never ask \
         for it.\r\nThe shop, https://shop.example/help\r\n"
    );
    let paragraph = "<tr><td style=3D\"padding:12px;font-family:sans-serif\"><a href=3D\"https://shop.example/a?id=3D4711\">Spring=\r\n \
        offers</a> chairs, tables and all that a garden needs, made in our own workshop from 19,90 on</td></tr>\r\n";
    let style = ".a { color: #333333; margin: 0 0 12px 0 }\r\n".repeat(80);
    let rows = paragraph.repeat(160);
    let html = format!(
        "{head}Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<html><head><style>{style}</style>\
         </head><body><table>{rows}</table><p>Unsubscribe</p></body></html>\r\n"
    );
    let base64 = format!(
        "{head}Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        "dGhlIHNwcmluZyBvZmZlcnMgYXJlIGhlcmU6IGNoYWlycywgdGFibGVzIGFuZCBhbGwgdGhh\r\n".repeat(120)
    );
    [
        ("notice", notice.into_bytes()),
        ("10 KiB text", bench::message(10_240)),
        ("10 KiB base64", base64.into_bytes()),
        ("40 KiB HTML", html.into_bytes()),
    ]
}

/// Reads a message as the engine does.
fn sketch(message: &[u8]) -> Sketch {
    let (head, body) = split_head_body(message);
    let found = excerpt(head, body);
    Sketch::of(&Reading {
        subject: "Your order 4711 is on its way",
        to: "Ann Example <ann@mail.example>",
        text: &found.text,
        is_html: found.is_html,
        tail: &found.tail,
        attached: found.attached,
        feedback: false,
    })
}

fn sketches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classes/read and sketch");
    for (name, message) in messages() {
        group.bench_function(name, |bencher| bencher.iter(|| sketch(black_box(&message))));
    }
    group.finish();
}

/// The content of a message against what is remembered of its stream, which has said 16 things.
fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classes/by content");
    let known: Vec<Sketch> = (0..16)
        .map(|number| {
            sketch(format!("\r\n{}", format!("word{} other{number} ", number * 7).repeat(40)).as_bytes())
        })
        .collect();
    let prepared = || {
        let mut watch = Watch::new(Behaviour::default(), 64);
        for (number, sketch) in (0_u64..).zip(&known) {
            let now = UnixMs(number * 1_000);
            if let Some(weight) = watch.wants(1, now) {
                watch.saw(1, sketch, &Sent { people: &[number], recipients: 1, weight }, now);
            }
        }
        watch
    };
    let [(_, notice), (_, text), ..] = messages();
    group.bench_function("remember a sketch", |bencher| {
        let mut watch = prepared();
        let sketch = sketch(&text);
        let mut number = 0;
        bencher.iter(|| {
            number += 1;
            let sent = Sent { people: &[number], recipients: 1, weight: 1 };
            watch.saw(1, black_box(&sketch), &sent, UnixMs(20_000 + number))
        });
    });
    for (name, message, per_second) in [
        ("as the engine does it, notices, 10/s", &notice, 10),
        ("as the engine does it, 10 KiB, 10/s", &text, 10),
        ("as the engine does it, 10 KiB, 1,000/s", &text, 1_000),
    ] {
        group.bench_function(name, |bencher| {
            let mut watch = prepared();
            let mut number = 0;
            bencher.iter(|| {
                number += 1;
                let now = UnixMs(20_000 + number * 1_000 / per_second);
                let weight = watch.wants(1, now)?;
                let sent = Sent { people: &[number], recipients: 1, weight };
                watch.saw(1, &sketch(black_box(message)), &sent, now)
            });
        });
    }
    group.finish();
}
