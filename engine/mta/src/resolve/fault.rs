//! Why a domain has no hosts for mail: for good, or for now.

use std::fmt;
use std::time::Duration;

use mail::{Enhanced, Reply};

/// What kind of answer (or silence) it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The text is no domain and no address literal.
    NotADomain,
    /// DNS answered NXDOMAIN.
    NoDomain,
    /// The domain says that it takes no mail (null MX, RFC 7505).
    NullMx,
    /// There is no MX, A or AAAA record.
    NoRecords,
    /// There are MX records, but none of their hosts has an address.
    NoAddress,
    /// The name server could not answer (SERVFAIL and its like).
    ServerFailure,
    /// No name server answered in time, or none could be reached.
    NoAnswer,
}

impl FaultKind {
    /// Whether trying again later is of no use.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        !matches!(self, Self::ServerFailure | Self::NoAnswer)
    }
}

/// A domain without hosts for mail, with a sentence that names the answer of DNS.
#[derive(Clone, PartialEq, Eq)]
pub struct ResolveFault {
    /// What kind of answer it was.
    pub kind: FaultKind,
    /// The whole sentence, for the sender of the mail to read.
    pub text: String,
    /// For how long asking again would bring the same answer from the cache.
    pub expires_in: Duration,
}

impl ResolveFault {
    /// Whether trying again later is of no use.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.kind.is_permanent()
    }

    /// The fault as the reply that a server would have given, with the status codes of RFC 3463 and RFC 7505.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (code, enhanced) = match self.kind {
            FaultKind::NotADomain => (553, Enhanced(5, 1, 2)),
            FaultKind::NoDomain => (550, Enhanced(5, 1, 2)),
            FaultKind::NullMx => (556, Enhanced(5, 1, 10)),
            FaultKind::NoRecords | FaultKind::NoAddress => (550, Enhanced(5, 4, 4)),
            FaultKind::ServerFailure | FaultKind::NoAnswer => (451, Enhanced(4, 4, 3)),
        };
        Reply::enhanced(code, enhanced, self.text.as_str())
    }
}

impl fmt::Display for ResolveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ResolveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} (for {:?})", self.kind, self.text, self.expires_in)
    }
}

impl std::error::Error for ResolveFault {}
