//! A server's bytes are split into replies, as the SMTP client reads them. The first two bytes say how they are cut the
//! one time; the other time they come at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail::Reply;
use smtp::client::{ClientFault, ReplyReader};
use staffetta_fuzz::input::Input;

const REPLY_BYTES_MAX: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let cuts = [usize::from(input.u8()) + 1, usize::from(input.u8()) + 1];
    let said = input.take(usize::MAX);
    let whole = read(said, &[said.len().max(1)]);
    let cut = read(said, &cuts);
    assert_eq!(whole, cut, "replies depend on how the bytes are cut");
    for reply in whole.0 {
        assert!(reply.code <= 999 && reply.text.len() <= 3 * REPLY_BYTES_MAX, "{reply}");
        assert!(!reply.text.chars().any(char::is_control), "a control character is kept: {reply:?}");
    }
});

fn read(said: &[u8], cuts: &[usize]) -> (Vec<Reply>, Option<ClientFault>) {
    let mut reader = ReplyReader::default();
    let mut replies = Vec::new();
    let mut rest = said;
    for cut in cuts.iter().cycle() {
        let (piece, left) = rest.split_at((*cut).min(rest.len()));
        reader.push(piece);
        rest = left;
        loop {
            match reader.next_reply(REPLY_BYTES_MAX) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(fault) => return (replies, Some(fault)),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    (replies, None)
}
