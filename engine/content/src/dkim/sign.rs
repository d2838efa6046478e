//! Signs messages: which fields, in which order, in which form (RFC 6376 sections 3.5, 3.7 and 5).

use mail_auth::common::crypto::{self, SigningKey};
use mail_auth::common::headers::{Writable, Writer};
use mail_auth::dkim::Signature;
use memchr::memchr;

use super::{Algorithm, BodyHash, Canonicalization, Key};
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
    #[error("signing for {domain} failed: {reason}")]
    Library {
        /// Whose signature it was to be.
        domain: String,
        /// The library's words.
        reason: String,
    },
}

/// Appends one DKIM-Signature field per signer to `headers`; they belong before the message. All are relaxed/relaxed.
/// `message` is complete with CRLF line ends. A `body_hash` that is given saves hashing; it must be the relaxed one of
/// this body (another canonicalisation is not used).
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
    if signers.is_empty() {
        return Ok(());
    }
    let before = headers.len();
    let (head, body) = header::split_head_body(message);
    let given = body_hash.filter(|hash| hash.canonicalization() == Canonicalization::Relaxed);
    let body_hash = given.copied().unwrap_or_else(|| BodyHash::of(Canonicalization::Relaxed, body));
    let Selected { names, mut input } = select(head)?;
    let fields_bytes = input.len();
    for signer in signers {
        input.truncate(fields_bytes);
        if let Err(error) = sign_one(signer, &names, &body_hash, now_seconds, &mut input, headers) {
            headers.truncate(before);
            return Err(error);
        }
    }
    Ok(())
}

fn sign_one(
    signer: &Signer,
    names: &[String],
    body_hash: &BodyHash,
    now_seconds: u64,
    input: &mut Vec<u8>,
    headers: &mut Vec<u8>,
) -> Result<(), SignError> {
    let mut signature = Signature {
        v: 1,
        a: match signer.key.algorithm() {
            Algorithm::RsaSha256 => crypto::Algorithm::RsaSha256,
            Algorithm::Ed25519Sha256 => crypto::Algorithm::Ed25519Sha256,
        },
        d: signer.domain.clone(),
        s: signer.selector.clone(),
        bh: body_hash.digest().to_vec(),
        h: names.to_vec(),
        t: now_seconds,
        ..Signature::default()
    };
    signature.write(input, false);
    signature.b = signer
        .key
        .inner
        .sign(Input(input))
        .map_err(|error| SignError::Library { domain: signer.domain.clone(), reason: error.to_string() })?;
    signature.write(headers, true);
    Ok(())
}

/// Bytes to be signed.
struct Input<'a>(&'a [u8]);

impl Writable for Input<'_> {
    fn write(self, writer: &mut impl Writer) {
        writer.write(self.0);
    }
}

/// The fields to sign: `h=`, and their normalised text.
struct Selected {
    names: Vec<String>,
    input: Vec<u8>,
}

fn select(head: &[u8]) -> Result<Selected, SignError> {
    let fields: Vec<Field<'_>> = header::fields(head).collect();
    if !fields.iter().any(|field| field.is("From")) {
        return Err(SignError::NoFrom);
    }
    let mut selected =
        Selected { names: Vec::with_capacity(24), input: Vec::with_capacity(head.len() + 600) };
    for (name, over) in
        OVERSIGNED.iter().map(|name| (name, true)).chain(SIGNED.iter().map(|name| (name, false)))
    {
        // The lowest of several is taken first (RFC 6376 section 5.4.2).
        for field in fields.iter().rev().filter(|field| field.is(name)) {
            write_relaxed(field, &mut selected.input);
            selected.names.push((*name).to_owned());
        }
        if over {
            selected.names.push((*name).to_owned());
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
