//! What is in a message: reading submissions, composing, templates, DKIM, delivery status notices.
//!
//! This crate refuses to do IO and to read a clock: time and uniqueness come as arguments. The one thing it draws
//! from outside is the randomness of key generation, which comes from the crypto library's own generator.

pub mod compose;
pub mod dkim;
pub mod dsn;
pub mod excerpt;
pub mod header;
pub mod seven_bit;
pub mod submission;
pub mod template;

mod mailbox;
mod moment;
mod quoted;

pub use compose::{Attachment, ComposeError, Draft, compose};
pub use mailbox::{Mailbox, MailboxError};
pub use moment::date_text;
pub use submission::{
    Directives, FromError, HeaderError, Prepared, Received, Signs, Stamp, normalise_newlines,
    read_directives, received,
};
