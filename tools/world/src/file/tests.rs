//! What is wrong with world files, and what is said of it.

use super::*;

/// A provider with a further line, and what the reader says.
fn says(lines: &str) -> String {
    read(&format!("[[provider]]\nname = 'a'\ndomains = ['a.test']\n{lines}"))
        .expect_err("the file is wrong")
        .to_string()
}

#[test]
fn wrong_files_say_what_is_wrong_and_where() {
    assert!(read("").expect_err("empty").to_string().contains("names no provider"));
    let unnamed = read("[[provider]]\nname = 'a'").expect_err("no domains").to_string();
    assert!(unnamed.contains("domains"), "{unnamed}");
    for (lines, expected) in [
        ("foo = 1", &["line 4", "`foo`", "messages_per_connection"][..]),
        ("rate = 'fast'", &["line 4", "`fast` is not a rate"]),
        ("manner = 'rude'", &["line 4", "rude", "google"]),
        (
            "[[provider]]\nname='a'\ndomains=[]",
            &["line 5", "two providers are named `a`", "a name of its own"],
        ),
        ("[[provider]]\nname='b'\ndomains=['A.test']", &["line 6", "`A.test` belongs to both `a` and `b`"]),
        ("replies={outage='250 ok'}", &["line 4", "`250 ok` does not begin", "450 4.7.1"]),
        ("replies={outage=['450 ok', '450 {who}']}", &["line 4", "a gap", "{domain}"]),
        ("mailboxes={unknown=2.0}", &["line 4", "2 is not a share"]),
        ("limits=[{per='planet', rate='1/s'}]", &["line 4", "planet", "netblock"]),
        ("documented={speed=1}", &["line 4", "`speed`", "pipeline_depth"]),
        ("documented='no'", &["line 4", "false, or a table"]),
        ("changes=[{connections=1}]", &["line 4", "after"]),
        ("reputation={defer_below=0.9}", &["line 4", "must not rise"]),
        ("reputation={tolerance={spam=0.1}}", &["line 4", "`spam`", "complaints"]),
        (
            "[[campaign]]\nname='c'\nidentity='x.test'\nrecipients=1",
            &["line 6", "no identity", "[[identity]]"],
        ),
        (
            "[[identity]]\ndomain='x'\n[[stream]]\nname='s'\nidentity='x'\nrate='1/s'\nto={b=1}",
            &["line 10", "no provider `b`", "the file has a"],
        ),
        (
            "[[identity]]\ndomain='x'\n[[stream]]\nname='s'\nidentity='x'\nrate='1/s'\nto={a=0}",
            &["line 10", "not weights"],
        ),
        ("[[source]]\nname='s'\nip='192.0.2.1'\nwarm='long'", &["line 7", "12d careful"]),
        ("[[source]]\nname='s'\nip='192.0.2.1'\nstanding=3", &["line 7", "not a standing"]),
        (
            "[[source]]\nname='s'\nip='192.0.2.1'\n[[source]]\nname='S'\nip='192.0.2.2'",
            &["line 8", "called `s`"],
        ),
    ] {
        let message = says(lines);
        for words in expected {
            assert!(message.contains(words), "{lines}\nshould say {words}:\n{message}");
        }
    }
}
