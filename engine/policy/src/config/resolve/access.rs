//! How the hosts of a route are spoken to: protocol and login.

use std::net::IpAddr;
use std::sync::Arc;

use mail::Secret;

use crate::TlsPolicy;
use crate::config::model::{Access, Deliver, HostPort, Login, Protocol};
use crate::config::problems::Complaint;
use crate::config::stated::Block;
use crate::config::value::StatedHost;

use super::Resolver;

impl Resolver<'_, '_> {
    pub(super) fn access(&mut self, block: &Block, tls: Option<TlsPolicy>) -> Access {
        let protocol = block.choice("protocol", &[Protocol::Smtp, Protocol::Lmtp]).unwrap_or(Protocol::Smtp);
        if protocol == Protocol::Lmtp {
            self.check_lmtp_ports(block);
        }
        Access { protocol, login: self.login(block, tls).map(Arc::new) }
    }

    /// RFC 2033 section 5: LMTP has no port of its own, and must not be spoken on that of SMTP.
    fn check_lmtp_ports(&mut self, block: &Block) {
        for (host, place) in block.list::<StatedHost>("hosts") {
            if host.port.is_none() {
                let complaint = Complaint::new(
                    format!("the host `{}` has no port", host.host),
                    "LMTP has no port of its own, and port 25 is that of SMTP",
                    format!("write the port of the mail store: \"{}:24\"", host.host),
                );
                self.problems.error(&place, complaint);
            }
        }
    }

    /// Whoever is on the path to a host whose certificate is not checked may be that host, and would be told the password:
    /// so it is kept back, and a host that can only be told it is never logged in to.
    pub(super) fn check_login_is_safe(
        &mut self,
        block: &Block,
        hosts: &[HostPort],
        tls: Option<TlsPolicy>,
        deliver: Option<&Deliver>,
    ) {
        let in_effect = tls.or(deliver.map(|deliver| deliver.tls));
        let is_safe = tls == Some(TlsPolicy::Off) || in_effect == Some(TlsPolicy::Verified);
        if is_safe || !block.has("username") || hosts.iter().all(is_loopback) {
            return;
        }
        let complaint = Complaint::new(
            "the login works only where the host offers SCRAM-SHA-256",
            "the host's certificate is not checked, so by PLAIN or LOGIN anybody on the way could have the password",
            "write tls = \"verified\" in the route; a host with a certificate of its own making needs deliver.ca_file too",
        );
        self.problems.warning(&block.place_of("username"), complaint);
    }

    fn login(&mut self, block: &Block, tls: Option<TlsPolicy>) -> Option<Login> {
        let username: Option<String> = block.get("username");
        let password: Option<String> = block.get("password");
        let password_file = self.path(block, "password_file");
        match (block.has("username"), block.has("password"), block.has("password_file")) {
            (false, false, false) => return None,
            (true, true, false) | (true, false, true) => {}
            (true, true, true) => {
                let complaint = Complaint::new(
                    "the password stands in two places",
                    "there are both `password` and `password_file`",
                    "keep one; the file is better, since others may read the configuration",
                );
                self.problems.error(&block.place_of("password"), complaint);
            }
            (true, false, false) => {
                let complaint = Complaint::new(
                    "the login has no password",
                    "there is neither `password` nor `password_file`",
                    "write password_file = \"relay.password\", a file with the password in its first line",
                );
                self.problems.error(&block.place_of("username"), complaint);
            }
            (false, ..) => {
                let key = if block.has("password") { "password" } else { "password_file" };
                let complaint = Complaint::new(
                    "the password belongs to nobody",
                    "there is no `username`",
                    "write the username too, or remove the password",
                );
                self.problems.error(&block.place_of(key), complaint);
            }
        }
        Some(Login {
            username: username?,
            password: Secret::new(password.unwrap_or_default()),
            password_file,
            in_clear: tls == Some(TlsPolicy::Off),
        })
    }
}

/// What goes to it stays on this machine.
fn is_loopback(host: &HostPort) -> bool {
    host.host == "localhost" || host.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
