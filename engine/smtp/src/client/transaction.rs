//! One message on its way: its commands, and what is known of each recipient.

use mail::{DsnReturn, Enhanced, Notify, Reply};
use smallvec::SmallVec;

use super::awaited::Awaited;
use super::{Obstacle, To, Transaction, Unsendable};
use crate::Capabilities;
use crate::wire;

/// A transaction under way.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) number: u64,
    /// Per recipient: whether it has had its event.
    pub(super) answered: SmallVec<[bool; 16]>,
    /// How many have not.
    pub(super) open: usize,
    /// How many recipients the server has taken.
    pub(super) taken: u32,
    /// Whether MAIL was accepted, so that the server may still hold the transaction after a failure.
    pub(super) accepted: bool,
    /// Whether the message goes by BDAT.
    pub(super) chunked: bool,
    /// Command lines that wait for the reply to the one before.
    script: Vec<u8>,
    /// How much of `script` is sent.
    script_sent: usize,
    /// How many of its RCPT lines are.
    recipients_sent: usize,
    /// What follows the envelope once the server has agreed: the dot-stuffed message, or the chunk with its command.
    pub(super) text: Vec<u8>,
    /// Where in the stream of all bytes of this session the message ends; `None` until it is given out.
    pub(super) end: Option<u64>,
}

impl Flight {
    /// Makes the flight new, keeping its buffers.
    pub(super) fn renew(&mut self, number: u64, recipients: usize, chunked: bool) {
        self.number = number;
        self.answered.clear();
        self.answered.resize(recipients, false);
        self.open = recipients;
        self.taken = 0;
        self.accepted = false;
        self.chunked = chunked;
        self.script.clear();
        self.script_sent = 0;
        self.recipients_sent = 0;
        self.text.clear();
        self.end = None;
    }

    /// The buffer for command lines that are sent one by one.
    pub(super) fn script(&mut self) -> &mut Vec<u8> {
        &mut self.script
    }

    /// The next command line that waits, and the reply it asks for; it counts as sent.
    pub(super) fn next_line(&mut self) -> Option<(&[u8], Awaited)> {
        let start = self.script_sent;
        let end = start + memchr::memchr(b'\n', &self.script[start..])? + 1;
        self.script_sent = end;
        let line = &self.script[start..end];
        let awaited = match line {
            [b'R', b'S', ..] => Awaited::Rset,
            [b'M', ..] => Awaited::Mail,
            [b'D', ..] => Awaited::Data,
            _ => {
                self.recipients_sent += 1;
                Awaited::Rcpt(self.recipients_sent - 1)
            }
        };
        Some((line, awaited))
    }

    /// Marks a recipient as answered; false when it was already.
    pub(super) fn answer(&mut self, index: usize) -> bool {
        match self.answered.get_mut(index) {
            Some(answered) if !*answered => {
                *answered = true;
                self.open -= 1;
                true
            }
            _ => false,
        }
    }

    /// Marks the first recipient without an answer as answered and names it.
    pub(super) fn answer_next(&mut self) -> Option<usize> {
        let index = self.unanswered().next()?;
        self.answer(index).then_some(index)
    }

    /// The recipients without an answer.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = usize> + '_ {
        self.answered.iter().enumerate().filter(|(_, answered)| !**answered).map(|(index, _)| index)
    }
}

/// Whether this server can be given this transaction.
pub(super) fn check(
    transaction: &Transaction<'_>,
    capabilities: &Capabilities,
    authenticated: bool,
) -> Result<(), Unsendable> {
    let refuse = |code, enhanced, text: String| {
        Err(Unsendable { reply: Reply::enhanced(code, enhanced, text), what: Obstacle::Message })
    };
    if !(transaction.sender.is_empty() || is_harmless(transaction.sender)) {
        return refuse(501, Enhanced(5, 1, 7), "the sender's address is malformed".into());
    }
    if !transaction.recipients.iter().all(|to| is_harmless(to.address)) {
        let reply = Reply::enhanced(501, Enhanced(5, 1, 3), "a recipient's address is malformed");
        return Err(Unsendable { reply, what: Obstacle::Recipient });
    }
    // RFC 6531 section 3.2.
    if needs_smtputf8(transaction) && !capabilities.smtputf8 {
        let text = "the message needs SMTPUTF8, which the server does not offer";
        let is_of_message = transaction.recipients.iter().all(|to| to.address.is_ascii());
        let what = if is_of_message { Obstacle::Message } else { Obstacle::Recipient };
        return Err(Unsendable { reply: Reply::enhanced(553, Enhanced(5, 6, 7), text), what });
    }
    // RFC 8689 section 4.2.1.
    if transaction.require_tls && !(authenticated && capabilities.require_tls) {
        let text = match authenticated {
            true => "the message asks for TLS all the way (REQUIRETLS), which the server does not promise",
            false => {
                "the message asks for TLS (REQUIRETLS), which this connection has not, or not with the right host"
            }
        };
        return Err(Unsendable {
            reply: Reply::enhanced(550, Enhanced(5, 7, 30), text),
            what: Obstacle::Promise,
        });
    }
    // RFC 1870 section 6.1.
    let bytes = bytes_of(transaction.body) as u64;
    if let Some(bytes_max) = capabilities.message_bytes_max.filter(|bytes_max| bytes > *bytes_max) {
        let text = format!("the message has {bytes} bytes, the server takes at most {bytes_max}");
        return refuse(552, Enhanced(5, 3, 4), text);
    }
    // RFC 5321 section 2.3.8: what is ambiguous here may be the end of the message elsewhere.
    if !has_clean_lines(transaction.body) {
        return refuse(554, Enhanced(5, 6, 0), "the message holds a bare CR or LF".into());
    }
    Ok(())
}

/// Whether an address can stand between brackets without ending them, its line or its word.
fn is_harmless(address: &str) -> bool {
    let quoted = address.starts_with('"');
    let breaks_out = |c: char| c.is_control() || (!quoted && matches!(c, ' ' | '<' | '>'));
    // Most addresses are ASCII, which is told without decoding them.
    let is_harmful = match address.is_ascii() {
        true => address.bytes().any(|byte| breaks_out(char::from(byte))),
        false => address.chars().any(breaks_out),
    };
    !address.is_empty() && !is_harmful
}

fn needs_smtputf8(transaction: &Transaction<'_>) -> bool {
    transaction.smtputf8
        || !transaction.sender.is_ascii()
        || transaction.recipients.iter().any(|to| !to.address.is_ascii())
}

/// Writes MAIL with the parameters that the server knows.
pub(super) fn put_mail(out: &mut Vec<u8>, transaction: &Transaction<'_>, capabilities: &Capabilities) {
    put(out, &["MAIL FROM:<", transaction.sender, ">"]);
    if capabilities.size {
        put(out, &[" SIZE="]);
        put_decimal(out, bytes_of(transaction.body));
    }
    if transaction.eight_bit && capabilities.eight_bit_mime {
        put(out, &[" BODY=8BITMIME"]);
    }
    if needs_smtputf8(transaction) {
        put(out, &[" SMTPUTF8"]);
    }
    if transaction.require_tls {
        put(out, &[" REQUIRETLS"]);
    }
    if capabilities.dsn {
        // Headers are what the server returns when nothing is said (RFC 3461 section 4.3).
        if transaction.dsn_return == DsnReturn::Full {
            put(out, &[" RET=FULL"]);
        }
        if let Some(id) = transaction.envelope_id.filter(|id| !id.is_empty() && id.is_ascii()) {
            put(out, &[" ENVID="]);
            wire::encode_xtext(id, out);
        }
    }
    put(out, &["\r\n"]);
}

/// Writes RCPT for each recipient.
pub(super) fn put_recipients(out: &mut Vec<u8>, transaction: &Transaction<'_>, capabilities: &Capabilities) {
    for index in 0..transaction.recipients.len() {
        put_recipient(out, transaction, index, capabilities);
    }
}

/// Writes RCPT for one recipient.
pub(super) fn put_recipient(
    out: &mut Vec<u8>,
    transaction: &Transaction<'_>,
    index: usize,
    capabilities: &Capabilities,
) {
    let to = &transaction.recipients[index];
    put(out, &["RCPT TO:<", to.address, ">"]);
    if capabilities.dsn {
        put_notify(out, to.notify);
        put_original(out, to, transaction);
    }
    put(out, &["\r\n"]);
}

/// RFC 3461 section 4.1.
fn put_notify(out: &mut Vec<u8>, notify: Notify) {
    if notify == Notify::default() {
        return;
    }
    if notify == Notify::NEVER {
        return put(out, &[" NOTIFY=NEVER"]);
    }
    let mut mark = " NOTIFY=";
    for (event, name) in
        [(Notify::SUCCESS, "SUCCESS"), (Notify::FAILURE, "FAILURE"), (Notify::DELAY, "DELAY")]
    {
        if notify.wants(event) {
            put(out, &[mark, name]);
            mark = ",";
        }
    }
}

/// RFC 3461 section 4.2. An address beyond ASCII can be told only under SMTPUTF8 (RFC 6533 section 3).
fn put_original(out: &mut Vec<u8>, to: &To<'_>, transaction: &Transaction<'_>) {
    let Some((kind, text)) = to.original.and_then(|original| original.split_once(';')) else { return };
    let kind_is_atom = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if kind_is_atom && (text.is_ascii() || needs_smtputf8(transaction)) {
        put(out, &[" ORCPT=", kind, ";"]);
        wire::encode_xtext(text, out);
    }
}

/// Writes the whole message as one last chunk (RFC 3030 section 2), with CRLF at its end.
pub(super) fn put_chunk(out: &mut Vec<u8>, body: &[&[u8]]) {
    let (bytes, missing) = (bytes_of(body), wire::missing_line_end(body));
    out.reserve(bytes + 32);
    put_chunk_command(out, bytes + missing.len());
    body.iter().for_each(|piece| out.extend_from_slice(piece));
    out.extend_from_slice(missing);
}

/// Writes the command of one last chunk.
pub(super) fn put_chunk_command(out: &mut Vec<u8>, bytes: usize) {
    put(out, &["BDAT "]);
    put_decimal(out, bytes);
    put(out, &[" LAST\r\n"]);
}

/// How long a body in pieces is.
pub(super) fn bytes_of(body: &[&[u8]]) -> usize {
    body.iter().map(|piece| piece.len()).sum()
}

/// Whether all pieces hold clean lines, and all but the last whole ones.
fn has_clean_lines(body: &[&[u8]]) -> bool {
    let Some((last, others)) = body.split_last() else { return true };
    others.iter().all(|piece| piece.ends_with(b"\r\n") && wire::has_clean_line_ends(piece))
        && wire::has_clean_line_ends(last)
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

fn put_decimal(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        // The remainder is below ten.
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Transaction<'static> = Transaction {
        sender: "a@x.test",
        recipients: &[],
        body: &[b"A: b\r\n"],
        eight_bit: true,
        smtputf8: false,
        dsn_return: DsnReturn::Full,
        envelope_id: Some("id+1"),
        require_tls: false,
    };

    fn all() -> Capabilities {
        Capabilities {
            size: true,
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            ..Capabilities::default()
        }
    }

    fn written(transaction: &Transaction<'_>, capabilities: &Capabilities) -> String {
        let mut out = Vec::new();
        put_mail(&mut out, transaction, capabilities);
        put_recipients(&mut out, transaction, capabilities);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parameters_go_only_to_servers_that_know_them() {
        let to = To {
            address: "b@y.test",
            notify: Notify::SUCCESS.with(Notify::DELAY),
            original: Some("rfc822;b c@y.test"),
        };
        let never = To { notify: Notify::NEVER, ..To::from("c@y.test") };
        let transaction = Transaction { recipients: &[to, never, "d@y.test".into()], ..BARE };
        assert_eq!(
            written(&transaction, &all()),
            "MAIL FROM:<a@x.test> SIZE=6 BODY=8BITMIME RET=FULL ENVID=id+2B1\r\n\
             RCPT TO:<b@y.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+20c@y.test\r\n\
             RCPT TO:<c@y.test> NOTIFY=NEVER\r\nRCPT TO:<d@y.test>\r\n"
        );
        let plain =
            "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nRCPT TO:<c@y.test>\r\nRCPT TO:<d@y.test>\r\n";
        assert_eq!(written(&transaction, &Capabilities::default()), plain);
    }

    #[test]
    fn what_the_server_cannot_take_is_not_sent() {
        let to = |address| [To::from(address)];
        let small = Capabilities { message_bytes_max: Some(5), ..all() };
        let old = Capabilities::default();
        for (transaction, capabilities, code) in [
            (Transaction { recipients: &to("b@y"), ..BARE }, &small, Some("552 5.3.4")),
            (Transaction { recipients: &to("grå@y"), ..BARE }, &old, Some("553 5.6.7")),
            (Transaction { recipients: &to("grå@y"), ..BARE }, &all(), None),
            (Transaction { recipients: &to("b@y"), smtputf8: true, ..BARE }, &old, Some("553 5.6.7")),
            (Transaction { recipients: &to("b@y>\r\nDATA"), ..BARE }, &old, Some("501 5.1.3")),
            (Transaction { recipients: &to("b@y> X"), ..BARE }, &old, Some("501 5.1.3")),
            (Transaction { recipients: &to("\"b >\"@y"), ..BARE }, &old, None),
            (Transaction { recipients: &to("b@y"), sender: "a\n@x", ..BARE }, &old, Some("501 5.1.7")),
            (Transaction { recipients: &to("b@y"), sender: "", ..BARE }, &old, None),
            (Transaction { recipients: &to("b@y"), body: &[b"a\n.\r\n"], ..BARE }, &old, Some("554 5.6.0")),
            (
                Transaction { recipients: &to("b@y"), body: &[b"a: b", b"\r\n"], ..BARE },
                &old,
                Some("554 5.6.0"),
            ),
        ] {
            let reply =
                check(&transaction, capabilities, false).err().map(|unsendable| unsendable.to_string());
            assert_eq!(reply.as_deref().map(|text| &text[..9]), code, "{transaction:?}");
        }
    }

    #[test]
    fn a_chunk_says_its_size() {
        for (body, chunk) in
            [("", "BDAT 0 LAST\r\n"), ("a\r\n", "BDAT 3 LAST\r\na\r\n"), ("a", "BDAT 3 LAST\r\na\r\n")]
        {
            let mut out = Vec::new();
            put_chunk(&mut out, &[body.as_bytes()]);
            assert_eq!(String::from_utf8(out).unwrap(), chunk);
        }
    }
}
