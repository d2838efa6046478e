//! The command line: every command and what it is for. Options of a command stand in the command's own file.

use clap::{Parser, Subcommand};

use crate::commands::{
    accounts, bench, campaign, check, completions, decisions, demo, events, explain_reply, init, ledger,
    plan, queue, reputation, send, serve, sink, source, spool, tls_report, top, trace, why,
};

/// An outbound mail engine: it takes mail by SMTP and HTTP, keeps it durably and delivers it as fast as each receiver welcomes it.
#[derive(Parser, Debug)]
#[command(name = "staffetta", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Write a commented configuration and a DKIM key, and print the DNS records to publish
    Init(init::Init),
    /// Check a configuration and this host: every problem at once, with its cure
    Check(check::Check),
    /// Run the engine in the foreground
    Serve(serve::Serve),
    /// Show the whole engine at work against pretend providers, in one process on loopback
    Demo(demo::Demo),
    /// Send a campaign to a list, or one message
    Send(Box<send::Send>),
    /// Show the ledger: what was accepted, and what became of it
    Ledger(ledger::Ledger),
    /// Look at and steer the queues
    Queue(queue::Queue),
    /// Look at the addresses that mail leaves from, and at their warm-up
    Source(source::Source),
    /// Show how welcome the mail of each source, sender, account and campaign is
    Reputation(reputation::Reputation),
    /// Show the accounts, and how much of their quotas they have used
    Accounts(accounts::Accounts),
    /// Look at and steer campaigns
    Campaign(campaign::Campaign),
    /// Say why a recipient waits, and everything that happened to it
    Why(why::Why),
    /// Find what was sent to an address
    Trace(trace::Trace),
    /// Say what a receiver's reply means, by which rule, and what is done about it
    ExplainReply(explain_reply::ExplainReply),
    /// List what happened, or follow it
    Events(events::Events),
    /// List what the engine has decided by itself, with the reasons, or follow it
    Decisions(decisions::Decisions),
    /// Show how connections to domains were protected, as their TLS reports will say
    TlsReport(tls_report::TlsReport),
    /// Watch the engine
    Top(top::Top),
    /// Receive mail and count it: a receiver for tests
    Sink(sink::Sink),
    /// Predict when a mailing arrives, by playing it against a pretend internet
    Plan(plan::Plan),
    /// Measure what the engine costs on this machine, with engines of its own on loopback
    Bench(bench::Bench),
    /// Inspect a spool directory without touching it
    Spool(spool::Spool),
    /// Print completions for a shell
    Completions(completions::Completions),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever stopped it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Init(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Serve(command) => command.run(),
            Command::Demo(command) => command.run(),
            Command::Send(command) => command.run(),
            Command::Ledger(command) => command.run(),
            Command::Queue(command) => command.run(),
            Command::Source(command) => command.run(),
            Command::Reputation(command) => command.run(),
            Command::Accounts(command) => command.run(),
            Command::Campaign(command) => command.run(),
            Command::Why(command) => command.run(),
            Command::Trace(command) => command.run(),
            Command::ExplainReply(command) => command.run(),
            Command::Events(command) => command.run(),
            Command::Decisions(command) => command.run(),
            Command::TlsReport(command) => command.run(),
            Command::Top(command) => command.run(),
            Command::Sink(command) => command.run(),
            Command::Plan(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Spool(command) => command.run(),
            Command::Completions(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn contract_command_lines_are_understood() {
        for line in [
            "init --dir /tmp/x",
            "check --config f",
            "serve --config f",
            "demo --messages 10 --shards 2 --seconds 5 --json --keep",
            "send --from a@b.test --template t.html --recipients r.csv --subject S --class bulk --rate 500/s --dry-run 3",
            "send --raw f.eml --to a@b.test --to c@d.test",
            "ledger --config f --json",
            "queue ls --control /run/s",
            "queue resume --account shop",
            "source ls --json",
            "reputation --of source",
            "source warmup plan --ladder generic --volume 50000",
            "source warmup start a --provider google --day 3 --ladder careful --json",
            "source warmup status",
            "queue suspend --provider gmail --seconds 60",
            "queue resume --provider gmail",
            "why 0040000000c80 --lang it",
            "trace a@b.test",
            "accounts --json",
            "campaign ls",
            "campaign show 0040000000c80",
            "campaign start 0040000000c80",
            "campaign pause 0040000000c80",
            "campaign resume 0040000000c80",
            "campaign cancel 0040000000c80",
            "events --follow",
            "decisions --follow --json",
            "decisions --after 7",
            "tls-report a.test --day 2026-11-22 --json",
            "explain-reply -1 --provider gmail --phase rcpt --lang it --json",
            "top",
            "plan --world calm-day --volume 1000000 --sources 4 --within 4h --compare --plot p.svg --seed 3 --json",
            "plan --world calm-day --machine m.toml --cores 8 --bytes 20000 --signed ed25519 --plain",
            "bench --quick --dir /tmp --messages 300 --shards 1 --check --write m.toml --json",
            "sink --listen 127.0.0.1:2526 --listen 127.0.0.1:2527 --world w.toml --keep d --json --quiet --ids f",
            "spool verify /tmp/x",
            "spool cat /tmp/x --json",
            "completions bash",
        ] {
            let arguments = std::iter::once("staffetta").chain(line.split(' '));
            if let Err(error) = Cli::try_parse_from(arguments) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_usage_is_a_usage_error() {
        for line in [
            "",
            "frobnicate",
            "send",
            "send --raw f --template t",
            "why",
            "queue suspend",
            "source warmup start",
            "source warmup start a --day 0",
            "ledger --config a --control b",
            "campaign",
            "check",
        ] {
            let arguments = std::iter::once("staffetta").chain(line.split_whitespace());
            let error = Cli::try_parse_from(arguments).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
