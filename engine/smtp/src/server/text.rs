//! How the text of a message comes in by DATA or BDAT, and how it ends.

use super::body::TextFault;
use super::session::{Chunk, Input, State};
use super::{ReceivedMessage, Session, Step};
use crate::wire;

impl Session {
    /// Takes what belongs to a text off the front of `bytes`, and returns how much it was. What the end of the text means is
    /// for the next step.
    pub(super) fn collect(&mut self, bytes: &[u8]) -> usize {
        match &mut self.state {
            State::AwaitText { ended } if !*ended => {
                let used;
                (used, *ended) = self.body.take_stuffed(bytes, &self.config.limits);
                used
            }
            State::AwaitChunk(chunk) => {
                let used = bytes.len().min(usize::try_from(chunk.bytes_left).unwrap_or(usize::MAX));
                chunk.bytes_left -= used as u64;
                if chunk.refusal.is_none() {
                    self.body.take_chunk(&bytes[..used], false, &self.config.limits);
                }
                used
            }
            _ => 0,
        }
    }

    pub(super) fn read_text(&mut self, input: &mut Input, ended: bool) -> Option<Step> {
        if ended {
            return self.finish_text();
        }
        let (used, ended) = self.body.take_stuffed(input.rest(), &self.config.limits);
        input.consume(used);
        if ended { self.finish_text() } else { Some(Step::NeedInput) }
    }

    pub(super) fn read_chunk(&mut self, input: &mut Input, mut chunk: Chunk) -> Option<Step> {
        let rest = input.rest();
        let wanted = usize::try_from(chunk.bytes_left).unwrap_or(usize::MAX);
        let bytes = &rest[..rest.len().min(wanted)];
        chunk.bytes_left -= bytes.len() as u64;
        let whole = chunk.bytes_left == 0;
        if chunk.refusal.is_none() {
            self.body.take_chunk(bytes, whole && chunk.last, &self.config.limits);
        }
        let used = bytes.len();
        input.consume(used);
        if !whole {
            self.state = State::AwaitChunk(chunk);
            return Some(Step::NeedInput);
        }
        self.finish_chunk(&chunk)
    }

    fn finish_chunk(&mut self, chunk: &Chunk) -> Option<Step> {
        if let Some(refusal) = chunk.refusal {
            self.state = State::AwaitCommand;
            self.fail(refusal);
            return None;
        }
        if chunk.last || self.body.fault().is_some() {
            return self.finish_text();
        }
        self.state = State::AwaitCommand;
        let size = chunk.bytes.to_string();
        wire::put_line(&mut self.output, &["250 2.0.0 ", &size, " bytes received"]);
        None
    }

    /// The text has ended, or will never be wanted: the transaction is over (RFC 5321 section 4.1.1.4).
    fn finish_text(&mut self) -> Option<Step> {
        self.state = State::AwaitCommand;
        let transaction = self.transaction.take().expect("text is only awaited within a transaction");
        if let Some(fault) = self.body.fault() {
            self.reset();
            self.fail_text(fault);
            return None;
        }
        let body = self.body.take();
        self.state = State::AwaitVerdict;
        let message = ReceivedMessage {
            with: self.protocol(transaction.envelope.smtputf8),
            envelope: transaction.envelope,
            body,
            helo: self.client.helo.clone().unwrap_or_default(),
            account: self.client.account.clone(),
        };
        Some(Step::Message(Box::new(message)))
    }

    fn fail_text(&mut self, fault: TextFault) {
        match fault {
            TextFault::BareCr { line } => self.fail(&format!(
                "554 5.6.0 Line {line} of the message holds a bare CR; lines end with CRLF and nothing else"
            )),
            TextFault::BareLf { line } => self.fail(&format!(
                "554 5.6.0 Line {line} of the message ends with a bare LF; lines end with CRLF and nothing else"
            )),
            TextFault::LineTooLong { line } => self.fail(&format!(
                "554 5.6.0 Line {line} of the message is longer than {} bytes",
                self.config.limits.text_line_bytes
            )),
            TextFault::HeaderTooLong => self.fail(&format!(
                "552 5.3.4 The header of the message is longer than {} bytes",
                self.config.limits.header_bytes
            )),
            TextFault::TooLarge => self.fail(&format!(
                "552 5.3.4 The message is larger than {} bytes",
                self.config.limits.message_bytes
            )),
        }
    }

    /// The name for the Received header (RFC 3848, RFC 6531 section 4.3).
    fn protocol(&self, smtputf8: bool) -> &'static str {
        let client = &self.client;
        match (smtputf8, client.extended, client.tls, client.account.is_some()) {
            (_, false, ..) => "SMTP",
            (false, true, false, false) => "ESMTP",
            (false, true, true, false) => "ESMTPS",
            (false, true, false, true) => "ESMTPA",
            (false, true, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}
