//! Content that repeats.

use std::time::Duration;

/// `[classify]`: what is done about content that repeats, and when it counts as repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// What is done.
    pub action: Action,
    /// How long content is remembered.
    pub window: Duration,
    /// How many recipients it must have had within that time.
    pub recipients: u32,
}

/// What is done about a message whose content repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is counted and logged.
    Warn,
    /// Where nothing but the default gave it a class, it becomes bulk as well.
    Reclass,
    /// Nothing: no content is read.
    Off,
}

impl Action {
    /// The names of the configuration file, in the order of [`Action::ALL`].
    pub const NAMES: [&'static str; 3] = ["warn", "reclass", "off"];
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Warn, Self::Reclass, Self::Off];
}

impl Default for Behaviour {
    /// As without a `[classify]` section.
    fn default() -> Self {
        Self { action: Action::Warn, window: Duration::from_secs(3600), recipients: 200 }
    }
}
