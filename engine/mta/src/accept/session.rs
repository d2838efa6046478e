//! One SMTP session: bytes in, steps of the protocol, replies out. The protocol itself is in `smtp::server`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mail::{Enhanced, Reply};
use policy::config::ListenerTls;
use smtp::server::{INPUT_TIMEOUT, Peer, ReceivedMessage, Session, Step};

use super::Door;
use super::message::{self, Ready};
use crate::Refusal;
use crate::io::{Stream, Watch};
use crate::shard::Shard;

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take to read what is sent to it.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);

/// A session to be run.
pub(super) struct Inbound {
    shard: Rc<Shard>,
    door: Rc<Door>,
    stream: Stream,
    peer: SocketAddr,
    watch: Watch,
}

/// A session with a client that has just connected.
pub(super) fn live(shard: Rc<Shard>, door: Rc<Door>, stream: Stream, peer: SocketAddr) -> Inbound {
    let watch = shard.deadlines.watch(&stream, Instant::now() + INPUT_TIMEOUT);
    Inbound { shard, door, stream, peer, watch }
}

impl Inbound {
    /// Runs the session to its end. A client that is one too many is told so.
    pub(super) async fn run(mut self, crowded: bool) {
        if crowded {
            let mut sorry = b"421 4.3.2 Too many connections, try again later\r\n".to_vec();
            // A client that has gone needs no answer.
            let _ = self.stream.write_all(&mut sorry).await;
        } else if let Err(error) = self.converse().await {
            tracing::debug!(peer = %self.peer, %error, "session broke");
        }
    }

    async fn converse(&mut self) -> std::io::Result<()> {
        let ip = self.peer.ip();
        let trusted = self.door.stated.trusted.iter().any(|network| network.contains(ip));
        let mut session = Session::new(std::sync::Arc::clone(&self.door.protocol), Peer { ip, trusted });
        if self.door.stated.tls == ListenerTls::Implicit {
            self.handshake().await?;
            session.tls_established();
        }
        loop {
            match session.step() {
                Step::NeedInput => {
                    if !self.need_input(&mut session).await? {
                        return Ok(());
                    }
                }
                Step::Flush | Step::AwaitVerdict => self.flush(&mut session).await?,
                Step::Message(received) => self.message(&mut session, *received).await,
                Step::StartTls => {
                    self.flush(&mut session).await?;
                    self.handshake().await?;
                    session.tls_established();
                }
                Step::Authenticate { .. } => session.refuse_authentication(&no_accounts()),
                Step::Close => return self.flush(&mut session).await,
            }
        }
    }

    /// Sends what is to be sent, then reads; false at the end of the connection.
    async fn need_input(&mut self, session: &mut Session) -> std::io::Result<bool> {
        session.set_mail_gate(self.shard.gate().err().map(|refusal| refusal.reply()));
        self.flush(session).await?;
        if self.shard.is_stopping() {
            session.close(&Refusal::Stopping.reply());
            self.flush(session).await?;
            return Ok(false);
        }
        self.watch.set(Instant::now() + INPUT_TIMEOUT);
        let read = tokio::select! {
            read = self.stream.read_with(|bytes| session.feed(bytes)) => read,
            () = self.shard.bells.stopping.notified() => return Ok(true),
        };
        match read {
            Ok(bytes) => Ok(bytes > 0),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                session.close(&Reply::enhanced(421, Enhanced(4, 4, 2), "Timeout, closing the connection"));
                self.flush(session).await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn flush(&mut self, session: &mut Session) -> std::io::Result<()> {
        if session.output().is_empty() {
            return Ok(());
        }
        self.watch.set(Instant::now() + OUTPUT_TIMEOUT);
        self.stream.write_all(session.output()).await
    }

    async fn handshake(&mut self) -> std::io::Result<()> {
        let Some(config) = &self.door.tls else {
            return Err(std::io::Error::other("the listener has no certificate"));
        };
        self.watch.set(Instant::now() + HANDSHAKE_TIMEOUT);
        self.stream.start_tls_server(std::sync::Arc::clone(config)).await
    }

    /// A whole message: into the spool, or refused. 250 is said with the proof of durability in hand.
    async fn message(&mut self, session: &mut Session, mut received: ReceivedMessage) {
        // Commands that the client has pipelined behind the message get their replies after this one.
        let text = std::mem::take(&mut received.body);
        let submitted = match message::ready(&self.shard, self.peer.ip(), &text, received) {
            Ok(Ready { meta, head, body, recipients }) => {
                self.shard.submit_in_parts(meta, &[&head, &body], recipients).await
            }
            Err(refusal) => Err(refusal),
        };
        session.recycle(text);
        match submitted {
            Ok(taken) => session.accept(&format!("Ok: queued as {}", taken.accepted.message)),
            Err(refusal) => {
                self.shard.counters.messages_refused.add(1);
                session.refuse(&refusal.reply());
            }
        }
    }
}

fn no_accounts() -> Reply {
    Reply::enhanced(535, Enhanced(5, 7, 8), "No accounts here")
}
