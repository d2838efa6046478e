//! Complaints of the world's readers, written as the reports that providers send (RFC 5965). Nothing is sent.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use content::header;
use mail::UnixMs;
use world::{Feedback, World};

use crate::ui::human;

/// Messages whose header is remembered for a report, at most; of older ones a report shows none.
const ORIGINALS_MAX: usize = 4096;
/// Of each header.
const ORIGINAL_BYTES_MAX: usize = 16 << 10;

/// A directory of reports.
pub(super) struct Reports {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The headers of the last messages, by consecutive tokens.
    originals: VecDeque<(UnixMs, Vec<u8>)>,
    first_token: u64,
    written: u64,
}

impl Reports {
    /// Makes the directory.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), state: Mutex::default() })
    }

    /// Remembers a message that was received now; its token.
    pub(super) fn remember(&self, message: &[u8]) -> u64 {
        let (head, _) = header::split_head_body(message);
        let head = head[..head.len().min(ORIGINAL_BYTES_MAX)].to_vec();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.originals.len() >= ORIGINALS_MAX {
            state.originals.pop_front();
            state.first_token += 1;
        }
        state.originals.push_back((UnixMs(human::now_ms()), head));
        state.first_token + state.originals.len() as u64 - 1
    }

    /// Writes a report for each complaint among what readers did.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write(&self, world: &World, heard: &[Feedback]) -> anyhow::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for feedback in heard {
            let place = feedback.token.checked_sub(state.first_token);
            let known = place.and_then(|place| state.originals.get(usize::try_from(place).ok()?));
            let (arrived, original) = known.map_or((feedback.at, &[][..]), |(at, head)| (*at, head));
            let Some(report) = feedback.to_arf(world.host(feedback.provider), original, arrived) else {
                continue;
            };
            state.written += 1;
            let file = self.dir.join(format!("{:09}.eml", state.written));
            fs::write(&file, report).with_context(|| format!("{} cannot be written", file.display()))?;
        }
        Ok(())
    }
}
