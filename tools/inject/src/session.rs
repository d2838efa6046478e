//! One connection as a small state machine over a non-blocking socket: it sends what is due and reads the replies.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::Mode;
use crate::letter::{Letter, Part};

/// Replies longer than this are a fault of the server.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// What is read at a time; replies are short.
const READ_BYTES: usize = 4096;
/// The pause between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// How long one attempt may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Which reply is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Await {
    Greeting,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Message,
    /// Nothing: the connection is free.
    Nothing,
}

impl Await {
    const fn code(self) -> &'static [u8; 3] {
        match self {
            Self::Greeting => b"220",
            Self::Data => b"354",
            _ => b"250",
        }
    }
}

/// What reading brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More replies are awaited.
    Waiting,
    /// The next message can be begun.
    Free,
    /// This message was acknowledged after this time; the next can be begun.
    Acknowledged(u64, Duration),
}

/// A connection.
pub(crate) struct Session {
    stream: TcpStream,
    letter: Letter,
    mode: Mode,
    awaits: Await,
    /// There may be something to read.
    readable: bool,
    /// What has been read and not yet understood.
    input: Vec<u8>,
    /// What of the letter is still to be sent.
    unsent: Range<usize>,
    number: u64,
    begun: Instant,
}

impl Session {
    /// Connects, trying again for `patience`. The greeting is awaited by [`Session::advance`].
    pub(crate) fn open(
        to: SocketAddr,
        letter: Letter,
        mode: Mode,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let until = Instant::now() + patience;
        let stream = loop {
            match TcpStream::connect_timeout(&to, CONNECT_MAX) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= until => {
                    return Err(error).with_context(|| format!("{to} cannot be reached"));
                }
                Err(_) => std::thread::sleep(CONNECT_PAUSE),
            }
        };
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let input = Vec::with_capacity(READ_BYTES);
        let begun = Instant::now();
        let readable = false;
        Ok(Self {
            stream,
            readable,
            letter,
            mode,
            awaits: Await::Greeting,
            input,
            unsent: 0..0,
            number: 0,
            begun,
        })
    }

    /// The socket, for the readiness queue.
    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether a message is under way.
    pub(crate) const fn is_busy(&self) -> bool {
        matches!(self.awaits, Await::Mail | Await::Rcpt | Await::Data | Await::Message)
    }

    /// Begins message `number`, which was to be begun at `begun`, `time_us` microseconds after 1970.
    pub(crate) fn begin(&mut self, number: u64, begun: Instant, time_us: u64) -> anyhow::Result<()> {
        self.letter.set_number(number);
        self.letter.set_time(time_us);
        self.number = number;
        self.begun = begun;
        self.awaits = Await::Mail;
        match self.mode {
            Mode::Lockstep => self.send(Part::Mail, Part::Mail),
            Mode::Pipelined => self.send(Part::Mail, Part::Data),
            Mode::Flight => self.send(Part::Mail, Part::Body),
        }
    }

    /// Says goodbye; what the server thinks of it does not matter.
    pub(crate) fn quit(mut self) {
        drop(self.stream.write_all(b"QUIT\r\n"));
    }

    /// Goes on as far as it gets without waiting; `told` when the readiness queue has spoken of it.
    ///
    /// # Errors
    /// When the server broke off or answered something else than wanted.
    pub(crate) fn advance(&mut self, told: bool) -> anyhow::Result<Progress> {
        if told {
            self.readable = true;
            self.flush()?;
        }
        loop {
            while let Some(code) = self.reply()? {
                let progress = self.answered(code)?;
                if progress != Progress::Waiting {
                    return Ok(progress);
                }
            }
            if !self.readable {
                return Ok(Progress::Waiting);
            }
            self.readable = self.receive()?;
        }
    }

    /// Takes one reply and sends what follows it.
    fn answered(&mut self, code: [u8; 3]) -> anyhow::Result<Progress> {
        if code != *self.awaits.code() {
            bail!("{} instead of {:?}", String::from_utf8_lossy(&code), self.awaits);
        }
        let lockstep = self.mode == Mode::Lockstep;
        self.awaits = match self.awaits {
            Await::Greeting => {
                self.stream.write_all(b"EHLO inject.test\r\n")?;
                Await::Ehlo
            }
            Await::Mail => {
                if lockstep {
                    self.send(Part::Rcpt, Part::Rcpt)?;
                }
                Await::Rcpt
            }
            Await::Rcpt if self.mode == Mode::Flight => Await::Message,
            Await::Rcpt => {
                if lockstep {
                    self.send(Part::Data, Part::Data)?;
                }
                Await::Data
            }
            Await::Data => {
                self.send(Part::Body, Part::Body)?;
                Await::Message
            }
            Await::Ehlo => {
                self.awaits = Await::Nothing;
                return Ok(Progress::Free);
            }
            Await::Message => {
                self.awaits = Await::Nothing;
                return Ok(Progress::Acknowledged(self.number, self.begun.elapsed()));
            }
            Await::Nothing => bail!("the server speaks without being asked"),
        };
        Ok(Progress::Waiting)
    }

    fn send(&mut self, first: Part, last: Part) -> anyhow::Result<()> {
        self.unsent = self.letter.range(first, last);
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.letter.wire()[self.unsent.clone()]) {
                Ok(sent) => self.unsent.start += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the server takes nothing more"),
            }
        }
        Ok(())
    }

    /// Reads once; whether there may be more.
    fn receive(&mut self) -> anyhow::Result<bool> {
        ensure!(self.input.len() < REPLY_BYTES_MAX, "the server's reply has no end");
        let mut chunk = [0_u8; READ_BYTES];
        match self.stream.read(&mut chunk) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(read) => {
                self.input.extend_from_slice(&chunk[..read]);
                Ok(read == READ_BYTES)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error).context("no reply"),
        }
    }

    /// The code of the next whole reply.
    fn reply(&mut self) -> anyhow::Result<Option<[u8; 3]>> {
        let mut start = 0;
        while let Some(length) = self.input[start..].windows(2).position(|pair| pair == b"\r\n") {
            let line = &self.input[start..start + length];
            start += length + 2;
            if line.get(3) != Some(&b'-') {
                let code = line.first_chunk::<3>().copied();
                let code =
                    code.with_context(|| format!("`{}` is no reply", String::from_utf8_lossy(line)))?;
                self.input.drain(..start);
                return Ok(Some(code));
            }
        }
        Ok(None)
    }
}
