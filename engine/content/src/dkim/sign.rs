//! Signs messages: which fields, in which order, in which form (RFC 6376 sections 3.5, 3.7 and 5).

use aws_lc_rs::digest::{Digest, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

use super::{BodyHash, Canonicalization, Key, Signatory};
use crate::header::{self, Field};

/// Fields that are signed one time more often than they occur, so that none can be added on the way.
const OVERSIGNED: [&str; 12] = [
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
/// Fields that are signed as often as they occur: mailing lists may add their own.
const SIGNED: [&str; 10] = [
    "Sender",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-ID",
    "List-Help",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "Feedback-ID",
];

/// Where `h=` and `b=` are folded.
const LINE_BYTES: usize = 72;

/// One signature to put on a message.
#[derive(Debug)]
pub struct Signer {
    /// The domain that signs, `d=`.
    pub domain: String,
    /// The selector, `s=`.
    pub selector: String,
    /// The private key.
    pub key: Key,
}

/// Why a message cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// RFC 6376 section 5.4 wants From signed.
    #[error("a message without a From field cannot be signed")]
    NoFrom,
    /// The library failed.
    #[error("the signature could not be made")]
    Library,
}

/// Appends one DKIM-Signature field per signer to `headers`; they belong before the message. All are relaxed/relaxed.
/// `message` is complete with CRLF line ends. A `body_hash` that is given saves hashing; it must be the relaxed one of
/// this body (another canonicalisation is not used).
///
/// This is for a lone message: see [`Unsigned`] for many.
///
/// # Errors
/// When there is no From field or the library fails; `headers` is then as it was.
pub fn sign(
    signers: &[Signer],
    message: &[u8],
    body_hash: Option<&BodyHash>,
    now_seconds: u64,
    headers: &mut Vec<u8>,
) -> Result<(), SignError> {
    let mut unsigned = Unsigned::new(signers, message, body_hash, now_seconds)?;
    Signatory::one_by_one().sign(&mut [&mut unsigned]);
    unsigned.finish(headers)
}

/// What is signed of one message. First it is made, which hashes the message; then a [`Signatory`] makes its signatures, those
/// of many messages together; then it is finished.
#[derive(Debug, Default)]
pub struct Unsigned {
    /// The fields one after the other, each up to its `b=`.
    fields: Vec<u8>,
    parts: Vec<Part>,
}

/// One signature to be made.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) key: Key,
    /// SHA-256 of what is signed.
    pub(super) digest: Digest,
    pub(super) signature: Option<Vec<u8>>,
    /// Where its field ends among the fields.
    end: usize,
}

impl Unsigned {
    /// Selects and hashes. Arguments as of [`sign`].
    ///
    /// # Errors
    /// When there is no From field.
    pub fn new(
        signers: &[Signer],
        message: &[u8],
        body_hash: Option<&BodyHash>,
        now_seconds: u64,
    ) -> Result<Self, SignError> {
        if signers.is_empty() {
            return Ok(Self::default());
        }
        let (head, body) = header::split_head_body(message);
        let given = body_hash.filter(|hash| hash.canonicalization() == Canonicalization::Relaxed);
        let body_hash = given.copied().unwrap_or_else(|| BodyHash::of(Canonicalization::Relaxed, body));
        let Selected { names, mut input } = select(head)?;
        let fields_bytes = input.len();
        let mut unsigned = Self { fields: Vec::new(), parts: Vec::with_capacity(signers.len()) };
        for signer in signers {
            input.truncate(fields_bytes);
            let field_begins = unsigned.fields.len();
            write_unsigned(signer, &names, &body_hash, now_seconds, &mut unsigned.fields);
            write_relaxed(&header::field(&unsigned.fields[field_begins..]), &mut input);
            // Its own field is signed without its line end (RFC 6376 section 3.7).
            input.truncate(input.len() - 2);
            unsigned.parts.push(Part {
                key: signer.key.clone(),
                digest: digest(&SHA256, &input),
                signature: None,
                end: unsigned.fields.len(),
            });
        }
        Ok(unsigned)
    }

    /// Whether there is nothing to be signed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn parts_mut(&mut self) -> &mut [Part] {
        &mut self.parts
    }

    /// Appends the signed fields to `headers`.
    ///
    /// # Errors
    /// When a signature could not be made, or was not; `headers` is then as it was.
    pub fn finish(&self, headers: &mut Vec<u8>) -> Result<(), SignError> {
        if self.parts.iter().any(|part| part.signature.is_none()) {
            return Err(SignError::Library);
        }
        let mut begin = 0;
        for part in &self.parts {
            headers.extend_from_slice(&self.fields[begin..part.end]);
            write_signature(part.signature.as_deref().unwrap_or_default(), headers);
            begin = part.end;
        }
        Ok(())
    }
}

/// The field up to and with `b=`, which stands last: some verifiers do not forgive blanks between the signature and
/// what follows it, as mail-auth 0.13.3 writes them when the signature fills its last line.
fn write_unsigned(signer: &Signer, names: &str, body_hash: &BodyHash, now_seconds: u64, out: &mut Vec<u8>) {
    let (algorithm, domain, selector) = (signer.key.algorithm(), &signer.domain, &signer.selector);
    let hash = STANDARD.encode(body_hash.digest());
    let text = format!(
        "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={domain};\r\n\ts={selector}; t={now_seconds};\r\n\
         \th={names};\r\n\tbh={hash};\r\n\tb="
    );
    out.extend_from_slice(text.as_bytes());
}

fn write_signature(signature: &[u8], out: &mut Vec<u8>) {
    for (index, line) in STANDARD.encode(signature).as_bytes().chunks(LINE_BYTES).enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\r\n\t");
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\r\n");
}

/// The fields to sign: the folded value of `h=`, and their normalised text.
struct Selected {
    names: String,
    input: Vec<u8>,
}

impl Selected {
    fn add_name(&mut self, name: &str, column: &mut usize) {
        if *column + name.len() + 1 > LINE_BYTES {
            self.names.push_str("\r\n\t");
            *column = 0;
        }
        if !self.names.is_empty() {
            self.names.push(':');
        }
        self.names.push_str(name);
        *column += name.len() + 1;
    }
}

fn select(head: &[u8]) -> Result<Selected, SignError> {
    let fields: Vec<Field<'_>> = header::fields(head).collect();
    if !fields.iter().any(|field| field.is("From")) {
        return Err(SignError::NoFrom);
    }
    let mut selected =
        Selected { names: String::with_capacity(320), input: Vec::with_capacity(head.len() + 600) };
    let mut column = 2;
    for (name, over) in
        OVERSIGNED.iter().map(|name| (name, true)).chain(SIGNED.iter().map(|name| (name, false)))
    {
        // The lowest of several is taken first (RFC 6376 section 5.4.2).
        for field in fields.iter().rev().filter(|field| field.is(name)) {
            write_relaxed(field, &mut selected.input);
            selected.add_name(name, &mut column);
        }
        if over {
            selected.add_name(name, &mut column);
        }
    }
    Ok(selected)
}

/// The field in relaxed form (RFC 6376 section 3.4.2): name in lower case, folding undone, runs of blanks one space,
/// none around the value. Our own because mail-auth takes form feeds for blanks, which they are not.
fn write_relaxed(field: &Field<'_>, out: &mut Vec<u8>) {
    out.extend(field.name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let begin = out.len();
    let mut rest = field.value;
    while let Some(line_end) = memchr(b'\n', rest) {
        let line = &rest[..line_end];
        write_words(line.strip_suffix(b"\r").unwrap_or(line), begin, out);
        rest = &rest[line_end + 1..];
    }
    write_words(rest, begin, out);
    if out.len() > begin && out.last() == Some(&b' ') {
        out.pop();
    }
    out.extend_from_slice(b"\r\n");
}

/// Adds the words of one line; no space stands at `begin` and none behind another.
fn write_words(line: &[u8], begin: usize, out: &mut Vec<u8>) {
    for run in line.chunk_by(|a, b| is_blank(*a) == is_blank(*b)) {
        if !is_blank(run[0]) {
            out.extend_from_slice(run);
        } else if out.len() > begin && out.last() != Some(&b' ') {
            out.push(b' ');
        }
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use std::borrow::Borrow;
    use std::collections::HashMap;
    use std::hash::Hash;
    use std::sync::{Arc, Mutex};

    use mail_auth::common::parse::TxtRecordParser;
    use mail_auth::common::verify::DomainKey;
    use mail_auth::{AuthenticatedMessage, DkimResult, MX, MessageAuthenticator, Parameters, RecordSet};
    use mail_auth::{ResolverCache, Txt};
    use proptest::prelude::*;

    use super::super::{Algorithm, dns_name};
    use super::*;

    const NOW: u64 = 1_795_353_001;

    fn signers() -> Vec<Signer> {
        let rsa = Key::from_pem(include_str!("../../testdata/test-rsa.pem"), Algorithm::RsaSha256);
        let ed25519 =
            Key::from_pem(include_str!("../../testdata/test-ed25519.pem"), Algorithm::Ed25519Sha256);
        let signer = |selector: &str, key| Signer {
            domain: "example.test".to_owned(),
            selector: selector.to_owned(),
            key,
        };
        vec![signer("rsa", rsa.expect("reads")), signer("ed25519", ed25519.expect("reads"))]
    }

    fn signed(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        sign(&signers(), message, None, NOW, &mut out).expect("signs");
        out.extend_from_slice(message);
        out
    }

    /// The records of our keys, where mail-auth looks before it asks any server.
    struct Records(Mutex<HashMap<Box<str>, Txt>>);

    impl ResolverCache<Box<str>, Txt> for Records {
        fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<Txt>
        where
            Box<str>: Borrow<Q>,
        {
            self.0.lock().expect("not poisoned").get(name).cloned()
        }

        fn remove<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<Txt>
        where
            Box<str>: Borrow<Q>,
        {
            self.0.lock().expect("not poisoned").remove(name)
        }

        fn insert(&self, name: Box<str>, record: Txt, _: std::time::Instant) {
            self.0.lock().expect("not poisoned").insert(name, record);
        }
    }

    type Nothing<K, V> = mail_auth::common::cache::NoCache<K, V>;

    /// How many signatures another implementation finds good, and how many there are.
    fn verify(message: &[u8]) -> (usize, usize) {
        let mut records = HashMap::new();
        for signer in signers() {
            let key = DomainKey::parse(signer.key.dns_record().as_bytes()).expect("is a record");
            let name = format!("{}.", dns_name(&signer.domain, &signer.selector));
            records.insert(name.into_boxed_str(), Txt::DomainKey(Arc::new(key)));
        }
        let records = Records(Mutex::new(records));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        runtime.block_on(async {
            let verifier = MessageAuthenticator::new_cloudflare().expect("starts");
            let parsed = AuthenticatedMessage::parse(message).expect("parses");
            let parameters = Parameters {
                params: &parsed,
                cache_txt: Some(&records),
                cache_mx: None::<&Nothing<Box<str>, RecordSet<MX>>>,
                cache_ptr: None::<&Nothing<std::net::IpAddr, RecordSet<Box<str>>>>,
                cache_ipv4: None::<&Nothing<Box<str>, RecordSet<std::net::Ipv4Addr>>>,
                cache_ipv6: None::<&Nothing<Box<str>, RecordSet<std::net::Ipv6Addr>>>,
            };
            let results = verifier.verify_dkim(parameters).await;
            (results.iter().filter(|result| result.result() == &DkimResult::Pass).count(), results.len())
        })
    }

    const PLAIN: &str = "From: Ann <ann@example.test>\r\nTo: bob@example.net\r\nSubject:  two\r\n\t lines \r\n\
        Date: Sun, 22 Nov 2026 13:10:01 +0000\r\nMessage-ID: <1@example.test>\r\nList-ID: <l.example.test>\r\n\r\n\
        Hello,  world \r\n\r\n\r\n";

    /// The expected text was verified by hand with dkimpy 1.1 for both keys; both kinds of signature are deterministic.
    #[test]
    fn the_signed_text_is_the_one_that_dkimpy_verified() {
        let expected = include_str!("../../testdata/signed.eml").replace('\n', "\r\n");
        assert_eq!(String::from_utf8_lossy(&signed(PLAIN.as_bytes())), expected);
    }

    #[test]
    fn both_signatures_verify_and_any_change_breaks_them() {
        let message = signed(PLAIN.as_bytes());
        assert_eq!(verify(&message), (2, 2));
        let text = String::from_utf8(message).expect("is ASCII");
        for (what, with) in [
            ("Hello", "hello"),
            ("Subject:  two", "Subject: too"),
            ("From: Ann", "From: Eve <eve@x.test>\r\nFrom: Ann"),
            ("To: bob@example.net", "To: bob@example.net\r\nTo: eve@x.test"),
            ("List-ID: <l", "List-ID: <k"),
            ("From: Ann", "Reply-To: eve@x.test\r\nFrom: Ann"),
            ("t=1795353001", "t=1795353002"),
        ] {
            let changed = text.replace(what, with);
            assert_ne!(changed, text);
            assert_eq!(verify(changed.as_bytes()).0, 0, "{what} -> {with}");
        }
    }

    #[test]
    fn a_given_body_hash_gives_the_same_signature() {
        let (_, body) = header::split_head_body(PLAIN.as_bytes());
        let mut with = Vec::new();
        let hash = BodyHash::of(Canonicalization::Relaxed, body);
        sign(&signers(), PLAIN.as_bytes(), Some(&hash), NOW, &mut with).expect("signs");
        assert!(signed(PLAIN.as_bytes()).starts_with(&with));
        let mut other = Vec::new();
        let simple = BodyHash::of(Canonicalization::Simple, body);
        sign(&signers(), PLAIN.as_bytes(), Some(&simple), NOW, &mut other).expect("signs");
        assert_eq!(other, with);
    }

    #[test]
    fn without_from_nothing_is_signed_and_without_signers_nothing_is_asked() {
        let mut out = b"before".to_vec();
        assert_eq!(sign(&signers(), b"To: a@x\r\n\r\n", None, NOW, &mut out), Err(SignError::NoFrom));
        assert_eq!(sign(&[], b"To: a@x\r\n\r\n", None, NOW, &mut out), Ok(()));
        assert_eq!(out, b"before");
    }

    #[test]
    fn signers_are_shared_between_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Signer>();
    }

    #[test]
    fn form_feeds_are_no_blanks() {
        let mut out = Vec::new();
        write_relaxed(&header::field(b"SUBJect \t: \t a\x0cb \x0b\r\n\t\r\n  c\t \r\n"), &mut out);
        assert_eq!(out, b"subject:a\x0cb \x0b c\r\n");
        out.clear();
        write_relaxed(&header::field(b"To:\r\n"), &mut out);
        assert_eq!(out, b"to:\r\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn messages_of_all_shapes_verify(
            fields in prop::collection::vec(
                ("(Subject|To|Cc|X-Foo|Sender|List-Unsubscribe|references|CONTENT-TYPE)", "[ -~\té]{0,60}(\r\n [ -~]{1,20}){0,3}"),
                0..30,
            ),
            body in prop::collection::vec("[ -~\té=.]{0,100}\r\n", 0..20),
        ) {
            let mut message = String::from("From: Ann <ann@example.test>\r\n");
            for (name, value) in &fields {
                message.push_str(&format!("{name}: {value}\r\n"));
            }
            message.push_str("\r\n");
            message.push_str(&body.concat());
            // Its last line is not of blanks alone, which mail-auth hashes wrongly.
            message.push_str("end\r\n");
            let message = signed(message.as_bytes());
            prop_assert_eq!(verify(&message), (2, 2));
            let long = message.split(|&b| b == b'\n').take_while(|line| !line.starts_with(b"From")).map(<[u8]>::len).max();
            prop_assert!(long <= Some(80));
        }
    }
}
