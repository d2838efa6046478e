//! Holds the criterion benchmarks; it has no code of its own.
