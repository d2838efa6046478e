//! The lines of an EHLO reply, without codes, are read as capabilities.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::Capabilities;

fuzz_target!(|bytes: &[u8]| {
    let lines = || bytes.split(|byte| *byte == b'\n');
    let read = Capabilities::parse(lines());
    for limit in
        [read.transactions_max, read.recipients_max, read.recipient_domains_max].into_iter().flatten()
    {
        assert!((1..1_000_000).contains(&limit), "a limit has 1 to 6 digits and is not zero");
    }
    assert!(read.message_bytes_max != Some(0) && (read.size || read.message_bytes_max.is_none()));
    assert!(read.auth.len() <= 32);
    for mechanism in &read.auth {
        assert!(!mechanism.is_empty() && !mechanism.contains(char::is_whitespace));
        assert!(!mechanism.bytes().any(|byte| byte.is_ascii_lowercase()));
    }
    // The first line is the greeting, whatever it says.
    assert_eq!(Capabilities::parse(lines().take(1)), Capabilities::default());
    // Keywords are read in any case.
    let upper = bytes.to_ascii_uppercase();
    assert_eq!(Capabilities::parse(upper.split(|byte| *byte == b'\n')), read);
});
