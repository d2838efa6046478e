//! Who calls: the operator of this host or an account with its token.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, StatusCode, header};
use mail::Address;
use policy::config::{Account, SecretHash};

use crate::ApiError;

/// From where a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Through the control socket, whose file only its owner may open.
    Control,
    /// Over TCP.
    Network(SocketAddr),
}

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The operator: sees and does everything.
    Operator,
    /// An account: sees and does what is its own.
    Account(Box<Account>),
}

impl Caller {
    /// Finds out who calls.
    ///
    /// # Errors
    /// Nobody who may.
    pub fn identify(accounts: &[Account], peer: Peer, headers: &HeaderMap) -> Result<Self, ApiError> {
        let Peer::Network(address) = peer else { return Ok(Self::Operator) };
        if accounts.iter().any(|account| account.token_hash.is_some()) {
            return by_token(accounts, headers);
        }
        if !is_loopback(address.ip()) {
            let message =
                "no account has a token_hash, and without one requests are taken from loopback only";
            return Err(ApiError::forbidden(message));
        }
        refuse_foreign_pages(headers)?;
        Ok(Self::Operator)
    }

    /// The account's name; empty for the operator.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.account().map_or("", |account| account.name.as_str())
    }

    /// The account, unless it is the operator.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Operator => None,
            Self::Account(account) => Some(account),
        }
    }

    /// Whether what belongs to `tenant` is theirs to see.
    #[must_use]
    pub fn may_see(&self, tenant: &str) -> bool {
        self.account().is_none_or(|account| account.name == tenant)
    }

    /// Whether they may send as `sender`.
    ///
    /// # Errors
    /// They may not.
    pub fn may_send_as(&self, sender: &Address) -> Result<(), ApiError> {
        let Some(account) = self.account() else { return Ok(()) };
        let allows = |allowed: &String| match allowed.strip_prefix('@') {
            Some(domain) => sender.domain().eq_ignore_ascii_case(domain),
            None => sender.as_str().eq_ignore_ascii_case(allowed),
        };
        if account.senders.is_empty() || account.senders.iter().any(allows) {
            return Ok(());
        }
        let message = format!("the account `{}` may not send as {sender}", account.name);
        Err(ApiError::new(StatusCode::FORBIDDEN, "sender_not_allowed", message).in_field("from"))
    }

    /// Refuses accounts: what follows concerns all of them.
    ///
    /// # Errors
    /// It is an account.
    pub fn must_be_operator(&self) -> Result<(), ApiError> {
        match self {
            Self::Operator => Ok(()),
            Self::Account(_) => {
                Err(ApiError::forbidden("only the operator may do this, through the control socket"))
            }
        }
    }
}

/// Every hash is compared, in constant time, so that the time taken tells nothing about any of them.
fn by_token(accounts: &[Account], headers: &HeaderMap) -> Result<Caller, ApiError> {
    let refused = |message| ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
    let Some(token) = bearer(headers) else {
        return Err(refused("send the account's token: Authorization: Bearer TOKEN"));
    };
    let given = digest(&SHA256, token.as_bytes());
    let mut found = None;
    for account in accounts {
        if let Some(SecretHash::Sha256(hash)) = &account.token_hash
            && verify_slices_are_equal(hash, given.as_ref()).is_ok()
        {
            found = Some(account);
        }
    }
    let account = found.ok_or_else(|| refused("no account has this token"))?;
    Ok(Caller::Account(Box::new(account.clone())))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Without tokens, a web page in a browser on this host could call the API: by a form or script of its own origin, or
/// by a name of its own that resolves to loopback. Both show in the headers that browsers send.
fn refuse_foreign_pages(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or("localhost");
    let name =
        host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let is_local_name = name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(is_loopback);
    let is_own_page = text(header::ORIGIN).is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    });
    if is_local_name && is_own_page {
        return Ok(());
    }
    Err(ApiError::forbidden("the request comes from a web page of another origin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, token: &str, senders: &[&str]) -> Account {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Account {
            name: name.to_owned(),
            password_hash: None,
            token_hash: Some(SecretHash::Sha256(hash)),
            class: None,
            rules: Vec::new(),
            pool: None,
            senders: senders.iter().map(|&sender| sender.to_owned()).collect(),
            quota: None,
        }
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|&(name, value)| {
                (name.parse::<axum::http::HeaderName>().expect("a name"), value.parse().expect("a value"))
            })
            .collect()
    }

    fn status(
        accounts: &[Account],
        peer: &str,
        list: &[(&'static str, &'static str)],
    ) -> Result<String, u16> {
        let peer = Peer::Network(peer.parse().expect("an address"));
        Caller::identify(accounts, peer, &headers(list))
            .map(|caller| caller.tenant().to_owned())
            .map_err(|error| error.status().as_u16())
    }

    #[test]
    fn tokens_find_their_account() {
        let accounts = [account("a", "secret-a", &[]), account("b", "secret-b", &[])];
        for (value, found) in [
            ("Bearer secret-a", Ok("a")),
            ("bearer  secret-b ", Ok("b")),
            ("Bearer secret-c", Err(401)),
            ("Bearer ", Err(401)),
            ("Basic secret-a", Err(401)),
            ("secret-a", Err(401)),
        ] {
            let seen = status(&accounts, "127.0.0.1:9", &[("authorization", value)]);
            assert_eq!(seen, found.map(str::to_owned), "{value}");
        }
        assert_eq!(status(&accounts, "127.0.0.1:9", &[]), Err(401));
        assert_eq!(
            Caller::identify(&accounts, Peer::Control, &HeaderMap::new()).expect("allowed"),
            Caller::Operator
        );
    }

    #[test]
    fn without_accounts_only_this_host_may_call() {
        for (peer, headers, found) in [
            ("127.0.0.1:9", &[][..], Ok("")),
            ("127.0.0.9:9", &[("host", "127.0.0.9:8025")], Ok("")),
            ("[::1]:9", &[("host", "[::1]:8025")], Ok("")),
            ("[::1]:9", &[("host", "[::1]")], Ok("")),
            ("[::ffff:127.0.0.1]:9", &[("host", "localhost:8025")], Ok("")),
            ("127.0.0.1:9", &[("host", "localhost:1"), ("origin", "http://localhost:1")], Ok("")),
            ("127.0.0.1:9", &[("host", "localhost:1"), ("origin", "http://evil.test")], Err(403)),
            ("127.0.0.1:9", &[("host", "localhost:1"), ("origin", "null")], Err(403)),
            ("127.0.0.1:9", &[("host", "evil.test:8025")], Err(403)),
            ("192.0.2.1:9", &[], Err(403)),
            ("[2001:db8::1]:9", &[("host", "localhost")], Err(403)),
        ] {
            assert_eq!(status(&[], peer, headers), found.map(str::to_owned), "{peer} {headers:?}");
        }
    }

    #[test]
    fn accounts_send_as_their_own_senders_only() {
        let caller = Caller::Account(Box::new(account("a", "x", &["@one.test", "Ann@two.test"])));
        for (sender, allowed) in [
            ("any@one.test", true),
            ("any@ONE.test", true),
            ("ann@two.test", true),
            ("bob@two.test", false),
            ("any@sub.one.test", false),
        ] {
            let sender = Address::parse(sender).expect("an address");
            assert_eq!(caller.may_send_as(&sender).is_ok(), allowed, "{sender}");
            assert!(Caller::Operator.may_send_as(&sender).is_ok());
        }
    }
}
