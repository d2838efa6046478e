//! `inject`: the command line of the injector. What it sends and how it measures is in the crate of that name.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};

/// Sends test messages by SMTP, one recipient each, and prints rate and latencies as JSON.
#[derive(Parser, Clone, Debug)]
#[command(name = "inject", version)]
struct Options {
    /// Where to send
    #[arg(long, default_value = "127.0.0.1:2525")]
    to: SocketAddr,
    /// Connections at the same time
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=30_000))]
    connections: u16,
    /// Threads that share the connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Messages in all
    #[arg(long, default_value_t = 10_000)]
    messages: u64,
    #[command(flatten)]
    text: Text,
    /// Messages per connection; 0 is no limit
    #[arg(long, default_value_t = 0)]
    per_connection: u64,
    /// How commands are sent
    #[arg(long, value_enum, default_value_t = Mode::Lockstep)]
    mode: Mode,
    /// Messages per second in all, begun on time whether or not those before are answered; 0 is as fast as answers come
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    rate: f64,
    /// Number of the first message
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Appends the recipient of every acknowledged message to this file, one a line
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    /// Seconds to keep trying to connect, at the start and after a connection broke
    #[arg(long, default_value_t = 5)]
    patience: u64,
}

/// What stands in a message.
#[derive(Args, Clone, Debug)]
struct Text {
    /// Bytes of each message
    #[arg(long, default_value_t = 10_240, value_parser = clap::value_parser!(u32).range(i64::from(inject::BYTES_MIN)..=100_000_000))]
    bytes: u32,
    /// Envelope sender
    #[arg(long, default_value = "sender@inject.test")]
    from: String,
    /// Recipient; {n} is the number of the message, {d} that of its destination
    #[arg(long, default_value = "user{n}@sink.test")]
    rcpt: String,
    /// Destinations that the messages go to in turn: what {d} counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(inject::DESTINATIONS_MAX)))]
    destinations: u32,
    /// Header lines to add, as in "X-Staffetta-Class: bulk"
    #[arg(long, value_name = "LINE")]
    header: Vec<String>,
    /// Adds the header X-Inject-Time to each message: microseconds since 1970 when it was (or should have been) begun
    #[arg(long)]
    stamp: bool,
}

/// How many replies are awaited before the next command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Every command waits for its reply: four round trips a message, as smtp-source does.
    Lockstep,
    /// MAIL, RCPT and DATA together, then the body: two round trips.
    Pipelined,
    /// MAIL, RCPT, BDAT and the body together: one round trip.
    Flight,
}

impl From<Options> for inject::Options {
    fn from(said: Options) -> Self {
        let Text { bytes, from, rcpt, destinations, header, stamp } = said.text;
        Self {
            to: said.to,
            connections: said.connections,
            threads: said.threads,
            messages: said.messages,
            text: inject::Text { bytes, from, rcpt, destinations, header, stamp },
            per_connection: said.per_connection,
            mode: match said.mode {
                Mode::Lockstep => inject::Mode::Lockstep,
                Mode::Pipelined => inject::Mode::Pipelined,
                Mode::Flight => inject::Mode::Flight,
            },
            rate: said.rate,
            first: said.first,
            acknowledged: said.acknowledged,
            patience: Duration::from_secs(said.patience),
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e7).contains(&rate) => Ok(rate),
        _ => Err("messages per second, at most 10 million".to_owned()),
    }
}

fn main() -> ExitCode {
    match inject::run(&Options::parse().into()) {
        Ok(report) => {
            println!("{}", report.to_json());
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("inject: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}
