//! The worlds that come with the program.

/// The pretend providers of `staffetta demo` and of `staffetta sink --world builtin`.
pub(crate) const BUILTIN: &str = include_str!("../data/builtin.toml");

/// Name and text of the others.
pub(crate) const WORLDS: &[(&str, &str)] = &[("calm-day", include_str!("../worlds/calm-day.toml"))];
