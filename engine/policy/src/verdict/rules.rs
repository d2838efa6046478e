//! The rules of `data/replies.toml`, applied to a reply.

use std::sync::LazyLock;

use mail::{Phase, Reply};

use super::pattern::Text;
use super::table::{self, Rule, When};
use super::{Action, Scope, Verdict};

const FILE: &str = include_str!("../../data/replies.toml");

static RULES: LazyLock<Vec<Rule>> =
    LazyLock::new(|| table::read(FILE).expect("a test reads the rules that are compiled in"));

/// The verdict of the first rule that fits.
pub(super) fn judge(phase: Phase, reply: &Reply, provider: &str) -> Verdict {
    let text = Text::of(reply);
    match RULES.iter().find(|rule| rule.when.fits(phase, reply.code, &text, provider)) {
        Some(rule) => rule.verdict(reply),
        None => FALLBACK,
    }
}

/// The last rule fits everything, so this is for a file without it.
const FALLBACK: Verdict = Verdict {
    class: "protocol",
    scope: Scope::Session,
    action: Action::Defer,
    suppress: false,
    alert: false,
    rule: "fallback",
};

impl Rule {
    fn verdict(&'static self, reply: &Reply) -> Verdict {
        let then = &self.then;
        let action = if reply.is_permanent() { then.permanent } else { then.transient };
        Verdict {
            class: &then.class,
            scope: then.scope,
            action,
            suppress: then.suppress && action == Action::Bounce,
            alert: then.alert,
            rule: &self.id,
        }
    }
}

impl When {
    /// The cheap conditions come first: most rules end at the provider or at the pairs of a pattern.
    fn fits(&self, phase: Phase, code: u16, text: &Text, provider: &str) -> bool {
        is_none_or_any(&self.providers, |name| is_of(provider, name))
            && is_none_or_any(&self.phases, |&one| one == phase)
            && is_none_or_any(&self.codes, |prefix| begins_with(code, prefix))
            && is_none_or_any(&self.enhanced, |codes| codes.hold(text.enhanced))
            && is_none_or_any(&self.patterns, |pattern| pattern.is_in(text))
    }
}

fn is_none_or_any<T>(conditions: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    conditions.is_empty() || conditions.iter().any(holds)
}

/// `microsoft-365` is of `microsoft`, `microsoftware` is not.
fn is_of(provider: &str, name: &str) -> bool {
    provider.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether the three digits of `code` begin with those of `prefix`.
fn begins_with(code: u16, prefix: &str) -> bool {
    let digits = prefix.len().min(3) as u32;
    prefix.parse() == Ok(code / 10_u16.pow(3 - digits))
}

#[cfg(test)]
pub(super) fn all() -> &'static [Rule] {
    &RULES
}

#[cfg(test)]
pub(super) fn fits(rule: &Rule, phase: Phase, reply: &Reply, provider: &str) -> bool {
    rule.when.fits(phase, reply.code, &Text::of(reply), provider)
}
