//! Which addresses the engine may connect to when strangers have named them: in DNS, for mail, policies and reports alike.

use std::net::IpAddr;
use std::sync::Arc;

use policy::Network;

use super::ourselves::Ourselves;
use crate::resolve::dialable;

/// What may be dialled. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ourselves: Ourselves,
    /// What may be dialled although it is private, or this host.
    allowed: Vec<Network>,
}

impl Reach {
    pub(crate) fn new(ourselves: Ourselves, allowed: &[Network]) -> Self {
        Self { shared: Arc::new(Shared { ourselves, allowed: allowed.to_vec() }) }
    }

    /// Whether the engine may connect to an address that DNS has named.
    pub(crate) fn may_dial(&self, ip: IpAddr) -> bool {
        let Shared { ourselves, allowed } = &*self.shared;
        dialable(ip, allowed) && (!ourselves.has(ip) || self.is_stated(ip))
    }

    /// Whether the operator has named the address as one that may be dialled.
    pub(crate) fn is_stated(&self, ip: IpAddr) -> bool {
        self.shared.allowed.iter().any(|network| network.contains(ip))
    }

    pub(super) fn ourselves(&self) -> &Ourselves {
        &self.shared.ourselves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_dialled_only_where_the_operator_allows_it() {
        let config = "[node]\ndata_dir = \"d\"\n[[smtp_listener]]\naddress = \"198.51.100.7:25\"\n";
        let config = policy::config::check("f.toml", config).config.expect("a configuration");
        let reach = |allowed: &[Network]| Reach::new(Ourselves::new(&config, "out.test"), allowed);
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (text, expected) in
            [("198.51.100.8", true), ("198.51.100.7", false), ("64:ff9b::198.51.100.7", false)]
        {
            assert_eq!(reach(&[]).may_dial(ip(text)), expected, "{text}");
        }
        assert!(reach(&["198.51.100.7/32".parse().expect("a network")]).may_dial(ip("198.51.100.7")));
    }
}
