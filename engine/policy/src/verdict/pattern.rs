//! Patterns of reply texts.
