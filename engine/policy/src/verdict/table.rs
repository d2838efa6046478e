//! The file of classes and rules, read into rules that can be applied. Refuses anything that it does not understand.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::{Enhanced, Phase};
use serde::Deserialize;

use crate::config::duration;

use super::pattern::Pattern;
use super::{Action, Scope};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    class: BTreeMap<String, StatedClass>,
    rule: Vec<StatedRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedClass {
    about: String,
    scope: String,
    transient: String,
    permanent: String,
    #[serde(default)]
    suppress: bool,
    #[serde(default)]
    alert: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedRule {
    id: String,
    #[serde(default)]
    providers: Vec<String>,
    #[serde(default)]
    text: Vec<String>,
    #[serde(default)]
    enhanced: Vec<String>,
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    phases: Vec<String>,
    class: String,
    transient: Option<String>,
    permanent: Option<String>,
    suppress: Option<bool>,
    #[serde(default)]
    samples: Vec<String>,
    #[serde(default)]
    others: Vec<String>,
}

/// One rule, ready to be applied.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) when: When,
    pub(super) then: Then,
    /// Replies that it is for.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests run them"))]
    pub(super) samples: Vec<String>,
    /// Replies that it must not fit.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests run them"))]
    pub(super) others: Vec<String>,
}

/// What a reply must be like; what is empty asks for nothing.
#[derive(Debug)]
pub(super) struct When {
    pub(super) providers: Vec<String>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) enhanced: Vec<Codes>,
    pub(super) codes: Vec<String>,
    pub(super) phases: Vec<Phase>,
}

/// What it means.
#[derive(Debug)]
pub(super) struct Then {
    pub(super) class: String,
    pub(super) scope: Scope,
    pub(super) transient: Action,
    pub(super) permanent: Action,
    pub(super) suppress: bool,
    pub(super) alert: bool,
}

/// Some enhanced codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codes {
    /// A reply without one.
    None,
    /// Of class 4 or 5, or any when `class` is 0, with a detail from `first` to `last`.
    Some { class: u8, subject: u16, first: u16, last: u16 },
}

impl Codes {
    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::None);
        }
        let [class, subject, details] = text.split('.').collect::<Vec<_>>().try_into().ok()?;
        let (first, last) = details.split_once('-').unwrap_or((details, details));
        let class = match class {
            "*" => 0,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(Self::Some { class, subject: subject.parse().ok()?, first, last })
    }

    pub(super) fn hold(self, code: Option<Enhanced>) -> bool {
        match (self, code) {
            (Self::None, None) => true,
            (Self::Some { class, subject, first, last }, Some(code)) => {
                (class == 0 || class == code.0) && subject == code.1 && (first..=last).contains(&code.2)
            }
            _ => false,
        }
    }
}

/// The rules of a file in the order in which they are tried.
///
/// # Errors
/// Says which rule or class cannot be read, and why.
pub(super) fn read(text: &str) -> Result<Vec<Rule>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    for (name, class) in &file.class {
        let used = file.rule.iter().any(|rule| rule.class == *name);
        if class.about.is_empty() || !used {
            return Err(format!("class {name}: nothing says what it is, or no rule gives it"));
        }
    }
    let mut rules = Vec::with_capacity(file.rule.len());
    for stated in file.rule {
        let id = stated.id.clone();
        let class =
            file.class.get(&stated.class).ok_or_else(|| format!("{id}: no class {}", stated.class))?;
        rules.push(stated.compile(class).ok_or_else(|| format!("{id}: cannot be read"))?);
    }
    rules.sort_by_key(|rule| rule.when.group());
    Ok(rules)
}

impl StatedRule {
    fn compile(self, class: &StatedClass) -> Option<Rule> {
        let then = Then {
            class: self.class,
            scope: scope(&class.scope)?,
            transient: action(self.transient.as_deref().unwrap_or(&class.transient))?,
            permanent: action(self.permanent.as_deref().unwrap_or(&class.permanent))?,
            suppress: self.suppress.unwrap_or(class.suppress),
            alert: class.alert,
        };
        let when = When {
            providers: self.providers,
            patterns: self.text.iter().map(|text| Pattern::parse(text)).collect::<Option<_>>()?,
            enhanced: self.enhanced.iter().map(|text| Codes::parse(text)).collect::<Option<_>>()?,
            codes: self.codes,
            phases: self.phases.iter().map(|name| phase(name)).collect::<Option<_>>()?,
        };
        Some(Rule { id: self.id, when, then, samples: self.samples, others: self.others })
    }
}

impl When {
    /// The group of rules that it belongs to: the nearer to the provider's own words, the sooner it is tried.
    pub(super) fn group(&self) -> u8 {
        match (self.providers.is_empty(), self.patterns.is_empty(), self.enhanced.is_empty()) {
            (false, false, _) => 1,
            (false, true, _) => 2,
            (true, false, _) => 3,
            (true, true, false) => 4,
            (true, true, true) => 5,
        }
    }
}

/// The phase of that name.
pub(super) fn phase(name: &str) -> Option<Phase> {
    Phase::ALL.into_iter().find(|phase| phase.name() == name)
}

fn scope(name: &str) -> Option<Scope> {
    match name {
        "recipient" => Some(Scope::Recipient),
        "message" => Some(Scope::Message),
        "session" => Some(Scope::Session),
        "site" => Some(Scope::Site),
        "source" => Some(Scope::Source),
        "identity" => Some(Scope::Identity),
        _ => None,
    }
}

fn action(text: &str) -> Option<Action> {
    let (verb, time) = text.split_once(' ').unwrap_or((text, ""));
    let time: Option<Duration> = duration(time);
    match (verb, time) {
        ("bounce", None) => Some(Action::Bounce),
        ("defer", None) => Some(Action::Defer),
        ("slow-down", None) => Some(Action::SlowDown),
        ("next-mx", None) => Some(Action::NextMx),
        ("next-transaction", None) => Some(Action::NextTransaction),
        ("reconnect", None) => Some(Action::Reconnect),
        ("require-tls", None) => Some(Action::RequireTls),
        ("suspend", Some(time)) => Some(Action::Suspend(time)),
        ("hold", Some(time)) => Some(Action::Hold(time)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_one_or_a_range_of_one_or_both_classes() {
        for (text, code, expected) in [
            ("5.7.26", Some(Enhanced(5, 7, 26)), true),
            ("5.7.26", Some(Enhanced(4, 7, 26)), false),
            ("*.7.26", Some(Enhanced(4, 7, 26)), true),
            ("*.7.606-649", Some(Enhanced(5, 7, 649)), true),
            ("*.7.606-649", Some(Enhanced(5, 7, 650)), false),
            ("*.7.606-649", None, false),
            ("none", None, true),
            ("none", Some(Enhanced(5, 0, 0)), false),
        ] {
            assert_eq!(Codes::parse(text).expect(text).hold(code), expected, "{text} {code:?}");
        }
        for text in ["", "5.7", "6.1.1", "*.7.9-1", "*.x.1", "5.7.1.1"] {
            assert_eq!(Codes::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_name() {
        let class =
            "[class.a]\nabout = \"x\"\nscope = \"site\"\ntransient = \"defer\"\npermanent = \"bounce\"\n";
        for (rule, expected) in [
            ("[[rule]]\nid = \"r\"\nclass = \"b\"", "r: no class b"),
            ("[[rule]]\nid = \"r\"\nclass = \"a\"\ntext = [\"Upper\"]", "r: cannot be read"),
            ("[[rule]]\nid = \"r\"\nclass = \"a\"\nenhanced = [\"7.7.7\"]", "r: cannot be read"),
            ("[[rule]]\nid = \"r\"\nclass = \"a\"\ntransient = \"suspend\"", "r: cannot be read"),
            ("[[rule]]\nid = \"r\"\nclass = \"a\"\nphases = [\"lunch\"]", "r: cannot be read"),
        ] {
            let text = format!("{class}[[rule]]\nid = \"first\"\nclass = \"a\"\n{rule}\n");
            assert_eq!(read(&text).expect_err(rule), expected);
        }
        assert!(read(&format!("{class}rule = []\n")).is_err(), "a class that no rule gives");
    }
}
