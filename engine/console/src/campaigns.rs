//! `/v1/campaigns`: creating, watching, starting and stopping campaigns.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use content::Mailbox;
use content::template::CampaignDraft;
use mail::{Address, CampaignId, Class, UnixMs};
use mta::{Campaign, CanaryView, Handle, NewCampaign};
use policy::classify::{Ground, Hints, RuleSubject, classify};
use report::{CampaignCounts, Counts, Store, as_optional_time, as_text, as_time};
use serde::Serialize;
use serde::de::IgnoredAny;
use spool::CampaignPhase;

use crate::app::Console;
use crate::body::{expect_json, read_json};
use crate::{ApiError, Caller, feed, path_id};

/// Largest template, in bytes of JSON: mail clients cut messages far below it.
const DRAFT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Over how long the rate of a campaign is measured.
const RATE_WINDOW: Duration = Duration::from_secs(60);

const DRAFT_FIELDS: [&str; 10] = [
    "name",
    "from",
    "reply_to",
    "subject",
    "text",
    "html",
    "headers",
    "class",
    "list_unsubscribe_url",
    "list_id",
];

/// A campaign that was created.
#[derive(Debug, Serialize)]
pub(crate) struct Created {
    #[serde(serialize_with = "as_text")]
    id: CampaignId,
    /// The merge fields that each recipient is to have.
    fields: Vec<Field>,
}

/// A merge field of the template.
#[derive(Debug, Serialize)]
struct Field {
    name: String,
    required: bool,
}

/// A campaign as it stands.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    #[serde(flatten)]
    head: Head,
    counts: Balance,
    providers: HashMap<String, Counts>,
    /// Final outcomes per second over the last minute.
    rate_per_second: f64,
    /// How long the rest will take at that rate; null when nobody can know.
    eta_seconds: Option<u64>,
    /// When its last recipient will have arrived if nothing changes; null when it does not run or nobody can know.
    #[serde(serialize_with = "as_optional_time")]
    expected_at: Option<UnixMs>,
    /// How its judgement stands; null when it is not judged.
    canary: Option<CanaryView>,
}

/// What is known of a campaign without counting.
#[derive(Debug, Serialize)]
pub(crate) struct Head {
    #[serde(serialize_with = "as_text")]
    id: CampaignId,
    name: String,
    state: &'static str,
    /// Why the engine has paused it, if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_because: Option<String>,
    class: Class,
    account: String,
    #[serde(serialize_with = "as_time")]
    created_at: UnixMs,
    from: String,
    subject: String,
    fields: Vec<Field>,
}

/// Counts with what is left.
#[derive(Debug, Serialize)]
struct Balance {
    #[serde(flatten)]
    counts: Counts,
    queued: u64,
}

/// Where a campaign stands after a command.
#[derive(Debug, Serialize)]
pub(crate) struct Acted {
    #[serde(serialize_with = "as_text")]
    id: CampaignId,
    state: &'static str,
}

/// All campaigns, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    campaigns: Vec<View>,
}

/// Takes a template.
pub(crate) async fn create(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    expect_json(&headers)?;
    let body = console.budget.collect(&headers, body, DRAFT_BYTES_MAX).await?;
    let draft = read_draft(&body.bytes)?;
    let author = Mailbox::parse(&draft.from).map_err(|error| ApiError::invalid("from", error.to_string()))?;
    caller.may_send_as(&author.address)?;
    let (class, ground) = class_of(&draft, &author.address, &caller);
    let leaves = |name: &String| name.eq_ignore_ascii_case("List-Unsubscribe");
    if class == Class::Bulk && draft.list_unsubscribe_url.is_empty() && !draft.headers.keys().any(leaves) {
        let (from, now) = (author.address.domain(), console.handle.now());
        console.handle.classifier().no_unsubscribe(caller.account(), from, ground, now);
    }
    let new = NewCampaign { draft, class, tenant: caller.tenant().to_owned() };
    let id = console.handle.create_campaign_on(new, ground).await?;
    let fields = console.handle.campaign(id).map(|campaign| fields_of(&campaign)).unwrap_or_default();
    Ok((StatusCode::CREATED, Json(Created { id, fields })))
}

/// The class of a campaign and what decided it; rules see the template as it stands, and no recipients.
fn class_of(draft: &CampaignDraft, author: &Address, caller: &Caller) -> (Class, Ground) {
    let account = caller.account();
    let hints = Hints {
        explicit: draft.class,
        rules: account.map_or(&[], |account| &account.rules),
        account: account.and_then(|account| account.class),
        campaign: true,
        ..Hints::default()
    };
    let named = |name: &str| draft.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    let subject = RuleSubject {
        from: Some(author),
        recipients: &[],
        subject: &draft.subject,
        header: &|name| named(name).map(|(_, value)| value.clone()),
    };
    let (class, basis) = classify(&hints, &subject);
    (class, basis.ground)
}

fn read_draft(bytes: &[u8]) -> Result<CampaignDraft, ApiError> {
    let draft: CampaignDraft = read_json(bytes)?;
    let given: HashMap<String, IgnoredAny> = read_json(bytes)?;
    match given.keys().find(|name| !DRAFT_FIELDS.contains(&name.as_str())) {
        Some(name) => {
            let message = format!("unknown field `{name}`, expected one of {}", DRAFT_FIELDS.join(", "));
            Err(ApiError::invalid(name, message))
        }
        None => Ok(draft),
    }
}

/// Shows the caller's campaigns.
pub(crate) async fn list(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<List>, ApiError> {
    let mut campaigns = console.handle.campaigns();
    campaigns.retain(|campaign| caller.may_see(&campaign.tenant));
    campaigns.reverse();
    let (now, handle) = (console.handle.now(), console.handle.clone());
    let views = feed::blocking(&console.store, move |store| {
        campaigns.iter().map(|campaign| view(store, &handle, campaign, now)).collect::<Result<Vec<_>, _>>()
    });
    let mut campaigns = views.await?;
    for view in &mut campaigns {
        view.look_ahead(&console.handle).await;
    }
    Ok(Json(List { campaigns }))
}

/// Shows one campaign.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<View>, ApiError> {
    let campaign = find(&console, &caller, &id)?;
    let (now, handle) = (console.handle.now(), console.handle.clone());
    let view = feed::blocking(&console.store, move |store| view(store, &handle, &campaign, now));
    let mut view = view.await?;
    view.look_ahead(&console.handle).await;
    Ok(Json(view))
}

impl View {
    /// Asks the queues when it ends, unless it has ended.
    async fn look_ahead(&mut self, handle: &Handle) {
        if self.counts.queued > 0 {
            self.expected_at = handle.campaign_ends(self.head.id, self.rate_per_second).await;
        }
    }
}

/// Starts, pauses, resumes or cancels a campaign.
pub(crate) async fn act(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path((id, action)): Path<(String, String)>,
) -> Result<Json<Acted>, ApiError> {
    let phase = match action.as_str() {
        "start" | "resume" => CampaignPhase::Running,
        "pause" => CampaignPhase::Paused,
        "cancel" => CampaignPhase::Cancelled,
        _ => return Err(ApiError::of_status(StatusCode::NOT_FOUND)),
    };
    let campaign = find(&console, &caller, &id)?;
    if campaign.phase() != phase {
        console.handle.set_campaign(campaign.id, phase).await?;
    }
    Ok(Json(Acted { id: campaign.id, state: campaign.phase().name() }))
}

/// The campaign called `id`, if it is the caller's.
pub(crate) fn find(console: &Console, caller: &Caller, id: &str) -> Result<Arc<Campaign>, ApiError> {
    let id: CampaignId = path_id::parse(id)?;
    let campaign = console.handle.campaign(id).filter(|campaign| caller.may_see(&campaign.tenant));
    campaign.ok_or_else(|| ApiError::not_found(format!("there is no campaign {id}")))
}

fn view(
    store: &Store,
    handle: &Handle,
    campaign: &Campaign,
    now: UnixMs,
) -> Result<View, report::StoreError> {
    let CampaignCounts { all, providers } = store.campaign(campaign.id)?;
    let is_running = campaign.phase() == CampaignPhase::Running;
    let rate = if is_running && all.finished() > 0 { rate(store, campaign.id, now)? } else { 0.0 };
    let left = all.queued();
    Ok(View {
        head: Head {
            id: campaign.id,
            name: campaign.name.clone(),
            state: campaign.phase().name(),
            paused_because: handle.why_paused(campaign.id),
            class: campaign.class,
            account: campaign.tenant.clone(),
            created_at: campaign.created_at,
            from: campaign.draft.from.clone(),
            subject: campaign.draft.subject.clone(),
            fields: fields_of(campaign),
        },
        counts: Balance { counts: all, queued: left },
        providers: providers.into_iter().collect(),
        rate_per_second: (rate * 10.0).round() / 10.0,
        eta_seconds: eta(left, rate),
        expected_at: None,
        canary: handle.canary(campaign.id),
    })
}

/// Final outcomes per second since the beginning of the minute in which the window began, or since the start if that
/// was later.
fn rate(store: &Store, campaign: CampaignId, now: UnixMs) -> Result<f64, report::StoreError> {
    let since = now - RATE_WINDOW;
    let minute_began = UnixMs(since.0 - since.0 % 60_000);
    let began = store.started(campaign)?.unwrap_or_default().max(minute_began);
    let seconds = now.since(began).as_secs_f64().max(1.0);
    // Exact far beyond any list of recipients.
    #[expect(clippy::cast_precision_loss, reason = "counts of one minute have far fewer than 52 bits")]
    Ok(store.finished_since(campaign, since)? as f64 / seconds)
}

fn eta(left: u64, rate: f64) -> Option<u64> {
    match left {
        0 => Some(0),
        _ if rate <= 0.0 => None,
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate; the cast saturates"
        )]
        left => Some((left as f64 / rate).ceil() as u64),
    }
}

fn fields_of(campaign: &Campaign) -> Vec<Field> {
    let uses = campaign.template.field_uses().iter();
    uses.map(|field| Field { name: field.name.clone(), required: field.required }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_written_wrong_is_named() {
        let draft = read_draft(br#"{"name":"n","from":"a@x","subject":"s","html":"<p>","class":"bulk"}"#);
        assert_eq!(draft.expect("read").html, "<p>");
        for (text, field) in [(r#"{"htm":"<p>"}"#, "htm"), (r#"{"subject":1}"#, "subject")] {
            let error = read_draft(text.as_bytes()).expect_err(text);
            let body = serde_json::to_value(error.body_for_test()).expect("written");
            assert_eq!(body["error"]["field"], field, "{text}");
        }
    }

    #[test]
    fn the_rest_takes_as_long_as_it_does_at_this_rate() {
        for (left, rate, seconds) in
            [(0, 0.0, Some(0)), (10, 0.0, None), (10, 3.0, Some(4)), (1, 1e-9, Some(1_000_000_000))]
        {
            assert_eq!(eta(left, rate), seconds, "{left} at {rate}");
        }
    }
}
