//! TLS between a stream's two halves: rustls with our own buffers. It touches no socket.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::incoming::Incoming;
use super::tls::{Standing, during};

/// Plaintext encrypted at a time: four records, so that a large message never stands encrypted as a whole.
const PIECE_BYTES: usize = 64 << 10;

/// A TLS connection and the plaintext that is on its way out.
pub(super) struct Secure {
    connection: Connection,
    standing: Standing,
    label: Option<&'static str>,
    source: Vec<u8>,
    encrypted: usize,
}

impl Secure {
    /// A client that expects the certificate to name `name`.
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let mut standing = Standing::default();
        let connection = during(&mut standing, || ClientConnection::new(config, name))?;
        Ok(Self::new(connection.into(), standing))
    }

    /// A server.
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::new(ServerConnection::new(config)?.into(), Standing::default()))
    }

    fn new(mut connection: Connection, standing: Standing) -> Self {
        // The stream takes all output after each piece; a second limit would only cut pieces in two.
        connection.set_buffer_limit(None);
        Self { connection, standing, label: None, source: Vec::new(), encrypted: 0 }
    }

    pub(super) const fn label(&mut self, label: &'static str) {
        self.label = Some(label);
    }

    /// What the peer's certificate is worth, where any is accepted.
    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Puts plaintext in line and returns what was there.
    pub(super) fn replace_source(&mut self, source: Vec<u8>) -> Vec<u8> {
        self.encrypted = 0;
        std::mem::replace(&mut self.source, source)
    }

    /// Gives back what the plaintext's buffer holds beyond `bytes_max`, unless some is still to be sent.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        if self.encrypted == self.source.len() {
            self.source.clear();
            self.encrypted = 0;
            self.source.shrink_to(bytes_max);
        }
    }

    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Moves what the peer must get next into `line`: records of the handshake, alerts, the next piece of plaintext.
    pub(super) fn encrypt(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        if !self.is_handshaking() && self.encrypted < self.source.len() {
            let end = self.source.len().min(self.encrypted + PIECE_BYTES);
            self.connection.writer().write_all(&self.source[self.encrypted..end])?;
            self.encrypted = end;
        }
        while self.connection.wants_write() {
            self.connection.write_tls(line)?;
        }
        Ok(())
    }

    /// Whether [`Secure::encrypt`] would produce anything.
    pub(super) fn has_output(&self) -> bool {
        self.connection.wants_write() || (!self.is_handshaking() && self.encrypted < self.source.len())
    }

    /// Feeds a part of the received bytes to the connection.
    ///
    /// # Errors
    /// `InvalidData` with the cause when the peer breaks the protocol or its certificate is refused.
    pub(super) fn feed(&mut self, incoming: &mut Incoming) -> io::Result<()> {
        let mut unread = incoming.unread();
        let taken = self.connection.read_tls(&mut unread)?;
        incoming.consume(taken);
        match during(&mut self.standing, || self.connection.process_new_packets()) {
            Ok(_) => Ok(()),
            Err(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
        }
    }

    /// Appends decrypted bytes; `false` when the peer has closed its side in good order.
    pub(super) fn take_plaintext(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let mut reader = self.connection.reader();
        loop {
            let bytes = match reader.fill_buf() {
                Ok([]) => return Ok(false),
                Ok(chunk) => {
                    into.extend_from_slice(chunk);
                    chunk.len()
                }
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(fault) => return Err(fault),
            };
            reader.consume(bytes);
        }
    }

    /// Version and cipher as mail logs write them, and the label: `TLSv1.3 TLS_AES_128_GCM_SHA256 (verified)`.
    pub(super) fn description(&self) -> Option<String> {
        let version = match self.connection.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLS",
        };
        let suite = self.connection.negotiated_cipher_suite()?.suite();
        let cipher = suite.as_str().unwrap_or("an unnamed cipher");
        let cipher = cipher.replacen("TLS13_", "TLS_", 1);
        Some(match self.label {
            Some(label) => format!("{version} {cipher} ({label})"),
            None => format!("{version} {cipher}"),
        })
    }

    /// Whether an earlier session with this peer was taken up again; `None` before the end of the handshake.
    pub(super) fn is_resumed(&self) -> Option<bool> {
        Some(self.connection.handshake_kind()? == rustls::HandshakeKind::Resumed)
    }
}
