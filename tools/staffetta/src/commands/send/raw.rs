//! `--raw`: one message as it is.

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Send;
use crate::engine::{Body, value};
use crate::ui::{self, paint::Paint, table::Table};

/// Hands the message to the engine and prints what to ask for later.
///
/// # Errors
/// When the file cannot be read or the engine refuses.
pub(super) async fn send(send: &Send, file: &Path) -> anyhow::Result<()> {
    let raw =
        std::fs::read(file).with_context(|| format!("the message {} cannot be read", file.display()))?;
    let mut message = serde_json::json!({ "raw_base64": STANDARD.encode(raw) });
    if let Some(from) = &send.what.from {
        message["from"] = Value::from(from.as_str());
    }
    if !send.what.to.is_empty() {
        message["to"] = Value::from(send.what.to.clone());
    }
    if let Some(class) = send.how.class {
        message["class"] = Value::from(class.name());
    }
    let answer = send.connect.client()?.post("/v1/messages", Body::json(&message)).await?;
    if send.connect.json {
        return Ok(ui::json(&answer)?);
    }
    Ok(ui::out(&accepted(&answer, &send.connect.repeat(), Paint::stdout()))?)
}

fn accepted(answer: &Value, engine: &str, paint: Paint) -> String {
    let mut table = Table::new(&["recipient", "id"]);
    for recipient in value::list(answer, "recipients") {
        table.row([value::text(recipient, "address"), value::text(recipient, "id")]);
    }
    let first = value::list(answer, "recipients").first().map(|first| value::text(first, "id"));
    let hint = first.map_or_else(String::new, |id| format!("\n  staffetta why {id}{engine}\n"));
    format!("accepted as {}\n\n{}{}", value::text(answer, "id"), table.render(paint), paint.dim(&hint))
}
