//! The rules, an operator's before the built-in ones, applied to a reply.

use std::fmt;
use std::sync::LazyLock;

use mail::{Enhanced, Phase, Reply};

use super::pattern::Text;
use super::table::{Deed, Hallmark, Rule, RuleFault, StatedRule, Table, When};
use super::{Action, Verdict};

const FILE: &str = include_str!("../../data/replies.toml");

static BUILTIN: LazyLock<Table> =
    LazyLock::new(|| Table::read(FILE).expect("a test reads the rules that are compiled in"));

/// The built-in classes and rules.
#[cfg(test)]
pub(super) fn builtin() -> &'static Table {
    &BUILTIN
}

/// The rules of a configuration: those of its operator, then the built-in ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub(super) own: Vec<Rule>,
}

/// Which rule gave a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleId {
    /// One that is compiled in, by its name.
    Builtin(&'static str),
    /// An operator's, by its position in the file; [`Rules::name`] knows its name.
    Own(u16),
}

/// Why a reply means what it does. Shown to people; nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained<'r> {
    /// What it means to the engine.
    pub verdict: Verdict,
    /// The name of the rule.
    pub rule: &'r str,
    /// The provider whose reply it was taken for: the one given, or the one that the reply shows by its words or codes when no
    /// rule is for the one given.
    pub provider: &'r str,
    /// What the failure concerns: recipient, message, campaign, session, connection, path, source, sender-identity, domain,
    /// routing or provider; `a|b` where it may be either.
    pub concerns: &'r str,
    /// What is to be done, of which [`Verdict::action`] is the part that the engine does by itself.
    pub advice: &'r str,
    /// What the class is, in a sentence.
    pub about: &'static str,
    /// How near to the provider the rule's knowledge is.
    pub knowledge: Knowledge,
    /// What of the reply the rule fitted.
    pub because: Because<'r>,
}

/// How near to the provider a rule's knowledge is; the nearest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Knowledge {
    /// A rule of the operator.
    Operator,
    /// The provider's own words.
    ProviderText,
    /// The provider's codes.
    ProviderCode,
    /// Words that mean the same everywhere.
    Text,
    /// The registry of enhanced codes.
    Registry,
    /// The basic code.
    BasicCode,
}

impl fmt::Display for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "a rule of the operator",
            Self::ProviderText => "the provider's own words",
            Self::ProviderCode => "the provider's codes",
            Self::Text => "words that mean the same everywhere",
            Self::Registry => "the registry of enhanced codes",
            Self::BasicCode => "the basic code",
        })
    }
}

/// What of a reply a rule fitted; `None` and `false` where the rule did not ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because<'r> {
    /// The words that were found, as the reply has them but in lower case.
    pub text: Option<String>,
    /// The enhanced code; `Some(None)` when there had to be none.
    pub enhanced: Option<Option<Enhanced>>,
    /// The basic code.
    pub code: Option<u16>,
    /// The phase.
    pub phase: Option<Phase>,
    /// The name that the provider's fitted.
    pub provider: Option<&'r str>,
}

impl Rules {
    /// The built-in rules alone.
    #[must_use]
    pub fn builtin() -> Self {
        Self::default()
    }

    /// The names of all classes that a rule may give.
    pub fn classes() -> impl Iterator<Item = &'static str> {
        BUILTIN.classes.iter().map(|class| class.name.as_str())
    }

    /// Takes up an operator's rule behind those that are there.
    pub(crate) fn add_own(&mut self, stated: StatedRule) -> Result<(), RuleFault> {
        let states = (stated.transient.is_some(), stated.permanent.is_some());
        let mut rule = stated.compile(&BUILTIN.classes)?;
        // What the operator says instead of the class has no words but its own.
        for (is_stated, deed) in [(states.0, &mut rule.then.transient), (states.1, &mut rule.then.permanent)]
        {
            if is_stated {
                deed.words = deed.action.to_string();
            }
        }
        self.own.push(rule);
        Ok(())
    }

    /// Says what `reply`, given in `phase` by a server of `provider`, means. For replies that are not what was hoped for;
    /// any other is a breach of the protocol.
    #[must_use]
    pub fn judge(&self, phase: Phase, reply: &Reply, provider: &str) -> Verdict {
        let text = Text::of(reply);
        let (id, rule) = self.first(phase, reply.code, &text, speaker(&text, provider), provider);
        rule.verdict(id, reply)
    }

    /// The same, with the reasons.
    #[must_use]
    pub fn explain<'r>(&'r self, phase: Phase, reply: &Reply, provider: &'r str) -> Explained<'r> {
        let text = Text::of(reply);
        let speaker = speaker(&text, provider);
        let (id, rule) = self.first(phase, reply.code, &text, speaker, provider);
        Explained {
            verdict: rule.verdict(id, reply),
            rule: &rule.id,
            provider: speaker,
            concerns: &rule.then.concerns,
            advice: &rule.deed(reply).words,
            about: &BUILTIN.classes[rule.then.class].about,
            knowledge: rule.knowledge(id),
            because: rule.when.because(phase, reply.code, &text, [speaker, provider]),
        }
    }

    /// The name of a rule.
    #[must_use]
    pub fn name(&self, rule: RuleId) -> &str {
        match rule {
            RuleId::Builtin(name) => name,
            RuleId::Own(index) => self.own.get(usize::from(index)).map_or("", |rule| &rule.id),
        }
    }

    /// The first rule that fits. The last built-in one fits everything. An operator's rule may be for the provider that is
    /// given as well as for the one that speaks.
    fn first(&self, phase: Phase, code: u16, text: &Text, speaker: &str, provider: &str) -> (RuleId, &Rule) {
        for (index, rule) in (0..).zip(&self.own) {
            let fits = |provider| rule.when.fits(phase, code, text, provider);
            if fits(speaker) || (speaker != provider && fits(provider)) {
                return (RuleId::Own(index), rule);
            }
        }
        let rules: &'static [Rule] = &BUILTIN.rules;
        let found = rules.iter().find(|rule| rule.when.fits(phase, code, text, speaker));
        let rule = found.or(rules.last()).expect("a test sees that there are rules");
        (RuleId::Builtin(&rule.id), rule)
    }
}

/// The provider whose words these are: `provider` if rules know it, else the one that the reply's hallmarks show.
fn speaker<'p>(text: &Text, provider: &'p str) -> &'p str {
    if BUILTIN.names(provider) {
        return provider;
    }
    let hallmarks: &'static [Hallmark] = &BUILTIN.hallmarks;
    let found = hallmarks.iter().find(|mark| mark.when.fits(Phase::Rcpt, 0, text, provider));
    found.map_or(provider, |mark| &mark.provider)
}

impl Rule {
    fn deed(&self, reply: &Reply) -> &Deed {
        if reply.is_permanent() { &self.then.permanent } else { &self.then.transient }
    }

    fn verdict(&self, id: RuleId, reply: &Reply) -> Verdict {
        let action = self.deed(reply).action;
        Verdict {
            class: &BUILTIN.classes[self.then.class].name,
            scope: self.then.scope,
            action,
            suppress: self.then.suppress && action == Action::Bounce,
            alert: self.then.alert,
            rule: id,
        }
    }

    fn knowledge(&self, id: RuleId) -> Knowledge {
        match (id, self.group) {
            (RuleId::Own(_), _) => Knowledge::Operator,
            (_, 1) => Knowledge::ProviderText,
            (_, 2) => Knowledge::ProviderCode,
            (_, 3) => Knowledge::Text,
            (_, 4) => Knowledge::Registry,
            _ => Knowledge::BasicCode,
        }
    }
}

impl When {
    /// The cheap conditions come first: most rules end at the provider or at the pairs of a pattern.
    pub(super) fn fits(&self, phase: Phase, code: u16, text: &Text, provider: &str) -> bool {
        is_none_or_any(&self.providers, |name| is_of(provider, name))
            && is_none_or_any(&self.phases, |&one| one == phase)
            && is_none_or_any(&self.codes, |digits| digits.begin(code))
            && is_none_or_any(&self.enhanced, |codes| codes.hold(text.enhanced))
            && is_none_or_any(&self.patterns, |pattern| pattern.is_in(text))
    }

    /// What of a reply that fits was asked for.
    fn because(&self, phase: Phase, code: u16, text: &Text, providers: [&str; 2]) -> Because<'_> {
        let found = self.patterns.iter().find(|pattern| pattern.is_in(text));
        Because {
            text: found.and_then(|pattern| pattern.found_in(text)),
            enhanced: (!self.enhanced.is_empty()).then_some(text.enhanced),
            code: (!self.codes.is_empty()).then_some(code),
            phase: (!self.phases.is_empty()).then_some(phase),
            provider: self
                .providers
                .iter()
                .find(|name| providers.into_iter().any(|provider| is_of(provider, name)))
                .map(String::as_str),
        }
    }
}

fn is_none_or_any<T>(conditions: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    conditions.is_empty() || conditions.iter().any(holds)
}

/// `microsoft-365` is of `microsoft`, `microsoftware` is not.
fn is_of(provider: &str, name: &str) -> bool {
    provider.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
