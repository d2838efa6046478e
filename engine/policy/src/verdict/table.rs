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
    #[serde(default)]
    hallmark: Vec<StatedHallmark>,
    rule: Vec<StatedRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedHallmark {
    provider: String,
    #[serde(default)]
    text: Vec<String>,
    #[serde(default)]
    enhanced: Vec<String>,
    samples: Vec<String>,
    #[serde(default)]
    others: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedClass {
    about: String,
    scope: String,
    action: String,
    action_transient: Option<String>,
    transient: String,
    permanent: String,
    #[serde(default)]
    suppress: bool,
    #[serde(default)]
    alert: bool,
}

/// A rule as it is written, in the built-in file or by an operator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatedRule {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) providers: Vec<String>,
    #[serde(default)]
    pub(crate) text: Vec<String>,
    #[serde(default)]
    pub(crate) enhanced: Vec<String>,
    #[serde(default)]
    pub(crate) codes: Vec<String>,
    #[serde(default)]
    pub(crate) phases: Vec<String>,
    pub(crate) class: String,
    pub(crate) scope: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) transient: Option<String>,
    pub(crate) permanent: Option<String>,
    pub(crate) suppress: Option<bool>,
    #[serde(default)]
    pub(crate) samples: Vec<String>,
    #[serde(default)]
    pub(crate) others: Vec<String>,
}

/// A class, ready to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) name: String,
    /// What it is, in a sentence.
    pub(super) about: String,
    then: Then,
}

/// One rule, ready to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) id: String,
    /// The provider whose words it knows; samples are judged as its.
    pub(super) provider: Option<String>,
    pub(super) group: u8,
    pub(super) when: When,
    pub(super) then: Then,
    /// Replies that it is for.
    pub(super) samples: Vec<String>,
    /// Replies that it must not fit.
    pub(super) others: Vec<String>,
}

/// What a reply must be like; what is empty asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    pub(super) providers: Vec<String>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) enhanced: Vec<Codes>,
    pub(super) codes: Vec<Digits>,
    pub(super) phases: Vec<Phase>,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Then {
    /// Position in [`Table::classes`].
    pub(super) class: usize,
    pub(super) scope: Scope,
    /// What it concerns, in the words for people.
    pub(super) concerns: String,
    pub(super) transient: Deed,
    pub(super) permanent: Deed,
    pub(super) suppress: bool,
    pub(super) alert: bool,
}

/// What is done, for the engine and in the words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) action: Action,
    pub(super) words: String,
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

/// The first of the three digits of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    first: u16,
    /// What a code is divided by to leave so many digits.
    divisor: u16,
}

impl Digits {
    fn parse(text: &str) -> Option<Self> {
        let left = 3_u32.checked_sub(u32::try_from(text.len()).ok()?)?;
        let first = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        Some(Self { first, divisor: 10_u16.pow(left) })
    }

    pub(super) const fn begin(self, code: u16) -> bool {
        code / self.divisor == self.first
    }
}

/// The classes and the rules of a file, the latter in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) classes: Vec<Class>,
    pub(super) hallmarks: Vec<Hallmark>,
    pub(super) rules: Vec<Rule>,
    /// The providers that rules name, sorted.
    named: Vec<String>,
}

/// What replies of a provider are known by.
#[derive(Debug)]
pub(super) struct Hallmark {
    pub(super) provider: String,
    pub(super) when: When,
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests run them"))]
    pub(super) samples: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests run them"))]
    pub(super) others: Vec<String>,
}

#[cfg(test)]
impl Class {
    /// What it means where a rule does not say otherwise.
    pub(super) const fn then(&self) -> &Then {
        &self.then
    }
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// Says which rule or class cannot be read, and why.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut classes = Vec::with_capacity(file.class.len());
        for (name, stated) in file.class {
            if stated.about.is_empty() || !file.rule.iter().any(|rule| rule.class == name) {
                return Err(format!("class {name}: nothing says what it is, or no rule gives it"));
            }
            let then = stated.then(classes.len()).map_err(|why| format!("class {name}: {why}"))?;
            classes.push(Class { name, about: stated.about, then });
        }
        let mut rules = Vec::with_capacity(file.rule.len());
        for stated in file.rule {
            let id = stated.id.clone();
            rules.push(stated.compile(&classes).map_err(|fault| format!("{id}: {fault}"))?);
        }
        rules.sort_by_key(|rule: &Rule| rule.group);
        let mut named: Vec<String> = rules.iter().flat_map(|rule| rule.when.providers.clone()).collect();
        named.sort_unstable();
        named.dedup();
        let mut hallmarks = Vec::with_capacity(file.hallmark.len());
        for stated in file.hallmark {
            let provider = stated.provider.clone();
            hallmarks.push(stated.compile().map_err(|fault| format!("hallmark of {provider}: {fault}"))?);
        }
        Ok(Self { classes, hallmarks, rules, named })
    }

    /// Whether some rule is for `provider`, or for the one whose name it begins with.
    pub(super) fn names(&self, provider: &str) -> bool {
        let mut begin = provider;
        while self.named.binary_search_by(|name| name.as_str().cmp(begin)).is_err() {
            let Some((shorter, _)) = begin.rsplit_once('-') else { return false };
            begin = shorter;
        }
        true
    }
}

/// What cannot be understood about a rule, and at which of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleFault {
    pub(crate) key: &'static str,
    /// Which entry of the key's list.
    pub(crate) entry: usize,
    pub(crate) written: String,
}

impl std::fmt::Display for RuleFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` cannot be read as {}", self.written, self.key)
    }
}

impl StatedClass {
    fn then(&self, class: usize) -> Result<Then, String> {
        let deed = |engine: &str, words: &str| {
            let action = action(engine).ok_or_else(|| format!("{engine} is no action"))?;
            Ok::<_, String>(Deed { action, words: words.to_owned() })
        };
        Ok(Then {
            class,
            scope: scope(&self.scope).ok_or_else(|| format!("{} is no scope", self.scope))?,
            concerns: self.scope.clone(),
            transient: deed(&self.transient, self.action_transient.as_ref().unwrap_or(&self.action))?,
            permanent: deed(&self.permanent, &self.action)?,
            suppress: self.suppress,
            alert: self.alert,
        })
    }
}

impl StatedHallmark {
    fn compile(self) -> Result<Hallmark, RuleFault> {
        let when = When {
            providers: Vec::new(),
            patterns: read_each("text", &self.text, Pattern::parse)?,
            enhanced: read_each("enhanced", &self.enhanced, Codes::parse)?,
            codes: Vec::new(),
            phases: Vec::new(),
        };
        Ok(Hallmark { provider: self.provider, when, samples: self.samples, others: self.others })
    }
}

impl StatedRule {
    /// The rule, with what it does not say taken from its class.
    pub(super) fn compile(self, classes: &[Class]) -> Result<Rule, RuleFault> {
        let then = self.then(classes)?;
        let when = When {
            providers: self.providers,
            patterns: read_each("text", &self.text, Pattern::parse)?,
            enhanced: read_each("enhanced", &self.enhanced, Codes::parse)?,
            codes: read_each("codes", &self.codes, Digits::parse)?,
            phases: read_each("phases", &self.phases, phase)?,
        };
        let (group, provider) = (when.group(), when.providers.first().cloned());
        Ok(Rule { id: self.id, provider, group, when, then, samples: self.samples, others: self.others })
    }

    fn then(&self, classes: &[Class]) -> Result<Then, RuleFault> {
        let fault = |key, written: &str| RuleFault { key, entry: 0, written: written.to_owned() };
        let class = classes.iter().find(|class| class.name == self.class);
        let mut then = class.ok_or_else(|| fault("class", &self.class))?.then.clone();
        if let Some(words) = &self.scope {
            then.scope = scope(words).ok_or_else(|| fault("scope", words))?;
            then.concerns.clone_from(words);
        }
        if let Some(words) = &self.action {
            then.transient.words.clone_from(words);
            then.permanent.words.clone_from(words);
        }
        if let Some(written) = &self.transient {
            then.transient.action = action(written).ok_or_else(|| fault("transient", written))?;
        }
        if let Some(written) = &self.permanent {
            then.permanent.action = action(written).ok_or_else(|| fault("permanent", written))?;
        }
        then.suppress = self.suppress.unwrap_or(then.suppress);
        Ok(then)
    }
}

fn read_each<T>(
    key: &'static str,
    texts: &[String],
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, RuleFault> {
    let one = |(entry, text): (usize, &String)| {
        read(text).ok_or_else(|| RuleFault { key, entry, written: text.clone() })
    };
    texts.iter().enumerate().map(one).collect()
}

impl When {
    /// The group of rules that it belongs to: the nearer to the provider's own words, the sooner it is tried.
    fn group(&self) -> u8 {
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

/// What the engine takes the words for people as; of two joined by a bar, the first.
fn scope(words: &str) -> Option<Scope> {
    match words.split('|').next()? {
        "recipient" => Some(Scope::Recipient),
        "message" | "campaign" => Some(Scope::Message),
        "session" | "connection" => Some(Scope::Session),
        "provider" | "domain" | "routing" => Some(Scope::Site),
        "source" | "path" => Some(Scope::Source),
        "sender-identity" => Some(Scope::Identity),
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
    fn digits_are_the_beginning_of_a_code() {
        for (text, code, expected) in
            [("4", 421, true), ("4", 521, false), ("55", 554, true), ("55", 545, false), ("552", 552, true)]
        {
            assert_eq!(Digits::parse(text).expect(text).begin(code), expected, "{text} {code}");
        }
        for text in ["", "x", "+5", "5521"] {
            assert_eq!(Digits::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_name() {
        let class = "[class.a]\nabout = \"x\"\nscope = \"path\"\naction = \"retry\"\ntransient = \"defer\"\n\
            permanent = \"bounce\"\n";
        for (rule, expected) in [
            ("class = \"b\"", "r: `b` cannot be read as class"),
            ("class = \"a\"\ntext = [\"Upper\"]", "r: `Upper` cannot be read as text"),
            ("class = \"a\"\nenhanced = [\"7.7.7\"]", "r: `7.7.7` cannot be read as enhanced"),
            ("class = \"a\"\ncodes = [\"5xx\"]", "r: `5xx` cannot be read as codes"),
            ("class = \"a\"\ntransient = \"suspend\"", "r: `suspend` cannot be read as transient"),
            ("class = \"a\"\nscope = \"sky\"", "r: `sky` cannot be read as scope"),
            ("class = \"a\"\nphases = [\"lunch\"]", "r: `lunch` cannot be read as phases"),
        ] {
            let text =
                format!("{class}[[rule]]\nid = \"first\"\nclass = \"a\"\n[[rule]]\nid = \"r\"\n{rule}\n");
            assert_eq!(Table::read(&text).expect_err(rule), expected);
        }
        assert!(Table::read(&format!("{class}rule = []\n")).is_err(), "a class that no rule gives");
    }
}
