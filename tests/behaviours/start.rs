//! What the engine refuses to start with, each in one clear sentence.

use crate::house::{House, refusal};

#[test]
fn a_second_engine_on_the_same_directory_is_refused() {
    let house = House::start("");
    let error = refusal(&house.text()).to_string();
    assert!(error.contains("in use by another engine"), "{error}");
}

#[test]
fn a_busy_port_is_named() {
    let mut house = House::start("");
    house.stop();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let error = refusal(&house.text().replace("127.0.0.1:0", &address)).to_string();
    assert!(error.contains(&address) && error.contains("another program listens there"), "{error}");
}

#[test]
fn a_source_that_is_not_on_the_host_is_named() {
    let mut house = House::start("");
    house.stop();
    let text = format!("{}[[source]]\nname = \"far\"\nip = \"192.0.2.77\"\n", house.text());
    let error = refusal(&text).to_string();
    assert!(
        error.contains("far") && error.contains("192.0.2.77") && error.contains("not on this host"),
        "{error}"
    );
}

#[test]
fn an_unreadable_key_is_named() {
    let mut house = House::start("");
    house.stop();
    let text = format!(
        "{}[[domain]]\nname = \"a.test\"\n[[domain.dkim]]\nselector = \"s\"\nkey_file = \"/nowhere/key.pem\"\nalgorithm = \"rsa-sha256\"\n",
        house.text()
    );
    let error = refusal(&text).to_string();
    assert!(error.contains("/nowhere/key.pem") && error.contains("a.test"), "{error}");
}
