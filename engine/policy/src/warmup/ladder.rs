//! The ladders: the built-in table and the form of an operator's own.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

/// The table.
const TABLE: &str = include_str!("../../data/warmup.toml");

static BUILTIN: LazyLock<Vec<Arc<Ladder>>> = LazyLock::new(|| {
    let file: File = toml::from_str(TABLE).expect("a test reads the table that is compiled in");
    file.ladder.into_iter().map(Arc::new).collect()
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    ladder: Vec<Ladder>,
}

/// What the steps of a ladder count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LadderUnit {
    /// Messages a day. An hour holds at most an eighth of them, so that a working day has room for all and no hour is a jump.
    #[default]
    Day,
    /// Messages an hour.
    Hour,
}

/// How many messages may go on each day of a warm-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// Its name in the configuration.
    pub name: String,
    /// What the steps count.
    #[serde(default)]
    pub unit: LadderUnit,
    /// Messages per unit, day by day; not empty, none zero, none smaller than the one before.
    pub steps: Vec<u32>,
}

/// The part of a day's messages that one hour may hold at most, as a divisor.
const HOURS_OF_A_DAY: u64 = 8;

impl Ladder {
    /// The built-in ladders.
    #[must_use]
    pub fn builtin() -> &'static [Arc<Self>] {
        &BUILTIN
    }

    /// The built-in ladder called `name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Arc<Self>> {
        BUILTIN.iter().find(|ladder| ladder.name == name).cloned()
    }

    /// Messages of a day on step `step` (0 is the first); `None` behind the last: no limit.
    #[must_use]
    pub fn per_day(&self, step: usize) -> Option<u64> {
        let count = u64::from(*self.steps.get(step)?);
        Some(match self.unit {
            LadderUnit::Day => count,
            LadderUnit::Hour => count * 24,
        })
    }

    /// Messages of any hour on step `step`; `None` behind the last.
    #[must_use]
    pub fn per_hour(&self, step: usize) -> Option<u64> {
        let count = u64::from(*self.steps.get(step)?);
        Some(match self.unit {
            LadderUnit::Day => count.div_ceil(HOURS_OF_A_DAY),
            LadderUnit::Hour => count,
        })
    }

    /// How many steps it has.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ladders_climb() {
        let names: Vec<_> = Ladder::builtin().iter().map(|ladder| ladder.name.as_str()).collect();
        assert_eq!(names, ["sendgrid", "sparkpost", "generic", "careful"]);
        for ladder in Ladder::builtin() {
            assert!(ladder.steps.is_sorted() && ladder.steps[0] > 0, "{}", ladder.name);
            assert_eq!(ladder.per_day(ladder.steps()), None);
        }
    }

    #[test]
    fn hours_and_days() {
        let by_hour = Ladder::by_name("sendgrid").expect("built in");
        assert_eq!((by_hour.per_hour(1), by_hour.per_day(1)), (Some(28), Some(672)));
        let by_day = Ladder::by_name("generic").expect("built in");
        assert_eq!((by_day.per_hour(0), by_day.per_day(0)), (Some(7), Some(50)));
    }
}
