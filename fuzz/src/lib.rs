//! What the fuzz targets share: how bytes become segments, and how everything in a segment is read.

pub mod input;
pub mod reading;
pub mod script;
