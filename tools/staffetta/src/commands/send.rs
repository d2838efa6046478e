//! `staffetta send`: a campaign to a list, or one message as it is.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use policy::Rate;

use crate::engine::Connect;

mod campaign;
mod letter;
mod list;
mod preview;
mod raw;

/// Options of `send`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("subject-matter").required(true).args(["template", "raw", "campaign"]))]
pub(crate) struct Send {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    connect: Connect,
}

/// What is sent, and to whom.
#[derive(Args, Clone, Debug)]
struct What {
    /// The author: "ann@example.com" or "Ann <ann@example.com>"; with --raw the envelope sender
    #[arg(long, value_name = "ADDRESS", help_heading = "What")]
    from: Option<String>,
    /// What to send to everybody: an .html, .txt or .eml file with {{ merge fields }}
    #[arg(long, value_name = "FILE", requires = "recipients", help_heading = "What")]
    template: Option<PathBuf>,
    /// The list: .csv with a header row (a column `email`; the others are merge fields), or .ndjson
    #[arg(long, value_name = "FILE", conflicts_with = "raw", help_heading = "What")]
    recipients: Option<PathBuf>,
    /// One message as it is: an .eml file
    #[arg(long, value_name = "FILE", help_heading = "What")]
    raw: Option<PathBuf>,
    /// With --raw: who receives it [default: To, Cc and Bcc of the message]
    #[arg(long, value_name = "ADDRESS", requires = "raw", num_args = 1.., help_heading = "What")]
    to: Vec<String>,
    /// The subject [default: that of the .eml, the title of the .html]
    #[arg(long, conflicts_with = "raw", help_heading = "What")]
    subject: Option<String>,
    /// With an .html template: its plain-text version
    #[arg(long, value_name = "FILE", requires = "template", help_heading = "What")]
    text: Option<PathBuf>,
    /// A header to add; its value may hold merge fields
    #[arg(long, value_name = "NAME: VALUE", requires = "template", help_heading = "What")]
    header: Vec<String>,
    /// Where one click unsubscribes; may hold merge fields
    #[arg(long, value_name = "URL", requires = "template", help_heading = "What")]
    list_unsubscribe: Option<String>,
    /// The name of the campaign [default: the subject]
    #[arg(long, requires = "template", help_heading = "What")]
    name: Option<String>,
}

/// How it is sent.
#[derive(Args, Clone, Debug)]
struct How {
    /// critical, transactional, personal or bulk
    #[arg(long, help_heading = "How")]
    class: Option<mail::Class>,
    /// Hand over at most so many recipients per time, such as 500/s; the campaign runs meanwhile
    #[arg(long, value_name = "RATE", value_parser = parse_rate, conflicts_with = "raw", help_heading = "How")]
    rate: Option<Rate>,
    /// Check template and list, print the first N messages and send nothing; needs no engine
    #[arg(long, value_name = "N", requires = "template", conflicts_with = "campaign", help_heading = "How")]
    dry_run: Option<usize>,
    /// Leave when the list is handed over, and let the engine go on alone
    #[arg(long, conflicts_with = "raw", help_heading = "How")]
    detach: bool,
    /// Go on with a campaign that was interrupted while its list was handed over
    #[arg(long, value_name = "ID", requires = "recipients", help_heading = "How")]
    campaign: Option<mail::CampaignId>,
    /// With --campaign: lines of the list that were handed over already
    #[arg(long, value_name = "LINES", default_value_t = 0, requires = "campaign", help_heading = "How")]
    skip: u64,
}

impl Send {
    /// Sends, or shows what would be sent.
    ///
    /// # Errors
    /// When something is wrong with template, list or message, or the engine refuses.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        if let Some(raw) = &self.what.raw {
            return super::block_on(raw::send(self, raw));
        }
        if let Some(count) = self.how.dry_run {
            return preview::print(self, count);
        }
        super::block_on(campaign::send(self))
    }
}

/// `500/s`, `5000/h`: as in the configuration.
fn parse_rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("`{text}` is not a rate: write 500/s, 3000/min, 100000/h or 1000000/d");
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count.trim().replace(['_', ','], "").parse().map_err(|_| wrong())?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    Rate::new(count, std::time::Duration::from_secs(seconds)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_in_the_configuration() {
        for (text, shown) in
            [("500/s", "500/s"), ("5000/h", "5000/h"), ("1_000/min", "1000/min"), ("1,000/d", "1000/d")]
        {
            assert_eq!(parse_rate(text).expect(text).to_string(), shown);
        }
        for text in ["500", "x/s", "0/s", "5/y", "-1/s"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
