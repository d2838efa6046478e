//! The transactions of a session: how they are sent, and what their replies mean for each recipient.

use mail::{Enhanced, Phase};

use super::awaited::{Awaited, Due};
use super::replies::RawReply;
use super::session::{ClientSession, State};
use super::transaction::{
    Flight, bytes_of, put_chunk, put_chunk_command, put_mail, put_recipient, put_recipients,
};
use super::{ClientEvent, ClientFault, Lost, Protocol, Transaction};
use crate::wire;

/// A longer message is not sent before its envelope is accepted: most of a long one would be wasted on a refusal.
const FLIGHT_BODY_BYTES_MAX: usize = 1024 * 1024;
/// A shorter message is copied behind its command: it costs less than to be sent from where it lies.
const GAP_BYTES_MIN: usize = 2 * 1024;
/// A buffer that is kept between transactions holds most messages, and no more.
const SPARE_TEXT_BYTES_MAX: usize = 128 * 1024;

impl ClientSession {
    pub(super) fn pipelines(&self) -> bool {
        self.config.pipelining && self.capabilities.pipelining
    }

    pub(super) fn is_spent(&self) -> bool {
        self.capabilities.transactions_max.is_some_and(|max| self.begun >= u64::from(max))
    }

    pub(super) fn ready(&self) -> bool {
        let depth = if self.pipelines() { usize::from(self.config.pipeline_depth.max(1)) } else { 1 };
        // A text that waits for its envelope's replies would come to stand behind the next envelope.
        let text_is_out = self.flights.back().is_none_or(|flight| flight.end.is_some());
        self.state == State::Open
            && !self.quitting
            && text_is_out
            && self.flights.len() < depth
            && !self.is_spent()
    }

    pub(super) fn begin(&mut self, transaction: &Transaction<'_>) -> u64 {
        let number = self.begun;
        self.begun += 1;
        let chunked = self.config.chunking && self.capabilities.chunking;
        // Whether a chunk under way fails cannot be known yet; RSET makes this transaction independent of it. A final
        // dot under way ends its transaction for certain.
        let chunk_under_way = self.flights.back().is_some_and(|flight| flight.chunked);
        let reset = std::mem::take(&mut self.needs_rset) || chunk_under_way;
        let mut flight = self.spare.pop().unwrap_or_default();
        flight.renew(number, transaction.recipients.len(), chunked);
        if self.pipelines() {
            self.launch(&mut flight, transaction, reset);
            self.flights.push_back(flight);
        } else {
            self.put_script(&mut flight, transaction, reset);
            self.flights.push_back(flight);
            self.proceed();
        }
        number
    }

    /// Sends as much at once as PIPELINING and CHUNKING allow (RFC 2920, RFC 3030).
    fn launch(&mut self, flight: &mut Flight, transaction: &Transaction<'_>, reset: bool) {
        let at_once = flight.chunked && bytes_of(transaction.body) <= FLIGHT_BODY_BYTES_MAX;
        if reset {
            self.outgoing.append(|out| out.extend_from_slice(b"RSET\r\n"));
            self.expect(Awaited::Rset);
        }
        let capabilities = &self.capabilities;
        self.outgoing.append(|out| put_mail(out, transaction, capabilities));
        self.expect(Awaited::Mail);
        for index in 0..transaction.recipients.len() {
            let capabilities = &self.capabilities;
            self.outgoing.append(|out| put_recipient(out, transaction, index, capabilities));
            self.expect(Awaited::Rcpt(index));
        }
        if at_once {
            self.expect_body();
            self.send_chunk(transaction.body);
            flight.end = Some(self.outgoing.appended);
        } else if flight.chunked {
            put_chunk(&mut flight.text, transaction.body);
        } else {
            self.outgoing.append(|out| out.extend_from_slice(b"DATA\r\n"));
            self.expect(Awaited::Data);
            wire::dot_stuff(transaction.body, &mut flight.text);
        }
    }

    fn send_chunk(&mut self, body: &[&[u8]]) {
        let bytes = bytes_of(body);
        if !self.config.gaps || bytes < GAP_BYTES_MIN {
            return self.outgoing.append(|out| put_chunk(out, body));
        }
        let missing = wire::missing_line_end(body);
        self.outgoing.append(|out| put_chunk_command(out, bytes + missing.len()));
        self.outgoing.leave_gap(bytes);
        self.outgoing.append(|out| out.extend_from_slice(missing));
    }

    /// To be called before the text is written: a refusal may come as soon as it has begun.
    fn expect_body(&mut self) {
        self.awaited.push_back(Due { what: Awaited::Body, after: self.outgoing.appended + 1 });
    }

    /// Writes down all commands, each to be sent when the one before is answered.
    fn put_script(&self, flight: &mut Flight, transaction: &Transaction<'_>, reset: bool) {
        let chunked = flight.chunked;
        let script = flight.script();
        if reset {
            script.extend_from_slice(b"RSET\r\n");
        }
        put_mail(script, transaction, &self.capabilities);
        put_recipients(script, transaction, &self.capabilities);
        if chunked {
            put_chunk(&mut flight.text, transaction.body);
        } else {
            script.extend_from_slice(b"DATA\r\n");
            wire::dot_stuff(transaction.body, &mut flight.text);
        }
    }

    pub(super) fn on_mail_accepted(&mut self) {
        if let Some(flight) = self.flights.front_mut() {
            flight.accepted = true;
        }
        self.proceed();
    }

    pub(super) fn on_rcpt_accepted(&mut self) {
        if let Some(flight) = self.flights.front_mut() {
            flight.taken += 1;
        }
        self.proceed();
    }

    pub(super) fn on_rcpt_refused(&mut self, index: usize, raw: RawReply<'_>) {
        if let Some(flight) = self.flights.front_mut()
            && flight.answer(index)
        {
            let (transaction, reply) = (flight.number, raw.to_reply());
            self.events.push_back(ClientEvent::Recipient { transaction, index, phase: Phase::Rcpt, reply });
        }
        self.proceed();
    }

    /// After a reply: when no other is due, sends what waited for it.
    pub(super) fn proceed(&mut self) {
        if !self.awaited.is_empty() {
            return;
        }
        let Some(flight) = self.flights.front_mut() else { return };
        if flight.open == 0 {
            return self.finish(false);
        }
        match flight.next_line() {
            Some((line, awaited)) => {
                self.outgoing.append(|out| out.extend_from_slice(line));
                self.expect(awaited);
            }
            None => self.send_text(),
        }
    }

    /// 354: the server awaits the text. When nobody wants it any more it gets an empty one (RFC 2920 section 3.1).
    pub(super) fn on_go_ahead(&mut self, due: Due, raw: RawReply<'_>) {
        if let Some(flight) = self.flights.front_mut()
            && flight.open == 0
        {
            if self.config.protocol == Protocol::Lmtp {
                // RFC 2033 section 4.2 demands 503; how many replies an empty message would get is not foretold.
                return self.unexpected(due, raw);
            }
            flight.text.clear();
            flight.text.extend_from_slice(b".\r\n");
        }
        self.send_text();
    }

    fn send_text(&mut self) {
        self.expect_body();
        let Some(flight) = self.flights.front_mut() else { return };
        self.outgoing.append(|out| {
            if out.is_empty() {
                // Long texts are not copied once more.
                std::mem::swap(out, &mut flight.text);
            } else {
                out.extend_from_slice(&flight.text);
            }
        });
        flight.text.clear();
        flight.end = Some(self.outgoing.appended);
    }

    pub(super) fn on_body(&mut self, due: Due, raw: RawReply<'_>) {
        let Some(flight) = self.flights.front_mut() else { return };
        let (number, chunked) = (flight.number, flight.chunked);
        let positive = raw.code / 100 == 2;
        let all_sent = flight.end.is_some_and(|end| self.outgoing.handed_out() >= end);
        if positive && !all_sent {
            // Nobody can have accepted what has not been sent.
            return self.unexpected(due, raw);
        }
        if chunked && !self.knows_chunks && is_unknown_command(raw, flight.taken > 0) {
            return self.on_chunking_unknown(raw);
        }
        self.knows_chunks |= chunked;
        if self.config.protocol == Protocol::Lmtp && flight.open > 1 {
            // RFC 2033 section 4.2: one reply for each recipient that was taken, in their order.
            if let Some(index) = flight.answer_next() {
                let (phase, reply) = (Phase::Body, raw.to_reply());
                self.events.push_back(ClientEvent::Recipient { transaction: number, index, phase, reply });
            }
            self.awaited.push_front(due);
            return;
        }
        // The final dot ends the transaction whatever is said about it (RFC 5321 section 4.1.1.4); what a refused BDAT
        // leaves behind is not known (RFC 3030 section 2).
        let clean = positive || !chunked;
        self.answer_all(Phase::Body, raw);
        self.finish(clean);
    }

    /// The server offers CHUNKING and does not know BDAT, or so it seems at its first chunk: it may be reading the chunk as
    /// commands, so this message was not judged. What went out behind it nobody knows.
    fn on_chunking_unknown(&mut self, raw: RawReply<'_>) {
        let reply = raw.to_reply();
        if let Some(mut flight) = self.flights.pop_front() {
            let transaction = flight.number;
            while let Some(index) = flight.answer_next() {
                self.events.push_back(ClientEvent::Untried { transaction, index, reply: reply.clone() });
            }
            self.events.push_back(ClientEvent::Done { transaction });
        }
        self.fault(ClientFault::NoChunking(reply));
    }

    /// A refusal has come out of turn. If the last transaction's success is not told yet, it may have been the reply to
    /// something else, and this the reply to its message: then nobody knows.
    pub(super) fn doubt(&mut self) {
        let Some(ClientEvent::Done { transaction: last }) = self.events.back() else { return };
        let last = *last;
        let doubtful = &mut self.doubtful;
        self.events.retain(|event| match event {
            ClientEvent::Recipient { transaction, index, phase: phase @ Phase::Body, reply }
                if *transaction == last && reply.is_positive() =>
            {
                doubtful.push(Lost { transaction: last, index: *index, phase: *phase, unknown: true });
                false
            }
            _ => true,
        });
        if !doubtful.is_empty() {
            self.events.pop_back();
        }
    }

    /// Gives the same reply to all recipients of the first transaction that have none.
    pub(super) fn answer_all(&mut self, phase: Phase, raw: RawReply<'_>) {
        let Some(flight) = self.flights.front_mut() else { return };
        if flight.open == 0 {
            return;
        }
        let reply = raw.to_reply();
        for index in 0..flight.answered.len() {
            if flight.answer(index) {
                let (transaction, reply) = (flight.number, reply.clone());
                self.events.push_back(ClientEvent::Recipient { transaction, index, phase, reply });
            }
        }
    }

    /// The first transaction is done. `clean`: the server holds nothing of it any more.
    pub(super) fn finish(&mut self, clean: bool) {
        let Some(flight) = self.flights.pop_front() else { return };
        self.events.push_back(ClientEvent::Done { transaction: flight.number });
        // A transaction behind this one has brought its own RSET.
        self.needs_rset = !clean && flight.accepted && self.flights.is_empty();
        self.retire(flight);
        self.quit_when_idle();
    }

    /// Keeps the buffers for the next transaction, unless they are large.
    fn retire(&mut self, flight: Flight) {
        if flight.text.capacity() <= SPARE_TEXT_BYTES_MAX {
            self.spare.push(flight);
        }
    }

    pub(super) fn quit_when_idle(&mut self) {
        if self.quitting && self.state == State::Open && self.flights.is_empty() {
            self.outgoing.append(|out| out.extend_from_slice(b"QUIT\r\n"));
            self.expect(Awaited::Quit);
            self.state = State::AwaitBye;
        }
    }

    pub(super) fn closed(&mut self) -> Vec<Lost> {
        let nothing_pending = self.state == State::Over { nothing_pending: true };
        let handed_out = self.outgoing.handed_out();
        let mut phase = self.awaited.front().map_or(Phase::Mail, |due| due.what.phase());
        let mut lost = std::mem::take(&mut self.doubtful);
        for flight in self.flights.drain(..) {
            let unknown = !nothing_pending && flight.end.is_some_and(|end| handed_out >= end);
            let transaction = flight.number;
            lost.extend(flight.unanswered().map(|index| Lost { transaction, index, phase, unknown }));
            // Those behind the first had no reply at all.
            phase = Phase::Mail;
        }
        self.awaited.clear();
        self.state = State::Over { nothing_pending };
        lost
    }
}

/// RFC 5321 section 4.2.4: BDAT itself was not understood. An enhanced code of another subject than the protocol tells
/// that it was. Where nobody was `taken`, 501 and 504 are other words for 503: no BDAT without recipients.
fn is_unknown_command(raw: RawReply<'_>, taken: bool) -> bool {
    (matches!(raw.code, 500 | 502) || (taken && matches!(raw.code, 501 | 504)))
        && raw.to_reply().enhanced.is_none_or(|Enhanced(_, subject, _)| subject == 5)
}
