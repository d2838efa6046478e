//! Holds the behaviours of the whole engine; it has no code of its own.
