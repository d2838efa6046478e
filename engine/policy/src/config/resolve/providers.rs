//! `[provider.NAME]` of the file over the built-in table.

use std::collections::HashMap;

use crate::config::problems::{Complaint, nearest};
use crate::config::stated::Block;
use crate::provider::{Partial, Providers};
use crate::{Network, Rate};

use super::Resolver;

impl Resolver<'_, '_> {
    pub(super) fn providers(&mut self) -> Providers {
        let mut operators = Vec::new();
        let mut marks: HashMap<String, String> = HashMap::new();
        for block in self.blocks("provider") {
            self.check_marks(block, &mut marks);
            self.check_ceilings(block);
            // An empty list of waits has its complaint here.
            let retry = self.retry(block);
            operators.push(Partial { retry, ..Partial::of(block) });
        }
        let providers = Providers::with(&operators);
        for block in self.blocks("provider") {
            self.check_known_by_something(block, &providers);
        }
        providers
    }

    /// A domain, host or network cannot be two providers'.
    fn check_marks(&mut self, block: &Block, marks: &mut HashMap<String, String>) {
        let names = ["mx", "domains"].into_iter().flat_map(|key| block.list::<String>(key));
        let networks = block
            .list::<Network>("networks")
            .into_iter()
            .map(|(network, place)| (network.to_string(), place));
        for (mark, place) in names.chain(networks) {
            // The same text is another mark under another key.
            let key = format!("{} {mark}", place.key.rsplit('.').next().unwrap_or_default());
            let owner = marks.entry(key).or_insert_with(|| block.name.clone());
            if *owner != block.name {
                let complaint = Complaint::new(
                    format!("`{mark}` is a mark of provider `{owner}` already"),
                    "mail for it would belong to two providers",
                    "leave it in one of the two sections",
                );
                self.problems.error(&place, complaint);
            }
        }
    }

    /// Learning cannot begin above its ceiling or below its floor.
    fn check_ceilings(&mut self, block: &Block) {
        for (key, ceiling) in
            [("connections", "connections_max"), ("messages_per_connection", "messages_per_connection_max")]
        {
            let (start, most): (Option<u32>, Option<u32>) = (block.get(key), block.get(ceiling));
            if start.zip(most).is_some_and(|(start, most)| start > most) {
                self.complain_of_bound(block, key, ceiling);
            }
        }
        let rate = |key| block.get::<Option<Rate>>(key);
        let per_second = |rate: Option<Rate>| rate.map_or(f64::INFINITY, Rate::as_per_second);
        let is_above = |lower: Option<Option<Rate>>, higher: Option<Option<Rate>>| {
            lower.zip(higher).is_some_and(|(lower, higher)| per_second(lower) > per_second(higher))
        };
        let (least, start, most) = (rate("rate_min"), rate("rate"), rate("rate_max"));
        if is_above(start, most) {
            self.complain_of_bound(block, "rate", "rate_max");
        }
        if is_above(least, start) {
            self.complain_of_bound(block, "rate", "rate_min");
        } else if is_above(least, most) {
            self.complain_of_bound(block, "rate_max", "rate_min");
        }
    }

    /// `bound` is a ceiling or floor that `start` lies beyond.
    fn complain_of_bound(&mut self, block: &Block, start: &str, bound: &str) {
        let (side, change) = match bound {
            "rate_min" => ("above", "lower"),
            _ => ("below", "higher"),
        };
        let complaint = Complaint::new(
            format!("`{bound}` lies {side} `{start}`"),
            "learning would begin beyond its bounds",
            format!("write a {change} `{bound}`, or leave it out"),
        );
        self.problems.error(&block.place_of(bound), complaint);
    }

    fn check_known_by_something(&mut self, block: &Block, providers: &Providers) {
        let Some(index) = providers.by_name(&block.name) else { return };
        if providers.is_reachable(index) {
            return;
        }
        let near = nearest(&block.name, Providers::builtin_names());
        let cure = match near {
            Some(near) => format!("did you mean [provider.{near}]? Otherwise add mx, domains or networks"),
            None => "add mx = [\".example.test\"], domains or networks".to_owned(),
        };
        let complaint = Complaint::new(
            format!("no mail is ever for provider `{}`", block.name),
            "it is not in the built-in table and has neither mx nor domains nor networks",
            cure,
        );
        self.problems.error(&block.place, complaint);
    }
}
