//! What measurements share: a message, an outcome, chance from a seed, and a clock that runs only while the thing in
//! question does. Nothing here is measured for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mail::{Disposition, Outcome, Phase, Reply, Route, Timings, UnixMs};

/// Rounds whose work is undone before more is done, at most.
const ROUNDS_MAX: u64 = 4096;

/// A message of exactly `bytes` bytes (at least a few hundred): the fields of a program's notice, then lines of prose
/// with a dot at the start of some.
#[must_use]
pub fn message(bytes: usize) -> Vec<u8> {
    const HEAD: &[u8] = b"From: Shop <orders@shop.example>\r\nTo: Ann Example <ann@mail.example>\r\n\
        Subject: Your order 4711 is on its way\r\nDate: Tue, 10 Nov 2026 12:00:00 +0000\r\n\
        Message-ID: <4711.1@shop.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: 7bit\r\nX-Mailer: shop 1.2\r\n\r\n";
    const LINES: &[u8] = b"The parcel has left our house and should be with you on Thursday.\r\n\r\n\
        .. it holds two books, and a third one follows.\r\nYours, the shop  \r\n";
    let mut message = HEAD.to_vec();
    message.extend(LINES.iter().cycle().take(bytes.saturating_sub(HEAD.len() + 3)));
    // The cut may have left half a line end.
    let end = message.trim_ascii_end().len();
    message.truncate(end);
    message.resize(bytes.saturating_sub(2), b'x');
    message.extend_from_slice(b"\r\n");
    message
}

/// A first attempt that succeeded.
#[must_use]
pub fn delivered(at: UnixMs) -> Outcome {
    let [source, provider, mx, address, tls] =
        ["s1", "google", "mx.mail.example", "192.0.2.7:25", "TLSv1.3 TLS13_AES_128_GCM_SHA256"]
            .map(str::to_owned);
    Outcome {
        at,
        attempt: 1,
        disposition: Disposition::Delivered,
        next_attempt: None,
        phase: Phase::Body,
        verdict: String::new(),
        reply: Reply::new(250, "OK 1731240000 5b1f17b1804b1-38.19 - smtp"),
        route: Arc::new(Route { source, provider, mx, address, tls }),
        timings: Timings::default(),
    }
}

/// Numbers that look random and are the same each time (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// A number below `end`, which is above zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// The time that `iterations` of `measured` take, with `undone` outside the clock after every few thousand of them, and after
/// an eighth of `size`, so that what there is stays about as much as it was. Both are told of how many rounds they are.
pub fn only<T>(
    state: &mut T,
    iterations: u64,
    size: u64,
    mut measured: impl FnMut(&mut T, u64),
    mut undone: impl FnMut(&mut T, u64),
) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let rounds = left.min(ROUNDS_MAX).min((size / 8).max(1));
        let began = Instant::now();
        measured(state, rounds);
        time += began.elapsed();
        undone(state, rounds);
        left -= rounds;
    }
    time
}
