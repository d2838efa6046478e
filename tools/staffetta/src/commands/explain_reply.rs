//! `staffetta explain-reply`: what a receiver's reply means, by which rule, and what the engine does about it. It asks no engine.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use mail::{Phase, Reply};
use policy::provider::Providers;
use policy::verdict::{Explained, Language, Quoted, Rules, explain};
use serde_json::{Value, json};

use crate::ui::{self, paint::Paint, table};

/// Phases in which a server answers.
const PHASES: [Phase; 8] = [
    Phase::Banner,
    Phase::Ehlo,
    Phase::StartTls,
    Phase::Auth,
    Phase::Mail,
    Phase::Rcpt,
    Phase::Data,
    Phase::Body,
];
/// The provider of receivers that nothing is known about.
const UNKNOWN: &str = "default";

/// Options of `explain-reply`.
#[derive(Args, Debug)]
pub(crate) struct ExplainReply {
    /// The reply, as a log or a bounce has it: with or without codes, on one line or several
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,
    /// Whose reply it is: a provider's name, or a domain [default: as the reply shows]
    #[arg(long, value_name = "NAME|DOMAIN")]
    provider: Option<String>,
    /// What was being done: banner, ehlo, starttls, auth, mail, rcpt, data or body [default: as the text says, or rcpt]
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    phase: Option<Phase>,
    /// A configuration whose own rules come first
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The language of cause and next step: en or it [default: en]
    #[arg(long, value_name = "LANG")]
    lang: Option<Language>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a reply was judged by.
struct Question {
    phase: Phase,
    reply: Reply,
    provider: String,
}

impl ExplainReply {
    /// Prints what the reply means.
    ///
    /// # Errors
    /// When the provider is not known, the text is empty, or the configuration cannot be used.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let (rules, providers) = match &self.config {
            Some(file) => {
                let config = crate::config::load(file)?;
                (config.replies, config.providers)
            }
            None => (Rules::builtin(), Providers::builtin()),
        };
        if self.text.trim().is_empty() {
            return Err(super::usage("there is no reply: write it in quotes, like '550 5.1.1 User unknown'"));
        }
        let quoted = Quoted::parse(&self.text);
        let provider = match &self.provider {
            Some(name) => find_provider(&providers, name).map_err(super::usage)?,
            None => UNKNOWN.to_owned(),
        };
        let phase = self.phase.or(quoted.phase).unwrap_or(Phase::Rcpt);
        let question = Question { phase, reply: quoted.reply, provider };
        let found = rules.explain(question.phase, &question.reply, &question.provider);
        let language = self.lang.unwrap_or_default();
        if self.json {
            return Ok(ui::json(&to_json(&question, &found, language))?);
        }
        Ok(ui::out(&render(&question, &found, language, Paint::stdout()))?)
    }
}

fn phase(name: &str) -> Result<Phase, String> {
    let found = PHASES.into_iter().find(|phase| phase.name() == name);
    found.ok_or_else(|| format!("a server answers in one of: {}", PHASES.map(Phase::name).join(", ")))
}

/// The provider called `name`; or whose domain it is, or the first label of one, as in `gmail`. A domain that is nobody's is a
/// receiver that nothing is known about.
fn find_provider(providers: &Providers, name: &str) -> Result<String, String> {
    let name = name.trim().to_ascii_lowercase();
    if providers.by_name(&name).is_some() {
        return Ok(name);
    }
    let of_label = || {
        let has = |domain: &String| domain.split('.').next() == Some(name.as_str());
        providers.iter().find(|(_, provider)| provider.domains.iter().any(has)).map(|(index, _)| index)
    };
    let is_domain = name.contains('.');
    let index = if is_domain { Some(providers.identify(&name, &[name.as_str()], &[])) } else { of_label() };
    if let Some(found) = index.and_then(|index| providers.get(index)) {
        return Ok(found.name.clone());
    }
    let mut names: Vec<&str> = providers.iter().map(|(_, provider)| provider.name.as_str()).collect();
    names.sort_unstable();
    let near: Vec<&str> = names.iter().copied().filter(|other| is_near(&name, other)).collect();
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
    Err(format!("there is no provider {name}{hint}\nproviders: {}\na domain will do too", names.join(", ")))
}

/// Whether one is the beginning or part of the other, or they differ in a letter or two.
fn is_near(name: &str, other: &str) -> bool {
    let shared = name.len() >= 3 && (other.contains(name) || name.contains(other));
    shared || distance(name, other) <= 2.min(name.len() / 3 + 1)
}

/// Letters to change, put in or leave out to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let changed = corner + usize::from(letter != *other);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn to_json(question: &Question, found: &Explained<'_>, language: Language) -> Value {
    let verdict = found.verdict;
    let words = explain(verdict.class, language);
    let because = &found.because;
    json!({
        "class": found.family,
        "detail": verdict.class,
        "scope": found.concerns,
        "action": found.advice,
        "rule": found.rule,
        "about": found.about,
        "cause": words.map(|words| &words.cause),
        "next_step": words.map(|words| &words.next),
        "language": language.code(),
        "engine": {
            "action": verdict.action.to_string(),
            "scope": verdict.scope.to_string(),
            "counts_attempt": verdict.action.counts_attempt(),
            "suppress": verdict.suppress,
            "alert": verdict.alert,
        },
        "because": {
            "knowledge": found.knowledge.to_string(),
            "text": because.text,
            "enhanced": because.enhanced.map(|code| code.map_or_else(|| "none".to_owned(), |code| code.to_string())),
            "code": because.code,
            "phase": because.phase.map(Phase::name),
            "provider": because.provider,
        },
        "read_as": {
            "provider": found.provider,
            "phase": question.phase.name(),
            "code": question.reply.code,
            "enhanced": question.reply.enhanced.map(|code| code.to_string()),
            "text": question.reply.text,
        },
    })
}

fn render(question: &Question, found: &Explained<'_>, language: Language, paint: Paint) -> String {
    let verdict = found.verdict;
    let mut text = String::new();
    let mut say = |name: &str, what: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<10} {}", paint.dim(name), table::printable(what));
    };
    say("reply", &question.reply.to_string());
    let mut read_as = format!("from {} in {}", found.provider, question.phase.name());
    if found.provider != question.provider {
        read_as.push_str(", by its own marks");
    }
    say("read as", &read_as);
    say("class", &format!("{} — {}", verdict.class, found.about));
    say("concerns", found.concerns);
    say("to do", found.advice);
    say("engine", &deeds(found));
    say("rule", &format!("{} ({})", found.rule, found.knowledge));
    say("because", &reasons(found));
    if let Some(words) = explain(verdict.class, language) {
        let (cause, next) = match language {
            Language::English => ("cause", "next step"),
            Language::Italian => ("causa", "che fare"),
        };
        say(cause, &words.cause);
        say(next, &words.next);
    }
    text
}

/// What the engine does by itself.
fn deeds(found: &Explained<'_>) -> String {
    let verdict = found.verdict;
    let mut deeds = vec![format!("{} ({})", verdict.action, verdict.scope)];
    if !verdict.action.counts_attempt() {
        deeds.push("the attempt does not count".to_owned());
    }
    if verdict.suppress {
        deeds.push("the recipient is for the suppression list".to_owned());
    }
    if verdict.alert {
        deeds.push("the operator is told".to_owned());
    }
    deeds.join("; ")
}

/// What of the reply the rule fitted.
fn reasons(found: &Explained<'_>) -> String {
    let because = &found.because;
    let mut reasons = Vec::new();
    reasons.extend(because.text.as_ref().map(|text| format!("it says \"{text}\"")));
    reasons.extend(because.enhanced.map(|code| match code {
        Some(code) => format!("the enhanced code is {code}"),
        None => "there is no enhanced code".to_owned(),
    }));
    reasons.extend(because.code.map(|code| format!("the code is {code}")));
    reasons.extend(because.phase.map(|phase| format!("it came in {}", phase.name())));
    reasons.extend(because.provider.map(|name| format!("it is a reply of {name}")));
    if reasons.is_empty() { "nothing else is known of it".to_owned() } else { reasons.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, provider: &str) -> Value {
        let providers = Providers::builtin();
        let provider = find_provider(&providers, provider).expect("a provider that is known");
        let quoted = Quoted::parse(text);
        let question = Question { phase: quoted.phase.unwrap_or(Phase::Rcpt), reply: quoted.reply, provider };
        let rules = Rules::builtin();
        let found = rules.explain(question.phase, &question.reply, &question.provider);
        to_json(&question, &found, Language::English)
    }

    #[test]
    fn the_answer_has_class_scope_action_and_rule() {
        for (text, provider, class, scope, action) in [
            ("550 5.1.1 User unknown", "default", "recipient.unknown", "recipient", "bounce; suppress"),
            (
                "550 5.7.26 fails to pass SPF checks for an SPF record with a hard fail",
                "gmail",
                "auth",
                "sender-identity",
                "no-suppress; alert; hold identity",
            ),
            (
                "421 4.7.0 mx.example Error: too many connections from 192.0.2.7",
                "default",
                "rate.conn",
                "path",
                "lower connection limit; retry",
            ),
        ] {
            let answer = answer(text, provider);
            assert_eq!((&answer["class"], &answer["scope"]), (&json!(class), &json!(scope)), "{text}");
            assert_eq!(answer["action"], action, "{text}");
            assert!(answer["rule"].is_string() && answer["cause"].is_string(), "{text}");
        }
        assert_eq!(answer("550 5.7.23 SPF validation failed", "default")["detail"], "auth.spf");
    }

    #[test]
    fn providers_are_known_by_name_label_and_domain() {
        let providers = Providers::builtin();
        for (name, expected) in [
            ("google", "google"),
            ("Gmail", "google"),
            ("gmail.com", "google"),
            ("hotmail", "microsoft"),
            ("aol.com", "yahoo"),
            ("libero", "italiaonline"),
            ("virgilio.it", "italiaonline"),
            ("mx1.mail.yahoodns.net", "yahoo"),
            ("nobody-knows.example", "default"),
        ] {
            assert_eq!(find_provider(&providers, name).as_deref(), Ok(expected), "{name}");
        }
        let error = find_provider(&providers, "gogle").expect_err("a misspelt name");
        assert!(error.contains("did you mean google?") && error.contains("yahoo"), "{error}");
    }

    #[test]
    fn people_are_told_why() {
        let quoted = Quoted::parse("421 4.7.0 [TSS04] Messages from 192.0.2.7 temporarily deferred");
        let question = Question { phase: Phase::Mail, reply: quoted.reply, provider: UNKNOWN.to_owned() };
        let rules = Rules::builtin();
        let found = rules.explain(question.phase, &question.reply, &question.provider);
        let text = render(&question, &found, Language::Italian, Paint::plain());
        for part in [
            "from yahoo in mail, by its own marks",
            "reputation.rate — ",
            "suspend 2h (source); the attempt does not count",
            "yahoo.volume (the provider's own words)",
            "it says \"[tss04]\"",
            "che fare",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
