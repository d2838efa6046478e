//! What a machine can send: processor time per message as a sum of stages, and the rate at which processor, disk, connections
//! or a receiver's limit end it. Its coefficients are measured (`staffetta bench`) and given to it; it measures nothing itself.

mod cost;
mod fit;
mod machine;
mod rate;

pub use cost::{Cost, Signing, Stage, Way, Work};
pub use fit::{Gap, Sample, fit};
pub use machine::{Costs, Disk, Facts, Fault, Line, Machine};
pub use rate::{Limit, Path, Rate, finish_s};
