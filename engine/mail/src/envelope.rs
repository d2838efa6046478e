//! The envelope of a message: what MAIL and RCPT say, apart from the message itself.

use crate::{Address, ReversePath};

/// Who sends, who receives, and what the sender asked of the way (RFC 5321, 1870, 3461, 6152, 6531, 6710, 8689).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path; `None` is `<>`.
    pub sender: ReversePath,
    /// The forward-paths, in the order given.
    pub recipients: Vec<Recipient>,
    /// `BODY=` of MAIL.
    pub body: BodyType,
    /// Whether MAIL said `SMTPUTF8`.
    pub smtputf8: bool,
    /// `RET=` of MAIL.
    pub dsn_return: DsnReturn,
    /// `ENVID=` of MAIL, decoded from xtext.
    pub envelope_id: Option<String>,
    /// `MT-PRIORITY=` of MAIL, -9 to 9.
    pub priority: Option<i8>,
    /// What its sender asks of TLS on the way.
    pub tls: TlsWish,
}

/// What the sender of a message asks of TLS on its way (RFC 8689).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TlsWish {
    /// Nothing: what the receivers' policies and ours say.
    #[default]
    Unstated = 0,
    /// `REQUIRETLS` of MAIL: only to authenticated servers that promise the same.
    Required = 1,
    /// `TLS-Required: No` in its header: better in clear than not at all, whatever policies receivers publish.
    NotRequired = 2,
}

impl TlsWish {
    /// The one whose discriminant is `index`; `Unstated` for any other.
    #[must_use]
    pub const fn from_index(index: u8) -> Self {
        match index {
            1 => Self::Required,
            2 => Self::NotRequired,
            _ => Self::Unstated,
        }
    }
}

/// One recipient of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Where the message is to go.
    pub address: Address,
    /// `NOTIFY=` of RCPT.
    pub notify: Notify,
    /// `ORCPT=` of RCPT as `type;address`, decoded from xtext.
    pub original: Option<String>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Self { address, notify: Notify::default(), original: None }
    }
}

/// Which bytes the message holds (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyType {
    /// Only ASCII, or the client did not say.
    #[default]
    SevenBit,
    /// Bytes above 127 may occur.
    EightBitMime,
}

/// How much of the message a failure notice carries (RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DsnReturn {
    /// Only the headers; also when the client did not say.
    #[default]
    Headers,
    /// The whole message.
    Full,
}

/// On which events the sender wants a notice (RFC 3461 section 4.1), as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify(u8);

impl Notify {
    /// No notice ever.
    pub const NEVER: Self = Self(0);
    /// When the message has been delivered.
    pub const SUCCESS: Self = Self(1);
    /// When it cannot be delivered.
    pub const FAILURE: Self = Self(2);
    /// When it is late.
    pub const DELAY: Self = Self(4);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is asked for.
    #[must_use]
    pub const fn wants(self, other: Self) -> bool {
        other.0 != 0 && self.0 & other.0 == other.0
    }

    /// The number that is stored on disk.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set whose number is `bits`; unknown bits are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 7)
    }
}

impl Default for Notify {
    /// Failure only, as RFC 3461 leaves to the server when NOTIFY is not given.
    fn default() -> Self {
        Self::FAILURE
    }
}
