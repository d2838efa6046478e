//! `staffetta`: the one binary. It reads the command line, runs one command and turns errors into exit codes;
//! everything else lives in the commands.

mod cli;
mod commands;
mod config;
mod engine;
mod house;
mod receiver;
mod ui;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What went wrong was already said; only the exit code is left to give.
#[derive(Debug)]
pub(crate) struct Silent;

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Silent {}

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Silent>() => ExitCode::FAILURE,
        Err(error) if error.is::<commands::Usage>() => {
            eprintln!("{} {error}", ui::paint::Paint::stderr().red("error:"));
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("{} {error:#}", ui::paint::Paint::stderr().red("error:"));
            ExitCode::FAILURE
        }
    }
}

/// The reader of our output went away (`| head`): that is its right.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
