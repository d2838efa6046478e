//! One connection: it says what it is told and reads the replies, blocking.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::Mode;
use crate::letter::Letter;

/// Longer silence than this is a fault of the server.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Replies longer than this are a fault of the server.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// The pause between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// A greeted connection.
pub(crate) struct Session {
    stream: TcpStream,
    /// What has been read and not yet understood.
    input: Vec<u8>,
    output: Vec<u8>,
    mode: Mode,
}

impl Session {
    /// Connects, tries again for `patience`, and says EHLO.
    pub(crate) fn open(to: SocketAddr, mode: Mode, patience: Duration) -> anyhow::Result<Self> {
        let until = Instant::now() + patience;
        loop {
            match Self::open_once(to, mode) {
                Ok(session) => return Ok(session),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => std::thread::sleep(CONNECT_PAUSE),
            }
        }
    }

    fn open_once(to: SocketAddr, mode: Mode) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).with_context(|| format!("{to} cannot be reached"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut session = Self { stream, input: Vec::with_capacity(4096), output: Vec::new(), mode };
        session.expect(220, "the greeting")?;
        session.say(b"EHLO inject.test\r\n", 250)?;
        Ok(session)
    }

    /// Sends message `number`; the time from its first command to its acknowledgement.
    pub(crate) fn send(&mut self, letter: &mut Letter, number: u64) -> anyhow::Result<Duration> {
        letter.set_number(number);
        let begun = Instant::now();
        let rcpt = format!("RCPT TO:<{}>\r\n", letter.recipient(number));
        match self.mode {
            Mode::Lockstep => {
                self.say(letter.mail().as_bytes(), 250)?;
                self.say(rcpt.as_bytes(), 250)?;
                self.say(b"DATA\r\n", 354)?;
                self.say_body(letter, b".\r\n")?;
            }
            Mode::Pipelined => {
                let flight = [letter.mail().as_bytes(), rcpt.as_bytes(), b"DATA\r\n"].concat();
                self.stream.write_all(&flight)?;
                self.expect(250, "MAIL")?;
                self.expect(250, "RCPT")?;
                self.expect(354, "DATA")?;
                self.say_body(letter, b".\r\n")?;
            }
            Mode::Flight => self.send_flight(letter, &rcpt)?,
        }
        Ok(begun.elapsed())
    }

    /// Says goodbye; what the server thinks of it does not matter.
    pub(crate) fn quit(mut self) {
        drop(self.say(b"QUIT\r\n", 221));
    }

    fn send_flight(&mut self, letter: &Letter, rcpt: &str) -> anyhow::Result<()> {
        self.output.clear();
        self.output.extend_from_slice(letter.mail().as_bytes());
        self.output.extend_from_slice(rcpt.as_bytes());
        self.output.extend_from_slice(format!("BDAT {} LAST\r\n", letter.text().len()).as_bytes());
        self.output.extend_from_slice(letter.text());
        self.stream.write_all(&self.output)?;
        self.expect(250, "MAIL")?;
        self.expect(250, "RCPT")?;
        self.expect(250, "BDAT")
    }

    fn say_body(&mut self, letter: &Letter, end: &[u8]) -> anyhow::Result<()> {
        self.output.clear();
        self.output.extend_from_slice(letter.text());
        self.output.extend_from_slice(end);
        self.stream.write_all(&self.output)?;
        self.expect(250, "the message")
    }

    fn say(&mut self, command: &[u8], code: u16) -> anyhow::Result<()> {
        self.stream.write_all(command)?;
        self.expect(code, String::from_utf8_lossy(command).trim())
    }

    fn expect(&mut self, code: u16, to: &str) -> anyhow::Result<()> {
        let reply = self.reply()?;
        if !reply.starts_with(&format!("{code:03}")) {
            bail!("the reply to {to} was: {}", reply.trim());
        }
        Ok(())
    }

    /// The last line of the next reply.
    fn reply(&mut self) -> anyhow::Result<String> {
        loop {
            while let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                if line.get(3) != Some(&b'-') {
                    return Ok(String::from_utf8_lossy(&line).into_owned());
                }
            }
            ensure!(self.input.len() < REPLY_BYTES_MAX, "the server's reply has no end");
            let mut chunk = [0_u8; 4096];
            let read = self.stream.read(&mut chunk).context("no reply")?;
            ensure!(read > 0, "the server closed the connection");
            self.input.extend_from_slice(&chunk[..read]);
        }
    }
}
