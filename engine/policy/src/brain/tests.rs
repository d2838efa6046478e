//! The brain as a whole, in virtual time.
