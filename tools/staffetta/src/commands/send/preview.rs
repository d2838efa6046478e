//! `--dry-run`: template and list are read exactly as the engine would, and nothing leaves this process.

use std::path::Path;

use anyhow::Context;
use content::template::{CampaignDraft, FieldUse, RecipientContext, Template};
use mail::{CampaignId, RecipientId, UnixMs};
use serde_json::Value;

use super::Send;
use super::campaign::letter_of;
use super::list::{Examined, List, REJECTED_SHOWN_MAX};
use crate::ui::{self, human, paint::Paint};

/// A template that compiles, ready to be rendered.
pub(super) struct Compiled {
    /// The campaign as the API takes it.
    pub(super) json: Value,
    template: Template,
    domain: String,
}

impl Compiled {
    /// Compiles the campaign of `send`.
    ///
    /// # Errors
    /// When something is missing, or the template is wrong: with its part and line.
    pub(super) fn new(send: &Send) -> anyhow::Result<Self> {
        let json = letter_of(send)?;
        let draft: CampaignDraft = serde_json::from_value(json.clone()).context("the campaign")?;
        let template = Template::compile(&draft).context("the template")?;
        let domain = content::Mailbox::parse(&draft.from).map(|author| author.address.domain().to_owned())?;
        Ok(Self { json, template, domain })
    }

    /// Its merge fields.
    fn fields(&self) -> &[String] {
        self.template.fields()
    }

    /// Its merge fields, with where they are used.
    pub(super) fn field_uses(&self) -> &[FieldUse] {
        self.template.field_uses()
    }

    fn render(&self, place: usize, address: &str, values: &[String]) -> anyhow::Result<String> {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let recipient = RecipientContext {
            address,
            id: RecipientId::from_raw(place as u64),
            campaign: CampaignId::from_raw(0),
            account: "",
            host: &self.domain,
            date: UnixMs(human::now_ms()),
        };
        let mut message = Vec::new();
        self.template.render(&values, &recipient, &mut message)?;
        Ok(String::from_utf8_lossy(&message).replace("\r\n", "\n"))
    }
}

/// Prints the first `count` messages and what is wrong with the list.
///
/// # Errors
/// When the template or the whole list is wrong.
pub(super) fn print(send: &Send, count: usize) -> anyhow::Result<()> {
    let compiled = Compiled::new(send)?;
    let file = send.what.recipients.as_deref().unwrap_or(Path::new(""));
    let examined = List::open(file)?
        .examine(compiled.field_uses(), count)
        .with_context(|| format!("the list {}", file.display()))?;
    let mut messages = Vec::new();
    for (place, entry) in examined.entries.iter().enumerate() {
        let message = compiled.render(place, entry.address.as_str(), &entry.values);
        messages
            .push((entry.address.to_string(), message.with_context(|| format!("for {}", entry.address))?));
    }
    if send.connect.json {
        return Ok(ui::json(&to_json(&compiled, &examined, &messages))?);
    }
    let paint = Paint::stdout();
    for (place, (address, message)) in messages.iter().enumerate() {
        let rule = format!("── {} of {} ── to {address} ", place + 1, human::count(examined.good));
        ui::line(&paint.cyan(&rule))?;
        ui::line(message)?;
    }
    Ok(ui::out(&summary(&compiled, &examined, paint))?)
}

fn summary(compiled: &Compiled, examined: &Examined, paint: Paint) -> String {
    let fields = match compiled.fields() {
        [] => "no merge fields".to_owned(),
        fields => format!("merge fields: {}", fields.join(", ")),
    };
    let mut text = format!("  template  {} compiles; {fields}\n", paint.green("✓"));
    let good = human::plural(examined.good, "recipient");
    if examined.bad == 0 {
        text.push_str(&format!("  list      {} {good}\n", paint.green("✓")));
    } else {
        text.push_str(&format!(
            "  list      {} {good}; {} would be rejected:\n",
            paint.yellow("!"),
            human::plural(examined.bad, "line")
        ));
        for rejected in &examined.rejected {
            text.push_str(&format!("            line {}: {}\n", rejected.line, rejected.message));
        }
        if examined.bad > REJECTED_SHOWN_MAX as u64 {
            let more = examined.bad - REJECTED_SHOWN_MAX as u64;
            text.push_str(&format!("            and {} more\n", human::count(more)));
        }
    }
    text.push_str(&format!("  {}\n", paint.dim("nothing was sent")));
    text
}

fn to_json(compiled: &Compiled, examined: &Examined, messages: &[(String, String)]) -> Value {
    let messages: Vec<Value> = messages
        .iter()
        .map(|(address, message)| serde_json::json!({ "address": address, "message": message }))
        .collect();
    serde_json::json!({
        "fields": compiled.fields(), "recipients": examined.good, "rejected": examined.bad,
        "rejections": examined.rejected, "messages": messages,
    })
}
