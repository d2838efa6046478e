//! The service extensions: what a server's EHLO reply offers, and what ours announces.

/// What a server offers; all absent before EHLO and after HELO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Several commands in one flight (RFC 2920).
    pub pipelining: bool,
    /// BDAT (RFC 3030).
    pub chunking: bool,
    /// Bytes above 127 in the body (RFC 6152).
    pub eight_bit_mime: bool,
    /// The longest message it takes; `None` when it does not say or says 0, "no limit" (RFC 1870).
    pub message_bytes_max: Option<u64>,
    /// Whether it takes the SIZE parameter.
    pub size: bool,
    /// TLS on this connection (RFC 3207).
    pub starttls: bool,
    /// UTF-8 in addresses and headers (RFC 6531).
    pub smtputf8: bool,
    /// Requests for delivery status notifications (RFC 3461).
    pub dsn: bool,
    /// Enhanced status codes in replies (RFC 2034).
    pub enhanced_status_codes: bool,
    /// Transactions per session (RFC 9422 MAILMAX).
    pub transactions_max: Option<u32>,
    /// Recipients per transaction (RFC 9422 RCPTMAX).
    pub recipients_max: Option<u32>,
    /// SASL mechanisms in upper case (RFC 4954).
    pub auth: Vec<String>,
}
