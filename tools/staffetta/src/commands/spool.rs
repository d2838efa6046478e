//! `staffetta spool`: looks into a spool directory, also of a running engine or a damaged one, and changes nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand};

mod cat;
mod verify;

/// Options of `spool`.
#[derive(Args, Debug)]
pub(crate) struct Spool {
    #[command(subcommand)]
    verb: Verb,
}

/// A spool to look into.
#[derive(Args, Debug)]
struct Place {
    /// The data directory, its `spool` directory, or the directory of one shard
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Check every checksum and count the records; exit status 1 when something is damaged
    Verify(Place),
    /// Print every record, one a line
    Cat {
        #[command(flatten)]
        place: Place,
        /// Print the messages and templates too
        #[arg(long)]
        bodies: bool,
    },
}

impl Spool {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// When the directory cannot be read, or `verify` finds damage.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match &self.verb {
            Verb::Verify(place) => verify::run(place),
            Verb::Cat { place, bodies } => cat::run(place, *bodies),
        }
    }
}

impl Place {
    /// The segment files.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let files = spool::inspect::segment_files(&self.dir)?;
        if files.is_empty() {
            anyhow::bail!("{} holds no spool segments (DIR/SHARD/NUMBER.seg)", self.dir.display());
        }
        Ok(files)
    }
}
