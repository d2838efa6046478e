//! Sender domains by small numbers, so that nothing has to carry or compare their names.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::chance::Hash;
use crate::load::{Identity, Load};

/// Domains that are known by name, at most; all later ones share a slot.
const NAMES_MAX: usize = 1 << 16;

/// The number of a sender domain in one world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

impl Slot {
    /// Mail without a sender: `MAIL FROM:<>`.
    pub(crate) const NOBODY: Self = Self(0);
    const OTHERS: Self = Self(1);

    /// Of the identity at this place of the file.
    pub(crate) const fn of_load(place: u32) -> Self {
        Self(place + 2)
    }
}

/// All sender domains that a world has heard of.
#[derive(Debug)]
pub(crate) struct Identities {
    by_hash: FxHashMap<u64, Slot>,
    names: Vec<Arc<str>>,
}

impl Identities {
    pub(crate) fn of(load: &Load) -> Self {
        let mut identities = Self { by_hash: FxHashMap::default(), names: vec!["".into(), "*".into()] };
        for identity in &load.identities {
            identities.slot(&identity.domain);
        }
        identities
    }

    /// The slot of a domain in lower case.
    pub(crate) fn slot(&mut self, domain: &str) -> Slot {
        let mut hash = Hash::new(0);
        hash.word(domain.as_bytes());
        let hash = hash.number();
        if let Some(&slot) = self.by_hash.get(&hash) {
            return slot;
        }
        if self.names.len() >= NAMES_MAX {
            return Slot::OTHERS;
        }
        let slot = Slot(self.names.len() as u32);
        self.names.push(domain.into());
        self.by_hash.insert(hash, slot);
        slot
    }

    /// The domain; empty for nobody, `*` for those that came too late to be told apart.
    pub(crate) fn name(&self, slot: Slot) -> Arc<str> {
        Arc::clone(&self.names[slot.0 as usize])
    }

    /// What the file says of it.
    pub(crate) fn stated(load: &Load, slot: Slot) -> Option<&Identity> {
        load.identities.get((slot.0 as usize).checked_sub(2)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_beyond_the_most_share_a_slot() {
        let mut identities = Identities::of(&Load::default());
        let first = identities.slot("a0.test");
        for n in 0..NAMES_MAX + 10 {
            identities.slot(&format!("a{n}.test"));
        }
        assert_eq!(identities.slot("a0.test"), first);
        assert_eq!(&*identities.name(first), "a0.test");
        assert_eq!(identities.slot("one-more.test"), Slot::OTHERS);
        assert_eq!(identities.names.len(), NAMES_MAX);
    }
}
