//! Pacers against receivers whose limits they do not know.

mod receiver;

use receiver::{Hidden, Quota, Scene};

use super::*;

fn limits(connections: u32, rate: Option<f64>) -> Limits {
    Limits {
        connections,
        rate: rate.map(Rate::from_per_second),
        messages_per_connection: 1000,
        recipients_per_message: 1,
        pipeline_depth: 1,
    }
}

fn caps(start: f64) -> Caps {
    Caps::new(limits(400, Some(start)), limits(400, None))
}

#[test]
fn explore() {
    for (start, factor) in [
        (10.0, 1.0),
        (10.0, 0.05),
        (10.0, 0.2),
        (10.0, 5.0),
        (10.0, 20.0),
        (100.0, 0.05),
        (100.0, 2.0),
        (1.0, 0.5),
        (100.0, 10.0),
    ] {
        for burst in [1.0, 10.0, 60.0] {
            let limit = start * factor;
            let mut scene = Scene::new(caps(start), Hidden::rate(limit, burst), 1);
            scene.run_to(45);
            let first = (15..45).map(|m| scene.minutes[m].accepted as f64 / 60.0 / limit).fold(9.0, f64::min);
            let reached = scene.minutes.iter().position(|m| m.accepted as f64 / 60.0 >= 0.85 * limit);
            let (rate, refused) = scene.figures(15, 45);
            let (_, refused10) = scene.figures(10, 45);
            println!(
                "start {start} limit {limit} burst {burst}: reached minute {reached:?}, used {:.3} (worst minute {first:.2}), refused {:.4} {refused10:.4}",
                rate / limit,
                refused
            );
            for change in [0.2, 0.5, 2.0, 5.0] {
                let mut scene = Scene::new(caps(start), Hidden::rate(limit, burst), 1);
                scene.run_to(30);
                scene.hidden.rate = limit * change;
                scene.hidden.tokens = scene.hidden.tokens.min(scene.hidden.rate * burst);
                scene.run_to(75);
                let limit = limit * change;
                let reached =
                    scene.minutes[30..].iter().position(|m| m.accepted as f64 / 60.0 >= 0.85 * limit);
                let (rate, refused) = scene.figures(45, 75);
                let (_, refused10) = scene.figures(10, 75);
                println!(
                    "    x{change}: reached after {reached:?}, used {:.3}, refused after {:.4} all {refused10:.4}",
                    rate / limit,
                    refused
                );
            }
        }
    }
}
