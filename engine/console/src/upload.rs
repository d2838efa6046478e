//! `POST /v1/campaigns/ID/recipients`: a list of any length, read as it comes and handed on in batches.

use std::collections::VecDeque;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use mail::CampaignId;
use mta::{BATCH_MAX, Handle, NewRecipient, Refusal};
use tokio::task::JoinHandle;

use crate::app::Console;
use crate::body::{media_type, next_chunk, unsupported};
use crate::list::{Entry, ListFormat, ListReader};
use crate::{ApiError, Caller, UploadDone, campaigns};

/// Batches that may be on their way to the disk while the next is being read, so that reading and syncing overlap.
const UNDER_WAY_MAX: usize = 4;

/// Rejected lines that are told one by one; the others are only counted.
const REJECTED_TOLD_MAX: usize = 1_000;

/// Takes recipients of a campaign.
pub(crate) async fn add_recipients(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UploadDone>, ApiError> {
    let format = format_of(&headers)?;
    let campaign = campaigns::find(&console, &caller, &id)?;
    if !campaign.phase().is_open() {
        let message = format!("the campaign is {}", campaign.phase().name());
        return Err(Refusal::Conflict(message).into());
    }
    let mut reader = ListReader::new(format, campaign.template.field_uses());
    let mut upload = Upload::new(console.handle.clone(), campaign.id);
    let read = read_list(body, &mut reader, &mut upload).await;
    let handed = upload.finish().await;
    let mut done = upload.done;
    let Err(error) = read.and(handed) else { return Ok(Json(done)) };
    done.next_line = Some(upload.failed_line.unwrap_or_else(|| reader.line()));
    Err(error.after(done))
}

fn format_of(headers: &HeaderMap) -> Result<ListFormat, ApiError> {
    let found = media_type(headers);
    match found.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json-lines" => {
            Ok(ListFormat::Ndjson)
        }
        "text/csv" | "application/csv" => Ok(ListFormat::Csv),
        _ => Err(unsupported(&found, "application/x-ndjson or text/csv")),
    }
}

async fn read_list(body: Body, reader: &mut ListReader, upload: &mut Upload) -> Result<(), ApiError> {
    let mut stream = body.into_data_stream();
    while let Some(chunk) = next_chunk(&mut stream).await? {
        reader.feed(&chunk);
        take_lines(reader, upload).await?;
    }
    reader.end();
    take_lines(reader, upload).await
}

async fn take_lines(reader: &mut ListReader, upload: &mut Upload) -> Result<(), ApiError> {
    loop {
        let line_number = reader.line();
        match reader.next()? {
            None => return Ok(()),
            Some(Ok(entry)) => {
                upload.push(entry, line_number);
                if upload.batch.len() == BATCH_MAX {
                    upload.hand_on().await?;
                }
            }
            Some(Err(rejected)) => {
                upload.done.rejected_count += 1;
                if upload.done.rejected.len() < REJECTED_TOLD_MAX {
                    upload.done.rejected.push(rejected);
                }
            }
        }
    }
}

/// Recipients on their way to the engine.
struct Upload {
    handle: Handle,
    campaign: CampaignId,
    batch: Vec<NewRecipient>,
    /// The line of the first recipient of the batch.
    batch_line: u64,
    under_way: VecDeque<UnderWay>,
    done: UploadDone,
    /// The first line of the first batch that the engine refused.
    failed_line: Option<u64>,
}

struct UnderWay {
    task: JoinHandle<Result<(), Refusal>>,
    recipients: u64,
    line: u64,
}

impl Upload {
    fn new(handle: Handle, campaign: CampaignId) -> Self {
        Self {
            handle,
            campaign,
            batch: Vec::with_capacity(BATCH_MAX),
            batch_line: 1,
            under_way: VecDeque::with_capacity(UNDER_WAY_MAX),
            done: UploadDone::default(),
            failed_line: None,
        }
    }

    fn push(&mut self, entry: Entry, line: u64) {
        if self.batch.is_empty() {
            self.batch_line = line;
        }
        self.batch.push(NewRecipient { values: entry.values, ..NewRecipient::plain(entry.address) });
    }

    /// Sends the batch to the engine; waits for the oldest one when many are under way.
    async fn hand_on(&mut self) -> Result<(), ApiError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.under_way.len() == UNDER_WAY_MAX {
            self.settle_oldest().await?;
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_MAX));
        let recipients = batch.len() as u64;
        let (handle, campaign) = (self.handle.clone(), self.campaign);
        let task = tokio::spawn(async move { handle.add_recipients(campaign, batch).await });
        self.under_way.push_back(UnderWay { task, recipients, line: self.batch_line });
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<(), ApiError> {
        let Some(oldest) = self.under_way.pop_front() else { return Ok(()) };
        match oldest.task.await {
            Ok(Ok(())) => {
                self.done.accepted += oldest.recipients;
                Ok(())
            }
            Ok(Err(refusal)) => {
                self.failed_line.get_or_insert(oldest.line);
                Err(refusal.into())
            }
            Err(_) => {
                self.failed_line.get_or_insert(oldest.line);
                Err(ApiError::fault("the engine could not take a batch"))
            }
        }
    }

    /// Hands on the rest, unless the engine has refused something, and waits for everything; the first error.
    async fn finish(&mut self) -> Result<(), ApiError> {
        let mut first = match self.failed_line {
            None => self.hand_on().await,
            Some(_) => Ok(()),
        };
        while !self.under_way.is_empty() {
            let settled = self.settle_oldest().await;
            first = first.and(settled);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_how_they_are_written() {
        for (media_type, format) in [
            ("text/csv; charset=utf-8; header=present", Some(ListFormat::Csv)),
            ("Application/X-NDJSON", Some(ListFormat::Ndjson)),
            ("application/json", None),
            ("application/x-www-form-urlencoded", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", media_type.parse().expect("a value"));
            assert_eq!(format_of(&headers).ok(), format, "{media_type}");
        }
        assert_eq!(format_of(&HeaderMap::new()).expect_err("refused").status().as_u16(), 415);
    }
}
