//! From what was written to what it means: types filled in, names looked up, sections checked against each other.

mod access;
mod classes;
mod judgement;
mod providers;
mod receive;
mod replies;
mod report;
mod send;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::model::{Config, Dns, Dnssec, Durability, Node, Spool};
use super::problems::{Complaint, Place, Problems, nearest};
use super::stated::{Block, Stated};

/// The meaning of a file; `None` when a part could not be read, which has its complaint.
pub(super) fn resolve(file: &str, stated: &Stated, problems: &mut Problems<'_>) -> Option<Config> {
    let mut resolver =
        Resolver { directory: Path::new(file).parent().unwrap_or(Path::new("")), stated, problems };
    // All parts are resolved before one that is missing ends the work, so that each has its say.
    let node = resolver.node();
    let spool = resolver.spool();
    let segment_bytes = spool.as_ref().map(|spool| spool.segment_bytes);
    let ladders = resolver.ladders();
    let sources = resolver.sources(&ladders);
    let pools = resolver.pools(&sources);
    let listeners = resolver.listeners(segment_bytes);
    let http = resolver.http(segment_bytes);
    let accounts = resolver.accounts(&pools);
    let domains = resolver.domains(&ladders);
    let deliver = resolver.deliver(ladders);
    let routes = resolver.routes(deliver.as_ref());
    let classes = resolver.classes(&pools);
    let providers = resolver.providers();
    let replies = resolver.reply_rules(&providers);
    let dns = resolver.dns();
    let tls_report = resolver.tls_report(&domains);
    resolver.check_ways_in();
    Some(Config {
        node: node?,
        spool: spool?,
        listeners,
        http,
        dns: dns?,
        accounts,
        domains,
        sources,
        pools,
        routes,
        classes: classes?,
        providers,
        replies,
        deliver: deliver?,
        tls_report,
    })
}

/// The work of resolving one file.
struct Resolver<'a, 'p> {
    /// Where the file is; relative paths start there.
    directory: &'a Path,
    stated: &'a Stated,
    problems: &'a mut Problems<'p>,
}

impl<'a> Resolver<'a, '_> {
    fn blocks(&self, section: &str) -> &'a [Block] {
        self.stated.blocks(section)
    }

    fn once(&self, section: &str) -> Option<&'a Block> {
        self.blocks(section).first()
    }

    fn path(&self, block: &Block, key: &str) -> Option<PathBuf> {
        block.get::<String>(key).map(|path| self.directory.join(path))
    }

    fn node(&self) -> Option<Node> {
        let block = self.once("node")?;
        let data_dir = self.path(block, "data_dir")?;
        let control = self.path(block, "control").unwrap_or_else(|| data_dir.join("control.sock"));
        Some(Node { name: block.get("name"), shards: block.get("shards")?, data_dir, control })
    }

    fn spool(&self) -> Option<Spool> {
        let block = self.once("spool")?;
        Some(Spool {
            durability: block.choice("durability", &[Durability::Disk, Durability::Memory])?,
            segment_bytes: block.get("segment")?,
            min_free_bytes: block.get("min_free")?,
            spare_bytes_max: block.get("spare")?,
            waiting_max: block.get("waiting_max")?,
        })
    }

    fn dns(&mut self) -> Option<Dns> {
        let block = self.once("dns")?;
        let dnssec = block.choice("dnssec", &Dnssec::ALL)?;
        let trust_anchor_file = self.path(block, "trust_anchor_file");
        if trust_anchor_file.is_some() && dnssec != Dnssec::Validate {
            let complaint = Complaint::new(
                "`trust_anchor_file` is not used",
                "the engine checks no signatures itself unless dnssec is \"validate\"",
                "write dnssec = \"validate\", or remove the key",
            );
            self.problems.warning(&block.place_of("trust_anchor_file"), complaint);
        }
        let servers = block.list("servers").into_iter().map(|(server, _)| server).collect();
        Some(Dns { servers, dnssec, trust_anchor_file })
    }

    /// Complains of a name that an earlier section of the same kind has already.
    fn check_unique(&mut self, section: &str, key: &str) {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for block in self.blocks(section) {
            let Some(name) = block.get::<String>(key) else { continue };
            let place = block.place_of(key);
            if let Some(&first) = seen.get(&name) {
                let line = self.problems.line_at(first);
                let complaint = Complaint::new(
                    format!("`{name}` is taken"),
                    format!("line {line} has the same {key}"),
                    "choose another, or merge the two sections",
                );
                self.problems.error(&place, complaint);
            } else {
                seen.insert(name, place.offset);
            }
        }
    }

    /// The position of `name` among `names`; complains when it is not there.
    fn look_up(&mut self, what: &str, name: &str, names: &[&str], place: &Place) -> Option<usize> {
        let found = names.iter().position(|&one| one == name);
        if found.is_none() {
            let cure = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => format!("add a [[{what}]] of this name"),
                None => format!("add a [[{what}]] of this name, or use one of: {}", names.join(", ")),
            };
            let complaint = Complaint::new(
                format!("there is no {what} `{name}`"),
                "a misspelt name, or its section is missing",
                cure,
            );
            self.problems.error(place, complaint);
        }
        found
    }

    /// An engine that nothing can reach does nothing.
    fn check_ways_in(&mut self) {
        if self.blocks("smtp_listener").is_empty() && self.blocks("http").is_empty() {
            let complaint = Complaint::new(
                "no mail can come in",
                "there is neither an [[smtp_listener]] nor an [http] section",
                "add [[smtp_listener]] with address = \"127.0.0.1:2525\"",
            );
            self.problems.missing(&Place { offset: 0, key: "smtp_listener".to_owned() }, complaint);
        }
    }
}
