//! `[[account.rule]]` and `[classify]`: what they come to, and what can be wrong with them.

use std::time::Duration;

use mail::Class;

use super::{MINIMAL, complaints, good};
use crate::classify::{Action, Behaviour};

const ACCOUNT: &str = "[[account]]\nname = \"shop\"\ntoken_hash = \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\nclass = \"transactional\"\n";

fn with(lines: &str) -> String {
    format!("{MINIMAL}\n{ACCOUNT}{lines}")
}

#[test]
fn rules_of_an_account_are_read_in_the_order_of_the_file() {
    let config = good(&with(
        "[[account.rule]]\nsender = \"@news.example\"\nclass = \"bulk\"\n\
         [[account.rule]]\nsubject = \"[alert] *\"\nheader = \"X-Kind: down*\"\nrecipient = \"ops@example.test\"\nclass = \"critical\"\n\
         [[account.rule]]\nheader = \"X-Campaign\"\nclass = \"bulk\"\n",
    ));
    let rules = &config.account("shop").expect("an account").rules;
    let shown: Vec<String> = rules.iter().map(|rule| format!("{rule} → {}", rule.class)).collect();
    assert_eq!(
        shown,
        [
            "sender @news.example → bulk",
            "subject [alert] *, header X-Kind: down*, recipient ops@example.test → critical",
            "header X-Campaign → bulk"
        ]
    );
}

#[test]
fn rules_that_cannot_be_meant_are_named_with_line_key_and_cure() {
    for (lines, expected) in [
        (
            "[[account.rule]]\nsender = \"@news.example\"",
            "16 account.rule.class: add `class = …` (\"critical\", \"transactional\", \"personal\" or \"bulk\")",
        ),
        (
            "[[account.rule]]\nclass = \"bulk\"",
            "16 account.rule: write class = \"bulk\" in the account itself, or a condition here",
        ),
        (
            "[[account.rule]]\nclass = \"bulk\"\nsubject = \"*\"",
            "18 account.rule.subject: write what the subject begins with, or remove the key",
        ),
        (
            "[[account.rule]]\nclass = \"bulk\"\nheader = \"X Kind: a\"",
            "18 account.rule.header: write it like \"List-Id\" or \"X-Kind: alert*\"",
        ),
        (
            "[[account.rule]]\nclass = \"bulk\"\nsender = \"news.example\"",
            "18 account.rule.sender: write it like \"@example.test\"",
        ),
        (
            "[[account.rule]]\nclass = \"bulk\"\nsubjet = \"x\"\nheader = \"X-A\"",
            "18 account.rule.subjet: did you mean `subject`?",
        ),
        (
            "[[account.rule]]\nclass = \"bulk\"\nsubject = \"a*\"\n[[account.rule]]\nclass = \"critical\"\nsubject = \"a*\"\nsender = \"@a.test\"",
            "19 account.rule: put it before that one, or remove it",
        ),
        (
            "[classify]\nbehaviour = \"warning\"",
            "17 classify.behaviour: did you mean \"warn\"? It takes: warn, reclass, off",
        ),
        ("[classify]\nrecipients = 5", "17 classify.recipients: write a number from 20 to 1000"),
    ] {
        assert_eq!(complaints(&with(lines))[0], expected, "{lines}");
    }
    let many = "[[account.rule]]\nclass = \"bulk\"\nsubject = \"a\"\n".repeat(101);
    assert!(complaints(&with(&many)).iter().any(|said| said.contains("X-Staffetta-Class")));
}

#[test]
fn content_that_repeats_is_warned_of_unless_the_file_says_otherwise() {
    assert_eq!(good(MINIMAL).classes.behaviour, Behaviour::default());
    let config = good(&with("[classify]\nbehaviour = \"reclass\"\nwindow = \"20m\"\nrecipients = 50\n"));
    let expected = Behaviour { action: Action::Reclass, window: Duration::from_secs(1_200), recipients: 50 };
    assert_eq!(config.classes.behaviour, expected);
}

#[test]
fn mail_gets_the_class_that_its_rule_says() {
    let config = good(&with("[[account.rule]]\nsubject = \"news*\"\nclass = \"bulk\"\n"));
    let rule = &config.account("shop").expect("an account").rules[0];
    let nothing = |_: &str| None;
    let subject =
        |subject| crate::classify::RuleSubject { from: None, recipients: &[], subject, header: &nothing };
    assert!(rule.fits(&subject("News of May")) && !rule.fits(&subject("Your order")));
    assert_eq!(rule.class, Class::Bulk);
}
