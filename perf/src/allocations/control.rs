//! Requests to the engine's API over its control socket, one connection each.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

/// Posts `body` and gives the answer; an answer that is no success is an error with its text.
pub(crate) fn post(socket: &Path, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("no {}", socket.display()))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    // A refusal may come before all of the request is read; then the socket ends with an error behind the answer.
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    if answer.is_empty() {
        read.with_context(|| format!("POST {path}"))?;
    }
    let (head, text) = answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        bail!("POST {path}: {status} {text}");
    }
    serde_json::from_str(text).with_context(|| format!("POST {path}: {text}"))
}
