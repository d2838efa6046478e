//! Splits what a server sends into replies; allocates only for the replies that are kept.

/// How a server broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// A line that is no reply line (RFC 5321 section 4.2).
    #[error("the server sent something that is not an SMTP reply: {0}")]
    Garbage(String),
    /// A reply longer than [`ClientConfig::reply_bytes_max`](super::ClientConfig::reply_bytes_max).
    #[error("the server sent a reply of more than {bytes_max} bytes")]
    ReplyTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// A reply whose code cannot follow the command, or that nothing asked for.
    #[error("the server sent an unexpected reply in phase {}: {reply}", phase.name())]
    Unexpected {
        /// What was awaited.
        phase: mail::Phase,
        /// What came.
        reply: mail::Reply,
    },
}
