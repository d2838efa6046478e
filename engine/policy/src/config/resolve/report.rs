//! What others are told.

use mail::Address;

use crate::config::model::{Domain, TlsReport};
use crate::config::problems::Complaint;

use super::Resolver;

impl Resolver<'_, '_> {
    pub(super) fn tls_report(&mut self, domains: &[Domain]) -> TlsReport {
        let Some(block) = self.once("tls_report") else { return TlsReport::default() };
        let place = block.place_of("from");
        let from = block.get::<String>("from").and_then(|text| match Address::parse(&text) {
            Ok(address) => Some(address),
            Err(error) => {
                let complaint = Complaint::new(
                    format!("`{text}` is no address: {error}"),
                    "a name, or a domain alone",
                    "write it like \"tls-reports@example.test\"",
                );
                self.problems.error(&place, complaint);
                None
            }
        });
        let signs = |from: &Address| {
            let name = from.domain().to_ascii_lowercase();
            domains.iter().any(|domain| {
                let above = name.strip_suffix(&domain.name);
                !domain.dkim.is_empty() && above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
        };
        if let Some(from) = from.as_ref().filter(|from| !signs(from)) {
            let complaint = Complaint::new(
                "reports leave without a signature",
                format!(
                    "no [[domain]] for {} has a DKIM key; receivers are to ignore unsigned reports (RFC 8460 section 3)",
                    from.domain()
                ),
                format!(
                    "add a [[domain]] of this name with a [[domain.dkim]], or send from a domain that has one: name = \"{}\"",
                    from.domain()
                ),
            );
            self.problems.warning(&place, complaint);
        }
        TlsReport { from, organization: block.get("organization"), contact: block.get("contact") }
    }
}
