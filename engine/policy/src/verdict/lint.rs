//! What is wrong with rules that can be read: no samples, samples that another rule takes, samples that must not fit and do.

use mail::{Phase, Reply};

use super::pattern::Text;
use super::quoted::Quoted;
use super::table::{self, Rule};
use super::{RuleId, Rules};

/// What is wrong with one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing shows what it is for.
    NoSample,
    /// A sample is judged by another rule, which stands before it; or, when that is `None`, does not fit it at all.
    Missed {
        /// Position in its samples.
        sample: usize,
        /// The name of the rule that takes it.
        taken_by: Option<String>,
    },
    /// It fits what it must not fit.
    Caught {
        /// Position in its `others`.
        other: usize,
    },
}

impl Rules {
    /// What is wrong with the operator's rules, each by its position.
    pub(crate) fn lint_own(&self) -> Vec<(usize, Finding)> {
        let own = self.own.iter().enumerate();
        own.flat_map(|(index, rule)| self.lint(rule).into_iter().map(move |finding| (index, finding)))
            .collect()
    }

    /// What is wrong with `rule`, one of these.
    pub(super) fn lint(&self, rule: &Rule) -> Vec<Finding> {
        let mut findings = Vec::new();
        if rule.samples.is_empty() {
            findings.push(Finding::NoSample);
        }
        let provider = rule.provider.as_deref().unwrap_or("default");
        for (sample, text) in rule.samples.iter().enumerate() {
            let (phase, reply) = read(text, rule);
            let chosen = self.judge(phase, &reply, provider).rule;
            if !self.is(chosen, rule) {
                let taken_by = fits(rule, phase, &reply, provider).then(|| self.name(chosen).to_owned());
                findings.push(Finding::Missed { sample, taken_by });
            }
        }
        for (other, text) in rule.others.iter().enumerate() {
            let (phase, reply) = read(text, rule);
            if fits(rule, phase, &reply, provider) {
                findings.push(Finding::Caught { other });
            }
        }
        findings
    }

    fn is(&self, id: RuleId, rule: &Rule) -> bool {
        match id {
            RuleId::Own(index) => self.own.get(usize::from(index)).is_some_and(|own| std::ptr::eq(own, rule)),
            RuleId::Builtin(name) => name == rule.id && !self.own.iter().any(|own| std::ptr::eq(own, rule)),
        }
    }
}

fn fits(rule: &Rule, phase: Phase, reply: &Reply, provider: &str) -> bool {
    rule.when.fits(phase, reply.code, &Text::of(reply), provider)
}

/// A sample of `rule`: a reply, with `phase|` before it when that is not the rule's first or, when it has none, RCPT.
fn read(text: &str, rule: &Rule) -> (Phase, Reply) {
    let (phase, text) = match text.split_once('|') {
        Some((name, rest)) if table::phase(name).is_some() => (table::phase(name), rest),
        _ => (rule.when.phases.first().copied(), text),
    };
    (phase.unwrap_or(Phase::Rcpt), Quoted::parse(text).reply)
}
