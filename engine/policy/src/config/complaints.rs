//! The complaints about sections and keys: unknown, missing, of the wrong shape.

use std::borrow::Cow;

use mail::Class;
use toml::Spanned;
use toml::de::DeValue;

use super::keys::{Key, Kind, SECTIONS, Section, Shape};
use super::problems::{Complaint, Place, Problems, nearest};

pub(super) fn unknown_section(key: &Spanned<Cow<'_, str>>, problems: &mut Problems<'_>) {
    let name: &str = key.get_ref();
    let place = Place::new(key.span(), name);
    let what = format!("there is no section `{name}`");
    let home = SECTIONS.iter().find(|section| section.keys.iter().any(|key| key.name == name));
    let complaint = match (nearest(name, SECTIONS.iter().map(|section| section.name)), home) {
        (_, Some(home)) => Complaint::new(
            what,
            "the key stands before the first section",
            format!("write it under {}", home.heading()),
        ),
        (Some(near), None) => {
            let near = SECTIONS.iter().find(|section| section.name == near).map(|section| section.heading());
            Complaint::new(what, "a misspelt name", format!("did you mean {}?", near.unwrap_or_default()))
        }
        (None, None) => {
            let all: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
            Complaint::new(
                what,
                "a name that this program does not know",
                format!("use one of: {}", all.join(", ")),
            )
        }
    };
    problems.error(&place, complaint);
}

pub(super) fn unknown_key(section: &Section, written: &str) -> Complaint {
    let what = format!("there is no key `{written}` in {}", section.heading());
    if let Some(near) = nearest(written, section.keys.iter().map(|key| key.name)) {
        return Complaint::new(what, "a misspelt name", format!("did you mean `{near}`?"));
    }
    let elsewhere = SECTIONS.iter().find(|other| other.keys.iter().any(|key| key.name == written));
    if let Some(other) = elsewhere {
        let cure = format!("move it to {}", other.heading());
        return Complaint::new(what, "the key belongs to another section", cure);
    }
    let all: Vec<_> = section.keys.iter().map(|key| key.name).collect();
    Complaint::new(what, "a name that this section does not know", format!("use one of: {}", all.join(", ")))
}

pub(super) fn missing_key(section: &Section, key: &Key) -> Complaint {
    Complaint::new(
        format!("the key `{}` is missing", key.name),
        format!("{} needs it: {}", section.heading(), key.about),
        format!("add `{} = …` ({})", key.name, key.kind.words()),
    )
}

pub(super) fn wrong_shape(section: &Section, found: &DeValue<'_>) -> Complaint {
    let (what, cause) = match section.shape {
        Shape::Once | Shape::Maybe => {
            ("there is one section of this name, not a list", "a list is written in two brackets")
        }
        Shape::Many => ("this is a list of sections", "one bracket instead of two"),
        Shape::Named | Shape::PerClass => {
            ("the section needs a name of its own", "the name behind the dot is missing")
        }
    };
    let what = format!("{what}; found {}", Kind::found(found));
    Complaint::new(what, cause, format!("write {}", section.heading()))
}

pub(super) fn not_a_name(section: &Section, written: &str) -> Complaint {
    let cause = if section.keys.iter().any(|key| key.name == written) {
        "the name behind the dot of the section is missing"
    } else {
        "a value stands where a section is expected"
    };
    let cure = format!("write {} above it", section.heading());
    Complaint::new(format!("`{written}` is not in a section of a name"), cause, cure)
}

pub(super) fn unknown_class(written: &str) -> Complaint {
    let names = Class::ALL.map(Class::name);
    let cure = match nearest(written, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of: {}", names.join(", ")),
    };
    Complaint::new(format!("there is no class `{written}`"), "the four classes have fixed names", cure)
}
