//! Tells domains how connections to them were protected: TLS-RPT (RFC 8460), once a day, by mail or HTTPS, to those that
//! ask for it. What is told was counted by the engine; nothing is counted here.

mod letter;
mod sender;

pub use sender::TlsReportSender;
