//! `staffetta tls-report`: how connections to domains were protected.

use clap::Args;
use serde_json::Value;

use crate::engine::{Connect, value};
use crate::ui::{self, human, paint::Paint, table::Table};

/// Options of `tls-report`.
#[derive(Args, Debug)]
pub(crate) struct TlsReport {
    /// One recipient domain; all without it
    domain: Option<String>,
    /// A day of UTC, as 2026-11-22 [default: today]
    #[arg(long, value_name = "DAY")]
    day: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

impl TlsReport {
    /// Prints what was counted.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let path = path(self.domain.as_deref(), self.day.as_deref())?;
        super::block_on(async {
            let counted = self.connect.client()?.get(&path).await?;
            if self.connect.json {
                return Ok(ui::json(&counted)?);
            }
            Ok(ui::out(&render(&counted, Paint::stdout()))?)
        })
    }
}

/// What is asked for; domains and days need no escapes.
fn path(domain: Option<&str>, day: Option<&str>) -> anyhow::Result<String> {
    let mut path = "/v1/tls-reports".to_owned();
    for (name, text) in [("domain", domain), ("day", day)] {
        let Some(text) = text else { continue };
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')) {
            return Err(super::usage(format!("`{text}` is no {name}; write a domain with its xn-- labels")));
        }
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(&format!("{name}={text}"));
    }
    Ok(path)
}

fn render(counted: &Value, paint: Paint) -> String {
    let policies = value::list(counted, "policies");
    if policies.is_empty() {
        return format!("  no session was counted on {}\n", value::text(counted, "day"));
    }
    let mut table = Table::new(&["domain", "policy", ">good", ">failed", "what failed"]);
    let empty = Value::Null;
    for told in policies {
        let policy = told.get("policy").unwrap_or(&empty);
        let summary = told.get("summary").unwrap_or(&empty);
        let details = value::list(told, "failure-details");
        let mut lines = details.iter().map(detail).peekable();
        table.row([
            value::text(policy, "policy-domain"),
            value::text(policy, "policy-type"),
            human::count(value::number(summary, "total-successful-session-count")),
            human::count(value::number(summary, "total-failure-session-count")),
            lines.next().unwrap_or_default(),
        ]);
        for line in lines {
            table.row(["", "", "", "", line.as_str()]);
        }
    }
    table.render(paint)
}

/// `3 × certificate-expired at mx.a.test: the words`.
fn detail(detail: &Value) -> String {
    let count = human::count(value::number(detail, "failed-session-count"));
    let mut line = format!("{count} × {}", value::text(detail, "result-type"));
    for (before, key) in [(" at ", "receiving-mx-hostname"), (": ", "failure-reason-code")] {
        let text = value::text(detail, key);
        if !text.is_empty() {
            line.push_str(before);
            line.push_str(&text);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_stand_under_their_domain() {
        let counted = serde_json::json!({"day": "2026-11-22", "policies": [{
        "policy": {"policy-type": "sts", "policy-domain": "a.test"},
        "summary": {"total-successful-session-count": 7, "total-failure-session-count": 3},
        "failure-details": [
            {"result-type": "certificate-expired", "receiving-mx-hostname": "mx.a.test", "failed-session-count": 2},
            {"result-type": "sts-policy-fetch-error", "failed-session-count": 1, "failure-reason-code": "HTTP status 404"},
        ]}]});
        let text = render(&counted, Paint::plain());
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("a.test  sts") && lines[1].ends_with("2 × certificate-expired at mx.a.test"),
            "{text}"
        );
        assert!(lines[2].ends_with("1 × sts-policy-fetch-error: HTTP status 404"), "{text}");
        let none = serde_json::json!({"day": "2026-11-22", "policies": []});
        assert!(render(&none, Paint::plain()).contains("no session"));
    }

    #[test]
    fn only_domains_and_days_are_asked_for() {
        assert_eq!(
            path(Some("a.test"), Some("2026-11-22")).expect("a path"),
            "/v1/tls-reports?domain=a.test&day=2026-11-22"
        );
        assert_eq!(path(None, None).expect("a path"), "/v1/tls-reports");
        assert!(path(Some("a b"), None).is_err() && path(None, Some("x&y=z")).is_err());
    }
}
