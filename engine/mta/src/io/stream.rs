//! A TCP connection with optional TLS, owned by the ring of the thread that made it.
//!
//! **Dropping futures.** Reads and writes may be abandoned (`select!` with a mailbox, say): the operation stays in
//! flight inside the stream and the next call takes it up. No received byte is lost, and bytes that were handed to
//! [`Stream::write_all`] leave once and in order. Dropping the stream itself ends what is in flight at once.
//!
//! **Deadlines** are watched by [`super::Deadlines`]; a stream cut off by one answers `ErrorKind::TimedOut`.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::buffer;
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::parcel::Parcel;
use super::secure::Secure;
use super::socket::Socket;

/// A connection. While it waits it holds 4 KiB, and what rustls holds if it is encrypted.
pub struct Stream {
    socket: Rc<Socket>,
    incoming: Incoming,
    outgoing: Outgoing,
    secure: Option<Box<Secure>>,
}

impl Stream {
    /// Takes a connected socket, which must be in blocking mode: the ring does the waiting.
    #[must_use]
    pub fn new(tcp: TcpStream) -> Self {
        Self {
            socket: Rc::new(Socket::new(tcp)),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            secure: None,
        }
    }

    pub(super) fn socket(&self) -> &Rc<Socket> {
        &self.socket
    }

    /// Appends what the peer sends next to `into` and returns the number of bytes, at most a few times 64 KiB; 0 is
    /// the end of the stream (under TLS with or without close_notify: SMTP says itself where a message ends).
    ///
    /// # Errors
    /// `TimedOut` after a deadline, `InvalidData` when the peer breaks TLS, else what the kernel answered.
    ///
    /// # Panics
    /// Outside of a shard's runtime.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        if self.secure.is_some() {
            return self.read_secure(into).await;
        }
        let bytes = self.incoming.receive(&self.socket).await?;
        into.extend_from_slice(self.incoming.unread());
        self.incoming.consume(bytes);
        Ok(bytes)
    }

    /// The same, handing what has come to `take` instead, from where it was received.
    ///
    /// # Errors
    /// As [`Stream::read`].
    ///
    /// # Panics
    /// Outside of a shard's runtime.
    pub async fn read_with(&mut self, take: impl FnOnce(&[u8])) -> io::Result<usize> {
        if self.secure.is_some() {
            // It is empty whenever this waits, so an abandoned read loses nothing; and no line is borrowed for it, which an idle
            // connection would keep from the others.
            let mut plain = Vec::new();
            let bytes = self.read_secure(&mut plain).await?;
            take(&plain);
            return Ok(bytes);
        }
        let bytes = self.incoming.receive(&self.socket).await?;
        take(self.incoming.unread());
        self.incoming.consume(bytes);
        Ok(bytes)
    }

    async fn read_secure(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        loop {
            if !self.decrypt(into).await? {
                return Ok(into.len() - before);
            }
            if into.len() > before {
                return Ok(into.len() - before);
            }
            // Answers of the protocol itself, such as a key update, go out before waiting again.
            self.finish_writing().await?;
            if self.incoming.receive(&self.socket).await? == 0 {
                return Ok(0);
            }
        }
    }

    /// Decrypts all that was received; `false` when the peer has closed its side.
    async fn decrypt(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let Some(secure) = &mut self.secure else { return Ok(true) };
        let mut fed = Ok(());
        let mut open = secure.take_plaintext(into)?;
        while open && fed.is_ok() && !self.incoming.unread().is_empty() {
            fed = secure.feed(&mut self.incoming);
            open = secure.take_plaintext(into)?;
        }
        if fed.is_err() {
            self.send_alert().await;
        }
        fed.map(|()| open)
    }

    /// Sends all bytes of `from` and empties it; its capacity is kept. It is emptied after an error too: the
    /// connection is of no use then.
    ///
    /// If the future is dropped, `from` is left empty and its bytes leave before those of the next call.
    ///
    /// # Errors
    /// `TimedOut` after a deadline, else what the kernel answered.
    ///
    /// # Panics
    /// Outside of a shard's runtime.
    pub async fn write_all(&mut self, from: &mut Vec<u8>) -> io::Result<()> {
        let mut parcel = Parcel::from(std::mem::take(from));
        let result = self.write_parcel(&mut parcel).await;
        *from = parcel.into_bytes();
        result
    }

    /// The same with a parcel. Under TLS its bodies are copied first; in clear the kernel takes them from where they lie.
    ///
    /// # Errors
    /// As [`Stream::write_all`].
    ///
    /// # Panics
    /// Outside of a shard's runtime.
    pub async fn write_parcel(&mut self, from: &mut Parcel) -> io::Result<()> {
        self.finish_writing().await?;
        if from.is_empty() {
            return Ok(());
        }
        let mut handed = std::mem::take(from);
        let result;
        match &mut self.secure {
            Some(secure) => {
                handed.flatten();
                secure.replace_source(handed.into_bytes());
                result = self.finish_writing().await;
                let source = self.secure.as_mut().map(|secure| secure.replace_source(Vec::new()));
                *from = source.unwrap_or_default().into();
            }
            None => {
                let spare = self.outgoing.replace(handed);
                result = self.outgoing.finish(&self.socket).await;
                *from = self.outgoing.replace(spare);
            }
        }
        from.clear();
        result
    }

    /// Sends what is in line: the rest of an abandoned write, and what TLS has to say.
    async fn finish_writing(&mut self) -> io::Result<()> {
        let mut result = self.outgoing.finish(&self.socket).await;
        let Some(secure) = &mut self.secure else { return result };
        while result.is_ok() && secure.has_output() {
            let line = self.outgoing.line();
            if line.capacity() == 0 {
                *line = buffer::borrow_line();
            }
            result = secure.encrypt(line);
            if result.is_ok() {
                result = self.outgoing.finish(&self.socket).await;
            }
        }
        buffer::return_line(std::mem::take(self.outgoing.line()));
        result
    }

    /// Tells the peer why TLS failed, as far as it still listens.
    async fn send_alert(&mut self) {
        let _ = self.finish_writing().await;
    }

    /// Starts TLS as the client; returns after the handshake. `name` is whom the certificate must name (and SNI).
    ///
    /// A name that no certificate can carry becomes the peer's address, without SNI: good enough where any
    /// certificate is accepted, and refused where certificates are verified.
    ///
    /// # Errors
    /// `InvalidData` with the cause when the handshake fails, `UnexpectedEof` when the peer closes in the middle.
    pub async fn start_tls_client(&mut self, config: Arc<ClientConfig>, name: &str) -> io::Result<()> {
        let name = match ServerName::try_from(name.trim_end_matches('.')) {
            Ok(name) => name.to_owned(),
            Err(_) => ServerName::IpAddress(self.peer_addr()?.ip().into()),
        };
        let secure = Secure::client(config, name)
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        self.handshake(secure).await
    }

    /// Starts TLS as the server; returns after the handshake.
    ///
    /// # Errors
    /// `InvalidData` with the cause when the handshake fails, `UnexpectedEof` when the peer closes in the middle.
    pub async fn start_tls_server(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let secure =
            Secure::server(config).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        self.handshake(secure).await
    }

    async fn handshake(&mut self, secure: Secure) -> io::Result<()> {
        // What was written in the clear leaves in the clear.
        self.finish_writing().await?;
        self.secure = Some(Box::new(secure));
        loop {
            self.finish_writing().await?;
            if !self.is_handshaking() {
                return Ok(());
            }
            let unread = !self.incoming.unread().is_empty();
            if !unread && self.incoming.receive(&self.socket).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the peer closed the connection during the TLS handshake",
                ));
            }
            if let Some(Err(fault)) = self.secure.as_mut().map(|secure| secure.feed(&mut self.incoming)) {
                self.send_alert().await;
                return Err(fault);
            }
        }
    }

    fn is_handshaking(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.is_handshaking())
    }

    /// Puts what the encryption is worth behind its description, for people.
    pub fn label_tls(&mut self, label: &'static str) {
        if let Some(secure) = &mut self.secure {
            secure.label(label);
        }
    }

    /// Gives back what the buffers for sending hold beyond `bytes_max` each; while nothing is being sent.
    pub fn shrink(&mut self, bytes_max: usize) {
        self.outgoing.shrink(bytes_max);
        if let Some(secure) = &mut self.secure {
            secure.shrink(bytes_max);
        }
    }

    /// Version and cipher of TLS, such as `TLSv1.3 TLS_AES_128_GCM_SHA256`, with the label in brackets if it has one;
    /// `None` in the clear.
    #[must_use]
    pub fn tls_description(&self) -> Option<String> {
        self.secure.as_ref()?.description()
    }

    /// What the peer's certificate is worth where any is accepted ([`super::tls::Trust::Any`]); `None` in the clear.
    #[must_use]
    pub fn tls_standing(&self) -> Option<super::tls::Standing> {
        Some(self.secure.as_ref()?.standing())
    }

    /// Whether TLS took up an earlier session, which saves most of the handshake; `None` in the clear.
    #[must_use]
    pub fn tls_resumed(&self) -> Option<bool> {
        self.secure.as_ref()?.is_resumed()
    }

    /// The address at this end.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.tcp().local_addr()
    }

    /// The address at the other end.
    ///
    /// # Errors
    /// What the kernel answered, `NotConnected` after a reset.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.tcp().peer_addr()
    }

    /// Says that nothing more is sent: sends what is in line, close_notify under TLS, and the end of the stream.
    /// Reading goes on to work; dropping the stream closes it.
    ///
    /// # Errors
    /// `TimedOut` after a deadline, else what the kernel answered.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        if let Some(secure) = &mut self.secure {
            secure.close();
        }
        self.finish_writing().await?;
        self.socket.tcp().shutdown(Shutdown::Write)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("tcp", self.socket.tcp())
            .field("tls", &self.tls_description())
            .finish()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // An operation in flight holds the socket open until it completes, which may be never.
        if self.incoming.in_flight() || self.outgoing.in_flight() {
            self.socket.abort();
        }
    }
}
