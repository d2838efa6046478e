//! A rehearsal: a sender's mail played against a pretend internet in virtual time, with the engine's own queue and
//! policy. A million recipients take seconds, and the same seed gives the same figures.
//!
//! What the engine does with sockets, disks and threads is done here with events; every decision (whose turn it is, by
//! which source, how fast, what a refusal means, when a campaign stops) is made by the crates that make it there. This
//! crate refuses to do IO, to read a clock and to decide anything itself.

mod capacity;
pub mod chart;
mod clock;
mod deliver;
mod fairness;
mod invariants;
mod invite;
mod letters;
mod lines;
mod measure;
mod mind;
mod report;
mod route;
mod rules;
mod script;
mod stage;
mod think;

use std::sync::Arc;
use std::time::Duration;

pub use invariants::Invariants;
pub use policy::brain::Mechanisms;
use policy::warmup::Ladder;
pub use report::{
    Attempts, Books, CampaignReport, ClassReport, Curve, FairnessReport, LimitFound, ProviderReport, Report,
    Speed,
};
pub use script::Mode;
use world::load::RESERVE;
use world::{World, WorldError};

/// How a world is played.
#[derive(Clone, Debug)]
pub struct Options {
    /// Takes the place of the world's own seed.
    pub seed: Option<u64>,
    /// Who decides.
    pub mode: Mode,
    /// What of the engine's policy works.
    pub mechanisms: Mechanisms,
    /// Takes the place of the world's own length.
    pub length: Option<Duration>,
    /// What of the mail is played.
    pub only: Option<Only>,
    /// From here to every provider and back.
    pub round_trip: Duration,
    /// Only one of so many recipients of each campaign is played.
    pub shrink: u64,
    /// The campaigns have so many recipients in all, shared out as the world has it.
    pub volume: Option<u64>,
    /// The ladder by which sources are warmed up that nobody knows; `careful` when left out.
    pub ladder: Option<Arc<Ladder>>,
    /// So many sources: the world's first ones, or more like its first.
    pub sources: Option<usize>,
}

/// A part of the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// Campaigns.
    Campaigns,
    /// Streams.
    Streams,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: None,
            mode: Mode::Brain,
            mechanisms: Mechanisms::default(),
            length: None,
            only: None,
            round_trip: Duration::from_millis(40),
            shrink: 1,
            volume: None,
            ladder: None,
            sources: None,
        }
    }
}

/// Why nothing was played.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The text is not a world.
    #[error(transparent)]
    World(#[from] WorldError),
    /// What the world says of the sending side makes no configuration.
    #[error("the world's sending side makes no configuration:\n{0}")]
    Configuration(String),
    /// Nobody sends anything.
    #[error("the world sends nothing: add a [[campaign]] or a [[stream]]")]
    Empty,
    /// More than can be played.
    #[error("the world has {0} recipients: at most 20 million can be played")]
    TooMany(u64),
}

/// Plays the world of a file.
///
/// # Errors
/// Says why it cannot be played.
pub fn rehearse(text: &str, options: &Options) -> Result<Report, Fault> {
    let seed = options.seed.unwrap_or(1);
    let world = World::with_sources(text, seed, options.sources)?;
    let name = world.about().name.clone();
    let length = options.length.unwrap_or(world.about().duration);
    let mut stage = invite::stage(world, options, length)?;
    stage.play(length);
    Ok(report::report(&mut stage, &name))
}

/// How many sources the world of a file has, besides those in reserve.
///
/// # Errors
/// As [`rehearse`].
pub fn sources(text: &str) -> Result<usize, Fault> {
    let world = World::from_toml(text, 1)?;
    Ok(world.load().sources.iter().filter(|source| source.pool != RESERVE).count().max(1))
}
