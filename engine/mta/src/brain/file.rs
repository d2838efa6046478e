//! What the engine has learned, kept over a restart: `brain.json`, replaced as a whole. Names stand for sources and
//! providers, because their places in the configuration may change. A file that cannot be read is put aside, and said.

use std::io;
use std::path::Path;

use policy::brain::Saved;
use policy::config::Config;
use policy::pace::{BudgetKey, Learned};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::halts::SavedHalts;
use crate::quotas::SavedQuotas;
use crate::replace;
use crate::shared::Shared;

/// Its name in the data directory.
pub(super) const NAME: &str = "brain.json";
/// The layout that is written.
const VERSION: u32 = 2;
/// Budgets of single sites that are kept; those that changed last.
const SITES_MAX: usize = 10_000;

/// What each budget had learned.
pub(super) type Budgets = FxHashMap<BudgetKey, Learned>;

/// What a shard says a budget has learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LearnedBudget {
    pub(crate) key: BudgetKey,
    pub(crate) learned: Learned,
}

/// All that is kept, as it is used.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) brain: Option<Saved>,
    pub(super) halts: SavedHalts,
    pub(super) quotas: SavedQuotas,
    pub(super) budgets: Budgets,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    #[serde(default)]
    brain: Option<Saved>,
    #[serde(default)]
    halts: SavedHalts,
    #[serde(default)]
    quotas: SavedQuotas,
    #[serde(default)]
    budgets: Vec<WrittenBudget>,
}

#[derive(Serialize, Deserialize)]
struct WrittenBudget {
    source: String,
    provider: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    site: u64,
    #[serde(flatten)]
    learned: Learned,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(site: &u64) -> bool {
    *site == 0
}

/// What the file says; nothing when there is none or it cannot be read. One that cannot be understood is put aside.
pub(super) fn read(path: &Path, config: &Config) -> Kept {
    let bytes = match replace::read(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Kept::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what was learned cannot be read: learning begins anew");
            return Kept::default();
        }
    };
    match serde_json::from_slice::<Written>(&bytes) {
        Ok(written) if written.version == VERSION => kept(written, config),
        Ok(written) => put_aside(path, &format!("it has layout {}, not {VERSION}", written.version)),
        Err(error) => put_aside(path, &error.to_string()),
    }
}

fn put_aside(path: &Path, why: &str) -> Kept {
    let aside = path.with_extension("damaged");
    let moved = std::fs::rename(path, &aside);
    let kept_in = if moved.is_ok() { aside.display().to_string() } else { "nowhere".to_owned() };
    tracing::error!(path = %path.display(), why, kept_in, "what was learned is damaged: learning begins anew");
    Kept::default()
}

fn kept(written: Written, config: &Config) -> Kept {
    let budgets = written.budgets.into_iter().filter_map(|one| {
        let source = config.sources.iter().position(|source| source.name == one.source)?;
        let provider = config.providers.by_name(&one.provider)?;
        let key = BudgetKey { source: u16::try_from(source).ok()?, provider: provider.0, site: one.site };
        Some((key, one.learned))
    });
    Kept { brain: written.brain, halts: written.halts, quotas: written.quotas, budgets: budgets.collect() }
}

/// Replaces the file.
pub(super) fn write(shared: &Shared, brain: Saved, budgets: Vec<(BudgetKey, Learned)>) -> io::Result<()> {
    let budgets = budgets.into_iter().map(|(key, learned)| {
        let (source, provider) = shared.names(key.source, key.provider);
        WrittenBudget { source, provider, site: key.site, learned }
    });
    let written = Written {
        version: VERSION,
        brain: Some(brain),
        halts: shared.brain.halts.saved(),
        quotas: shared.brain.quotas.saved(shared.clock.now()),
        budgets: budgets.collect(),
    };
    replace::write(&shared.brain.path, &serde_json::to_vec(&written)?)
}

/// All budgets in order, without those of single sites that are beyond the limit: they are gone from the map too.
pub(super) fn in_order(budgets: &mut Budgets) -> Vec<(BudgetKey, Learned)> {
    let mut sorted: Vec<(BudgetKey, Learned)> =
        budgets.iter().map(|(key, learned)| (*key, *learned)).collect();
    sorted.sort_by_key(|(key, learned)| (key.site != 0, std::cmp::Reverse(learned.at), *key));
    let whole = sorted.iter().filter(|(key, _)| key.site == 0).count();
    sorted.truncate(whole + SITES_MAX);
    if sorted.len() < budgets.len() {
        *budgets = sorted.iter().copied().collect();
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        let text = format!(
            "[node]\ndata_dir = \"{}\"\n[[smtp_listener]]\naddress = \"127.0.0.1:0\"\n",
            folder.display()
        );
        policy::config::check("test.toml", &text).config.expect("a configuration")
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(NAME);
        for text in ["{\"version\":1,\"budgets\":[{", "{\"version\":99}", ""] {
            std::fs::write(&path, text).expect("written");
            assert!(read(&path, &config(dir.path())).budgets.is_empty());
            assert!(!path.exists(), "it is not read again");
            assert_eq!(std::fs::read_to_string(path.with_extension("damaged")).expect("kept"), text);
        }
    }

    #[test]
    fn budgets_are_found_by_name_and_those_of_others_are_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(NAME);
        let text = r#"{"version":2,"budgets":[
            {"source":"default","provider":"google","rate":7.5,"at":5},
            {"source":"default","provider":"default","site":9,"connections":3},
            {"source":"gone","provider":"google","rate":1.0}]}"#;
        std::fs::write(&path, text).expect("written");
        let config = config(dir.path());
        let kept = read(&path, &config);
        let google = config.providers.by_name("google").expect("built in").0;
        assert_eq!(kept.budgets.len(), 2);
        assert_eq!(kept.budgets[&BudgetKey { source: 0, provider: google, site: 0 }].rate, Some(7.5));
        assert_eq!(kept.budgets[&BudgetKey { source: 0, provider: 0, site: 9 }].connections, Some(3));
    }
}
