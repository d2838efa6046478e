//! What was written: the sections of the file with each value read by its key's type, and its place. Unknown keys, wrong types
//! and missing keys are complained about here; what the values mean together is not known here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mail::Class;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::complaints::{missing_key, not_a_name, unknown_class, unknown_key, unknown_section, wrong_shape};
use super::document::{parsed, without_broken_sections};
use super::keys::{Key, Kind, SECTIONS, Section, Shape, Standard};
use super::problems::{Place, Problems};
use super::value::{Item, Value, read_value};

/// One section as it was written, with the defaults of the keys that were not.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    section: &'static Section,
    pub(crate) place: Place,
    /// The NAME of `[section.NAME]`; empty for other shapes.
    pub(crate) name: String,
    stated: BTreeMap<&'static str, Item>,
    defaults: BTreeMap<&'static str, Item>,
}

/// The whole file.
#[derive(Debug, Default)]
pub(crate) struct Stated {
    blocks: BTreeMap<&'static str, Vec<Block>>,
}

impl Stated {
    /// Reads the file as far as it can be read.
    pub(crate) fn read(text: &str, problems: &mut Problems<'_>) -> Self {
        let text = without_broken_sections(text, problems);
        let document = parsed(&text, problems);
        let mut stated = Self::default();
        for (key, value) in document.get_ref() {
            let name: &str = key.get_ref();
            match SECTIONS.iter().find(|section| section.name == name) {
                Some(section) => {
                    let blocks = stated.blocks.entry(section.name).or_default();
                    read_section(section, key, value, problems, blocks);
                }
                None => unknown_section(key, problems),
            }
        }
        for section in SECTIONS {
            stated.complete(section, problems);
        }
        stated
    }

    /// The blocks of a section, in the order of the file.
    pub(crate) fn blocks(&self, section: &str) -> &[Block] {
        self.blocks.get(section).map_or(&[], Vec::as_slice)
    }

    /// Sorts the blocks by their place, and adds those that are there also when nobody writes them.
    fn complete(&mut self, section: &'static Section, problems: &mut Problems<'_>) {
        let blocks = self.blocks.entry(section.name).or_default();
        blocks.sort_by_key(|block| block.place.offset);
        match section.shape {
            Shape::Once if blocks.is_empty() => {
                let place = Place { offset: 0, key: section.name.to_owned() };
                let block = Block::new(section, place, "");
                block.complain_of_missing(section, problems);
                blocks.push(block);
            }
            Shape::PerClass => {
                for class in Class::ALL {
                    if !blocks.iter().any(|block| block.name == class.name()) {
                        let place = Place { offset: 0, key: format!("class.{class}") };
                        blocks.push(Block::new(section, place, class.name()));
                    }
                }
            }
            _ => {}
        }
    }
}

impl Block {
    fn new(section: &'static Section, place: Place, name: &str) -> Self {
        let defaults =
            section.keys.iter().filter_map(|key| Some((key.name, default_of(key, name)?))).collect();
        Self { section, place, name: name.to_owned(), stated: BTreeMap::new(), defaults }
    }

    fn read(
        section: &'static Section,
        place: Place,
        name: &str,
        table: &DeTable<'_>,
        problems: &mut Problems<'_>,
    ) -> Self {
        let mut block = Self::new(section, place, name);
        let mut misread = Vec::new();
        for (written, value) in table {
            let written_name: &str = written.get_ref();
            let place = Place::new(written.span(), format!("{}.{written_name}", block.place.key));
            let Some(key) = section.keys.iter().find(|key| key.name == written_name) else {
                problems.error(&place, unknown_key(section, written_name));
                continue;
            };
            match read_value(&key.kind, value, &place, problems) {
                Some(item) => drop(block.stated.insert(key.name, item)),
                None => misread.push(key.name),
            }
        }
        // A value that was misread has had its complaint.
        for key in misread {
            block.defaults.entry(key).or_insert(Item { value: Value::Misread, place: block.place.clone() });
        }
        block.complain_of_missing(section, problems);
        block
    }

    fn complain_of_missing(&self, section: &Section, problems: &mut Problems<'_>) {
        for key in section.keys.iter().filter(|key| matches!(key.default, Standard::Required)) {
            if self.item(key.name).is_none() {
                problems.missing(&self.place.below(key.name), missing_key(section, key));
            }
        }
    }

    fn item(&self, key: &str) -> Option<&Item> {
        self.stated.get(key).or_else(|| self.defaults.get(key))
    }

    /// Whether the key was written, and rightly.
    pub(crate) fn states(&self, key: &str) -> bool {
        self.stated.contains_key(key)
    }

    /// Whether the key was written, rightly or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.item(key).is_some()
    }

    /// The place of the key's value, or of the section when it was not written.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.stated.get(key).map_or_else(|| self.place.below(key), |item| item.place.clone())
    }

    /// The value of the key or its default; `None` when it has neither, or was misread.
    pub(crate) fn get<T: FromValue>(&self, key: &str) -> Option<T> {
        self.item(key).and_then(|item| T::from_value(&item.value))
    }

    /// The one of `choices` that the key says; they stand in the order of the key's names.
    pub(crate) fn choice<T: Copy>(&self, key: &str, choices: &[T]) -> Option<T> {
        match self.item(key)?.value {
            Value::Choice(index) => choices.get(index).copied(),
            _ => None,
        }
    }

    /// The names that a list of choices says.
    pub(crate) fn names(&self, key: &str) -> Vec<String> {
        let Some(Item { value: Value::List(items), .. }) = self.item(key) else { return Vec::new() };
        let kind = self.section.keys.iter().find(|one| one.name == key).map(|key| key.kind);
        let Some(Kind::List(Kind::OneOf(names))) = kind else { return Vec::new() };
        let index = |item: &Item| match item.value {
            Value::Choice(index) => names.get(index).map(|name| (*name).to_owned()),
            _ => None,
        };
        items.iter().filter_map(index).collect()
    }

    /// The entries of a list with their places; empty when it was misread.
    pub(crate) fn list<T: FromValue>(&self, key: &str) -> Vec<(T, Place)> {
        let Some(Item { value: Value::List(items), .. }) = self.item(key) else { return Vec::new() };
        items.iter().filter_map(|item| Some((T::from_value(&item.value)?, item.place.clone()))).collect()
    }

    /// The sections within this one.
    pub(crate) fn sections(&self, key: &str) -> &[Block] {
        match self.item(key) {
            Some(Item { value: Value::Blocks(blocks), .. }) => blocks,
            _ => &[],
        }
    }
}

/// The blocks of one section of a text that has no others.
pub(super) fn read_only(section: &'static Section, text: &str, problems: &mut Problems<'_>) -> Vec<Block> {
    let document = parsed(text, problems);
    let mut blocks = Vec::new();
    for (key, value) in document.get_ref() {
        match key.get_ref() == section.name {
            true => read_section(section, key, value, problems, &mut blocks),
            false => unknown_section(key, problems),
        }
    }
    blocks.sort_by_key(|block| block.place.offset);
    blocks
}

/// What a value can be taken as.
pub(crate) trait FromValue: Sized {
    /// `None` when the value is of another type.
    fn from_value(value: &Value) -> Option<Self>;
}

/// The default of a key in a section called `name`, read as if it had been written.
fn default_of(key: &Key, name: &str) -> Option<Item> {
    let text = match key.default {
        Standard::Required | Standard::Nothing => return None,
        Standard::Is(text) => text,
        Standard::PerClass(texts) => texts[name.parse::<Class>().ok()?.index()],
    };
    if text.is_empty() {
        return None;
    }
    let value = DeValue::parse(text).ok()?;
    read_value(&key.kind, &value, &Place::default(), &mut Problems::new("", text))
}

fn read_section(
    section: &'static Section,
    key: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
    blocks: &mut Vec<Block>,
) {
    let place = Place::new(key.span(), section.name);
    match (section.shape, value.get_ref()) {
        (Shape::Once | Shape::Maybe, DeValue::Table(table)) => {
            blocks.push(Block::read(section, place, "", table, problems))
        }
        (Shape::Many, DeValue::Array(_)) => blocks.extend(read_blocks(section, value, &place, problems)),
        (Shape::Named | Shape::PerClass, DeValue::Table(table)) => {
            for (name, value) in table {
                blocks.extend(read_named(section, name, value, problems));
            }
        }
        (_, other) => {
            problems.error(&place, wrong_shape(section, other));
            // What is in it can be checked all the same.
            if let (Shape::Many, DeValue::Table(table)) = (section.shape, other) {
                blocks.push(Block::read(section, place, "", table, problems));
            }
        }
    }
}

/// The blocks of `[[section]]`.
pub(super) fn read_blocks(
    section: &'static Section,
    value: &Spanned<DeValue<'_>>,
    place: &Place,
    problems: &mut Problems<'_>,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    for entry in value.get_ref().as_array().into_iter().flat_map(|array| array.iter()) {
        let place = Place::new(entry.span(), place.key.clone());
        match entry.get_ref() {
            DeValue::Table(table) => blocks.push(Block::read(section, place, "", table, problems)),
            other => problems.error(&place, wrong_shape(section, other)),
        }
    }
    blocks
}

fn read_named(
    section: &'static Section,
    name: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<Block> {
    let written: &str = name.get_ref();
    let place = Place::new(name.span(), format!("{}.{written}", section.name));
    let DeValue::Table(table) = value.get_ref() else {
        problems.error(&place, not_a_name(section, written));
        return None;
    };
    if section.shape == Shape::PerClass && !Class::ALL.iter().any(|class| class.name() == written) {
        problems.error(&place, unknown_class(written));
        return None;
    }
    Some(Block::read(section, place, written, table, problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_default_can_be_read() {
        for section in SECTIONS {
            for key in section.keys {
                let names: &[&str] = match key.default {
                    Standard::Required | Standard::Nothing => continue,
                    Standard::Is(_) => &[""],
                    Standard::PerClass(texts) if texts.iter().any(|text| text.is_empty()) => &["critical"],
                    Standard::PerClass(_) => &["critical", "transactional", "personal", "bulk"],
                };
                for name in names {
                    assert!(default_of(key, name).is_some(), "{}.{} {name}", section.name, key.name);
                }
            }
        }
    }

    #[test]
    fn each_default_has_a_reason() {
        for key in SECTIONS.iter().flat_map(|section| section.keys) {
            let required = matches!(key.default, Standard::Required);
            assert_eq!(required, key.reason.is_empty(), "{}", key.name);
            assert!(!key.about.is_empty(), "{}", key.name);
        }
    }
}
