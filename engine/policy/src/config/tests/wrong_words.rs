//! Values and names that are wrong: each is named with its line, its key and the cure.

use super::{MINIMAL, complaints};

#[test]
fn each_wrong_value_is_named_with_line_key_and_cure() {
    let duration = "write it like \"90s\", \"4h\" or \"2d\"";
    let size = "write it like \"512KiB\", \"256MiB\" or \"1GiB\"";
    for (lines, expected) in [
        ("[deliver]\nstop_grace = 30", format!("11 deliver.stop_grace: {duration}")),
        ("[deliver]\n\nstop_grace = \"30\"", format!("12 deliver.stop_grace: {duration}")),
        (
            "[deliver]\nstop_grace = \"0s\"",
            "11 deliver.stop_grace: write more than 0 and at most \"1d\"".to_owned(),
        ),
        ("[deliver]\nport = \"25\"", "11 deliver.port: write it like 1".to_owned()),
        ("[deliver]\nport = 70000", "11 deliver.port: write a number from 1 to 65535".to_owned()),
        (
            "[deliver]\ntls = \"require\"",
            "11 deliver.tls: did you mean \"required\"? It takes: off, opportunistic, required, verified"
                .to_owned(),
        ),
        (
            "[deliver]\nallow_private = \"10.0.0.0/8\"",
            "11 deliver.allow_private: write it in brackets: [\"127.0.0.0/8\"]".to_owned(),
        ),
        (
            "[deliver]\nallow_private = [\n  \"10.0.0.0/8\",\n  \"10.0.0.0/99\",\n]",
            "13 deliver.allow_private: write it like \"127.0.0.0/8\"".to_owned(),
        ),
        ("[spool]\nsegment = 268435456", format!("11 spool.segment: {size}")),
        ("[spool]\nsegment = \"256MB!\"", format!("11 spool.segment: {size}")),
        ("[spool]\nsegment = \"1B\"", "11 spool.segment: write at least 64KiB and at most 2GiB".to_owned()),
        (
            "[http]\naddress = \"127.0.0.1\"",
            "11 http.address: write it like \"127.0.0.1:2525\" or \"[::1]:2525\"".to_owned(),
        ),
        ("[dns]\nservers = [\"dns.test\"]", "11 dns.servers: write it like \"127.0.0.1:5353\"".to_owned()),
        (
            "[[source]]\nname = \"a\"\nip = \"127.0.0\"",
            "12 source.ip: write it like \"192.0.2.1\"".to_owned(),
        ),
        (
            "[[source]]\nname = \"a\"\ndevice = \"a device\"",
            "12 source.device: write it like \"eth1\"".to_owned(),
        ),
        (
            "[provider.google]\nrate = 100",
            "11 provider.google.rate: write it like \"100/s\", \"5000/h\" or \"unlimited\"".to_owned(),
        ),
        (
            "[provider.google]\nrate_bytes = \"5/s\"",
            "11 provider.google.rate_bytes: write it like \"5MB/s\", \"20GB/d\" or \"unlimited\"".to_owned(),
        ),
        (
            "[[account]]\nname = \"a\"\nquota = 100000",
            "12 account.quota: write it like \"100/s\" or \"5000/h\"".to_owned(),
        ),
        (
            "[provider.google]\nconnections = 0",
            "11 provider.google.connections: write a number from 1 to 100000".to_owned(),
        ),
        ("[class.bulk]\nretry = [\"soon\"]", format!("11 class.bulk.retry: {duration}")),
        (
            "[[account]]\nname = \"a\"\ntoken_hash = \"secret\"",
            "12 account.token_hash: write it like \"sha256:…\", the output of `printf %s SECRET | sha256sum`"
                .to_owned(),
        ),
    ] {
        let found = complaints(&format!("{}{lines}\n", MINIMAL.trim_start()));
        assert!(found.contains(&expected), "{lines}\nexpected {expected}\nfound {found:#?}");
    }
}

#[test]
fn wrong_values_about_tls_are_named_too() {
    for (lines, expected) in [
        ("[deliver]\ndane = \"true\"", "11 deliver.dane: write it like true"),
        (
            "[tls_report]\nfrom = \"reports\"",
            "11 tls_report.from: write it like \"tls-reports@example.test\"",
        ),
        (
            "[tls_report]\nfrom = \"reports@example.test\"",
            "11 tls_report.from: add a [[domain]] of this name with a [[domain.dkim]], or send from a domain that has one: name = \"example.test\"",
        ),
        (
            "[dns]\ntrust_anchor_file = \"keys\"",
            "11 dns.trust_anchor_file: write dnssec = \"validate\", or remove the key",
        ),
        (
            "[[route]]\ndomain = \"a.test\"\nhosts = [\"h\"]\ntls_key = \"k\"",
            "13 route.tls_key: add `tls_certificate = \"….pem\"`, or remove `tls_key`",
        ),
        (
            "[[route]]\ndomain = \"x.test\"\nhosts = [\"::1\", \"a\"]\nusername = \"u\"\npassword = \"p\"\ntls = \"required\"",
            "13 route.username: write tls = \"verified\" in the route; a host with a certificate of its own making needs deliver.ca_file too",
        ),
    ] {
        let found = complaints(&format!("{}{lines}\n", MINIMAL.trim_start()));
        assert!(
            found.iter().any(|complaint| complaint == expected),
            "{lines}\nexpected {expected}\nfound {found:#?}"
        );
    }
}

#[test]
fn each_unknown_name_is_answered_with_the_nearest_one() {
    for (lines, expected) in [
        ("[deliver]\nstopgrace = \"1s\"", "11 deliver.stopgrace: did you mean `stop_grace`?"),
        ("[deliver]\nmax_message = \"1MiB\"", "11 deliver.max_message: move it to [[smtp_listener]]"),
        (
            "[deliver]\ncolour = 1",
            "11 deliver.colour: use one of: port, tls, ca_file, dane, mta_sts, connect_timeout, reply_timeout, idle_timeout, allow_private, stop_grace",
        ),
        ("[delivery]\nport = 25", "10 delivery: did you mean [deliver]?"),
        ("[smtp_listeners]\n", "10 smtp_listeners: did you mean [[smtp_listener]]?"),
        ("[class.critcal]\nweight = 1", "10 class.critcal: did you mean `critical`?"),
        (
            "[class]\nweight = 1",
            "11 class.weight: write [class.critical|transactional|personal|bulk] above it",
        ),
        ("[provider]\nrate = \"1/s\"", "11 provider.rate: write [provider.NAME] above it"),
        (
            "[provider.gogle]\nconnections = 1",
            "10 provider.gogle: did you mean [provider.google]? Otherwise add mx, domains or networks",
        ),
        ("[source]\nname = \"a\"", "10 source: write [[source]]"),
        ("[[http]]\naddress = \"127.0.0.1:80\"", "10 http: write [http]"),
        (
            "[[domain]]\nname = \"a.test\"\n[domain.dkim]\nselector = \"s\"",
            "12 domain.dkim: write [[domain.dkim]]",
        ),
        (
            "[[domain]]\nname = \"a.test\"\n[[domain.dkim]]\nselector = \"s\"\nkeyfile = \"k\"",
            "14 domain.dkim.keyfile: did you mean `key_file`?",
        ),
        (
            "[[pool]]\nname = \"p\"\nsources = [{ sorce = \"default\" }]",
            "12 pool.sources: did you mean `source`?",
        ),
    ] {
        let found = complaints(&format!("{}{lines}\n", MINIMAL.trim_start()));
        assert!(found.iter().any(|one| one == expected), "{lines}\nexpected {expected}\nfound {found:#?}");
    }
}
