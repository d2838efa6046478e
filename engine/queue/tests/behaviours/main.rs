//! What the queue promises, in virtual time.

mod ahead;
mod books;
mod campaigns;
mod expiry;
mod fairness;
mod liveness;
mod paths;
mod places;
mod scene;
mod shares;
mod size;
mod turmoil;
