//! `staffetta bench` as it is typed: a few hundred messages through every scene, a machine file, and a plan that uses it.

use std::path::Path;
use std::process::Command;

use capacity::{Machine, Way};

const MESSAGES: u64 = 200;

/// What the program says on stdout; its complaints are in the panic when it fails.
fn said(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_staffetta")).args(arguments).output().expect("it runs");
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(done.stdout).expect("text")
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).expect("a directory").count()
}

#[test]
fn every_scene_is_measured_and_a_plan_uses_what_was_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join("spool");
    std::fs::create_dir(&spool).expect("made");
    let machine = dir.path().join("machine.toml");
    let (spool_name, machine_name) = (spool.display().to_string(), machine.display().to_string());
    let messages = MESSAGES.to_string();
    let text = said(&[
        "bench",
        "--messages",
        &messages,
        "--shards",
        "1",
        "--dir",
        &spool_name,
        "--check",
        "--json",
        "--write",
        &machine_name,
    ]);
    assert_eq!(entries(&spool), 0, "the directories are gone");
    let json: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
    let measured = json["measured"].as_array().expect("a list");
    for kind in ["fitted", "held-out"] {
        assert!(measured.iter().filter(|one| one["kind"] == kind).count() >= 5, "{kind}");
    }
    for one in measured {
        assert_eq!(one["figures"]["messages"], MESSAGES);
        assert!(one["figures"]["per_s"].as_f64().is_some_and(|per_s| per_s > 0.0), "{one}");
        let needs_delivery = one["work"]["way"] == "relay";
        assert_eq!(one["figures"]["delivery_ms"].is_array(), needs_delivery, "{one}");
    }
    let written =
        Machine::from_toml(&std::fs::read_to_string(&machine).expect("written")).expect("a machine");
    assert!(
        written
            .costs
            .of(capacity::Work {
                way: Way::Relay,
                bytes: 10_240,
                signing: capacity::Signing::None,
                tls: false
            })
            .us()
            > 0.0
    );
    let plan = said(&[
        "plan",
        "--world",
        "calm-day",
        "--volume",
        "2000",
        "--machine",
        &machine_name,
        "--cores",
        "3",
        "--json",
    ]);
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("one line of JSON");
    let judged = &plan["plans"][0]["machine"];
    assert_eq!(
        (judged["cores"].as_u64(), judged["facts"]["kernel"].as_str()),
        (Some(3), Some(written.facts.kernel.as_str()))
    );
    assert!(judged["limit"].is_string() && judged["cpu_us"].as_f64().is_some_and(|us| us > 0.0), "{judged}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let done = Command::new(env!("CARGO_BIN_EXE_staffetta"))
        .args(["bench", "--quick", "--dir", "/nowhere/at-all"])
        .output()
        .expect("it runs");
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("/nowhere/at-all"));
}
