//! One way out and what stands on it: counts, connections, suspension, order of service. It refuses to move tickets.

use std::collections::BTreeSet;

use mail::{Class, UnixMs};
use rustc_hash::FxHashMap;

use crate::drr::Shares;
use crate::flow::Urgency;
use crate::limits::Claim;
use crate::ring::Ring;
use crate::slab::{Slab, tidy};
use crate::{PathId, PathKey};

/// Critical recipients served in a row while other mail waits, before one of the other mail is served: no class starves.
const CRITICAL_RUN_MAX: u16 = 255;
/// Bytes of a suspension's reason that are kept.
const REASON_BYTES_MAX: usize = 300;

/// Why a path rests.
#[derive(Debug)]
pub(crate) struct Suspension {
    pub(crate) until: UnixMs,
    pub(crate) reason: Box<str>,
}

impl Suspension {
    pub(crate) fn new(until: UnixMs, reason: &str) -> Self {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        Self { until, reason: reason[..end].into() }
    }
}

/// Who is served next on one path.
#[derive(Debug)]
pub(crate) struct Turns {
    shares: Shares,
    critical_run: u16,
    /// Critical flows by the urgency of their first ticket.
    pub(crate) critical: BTreeSet<(Urgency, u32)>,
    /// Tenants of the other classes, most urgent class first.
    rings: [Ring; 3],
    arrivals: u32,
    returns: u32,
}

impl Turns {
    const fn new() -> Self {
        Self {
            shares: Shares { left: [0; 4] },
            critical_run: 0,
            critical: BTreeSet::new(),
            rings: [const { Ring::EMPTY }; 3],
            arrivals: u32::MAX / 2,
            returns: u32::MAX / 2,
        }
    }

    /// The next place in the order of arrival: behind all others, or before them for what comes back untried.
    pub(crate) fn arrival(&mut self, comes_back: bool) -> u32 {
        if comes_back {
            self.returns = self.returns.wrapping_sub(1);
            return self.returns;
        }
        self.arrivals = self.arrivals.wrapping_add(1);
        self.arrivals
    }

    /// The class to serve next.
    pub(crate) fn choose(&mut self, weights: &[u32; 4], ready: &[u32; 4]) -> Option<Class> {
        let others = ready[1..].iter().any(|&count| count > 0);
        if ready[0] > 0 && (!others || self.critical_run < CRITICAL_RUN_MAX) {
            return Some(Class::Critical);
        }
        self.shares.choose(weights, ready)
    }

    /// Counts one recipient of `class` as served.
    pub(crate) fn charge(&mut self, class: Class) {
        if class == Class::Critical {
            self.critical_run = self.critical_run.saturating_add(1);
        } else {
            self.critical_run = 0;
            self.shares.charge(class);
        }
    }

    /// Takes back a recipient that was counted.
    pub(crate) fn refund(&mut self, class: Class) {
        match class {
            Class::Critical => self.critical_run = self.critical_run.saturating_sub(1),
            _ => self.shares.refund(class),
        }
    }

    /// How many tenants of a class take turns; critical mail does not go by turns.
    pub(crate) fn tenants(&self, class: Class) -> Option<u32> {
        self.rings.get(class.index().checked_sub(1)?).map(Ring::count)
    }

    fn heap_bytes(&self) -> usize {
        self.rings.iter().map(Ring::heap_bytes).sum()
    }

    /// The ring of the tenants of a class; critical has none.
    pub(crate) fn ring(&mut self, class: Class) -> Option<&mut Ring> {
        self.rings.get_mut(class.index().checked_sub(1)?)
    }
}

/// A path.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) key: PathKey,
    generation: u32,
    pub(crate) group: u32,
    pub(crate) turns: Turns,
    /// Its flows, in no order.
    pub(crate) flows: Vec<u32>,
    /// Tickets that could leave now, per class: not those of paused campaigns or resting flows.
    pub(crate) ready: [u32; 4],
    /// Tickets of flows that rest and are not paused.
    pub(crate) resting: u32,
    /// Tickets here, whatever they wait for.
    pub(crate) waiting: u32,
    pub(crate) connections: u32,
    /// As many of them as its group counts as those of a path with critical mail: all or none.
    pub(crate) connections_critical: u32,
    pub(crate) suspension: Option<Box<Suspension>>,
    pub(crate) claim: Option<Claim>,
    pub(crate) notes: Notes,
    pub(crate) used: UnixMs,
}

/// Where a path is written down elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notes {
    /// Whether the shell has been asked to look at it and has not yet taken the hint.
    pub(crate) is_hinted: bool,
    /// Whether its group remembers it as having idle connections.
    pub(crate) is_idle: bool,
    /// Where the list of its kin has it.
    kin_slot: u32,
}

impl Path {
    pub(crate) fn ready_total(&self) -> u32 {
        self.ready.iter().sum()
    }

    pub(crate) const fn has_critical(&self) -> bool {
        self.ready[Class::Critical.index()] > 0
    }

    /// Until when it is suspended, if `now` lies before that.
    pub(crate) fn suspended_until(&self, now: UnixMs) -> Option<UnixMs> {
        self.suspension.as_ref().map(|suspension| suspension.until).filter(|&until| until > now)
    }
}

/// All paths, by index and by key.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) rows: Slab<Path>,
    by_key: FxHashMap<PathKey, u32>,
    /// The paths of each source and provider.
    kin: FxHashMap<(u16, u16), Vec<u32>>,
    generations: u32,
}

impl Paths {
    pub(crate) fn new() -> Self {
        Self { rows: Slab::new(), by_key: FxHashMap::default(), kin: FxHashMap::default(), generations: 0 }
    }

    /// The index of a path that still exists.
    pub(crate) fn find(&self, id: PathId) -> Option<u32> {
        let path = self.rows.get(id.index)?;
        (path.generation == id.generation).then_some(id.index)
    }

    pub(crate) fn find_key(&self, key: PathKey) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    pub(crate) fn id(&self, index: u32) -> PathId {
        PathId { index, generation: self.rows[index].generation }
    }

    pub(crate) fn insert(&mut self, key: PathKey, group: u32, now: UnixMs) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        let kin = self.kin.entry((key.source, key.provider)).or_default();
        let notes = Notes { kin_slot: kin.len() as u32, ..Notes::default() };
        let index = self.rows.insert(Path {
            key,
            generation: self.generations,
            group,
            turns: Turns::new(),
            flows: Vec::new(),
            ready: [0; 4],
            resting: 0,
            waiting: 0,
            connections: 0,
            connections_critical: 0,
            suspension: None,
            claim: None,
            notes,
            used: now,
        });
        kin.push(index);
        self.by_key.insert(key, index);
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> Path {
        let path = self.rows.remove(index);
        self.by_key.remove(&path.key);
        tidy(&mut self.by_key);
        self.leave_kin(&path);
        path
    }

    fn leave_kin(&mut self, path: &Path) {
        let name = (path.key.source, path.key.provider);
        let kin = self.kin.get_mut(&name).expect("a path is listed with its kin");
        let slot = path.notes.kin_slot;
        kin.swap_remove(slot as usize);
        if let Some(&moved) = kin.get(slot as usize) {
            self.rows[moved].notes.kin_slot = slot;
        }
        if kin.is_empty() {
            self.kin.remove(&name);
            tidy(&mut self.kin);
        }
    }

    /// The paths of a source and provider, in no order.
    pub(crate) fn of(&self, source: u16, provider: u16) -> &[u32] {
        self.kin.get(&(source, provider)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn bytes(&self) -> usize {
        let kin = self.kin.values().map(Vec::capacity).sum::<usize>();
        let flows = self.rows.iter().map(|(_, path)| path.flows.capacity()).sum::<usize>();
        let turns = self.rows.iter().map(|(_, path)| path.turns.heap_bytes()).sum::<usize>();
        self.rows.bytes()
            + turns
            + crate::view::map_bytes(&self.by_key)
            + crate::view::map_bytes(&self.kin)
            + (kin + flows) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_critical_mail_lets_one_other_through_at_times() {
        let mut turns = Turns::new();
        let mut others = 0;
        for _ in 0..2560 {
            let class = turns.choose(&[1; 4], &[9, 0, 0, 9]).expect("something is ready");
            turns.charge(class);
            others += u32::from(class == Class::Bulk);
        }
        assert_eq!(others, 10);
        assert_eq!(turns.choose(&[1; 4], &[0; 4]), None);
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let suspension = Suspension::new(UnixMs(1), &"è".repeat(200));
        assert_eq!(suspension.reason.len(), REASON_BYTES_MAX);
        let suspension = Suspension::new(UnixMs(1), &format!("x{}", "è".repeat(200)));
        assert_eq!(suspension.reason.len(), REASON_BYTES_MAX - 1);
    }
}
