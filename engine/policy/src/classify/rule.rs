//! Rules of an account: what a message must be to get a class. All that a rule names must fit.

use std::fmt;

use mail::{Address, Class};

use super::glob::Glob;

/// `[[account.rule]]`: mail that fits has this class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who wrote it, by From: an address, or `@domain`.
    pub sender: Option<String>,
    /// Who all of its recipients are: an address, or `@domain`.
    pub recipient: Option<String>,
    /// What its subject is.
    pub subject: Option<Glob>,
    /// A field that it must have.
    pub header: Option<HeaderMark>,
    /// What it then is.
    pub class: Class,
}

/// A header field that a message has, with the value that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMark {
    /// The field's name.
    pub name: String,
    /// What its value must be; `None`: anything.
    pub value: Option<Glob>,
}

/// What rules look at.
#[derive(Clone, Copy)]
pub struct RuleSubject<'a> {
    /// The address of From; of mail without a readable one the envelope sender.
    pub from: Option<&'a Address>,
    /// Whom it goes to.
    pub recipients: &'a [&'a Address],
    /// The subject, decoded.
    pub subject: &'a str,
    /// The value of the first field of this name, in any case.
    pub header: &'a dyn Fn(&str) -> Option<String>,
}

impl fmt::Debug for RuleSubject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSubject")
            .field("from", &self.from)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Rule {
    /// A rule that gives `class` to everything.
    #[must_use]
    pub const fn of(class: Class) -> Self {
        Self { sender: None, recipient: None, subject: None, header: None, class }
    }

    /// Whether it fits everything.
    #[must_use]
    pub const fn is_for_all(&self) -> bool {
        self.sender.is_none() && self.recipient.is_none() && self.subject.is_none() && self.header.is_none()
    }

    /// Whether everything that `other` fits is fitted by this rule for certain: it asks for nothing that `other` does not
    /// ask for in the same words.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        fn asks_no_more<T: PartialEq>(mine: Option<&T>, theirs: Option<&T>) -> bool {
            mine.is_none() || mine == theirs
        }
        asks_no_more(self.sender.as_ref(), other.sender.as_ref())
            && asks_no_more(self.recipient.as_ref(), other.recipient.as_ref())
            && asks_no_more(self.subject.as_ref(), other.subject.as_ref())
            && asks_no_more(self.header.as_ref(), other.header.as_ref())
    }

    /// Whether a message fits.
    #[must_use]
    pub fn fits(&self, mail: &RuleSubject<'_>) -> bool {
        let sender = |pattern: &String| mail.from.is_some_and(|from| is_address(pattern, from));
        let recipients = |pattern: &String| {
            !mail.recipients.is_empty() && mail.recipients.iter().all(|to| is_address(pattern, to))
        };
        let header = |mark: &HeaderMark| {
            (mail.header)(&mark.name)
                .is_some_and(|value| mark.value.as_ref().is_none_or(|glob| glob.fits(&value)))
        };
        self.sender.as_ref().is_none_or(sender)
            && self.subject.as_ref().is_none_or(|glob| glob.fits(mail.subject))
            && self.recipient.as_ref().is_none_or(recipients)
            && self.header.as_ref().is_none_or(header)
    }
}

/// The conditions, as stories tell them.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        let mut say = |f: &mut fmt::Formatter<'_>, name: &str, what: &dyn fmt::Display| {
            let result = write!(f, "{between}{name} {what}");
            between = ", ";
            result
        };
        if let Some(sender) = &self.sender {
            say(f, "sender", sender)?;
        }
        if let Some(subject) = &self.subject {
            say(f, "subject", subject)?;
        }
        if let Some(header) = &self.header {
            say(f, "header", header)?;
        }
        if let Some(recipient) = &self.recipient {
            say(f, "recipient", recipient)?;
        }
        Ok(())
    }
}

impl fmt::Display for HeaderMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Whether an address is the one that `pattern` means: itself, or any at `@domain`.
fn is_address(pattern: &str, address: &Address) -> bool {
    match pattern.strip_prefix('@') {
        Some(domain) => address.domain().eq_ignore_ascii_case(domain),
        None => address.as_str().eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    fn header(name: &str) -> Option<String> {
        name.eq_ignore_ascii_case("x-kind").then(|| "Alert of db1".to_owned())
    }

    #[test]
    fn all_that_a_rule_names_must_fit() {
        let (from, here, there) = (address("a@News.example"), address("b@x.test"), address("c@y.test"));
        let mail = RuleSubject {
            from: Some(&from),
            recipients: &[&here, &there],
            subject: "Hello you",
            header: &header,
        };
        let rule = Rule::of(Class::Bulk);
        let sender = |text: &str| Rule { sender: Some(text.to_owned()), ..rule.clone() };
        let subject = |text: &str| Rule { subject: Glob::parse(text), ..rule.clone() };
        let recipient = |text: &str| Rule { recipient: Some(text.to_owned()), ..rule.clone() };
        let mark = |name: &str, value: Option<&str>| Rule {
            header: Some(HeaderMark { name: name.to_owned(), value: value.and_then(Glob::parse) }),
            ..rule.clone()
        };
        for (rule, expected) in [
            (sender("@news.example"), true),
            (sender("A@news.example"), true),
            (sender("@sub.news.example"), false),
            (subject("hello*"), true),
            (subject("hello"), false),
            (recipient("@x.test"), false),
            (mark("X-Kind", None), true),
            (mark("X-Kind", Some("alert*")), true),
            (mark("X-Kind", Some("alert")), false),
            (mark("X-Other", None), false),
            (Rule { subject: Glob::parse("bye*"), ..sender("@news.example") }, false),
            (Rule { subject: Glob::parse("*you"), ..sender("@news.example") }, true),
        ] {
            assert_eq!(rule.fits(&mail), expected, "{rule}");
        }
        assert!(recipient("@x.test").fits(&RuleSubject { recipients: &[&here], ..mail }));
        assert!(!sender("@news.example").fits(&RuleSubject { from: None, ..mail }));
    }

    #[test]
    fn a_rule_that_asks_for_less_covers_the_other() {
        let narrow =
            Rule { sender: Some("@a.test".to_owned()), subject: Glob::parse("x*"), ..Rule::of(Class::Bulk) };
        let wide = Rule { subject: None, ..narrow.clone() };
        assert!(wide.covers(&narrow) && !narrow.covers(&wide) && narrow.covers(&narrow));
        assert_eq!(narrow.to_string(), "sender @a.test, subject x*");
    }
}
