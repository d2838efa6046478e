//! What the receiver keeps when it is told to: messages as files with an index, and a line per accepted recipient.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use serde_json::json;
use smtp::server::ReceivedMessage;

use super::tally::message_id;
use crate::ui::human;

/// The open files.
pub(super) struct Files {
    keep: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    kept: u64,
    index: Option<BufWriter<File>>,
    ids: Option<BufWriter<File>>,
}

impl Files {
    /// Opens what is wanted; none when nothing is.
    ///
    /// # Errors
    /// When a directory or file cannot be made.
    pub(super) fn open(keep: Option<&Path>, ids: Option<&Path>) -> anyhow::Result<Option<Self>> {
        if keep.is_none() && ids.is_none() {
            return Ok(None);
        }
        let index = keep.map(|dir| {
            fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
            create(&dir.join("index.ndjson"))
        });
        let state = State { kept: 0, index: index.transpose()?, ids: ids.map(create).transpose()? };
        Ok(Some(Self { keep: keep.map(Path::to_owned), state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one message.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, message: &ReceivedMessage, client: IpAddr) -> anyhow::Result<()> {
        let mut state = self.state();
        let recipients = || message.envelope.recipients.iter().map(|recipient| recipient.address.as_str());
        let now = human::now_ms();
        if let (Some(dir), Some(_)) = (&self.keep, &state.index) {
            state.kept += 1;
            let name = format!("{:09}.eml", state.kept);
            fs::write(dir.join(&name), &message.body).with_context(|| format!("{name} cannot be written"))?;
            let entry = json!({
                "file": name, "at_ms": now, "client": client.to_string(), "helo": message.helo,
                "sender": message.envelope.sender.as_ref().map_or("", |sender| sender.as_str()),
                "recipients": recipients().collect::<Vec<_>>(),
            });
            if let Some(index) = &mut state.index {
                writeln!(index, "{entry}")?;
            }
        }
        if let Some(ids) = &mut state.ids {
            let id = message_id(&message.body);
            for recipient in recipients() {
                writeln!(ids, "{now} {client} {recipient} {id}")?;
            }
        }
        Ok(())
    }

    /// Hands everything to the kernel.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn flush(&self) -> anyhow::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        for file in [&mut state.index, &mut state.ids].into_iter().flatten() {
            file.flush().context("what was received cannot be written")?;
        }
        Ok(())
    }
}

fn create(file: &Path) -> anyhow::Result<BufWriter<File>> {
    let created = File::create(file).with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(BufWriter::with_capacity(64 << 10, created))
}
