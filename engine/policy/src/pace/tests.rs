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


fn row(scene: &mut Scene, name: &str, limit: f64, change: Option<f64>) {
    scene.run_to(30);
    let reached = scene.minutes.iter().position(|m| m.accepted as f64 / 60.0 >= 0.85 * limit);
    let (rate, refused) = scene.figures(15, 30);
    print!("{name}: reached {reached:?}, used {:.3}, refused {refused:.4}", rate / limit);
    if let Some(change) = change {
        let limit = limit * change;
        scene.hidden.rate = limit;
        scene.hidden.tokens = scene.hidden.tokens.min(scene.hidden.rate * scene.hidden.burst);
        scene.run_to(75);
        let reached = scene.minutes[30..].iter().position(|m| m.accepted as f64 / 60.0 >= 0.85 * limit);
        let (rate, refused) = scene.figures(45, 75);
        print!("  x{change}: reached after {reached:?}, used {:.3}, refused {:.4}", rate / limit, refused);
    }
    println!(" all {:.4}", scene.figures(10, scene.minutes.len()).1);
}

#[test]
fn explore() {
    for (start, factor) in [(10.0, 0.05), (10.0, 0.2), (10.0, 1.0), (10.0, 4.0), (5.0, 20.0), (100.0, 0.05),  (1.0, 0.5), (1.0, 0.2), (1.0, 0.05)] { if start > 1.0 {continue;}
        for burst in [1.0, 10.0, 60.0] {
            for change in [0.2, 0.5, 2.0, 5.0] {
                let limit = start * factor;
                let mut scene = Scene::new(caps(start), Hidden::rate(limit, burst), 1);
                row(&mut scene, &format!("{start} -> {limit} burst {burst}"), limit, Some(change));
            }
        }
    }
}

#[test]
fn quotas() {
    for (start, count, hours, of_clock) in [(100.0, 1000, 1, true), (100.0, 1000, 1, false), (10.0, 100, 1, true), (1.0, 100, 1, false), (10.0, 10000, 1, true), (100.0, 5000, 24, true), (100.0, 5000, 24, false), (1.0, 500, 24, true)] {
        let quota = Quota::new(count, Duration::from_secs(hours * 3600), of_clock);
        let mut scene = Scene::new(caps(start), Hidden::quotas(vec![quota]), 1);
        let windows = if hours == 1 { 12 } else { 4 };
        println!("{count}/{hours}h from {start}/s, of clock {of_clock}");
        for window in 0..windows {
            let (from, to) = (window * hours as usize * 60, (window + 1) * hours as usize * 60);
            scene.run_to(to as u64);
            let minutes = &scene.minutes[from..to.min(scene.minutes.len())];
            let (a, r) = minutes.iter().fold((0, 0), |(a, r), m| (a + m.accepted, r + m.refused));
            println!("   window {window}: {a} accepted, {r} refused, learned {:?}", scene.pacer.view().learned.rate.map(|r| r.to_string()));
        }
        println!("   after ten minutes: {:.4}", scene.figures(10, scene.minutes.len()).1);
    }
}

#[test]
fn mixed() {
    let second = Duration::from_secs(1);
    let minute = Duration::from_secs(60);
    let hour = Duration::from_secs(3600);
    for (name, limit, hidden) in [
        ("20/s and 20000/h", 5.55, Hidden { quotas: vec![Quota::new(20000, hour, true)], ..Hidden::rate(20.0, 1.0) }),
        ("fixed seconds of 30", 30.0, Hidden::quotas(vec![Quota::new(30, second, true)])),
        ("fixed minutes of 600", 10.0, Hidden::quotas(vec![Quota::new(600, minute, true)])),
        ("fixed minutes of 60", 1.0, Hidden::quotas(vec![Quota::new(60, minute, true)])),
        ("first-message minutes of 600", 10.0, Hidden::quotas(vec![Quota::new(600, minute, false)])),
        ("fixed 10 minutes of 3000", 5.0, Hidden::quotas(vec![Quota::new(3000, minute * 10, true)])),
        ("patience 30", 20.0, Hidden { patience: Some(30), ..Hidden::rate(20.0, 1.0) }),
        ("patience 10", 20.0, Hidden { patience: Some(10), ..Hidden::rate(20.0, 1.0) }),
        ("patience 10, slow", 2.0, Hidden { patience: Some(10), ..Hidden::rate(2.0, 1.0) }),
    ] {
        let mut scene = Scene::new(caps(50.0), hidden, 1);
        row(&mut scene, name, limit, None);
        scene.run_to(180);
        let ((a, ar), (b, br)) = (scene.figures(60, 120), scene.figures(120, 180));
        println!("       hours 2, 3: used {:.3} {:.3} refused {ar:.4} {br:.4}", a / limit, b / limit);
    }
    for (connections, most) in [(10, 50), (3, 50), (1, 50), (30, 50), (50, 50)] {
        let mut scene = Scene::new(Caps::new(limits(10, Some(1000.0)), limits(most, None)), Hidden { connections, ..Hidden::rate(1e5, 1.0) }, 1);
        scene.run_to(30);
        let (rate, refused) = scene.figures(15, 30);
        print!("{connections} connections: {} at {} s, {rate:.0}/s refused {refused:.5}", scene.pacer.limits().connections, scene.seconds());
        scene.hidden.connections = connections * 3;
        scene.run_to(45);
        print!("; x3: {}", scene.pacer.limits().connections);
        scene.hidden.connections = connections / 2 + 1;
        scene.run_to(60);
        println!("; x1/2: {}  {:?}", scene.pacer.limits().connections, scene.figures(45, 60));
    }
    for messages in [5, 20, 90] {
        let mut scene = Scene::new(Caps::new(limits(10, Some(50.0)), limits(50, None)), Hidden { messages_per_connection: messages, ..Hidden::rate(1e5, 1.0) }, 1);
        scene.run_to(120);
        println!("{messages} messages: {} {:?}", scene.pacer.limits().messages_per_connection, scene.figures(10, 120));
    }
    for limit in [1.0, 30.0, 500.0] {
        let mut scene = Scene::new(Caps::new(limits(100, None), limits(100, None)), Hidden::rate(limit, 1.0), 1);
        row(&mut scene, &format!("unlimited -> {limit}"), limit, Some(2.0));
    }
}

#[test]
fn trace() {
    for (limit, burst) in [(0.02, 1.0)] {
        let mut scene = Scene::new(caps(1.0), Hidden::rate(limit, burst), 1);
        scene.run_to(75);
        for (second, change) in &scene.changes {
            println!("{second}: {change}");
        }
    }
}
