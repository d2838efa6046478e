//! Cold addresses climbing their ladder, seed by seed: whether they reach their volume without being blocked.

use serde_json::{Value, json};

/// Plays `seeds` seeds.
pub(crate) fn play(seeds: u64) -> anyhow::Result<Value> {
    Ok(json!({ "seeds": seeds }))
}
