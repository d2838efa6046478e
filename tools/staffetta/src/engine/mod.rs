//! The way to a running engine: where it listens, and a small HTTP client over its control socket or address.

pub(crate) mod client;
pub(crate) mod target;
pub(crate) mod value;

pub(crate) use client::{Body, Client};
pub(crate) use target::{Connect, Target};
