//! Rules of accounts, and what is done about content that repeats.

use crate::classify::{Action, Behaviour, Glob, HeaderMark, RULES_MAX, Rule};
use crate::config::problems::{Complaint, Place};
use crate::config::stated::Block;

use super::Resolver;

impl Resolver<'_, '_> {
    /// The rules of an account, in the order of the file.
    pub(super) fn rules(&mut self, account: &Block) -> Vec<Rule> {
        let blocks = account.sections("rule");
        if let Some(block) = blocks.get(RULES_MAX) {
            let complaint = Complaint::new(
                format!("the account has more than {RULES_MAX} rules"),
                "each of its messages is held against all of them",
                "merge rules by `*` in subject or header, or have the sender write X-Staffetta-Class",
            );
            self.problems.error(&block.place, complaint);
        }
        let mut rules: Vec<(Rule, Place)> = Vec::new();
        for block in blocks.iter().take(RULES_MAX) {
            let Some(rule) = self.rule(block) else { continue };
            self.check_is_reached(&rule, block, &rules);
            rules.push((rule, block.place.clone()));
        }
        rules.into_iter().map(|(rule, _)| rule).collect()
    }

    fn rule(&mut self, block: &Block) -> Option<Rule> {
        let rule = Rule {
            sender: block.get("sender"),
            recipient: block.get("recipient"),
            subject: self.glob(block, "subject"),
            header: self.header_mark(block),
            class: block.get("class")?,
        };
        if ["sender", "recipient", "subject", "header"].into_iter().all(|key| !block.has(key)) {
            let complaint = Complaint::new(
                "the rule fits everything",
                "it has neither sender, subject, header nor recipient",
                format!("write class = \"{}\" in the account itself, or a condition here", rule.class),
            );
            self.problems.error(&block.place, complaint);
        }
        Some(rule)
    }

    /// Complains of a rule that never decides, since an earlier one fits all that it fits.
    fn check_is_reached(&mut self, rule: &Rule, block: &Block, earlier: &[(Rule, Place)]) {
        let covers = |(_, (other, _)): &(usize, &(Rule, Place))| !other.is_for_all() && other.covers(rule);
        let Some((index, (_, place))) = earlier.iter().enumerate().find(covers) else { return };
        let line = self.problems.line_at(place.offset);
        let complaint = Complaint::new(
            "the rule is never reached",
            format!(
                "rule {} (line {line}) fits all that it fits, and the first that fits decides",
                index + 1
            ),
            "put it before that one, or remove it",
        );
        self.problems.warning(&block.place, complaint);
    }

    /// The pattern of a key, if it can be one.
    fn glob(&mut self, block: &Block, key: &str) -> Option<Glob> {
        let text: String = block.get(key)?;
        let glob = self.pattern(&text, &block.place_of(key))?;
        if glob.is_any() {
            let complaint = Complaint::new(
                format!("`{text}` fits every {key}"),
                "an asterisk alone stands for anything",
                format!("write what the {key} begins with, or remove the key"),
            );
            self.problems.error(&block.place_of(key), complaint);
        }
        Some(glob)
    }

    fn pattern(&mut self, text: &str, place: &Place) -> Option<Glob> {
        let glob = Glob::parse(text);
        if glob.is_none() {
            let complaint = Complaint::new(
                "the pattern is empty or longer than 200 bytes",
                "a whole text instead of what is typical of it",
                "write a shorter one with `*` for the rest: \"newsletter *\"",
            );
            self.problems.error(place, complaint);
        }
        glob
    }

    fn header_mark(&mut self, block: &Block) -> Option<HeaderMark> {
        let text: String = block.get("header")?;
        let place = block.place_of("header");
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value.trim()).filter(|value| !value.is_empty())),
            None => (text.as_str(), None),
        };
        // RFC 5322 section 2.2: printable ASCII without blanks.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            let complaint = Complaint::new(
                format!("`{name}` is no name of a header field"),
                "blanks or letters beyond ASCII before the colon",
                "write it like \"List-Id\" or \"X-Kind: alert*\"",
            );
            self.problems.error(&place, complaint);
            return None;
        }
        let value = match value {
            Some(value) => Some(self.pattern(value, &place)?),
            None => None,
        };
        Some(HeaderMark { name: name.to_owned(), value: value.filter(|glob| !glob.is_any()) })
    }

    pub(super) fn behaviour(&self) -> Option<Behaviour> {
        let block = self.once("classify")?;
        Some(Behaviour {
            action: block.choice("behaviour", &Action::ALL)?,
            window: block.get("window")?,
            recipients: block.get("recipients")?,
        })
    }
}
