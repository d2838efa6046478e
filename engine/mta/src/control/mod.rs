//! What is not per message: starting and stopping, destinations, and the handle by which others use the engine.

mod ask;
pub(crate) mod destination;
mod ending;
mod engine;
mod handle;
mod mind;
mod outlook;
mod room;
mod start;
mod takeover;
mod warming;

pub use engine::Engine;
pub use handle::{BATCH_MAX, Handle};
pub use start::StartError;
