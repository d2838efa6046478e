//! The protocol as its peers see it: transcripts of both sides, and both sides against each other.

mod bounds;
mod conversation;
mod pair;
mod script;
mod transcripts_client;
mod transcripts_server;
