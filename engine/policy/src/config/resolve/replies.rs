//! `[[reply_rule]]`: the operator's rules for replies, tried on their samples.

use crate::config::problems::{Complaint, Place, nearest};
use crate::config::stated::Block;
use crate::provider::Providers;
use crate::verdict::{Finding, RuleFault, Rules, StatedRule};

use super::Resolver;

/// Most rules an operator may write: each reply that is not a success is held against all of them.
const RULES_MAX: usize = 1_000;

impl Resolver<'_, '_> {
    pub(super) fn reply_rules(&mut self, providers: &Providers) -> Rules {
        self.check_unique("reply_rule", "name");
        let mut rules = Rules::builtin();
        let mut blocks = Vec::new();
        for block in self.blocks("reply_rule") {
            self.check_providers(block, providers);
            if blocks.len() == RULES_MAX {
                let what = format!("there are more than {RULES_MAX} rules");
                let cause = "each failed attempt is held against all of them";
                self.problems
                    .error(&block.place, Complaint::new(what, cause, "merge rules: `text` takes a list"));
                break;
            }
            let Some(stated) = stated(block) else { continue };
            match rules.add_own(stated) {
                Ok(()) => blocks.push(block),
                Err(fault) => self.complain_of(block, &fault),
            }
        }
        // A rule that could not be read may be the one that a sample is for.
        if blocks.len() == self.blocks("reply_rule").len() {
            for (index, finding) in rules.lint_own() {
                self.complain_of_sample(blocks[index], &finding);
            }
        }
        rules
    }

    fn check_providers(&mut self, block: &Block, providers: &Providers) {
        for (name, place) in block.list::<String>("providers") {
            if providers.by_name(&name).is_some() {
                continue;
            }
            let cure = match nearest(&name, providers.iter().map(|(_, provider)| provider.name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add a [provider.{name}], or leave `providers` out"),
            };
            let cause = "a misspelt name, or its section is missing";
            self.problems
                .error(&place, Complaint::new(format!("there is no provider `{name}`"), cause, cure));
        }
    }

    fn complain_of(&mut self, block: &Block, fault: &RuleFault) {
        let written = &fault.written;
        let (what, cause, cure) = match fault.key {
            "class" => (
                format!("there is no class `{written}`"),
                "a misspelt name; the classes are those of the built-in rules",
                match nearest(written, Rules::classes()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("use one of: {}", Rules::classes().collect::<Vec<_>>().join(", ")),
                },
            ),
            "transient" | "permanent" => (
                format!("`{written}` is not an action"),
                "a misspelt word, or a time is missing or too many",
                "use one of: bounce, defer, slow-down, next-mx, reconnect, require-tls, \"suspend 15m\", \"hold 1h\"".to_owned(),
            ),
            "enhanced" => (
                format!("`{written}` is not an enhanced code"),
                "it has three parts, of which the first is 4, 5 or *",
                "write it like \"5.7.1\", \"*.7.1\", \"5.7.600-649\" or \"none\"".to_owned(),
            ),
            "codes" => (
                format!("`{written}` is not the beginning of a code"),
                "a code has one to three digits",
                "write it like \"550\", \"55\" or \"5\"".to_owned(),
            ),
            key => (
                format!("`{written}` cannot be read as {key}"),
                "there is nothing before, between or behind a `*`",
                "write words, with `*` between them where anything may stand".to_owned(),
            ),
        };
        self.problems.error(&entry(block, fault.key, fault.entry), Complaint::new(what, cause, cure));
    }

    fn complain_of_sample(&mut self, block: &Block, finding: &Finding) {
        let (place, what, cause, cure) = match finding {
            Finding::NoSample => {
                let what = "the rule has no samples";
                let cure = "add samples = [\"550 5.1.1 the reply that it is for\"]";
                let complaint = Complaint::new(what, "nothing shows that it ever fits", cure);
                return self.problems.warning(&block.place_of("samples"), complaint);
            }
            Finding::Missed { sample, taken_by: None } => (
                entry(block, "samples", *sample),
                "the rule does not fit this sample".to_owned(),
                "one of its keys asks for something else",
                "loosen the key, or correct the sample; write `rcpt|` or another phase before it if that matters".to_owned(),
            ),
            Finding::Missed { sample, taken_by: Some(rule) } => (
                entry(block, "samples", *sample),
                format!("rule `{rule}` takes this sample"),
                "that rule stands before it and fits too",
                "move the rule up, or make the other one narrower".to_owned(),
            ),
            Finding::Caught { other } => (
                entry(block, "others", *other),
                "the rule fits this reply".to_owned(),
                "its keys are too wide",
                "add words to `text`, or another key".to_owned(),
            ),
        };
        self.problems.error(&place, Complaint::new(what, cause, cure));
    }
}

/// The rule as it is written; `None` when a key was misread, which has its complaint.
fn stated(block: &Block) -> Option<StatedRule> {
    let texts = |key| block.list::<String>(key).into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    Some(StatedRule {
        id: block.get("name")?,
        class: block.get("class")?,
        providers: texts("providers"),
        text: texts("text").into_iter().map(|text| text.to_lowercase()).collect(),
        enhanced: texts("enhanced"),
        codes: texts("codes"),
        phases: block.names("phases"),
        transient: block.get("transient"),
        permanent: block.get("permanent"),
        samples: texts("samples"),
        others: texts("others"),
        ..StatedRule::default()
    })
}

/// The place of an entry of a list, or of the key when it is not one.
fn entry(block: &Block, key: &str, entry: usize) -> Place {
    let entries = block.list::<String>(key);
    entries.into_iter().nth(entry).map_or_else(|| block.place_of(key), |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use mail::Phase;

    use crate::config::{Severity, check};
    use crate::verdict::{Action, Quoted, RuleId, Scope};

    const BEFORE: &str = "[node]\ndata_dir = \"d\"\n[http]\naddress = \"127.0.0.1:8025\"\n[[reply_rule]]\n";

    fn complaints(rule: &str) -> Vec<String> {
        let checked = check("f.toml", &format!("{BEFORE}{rule}"));
        let line = |problem: &crate::config::Problem| {
            format!("{} {}: {}: {}", problem.line, problem.key, problem.what, problem.cure)
        };
        checked.problems.iter().map(line).collect()
    }

    #[test]
    fn an_operators_rule_comes_before_the_built_in_ones() {
        let rule = "name = \"house\"\nproviders = [\"google\"]\ntext = [\"Account * asleep\"]\ncodes = [\"5\"]\n\
            class = \"recipient.rate\"\npermanent = \"suspend 5m\"\n\
            samples = [\"550 5.1.1 The account that you tried to reach does not exist, it is ACCOUNT 7 asleep\"]\n\
            others = [\"450 4.1.1 account 7 asleep\"]\n";
        let checked = check("f.toml", &format!("{BEFORE}{rule}"));
        assert_eq!(checked.problems, []);
        let config = checked.config.expect("no problems");
        let reply = Quoted::parse("550 5.1.1 No such user: account 7 asleep").reply;
        let found = config.replies.explain(Phase::Rcpt, &reply, "google");
        assert_eq!((found.rule, found.advice, found.verdict.rule), ("house", "suspend 5m", RuleId::Own(0)));
        assert_eq!((found.verdict.class, found.verdict.scope), ("recipient.rate", Scope::Recipient));
        assert_eq!(found.verdict.action, Action::Suspend(std::time::Duration::from_secs(300)));
        assert_eq!(found.because.text.as_deref(), Some("account 7 asleep"));
        assert_eq!(config.replies.name(found.verdict.rule), "house");
        let elsewhere = config.replies.judge(Phase::Rcpt, &reply, "yahoo");
        assert_eq!(elsewhere.class, "recipient.unknown");
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_named_with_its_line_and_cure() {
        let whole = "name = \"r\"\nclass = \"policy\"\nsamples = [\"550 x\"]\n";
        for (rule, expected) in [
            (
                "name = \"r\"\nclass = \"policies\"\n",
                "7 reply_rule.class: there is no class `policies`: did you mean `policy`?",
            ),
            (
                &format!("{whole}providers = [\"goggle\"]\n"),
                "9 reply_rule.providers: there is no provider `goggle`: did you mean `google`?",
            ),
            (
                &format!("{whole}text = [\"a\", \"*\"]\n"),
                "9 reply_rule.text: `*` cannot be read as text: write words, with `*` between them where anything may stand",
            ),
            (
                &format!("{whole}enhanced = [\"7.1\"]\n"),
                "9 reply_rule.enhanced: `7.1` is not an enhanced code: write it like \"5.7.1\", \"*.7.1\", \"5.7.600-649\" or \"none\"",
            ),
            (
                &format!("{whole}codes = [\"5xx\"]\n"),
                "9 reply_rule.codes: `5xx` is not the beginning of a code: write it like \"550\", \"55\" or \"5\"",
            ),
            (
                &format!("{whole}phases = [\"rctp\"]\n"),
                "9 reply_rule.phases: `rctp` is not known here: did you mean \"rcpt\"? It takes: banner, ehlo, starttls, auth, mail, rcpt, data, body",
            ),
            (
                &format!("{whole}transient = \"suspend\"\n"),
                "9 reply_rule.transient: `suspend` is not an action: use one of: bounce, defer, slow-down, next-mx, reconnect, require-tls, \"suspend 15m\", \"hold 1h\"",
            ),
            (
                &format!("{whole}text = [\"y\"]\n"),
                "8 reply_rule.samples: the rule does not fit this sample: loosen the key, or correct the sample; write `rcpt|` or another phase before it if that matters",
            ),
            (
                &format!("{whole}others = [\"550 y\"]\n"),
                "9 reply_rule.others: the rule fits this reply: add words to `text`, or another key",
            ),
            (
                &format!("{whole}[[reply_rule]]\nname = \"s\"\nclass = \"policy\"\nsamples = [\"550 x\"]\n"),
                "12 reply_rule.samples: rule `r` takes this sample: move the rule up, or make the other one narrower",
            ),
            (
                "name = \"r\"\nclass = \"policy\"\n",
                "5 reply_rule.samples: the rule has no samples: add samples = [\"550 5.1.1 the reply that it is for\"]",
            ),
            (
                &format!("{whole}[[reply_rule]]\n{whole}"),
                "10 reply_rule.name: `r` is taken: choose another, or merge the two sections",
            ),
        ] {
            assert_eq!(complaints(rule).first().map(String::as_str), Some(expected), "{rule}");
        }
        let checked = check("f.toml", &format!("{BEFORE}name = \"r\"\nclass = \"policy\"\n"));
        assert_eq!(checked.problems[0].severity, Severity::Warning);
        assert!(checked.config.is_some(), "a rule without samples can be used");
    }
}
