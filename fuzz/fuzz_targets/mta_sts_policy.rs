//! What a stranger says of TLS is read: an MTA-STS policy, its TXT record, or a TLS-RPT record; the first byte says which.
//! A policy that was read is written back the same, keeps within its bounds, and allows the hosts that it names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::mta_sts::{DOCUMENT_BYTES_MAX, MAX_AGE_MAX, MX_MAX, Mode, Policy, policy_id};
use policy::tls_report::{DESTINATIONS_MAX, Destination, destinations};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => policy(rest),
        1 => {
            let texts = texts(rest);
            if let Some(id) = policy_id(&texts) {
                assert!((1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
        _ => {
            let places = destinations(&texts(rest));
            assert!(places.len() <= DESTINATIONS_MAX);
            for place in places {
                if let Destination::Https(url) = place {
                    assert!(url.starts_with("https://") && url.bytes().all(|byte| byte.is_ascii_graphic()));
                }
            }
        }
    }
});

fn policy(bytes: &[u8]) {
    let Ok(policy) = Policy::parse(bytes) else { return };
    assert!(bytes.len() <= DOCUMENT_BYTES_MAX && policy.max_age <= MAX_AGE_MAX && policy.mx.len() <= MX_MAX);
    assert!(policy.mode == Mode::None || !policy.mx.is_empty());
    assert_eq!(Policy::parse(policy.to_string().as_bytes()).as_ref(), Ok(&policy));
    for pattern in &policy.mx {
        let name = pattern.to_string();
        let host = name.replace("*.", "one.");
        assert!(policy.allows(&host) && policy.allows(&host.to_ascii_uppercase()));
        assert!(!pattern.matches(&format!("two.{host}")));
    }
}

/// One record for each line.
fn texts(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).split('\n').map(str::to_owned).collect()
}
