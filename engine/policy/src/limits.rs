//! What a receiver is to be burdened with at most, and how its connections are protected.

use crate::Rate;

/// The limits of one (source, provider): they hold for all sites of the provider together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections at the same time; at least 1.
    pub connections: u32,
    /// Recipients per time; `None` is unlimited.
    pub rate: Option<Rate>,
    /// Messages after which a connection is closed and a new one made; at least 1.
    pub messages_per_connection: u32,
    /// Recipients of one message that go in one transaction; at least 1.
    pub recipients_per_message: u16,
    /// Transactions on the wire of one connection at the same time; 1 waits for each reply before the next.
    pub pipeline_depth: u16,
}

/// How a connection to a receiver is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    /// In clear, also when the receiver offers STARTTLS.
    Off,
    /// STARTTLS when the receiver offers it, whatever its certificate (RFC 7435); in clear otherwise.
    #[default]
    Opportunistic,
    /// Encrypted, whatever the certificate, or no delivery.
    Required,
    /// Encrypted with a certificate that a trusted authority has issued for the host, or no delivery.
    Verified,
}

impl TlsPolicy {
    /// The names of the configuration file, in the order of the variants.
    pub const NAMES: [&'static str; 4] = ["off", "opportunistic", "required", "verified"];
    /// All of them, in the order of their names.
    pub const ALL: [Self; 4] = [Self::Off, Self::Opportunistic, Self::Required, Self::Verified];

    /// The policy named so in the configuration file.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// The name in the configuration file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}
