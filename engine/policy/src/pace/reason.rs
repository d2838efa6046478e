//! Why limits change, in words for people.

/// Why limits change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reason {
    Start,
    Restored,
    RateRefused,
    NameRefused,
    ConnectionRefused,
    SessionRefused,
    Clean,
    Opened,
    ConnectionsBusy,
    SessionsClean,
}

impl Reason {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Start => "where learning begins",
            Self::Restored => "learned before the restart",
            Self::RateRefused => "the receiver refused the rate; after a rest one message goes to see",
            Self::NameRefused => {
                "the receiver refused us for our name; after a long rest one message goes to see"
            }
            Self::ConnectionRefused => "the receiver refused another connection",
            Self::SessionRefused => "the receiver refused another message on a connection",
            Self::Clean => "all that was sent was taken, and more waits",
            Self::Opened => "a message was taken after the rest",
            Self::ConnectionsBusy => "all connections are busy, and more waits",
            Self::SessionsClean => "connections have taken all messages so far",
        }
    }
}
