//! `staffetta why`: what a recipient waits for, and everything that happened to it.

use clap::Args;
use mail::RecipientId;
use policy::verdict::{Language, explain};
use serde_json::Value;

use super::events;
use crate::engine::{Connect, value};
use crate::ui::{self, human, paint::Paint, table};

/// Options of `why`.
#[derive(Args, Debug)]
pub(crate) struct Why {
    /// The recipient, as given at submission and in events
    id: RecipientId,
    /// The language of cause and next step: en or it [default: en]
    #[arg(long, value_name = "LANG")]
    lang: Option<Language>,
    #[command(flatten)]
    connect: Connect,
}

impl Why {
    /// Prints its story.
    ///
    /// # Errors
    /// When the engine cannot be asked or does not know it.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        super::block_on(async {
            let mut client = self.connect.client()?;
            let answer = client.get(&format!("/v1/why/{}", self.id)).await?;
            if self.connect.json {
                return Ok(ui::json(&answer)?);
            }
            let message = client.get(&format!("/v1/messages/{}", self.id)).await?;
            let attempts = attempts(&message, self.lang.unwrap_or_default(), Paint::stdout());
            Ok(ui::out(&(render(&answer, &message, human::now_ms(), Paint::stdout()) + &attempts))?)
        })
    }
}

fn render(answer: &Value, message: &Value, now_ms: u64, paint: Paint) -> String {
    let mut text = format!(
        "  {}  {}  {}\n",
        paint.bold(&value::text(answer, "id")),
        table::printable(&value::text(answer, "address")),
        value::text(answer, "class"),
    );
    let mut say = |name: &str, what: String| {
        if !what.is_empty() {
            text.push_str(&format!("  {:<10} {}\n", paint.dim(name), table::printable(&what)));
        }
    };
    say("class by", message.get("class_ground").map_or_else(String::new, ground));
    say("state", value::text(answer, "state"));
    say("waits for", value::text(answer, "waits_for"));
    say("code", value::text(answer, "code"));
    if let Some(position) = value::optional(answer, "position") {
        say("position", format!("about {} of its class go before it", human::count(position)));
    }
    for (key, name) in
        [("since", "since"), ("until", "until"), ("expected", "expected"), ("expires", "expires")]
    {
        let moment = value::moment(answer, key).filter(|moment| *moment < u64::MAX);
        say(
            name,
            moment.map_or_else(String::new, |at| {
                format!("{} ({})", human::time(at), human::relative(at, now_ms))
            }),
        );
    }
    if let Some(path) = answer.get("path").filter(|path| path.is_object()) {
        let parts = ["source", "provider", "site"].map(|key| value::text(path, key));
        say("path", parts.join(" → "));
        say("budget", budget(path));
    }
    // The class and its ground stand above.
    for step in value::list(answer, "decisions").iter().filter(|step| value::text(step, "what") != "class") {
        let [what, is, ground] = ["what", "is", "ground"].map(|key| value::text(step, key));
        say(&what, format!("{is}, because {ground}"));
    }
    say_message(&mut text, message, paint);
    text
}

/// What decided the class: the rule by its number, or the ground with what it stands on.
fn ground(told: &Value) -> String {
    let name = match value::optional(told, "rule") {
        Some(number) => format!("rule {number} of the account"),
        None => value::text(told, "ground"),
    };
    match value::text(told, "because") {
        because if because.is_empty() => name,
        because => format!("{name}: {because}"),
    }
}

/// The limits in force, what sets them, and why they are what they are.
fn budget(path: &Value) -> String {
    let Some(budget) = path.get("budget").filter(|budget| budget.is_object()) else { return String::new() };
    let rate = match path.get("rate").and_then(Value::as_str) {
        Some(rate) => rate.to_owned(),
        None => "no rate".to_owned(),
    };
    let connections = value::number(path, "connections_max");
    let [set_by, phase, reason] = ["set_by", "phase", "reason"].map(|key| value::text(budget, key));
    format!("{rate}, {connections} connections; set by {set_by}, {phase}: {reason}")
}

/// Every attempt, with the likely cause and the next step where it failed.
fn attempts(message: &Value, language: Language, paint: Paint) -> String {
    let recipients = value::list(message, "recipients").iter();
    let attempts: Vec<&Value> = recipients.flat_map(|recipient| value::list(recipient, "attempts")).collect();
    let mut text = String::new();
    if !attempts.is_empty() {
        text.push_str(&format!("\n  {}\n", paint.dim(&human::plural(attempts.len() as u64, "attempt"))));
    }
    for attempt in attempts {
        text.push_str(&attempt_lines(attempt, paint));
        let class = value::text(attempt, "verdict");
        if let Some(words) = explain(&class, language) {
            text.push_str(&format!("      {}: {} {}\n", table::printable(&class), words.cause, words.next));
        }
    }
    text
}

fn say_message(text: &mut String, message: &Value, paint: Paint) {
    let sender = match value::text(message, "sender").as_str() {
        "" => "<>".to_owned(),
        sender => sender.to_owned(),
    };
    let campaign = value::text(message, "campaign");
    let campaign = if campaign.is_empty() { campaign } else { format!(" of campaign {campaign}") };
    let id = value::text(message, "id");
    let line = format!("{id} from {sender}{campaign}");
    text.push_str(&format!("  {:<10} {}\n", paint.dim("message"), table::printable(&line)));
}

fn attempt_lines(attempt: &Value, paint: Paint) -> String {
    let at = value::moment(attempt, "at").map_or_else(|| "-".to_owned(), human::time);
    let way: Vec<String> = ["source", "provider", "mx", "tls"]
        .into_iter()
        .map(|key| value::text(attempt, key))
        .filter(|part| !part.is_empty())
        .collect();
    let latency = match value::optional(attempt, "latency_ms") {
        Some(ms) => format!(" after {}", human::duration(std::time::Duration::from_millis(ms))),
        None => String::new(),
    };
    format!(
        "  {}  {}{latency}  {}\n      {}\n",
        paint.dim(&at),
        value::text(attempt, "event"),
        paint.cyan(&table::printable(&way.join(" → "))),
        table::printable(&events::reply(attempt)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_has_reason_and_attempts() {
        let answer = serde_json::json!({
            "id": "0040000000c80", "address": "a@x.test", "class": "bulk", "state": "queued",
            "waits_for": "its next attempt", "since": 1000, "until": 65_000, "expires": 1_000_000,
            "path": {"source": "a", "provider": "gmail", "site": "mx.g.test"},
        });
        let message = serde_json::json!({
            "id": "0040000000b00", "sender": "news@s.test", "campaign": "0040000000a00",
            "class_ground": {"ground": "rule", "rule": 2, "because": "sender @s.test"},
            "recipients": [{"attempts": [{"at": 2000, "event": "deferred", "source": "a", "provider": "gmail", "mx": "mx.g.test",
                "code": 451, "enhanced": "4.7.1", "reply": "greylisted", "verdict": "greylist"}]}],
        });
        let attempts = attempts(&message, Language::Italian, Paint::plain());
        let text = render(&answer, &message, 5000, Paint::plain()) + &attempts;
        for part in [
            "waits for  its next attempt",
            "class by   rule 2 of the account: sender @s.test",
            "(in 1m 00s)",
            "a → gmail → mx.g.test",
            "1 attempt",
            "451 4.7.1 greylisted",
            "greylist: Il ricevente fa aspettare i mittenti nuovi",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
