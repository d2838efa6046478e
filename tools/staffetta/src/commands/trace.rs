//! `staffetta trace`: every attempt for one address, found by reading the feed from its beginning.

use clap::Args;

use super::events::{self, Feed};
use crate::engine::{Connect, value};
use crate::ui::{self, human, paint::Paint};

/// Events read at a time.
const PAGE_EVENTS: u64 = 10_000;

/// Options of `trace`.
#[derive(Args, Debug)]
pub(crate) struct Trace {
    /// The recipient's address, or @DOMAIN for all of a domain
    address: String,
    #[command(flatten)]
    connect: Connect,
}

impl Trace {
    /// Prints what happened to mail for the address.
    ///
    /// # Errors
    /// When the engine cannot be asked, or there was no attempt.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(self.search())
    }

    async fn search(&self) -> anyhow::Result<()> {
        let mut feed = Feed::new(self.connect.client()?, "");
        let paint = Paint::stdout();
        let (mut found, mut read) = (0_u64, 0_u64);
        loop {
            let page = feed.page(PAGE_EVENTS, false).await?;
            if page.is_empty() {
                break;
            }
            read += page.len() as u64;
            for event in page.iter().filter(|event| is_meant(&self.address, &value::text(event, "address"))) {
                found += 1;
                let id = value::text(event, "recipient");
                let line = format!("{}  {}", paint.bold(&id), events::line(event, paint));
                ui::line(if self.connect.json { event.to_string() } else { line }.as_str())?;
            }
        }
        if found == 0 {
            anyhow::bail!(
                "no attempt for {} among {}; what still waits for its first attempt is not listed here",
                self.address,
                human::plural(read, "event")
            );
        }
        if !self.connect.json {
            let hint = format!("more about one: staffetta why ID{}", self.connect.repeat());
            eprintln!("{}", Paint::stderr().dim(&hint));
        }
        Ok(())
    }
}

/// Whether `address` is the one, or of the domain, that is wanted. The local part keeps its case, as receivers may want it.
fn is_meant(wanted: &str, address: &str) -> bool {
    if let Some(domain) = wanted.strip_prefix('@') {
        return address.rsplit_once('@').is_some_and(|(_, of)| of.eq_ignore_ascii_case(domain));
    }
    address.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_domains_are_found() {
        assert!(is_meant("Ann@x.test", "ann@x.test"));
        assert!(is_meant("@X.test", "ann@x.test"));
        assert!(!is_meant("@test", "ann@x.test"));
        assert!(!is_meant("nn@x.test", "ann@x.test"));
    }
}
