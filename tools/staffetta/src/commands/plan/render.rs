//! What a plan says to people.

use std::fmt::Write as _;
use std::time::Duration;

use super::Variant;
use crate::ui::{human, paint::Paint, table::Table};

pub(super) fn render(
    variants: &[Variant],
    within: Option<(Duration, Option<usize>)>,
    paint: Paint,
) -> String {
    let mut text = String::new();
    let Some(first) = variants.first() else { return text };
    let report = &first.report;
    let books = &report.books;
    let _ = writeln!(
        text,
        "{} of {} from {}: {} delivered, {} bounced, {} withdrawn, {} still waiting\n",
        human::plural(books.accepted, "recipient"),
        report.name,
        human::plural(first.sources as u64, "source"),
        human::count(books.delivered),
        human::count(books.bounced + books.expired),
        human::count(books.cancelled),
        human::count(books.queued),
    );
    text.push_str(&providers(first, paint));
    text.push('\n');
    text.push_str(&classes(first, paint));
    for campaign in report.campaigns.iter().filter(|campaign| campaign.stopped) {
        let _ = writeln!(
            text,
            "\n  campaign {} would be stopped after {} of {}",
            campaign.name,
            human::count(campaign.exposed),
            human::plural(campaign.recipients, "recipient"),
        );
    }
    if variants.len() > 1 {
        text.push('\n');
        text.push_str(&comparison(variants, paint));
    }
    if let Some((within, needed)) = within {
        let within = human::duration(within);
        let _ = match needed {
            Some(sources) => writeln!(
                text,
                "\n{} to have nine tenths delivered within {within}",
                human::plural(sources as u64, "source")
            ),
            None => writeln!(text, "\nno number of sources has nine tenths delivered within {within}"),
        };
    }
    text
}

fn providers(variant: &Variant, paint: Paint) -> String {
    let mut table = Table::new(&["provider", ">delivered", ">finished after", ">slowed down", ">blocked"]);
    for provider in &variant.report.providers {
        table.row([
            provider.name.clone(),
            human::count(provider.delivered),
            seconds(Some(provider.finish_s)),
            human::count(provider.rate_limited),
            human::count(provider.blocked),
        ]);
    }
    table.render(paint)
}

fn classes(variant: &Variant, paint: Paint) -> String {
    let mut table = Table::new(&["class", ">delivered", ">half within", ">99 of 100 within", ">slowest"]);
    for class in &variant.report.classes {
        let wait = |ms: u32| human::duration(Duration::from_millis(ms.into()));
        table.row([
            class.class.to_owned(),
            human::count(class.delivered),
            wait(class.p50_ms),
            wait(class.p99_ms),
            wait(class.max_ms),
        ]);
    }
    table.render(paint)
}

fn comparison(variants: &[Variant], paint: Paint) -> String {
    let mut table = Table::new(&[
        "what if",
        ">sources",
        ">nine tenths after",
        ">finished after",
        ">delivered",
        ">slowed down",
        ">blocked",
    ]);
    for Variant { name, sources, report } in variants {
        table.row([
            name.clone(),
            sources.to_string(),
            seconds(report.speed.nine_tenths_s),
            seconds(report.speed.finish_s),
            human::count(report.books.delivered),
            human::count(report.attempts.rate_limited),
            human::count(report.attempts.blocked),
        ]);
    }
    table.render(paint)
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "not".to_owned(), |seconds| human::duration(Duration::from_secs_f64(seconds)))
}
