//! Pictures of the proof: what arrives over time in each world, by the engine's policy and by the static configuration.

use serde_json::Value;
use simulator::chart::svg;

/// Points of one line at most: more do not show.
const POINTS_MAX: usize = 500;

/// A picture for each world: its file name, and the SVG.
pub(crate) fn of(proof: &Value) -> Vec<(String, String)> {
    let worlds = proof["worlds"].as_array().cloned().unwrap_or_default();
    worlds.iter().map(picture).collect()
}

fn picture(world: &Value) -> (String, String) {
    let name = world["name"].as_str().unwrap_or_default();
    let lines: Vec<_> = ["brain", "static"].map(|mode| (mode.to_owned(), points(&world[mode]))).into();
    (format!("{name}.svg"), svg(name, ("hours", "recipients delivered"), &lines))
}

/// Hours, and what all providers together had been delivered by then.
fn points(run: &Value) -> Vec<(f64, f64)> {
    let mut minutes: Vec<f64> = Vec::new();
    for provider in run["providers"].as_array().into_iter().flatten() {
        let by_minute = provider["by_minute"].as_array().cloned().unwrap_or_default();
        minutes.resize(minutes.len().max(by_minute.len()), 0.0);
        minutes.iter_mut().zip(&by_minute).for_each(|(sum, minute)| *sum += minute.as_f64().unwrap_or(0.0));
    }
    let mut sum = 0.0;
    let point = |(minute, delivered): (usize, f64)| {
        sum += delivered;
        ((minute + 1) as f64 / 60.0, sum)
    };
    let every = minutes.len().div_ceil(POINTS_MAX).max(1);
    minutes.into_iter().enumerate().map(point).step_by(every).collect()
}
