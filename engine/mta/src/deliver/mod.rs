//! The way out: per path a pool of connections, each taking the next recipient as soon as its receiver can take one.

mod abilities;
mod avoided;
mod connection;
mod consequence;
mod current;
mod desk;
mod flight;
mod job;
mod open;
mod outcome;
mod pool;
mod protection;
mod refusal;
mod signing_threads;
mod told;

pub(crate) use pool::{Pool, Pools};
pub(crate) use signing_threads::SigningThreads;
