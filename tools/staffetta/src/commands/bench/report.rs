//! What a measurement says to people and to programs.

use std::fmt::Write as _;
use std::time::Duration;

use capacity::{Facts, Path, Signing, Stage, Way, Work};
use serde_json::{Value, json};

use super::scene::{Figures, Kind};
use super::{Measured, Outcome};
use crate::ui::{human, paint::Paint, table::Table};

/// A machine that is as busy as this before is not at rest.
const LOAD_AT_REST_MAX: f64 = 0.5;
/// The works of the table of what a core can do.
const SIZES: [u64; 3] = [1024, 10_240, 102_400];

pub(super) fn render(outcome: &Outcome, paint: Paint) -> String {
    let mut text = String::new();
    let facts = &outcome.machine.facts;
    let _ = writeln!(
        text,
        "{}\n{}, {}, Linux {}; spool on {}\n",
        paint.bold("What Staffetta costs on this machine"),
        facts.cpu,
        human::plural(facts.cores as u64, "core"),
        facts.kernel,
        facts.filesystem,
    );
    for warning in warnings(outcome) {
        let _ = writeln!(text, "{}", paint.yellow(&warning));
    }
    let disk = outcome.machine.disk;
    let _ = writeln!(
        text,
        "4 KiB durable in {:.0} µs, 99 of 100 in {:.0} µs; {:.0} MB/s durable in large pieces",
        disk.commit_p50_us, disk.commit_p99_us, disk.write_mb_per_s
    );
    let tools = &outcome.tools;
    let _ = writeln!(
        text,
        "the tools alone, injector to sink, 10 KiB: {}, {:.1} µs of CPU a message; they share the cores with the engine\n",
        human::rate(tools.per_s),
        tools.cpu_us
    );
    text.push_str(&measured(outcome, paint));
    let _ = writeln!(
        text,
        "\nCPU is that of the engine, per message. Mail is durable before it is acknowledged."
    );
    let _ =
        writeln!(text, "\n{}", paint.bold("What one core can do for the engine, messages an hour (model)"));
    text.push_str(&model(outcome, paint));
    text.push_str(&distance(outcome));
    if outcome.measured.iter().any(|one| one.scene.kind == Kind::HeldOut) {
        let _ = writeln!(text, "\n{}", paint.bold("The model, where it was not fitted"));
        text.push_str(&checked(outcome, paint));
    }
    text
}

/// What a reader must know before believing the figures.
fn warnings(outcome: &Outcome) -> Vec<String> {
    let Facts { load_before, optimised, .. } = outcome.machine.facts;
    let busy = (load_before > LOAD_AT_REST_MAX).then(|| {
        format!("This machine was busy before (load {load_before}): rates are lower than they can be, and CPU a little higher.")
    });
    let slow = (!optimised).then(|| {
        "This program was compiled without optimisation: it is many times slower than a release.".to_owned()
    });
    let memory = outcome.is_memory.then(|| {
        "The directory is in memory, where nothing is durable: choose a disk with --dir.".to_owned()
    });
    [busy, slow, memory].into_iter().flatten().collect()
}

fn measured(outcome: &Outcome, paint: Paint) -> String {
    let mut table = Table::new(&[
        "measured",
        ">messages/s",
        ">MB/s",
        ">CPU µs",
        ">accept p50",
        ">p99",
        ">delivery p50",
        ">p99",
    ]);
    for Measured { scene, figures } in outcome.measured.iter().filter(|one| one.scene.kind == Kind::Fitted) {
        let (accept, delivery) = (times(figures.accept_ms), times(figures.delivery_ms));
        if let Some((us, per_s)) = figures.accept_cpu_us.zip(figures.accept_per_s) {
            let mb = per_s * scene.work.bytes as f64 / 1e6;
            let label = format!("accept {} KiB", scene.work.bytes / 1024);
            let cells = [label, whole(per_s), format!("{mb:.1}"), format!("{us:.1}")];
            table.row(cells.into_iter().chain(accept));
            table.row(cells_of(&format!("send {} KiB", scene.work.bytes / 1024), figures));
        } else {
            table.row(cells_of(&scene.label(), figures).into_iter().chain(accept).chain(delivery));
        }
    }
    table.render(paint)
}

fn cells_of(label: &str, figures: &Figures) -> [String; 4] {
    [
        label.to_owned(),
        whole(figures.per_s),
        format!("{:.1}", figures.mb_per_s),
        format!("{:.1}", figures.cpu_us),
    ]
}

fn times(ms: Option<(f64, f64)>) -> [String; 2] {
    ms.map_or_else(Default::default, |(p50, p99)| [format!("{p50:.1} ms"), format!("{p99:.1} ms")])
}

fn whole(number: f64) -> String {
    human::count(number.max(0.0) as u64)
}

fn model(outcome: &Outcome, paint: Paint) -> String {
    let mut table = Table::new(&["", ">1 KiB", ">10 KiB", ">100 KiB"]);
    for (way, name) in [(Way::Relay, "relay"), (Way::Campaign, "campaign")] {
        for (signing, said) in
            [(Signing::None, "unsigned"), (Signing::Rsa2048, "RSA-2048"), (Signing::Ed25519, "Ed25519")]
        {
            for tls in [false, true] {
                let label = format!("{name}, {said}{}", if tls { ", TLS" } else { "" });
                let hour = |bytes| {
                    let work = Work { way, bytes, signing, tls };
                    whole(outcome.machine.costs.of(work).per_core_hour())
                };
                table.row(std::iter::once(label).chain(SIZES.map(hour)));
            }
        }
    }
    table.render(paint)
}

/// Where connections are the limit and not the core.
fn distance(outcome: &Outcome) -> String {
    let work = Work { way: Way::Relay, bytes: 10_240, signing: Signing::Rsa2048, tls: true };
    let per_s = outcome.machine.costs.of(work).per_core_hour() / 3600.0;
    let connections = |ms| {
        let round_trip = Duration::from_millis(ms);
        let path = Path { round_trip, connections: 1, in_flight: 1, round_trips: 1, allowed_per_s: None };
        human::count(path.connections_for(per_s))
    };
    format!(
        "To keep a core busy with relays of 10 KiB, RSA-2048, TLS, it takes {} connections to receivers 20 ms away, {} at 100 ms.\n",
        connections(20),
        connections(100)
    )
}

/// How far the prediction is from what was measured, as a part of it.
fn error(one: &Measured, outcome: &Outcome) -> (f64, f64) {
    let predicted = outcome.machine.costs.of(one.scene.work).us();
    (predicted, predicted / one.figures.cpu_us - 1.0)
}

fn checked(outcome: &Outcome, paint: Paint) -> String {
    let mut table = Table::new(&["work", ">predicted µs", ">measured µs", ">error"]);
    for one in outcome.measured.iter().filter(|one| one.scene.kind == Kind::HeldOut) {
        let (predicted, error) = error(one, outcome);
        table.row([
            one.scene.label(),
            format!("{predicted:.1}"),
            format!("{:.1}", one.figures.cpu_us),
            format!("{:+.1} %", error * 100.0),
        ]);
    }
    table.render(paint)
}

pub(super) fn to_json(outcome: &Outcome) -> Value {
    let measured: Vec<Value> = outcome
        .measured
        .iter()
        .map(|one| {
            let (predicted_us, error) = error(one, outcome);
            json!({
                "work": one.scene.work, "kind": one.scene.kind, "figures": one.figures, "predicted_cpu_us": predicted_us,
                "error": error, "stages": outcome.machine.costs.of(one.scene.work).stages().iter().map(stage).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "machine": outcome.machine, "tools": outcome.tools, "measured": measured, "warnings": warnings(outcome) })
}

fn stage((stage, us): &(Stage, f64)) -> Value {
    json!({ "stage": stage, "cpu_us": us })
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, fitted, held_out};
    use super::*;
    use capacity::Machine;

    fn outcome() -> Outcome {
        let mut machine = Machine::shipped();
        machine.facts.load_before = 3.0;
        let measured = |scene: Scene| {
            let mut figures =
                Figures { cpu_us: machine.costs.of(scene.work).us(), per_s: 1000.0, ..Figures::default() };
            if scene.work.way == Way::Send {
                (figures.accept_cpu_us, figures.accept_per_s) = (Some(30.0), Some(2000.0));
            }
            Measured { scene, figures }
        };
        let measured = fitted().into_iter().chain(held_out()).map(measured).collect();
        Outcome { tools: Figures::default(), measured, machine: machine.clone(), is_memory: true }
    }

    #[test]
    fn people_read_the_machine_its_figures_and_what_to_doubt() {
        let text = render(&outcome(), Paint::plain());
        for part in [
            "load 3",
            "in memory",
            "accept 1 KiB",
            "send 20 KiB",
            "relay 20 KiB, RSA-2048",
            "campaign, Ed25519, TLS",
            "+0.0 %",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn programs_read_the_same() {
        let json = to_json(&outcome());
        assert_eq!(json["measured"].as_array().map(Vec::len), Some(fitted().len() + held_out().len()));
        assert_eq!(json["measured"][2]["work"]["signing"], "rsa-2048");
        assert_eq!(json["measured"][2]["stages"][1]["stage"], "body-hash");
        assert_eq!(json["machine"]["facts"]["load_before"], 3.0);
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(2));
    }
}
