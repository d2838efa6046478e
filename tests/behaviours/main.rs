//! What the whole engine does, shown on real sockets on loopback: one binary, one file per subject.

mod accounts;
mod brain;
mod campaigns;
mod classes;
mod delivery;
mod hostile;
mod house;
mod limits;
mod receivers;
mod restart;
mod sink;
mod spool_faults;
mod start;
mod submission;
mod transactions;
