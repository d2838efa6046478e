//! The built-in table of providers and what an operator writes over it: partial entries, layered into complete ones.

use std::sync::LazyLock;
use std::time::Duration;

use crate::config::{self, Block};
use crate::{ByteRate, Limits, Network, Rate, TlsPolicy};

use super::{FxHashMap, Provider, ProviderIndex, Providers};

/// The table, in the language of the configuration file.
const TABLE: &str = include_str!("../../data/providers.toml");

static BUILTIN: LazyLock<Vec<Partial>> = LazyLock::new(|| {
    config::provider_blocks(TABLE)
        .expect("a test reads the table that is compiled in")
        .iter()
        .map(Partial::of)
        .collect()
});

/// What one `[provider.NAME]` says; what it does not say is left to the layer below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) name: String,
    pub(crate) mx: Vec<String>,
    pub(crate) domains: Vec<String>,
    pub(crate) networks: Vec<Network>,
    pub(crate) connections: Option<u32>,
    /// `Some(None)` is unlimited.
    pub(crate) rate: Option<Option<Rate>>,
    /// `Some(None)` is unlimited.
    pub(crate) rate_bytes: Option<Option<ByteRate>>,
    pub(crate) messages_per_connection: Option<u32>,
    pub(crate) ceiling: Ceiling,
    pub(crate) recipients_per_message: Option<u16>,
    pub(crate) pipeline_depth: Option<u16>,
    pub(crate) tls: Option<TlsPolicy>,
    pub(crate) retry: Option<Vec<Duration>>,
}

/// How far a section lets learning go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ceiling {
    connections: Option<u32>,
    /// `Some(None)` is unlimited.
    rate: Option<Option<Rate>>,
    rate_min: Option<Rate>,
    messages_per_connection: Option<u32>,
}

impl Ceiling {
    fn of(block: &Block) -> Self {
        Self {
            connections: block.get("connections_max"),
            rate: block.get("rate_max"),
            rate_min: block.get::<Option<Rate>>("rate_min").flatten(),
            messages_per_connection: block.get("messages_per_connection_max"),
        }
    }

    fn over(&self, below: &Self) -> Self {
        Self {
            connections: self.connections.or(below.connections),
            rate: self.rate.or(below.rate),
            rate_min: self.rate_min.or(below.rate_min),
            messages_per_connection: self.messages_per_connection.or(below.messages_per_connection),
        }
    }
}

impl Partial {
    /// What a section says.
    pub(crate) fn of(block: &Block) -> Self {
        let names = |key| block.list::<String>(key).into_iter().map(|(name, _)| name).collect();
        let retry: Vec<Duration> = block.list("retry").into_iter().map(|(wait, _)| wait).collect();
        Self {
            name: block.name.clone(),
            mx: names("mx"),
            domains: names("domains"),
            networks: block.list("networks").into_iter().map(|(network, _)| network).collect(),
            connections: block.get("connections"),
            rate: block.get("rate"),
            rate_bytes: block.get("rate_bytes"),
            messages_per_connection: block.get("messages_per_connection"),
            ceiling: Ceiling::of(block),
            recipients_per_message: block.get("recipients_per_message"),
            pipeline_depth: block.get("pipeline_depth"),
            tls: block.choice("tls", &TlsPolicy::ALL),
            retry: (!retry.is_empty()).then_some(retry),
        }
    }

    /// The same of an operator: a limit that is written is a hard one, unless it is also written how far learning may go.
    fn capped(&self) -> Self {
        let ceiling = Ceiling {
            connections: self.ceiling.connections.or(self.connections),
            rate: self.ceiling.rate.or(self.rate),
            messages_per_connection: self.ceiling.messages_per_connection.or(self.messages_per_connection),
            ..self.ceiling
        };
        Self { ceiling, ..self.clone() }
    }

    /// This entry where it says something, `below` where it does not; marks of both.
    fn over(&self, below: &Self) -> Self {
        Self {
            name: self.name.clone(),
            mx: [below.mx.as_slice(), &self.mx].concat(),
            domains: [below.domains.as_slice(), &self.domains].concat(),
            networks: [below.networks.as_slice(), &self.networks].concat(),
            ..self.limits_over(below)
        }
    }

    /// Only what it is burdened with; marks are this entry's own.
    fn limits_over(&self, below: &Self) -> Self {
        Self {
            connections: self.connections.or(below.connections),
            rate: self.rate.or(below.rate),
            rate_bytes: self.rate_bytes.or(below.rate_bytes),
            messages_per_connection: self.messages_per_connection.or(below.messages_per_connection),
            ceiling: self.ceiling.over(&below.ceiling),
            recipients_per_message: self.recipients_per_message.or(below.recipients_per_message),
            pipeline_depth: self.pipeline_depth.or(below.pipeline_depth),
            tls: self.tls.or(below.tls),
            retry: self.retry.clone().or_else(|| below.retry.clone()),
            ..self.clone()
        }
    }

    /// Complete; what no layer says is the most cautious.
    fn complete(self) -> Provider {
        let limits = Limits {
            connections: self.connections.unwrap_or(1),
            rate: self.rate.flatten(),
            messages_per_connection: self.messages_per_connection.unwrap_or(1),
            recipients_per_message: self.recipients_per_message.unwrap_or(1),
            pipeline_depth: self.pipeline_depth.unwrap_or(1),
        };
        let Self { name, mx, domains, networks, ceiling, rate_bytes, tls, retry, .. } = self;
        let rate_bytes = rate_bytes.flatten();
        let rate_min = ceiling.rate_min.unwrap_or(Rate::per_hour(1));
        let most = ceiling.rate.unwrap_or(limits.rate);
        let ceiling = Limits {
            connections: ceiling.connections.unwrap_or(limits.connections).max(limits.connections),
            rate: most.map(|most| limits.rate.map_or(most, |rate| rate.faster(most))),
            messages_per_connection: ceiling
                .messages_per_connection
                .unwrap_or(limits.messages_per_connection)
                .max(limits.messages_per_connection),
            ..limits
        };
        Provider { name, mx, domains, networks, limits, ceiling, rate_min, rate_bytes, tls, retry }
    }
}

impl Providers {
    /// The built-in table under what an operator wrote.
    ///
    /// `default` is the operator's over the table's, and everything else stands over it; only `routed`, which is there for hosts
    /// that the operator chose, stands under what the operator says of `default`.
    pub(crate) fn with(operators: &[Partial]) -> Self {
        let operators: Vec<_> = operators.iter().map(Partial::capped).collect();
        let operators = operators.as_slice();
        let find = |list: &[Partial], name: &str| {
            let unmarked = |one: &Partial| Partial {
                mx: Vec::new(),
                domains: Vec::new(),
                networks: Vec::new(),
                ..one.clone()
            };
            list.iter().find(|one| one.name == name).map(unmarked).unwrap_or_default()
        };
        let (builtin_default, own_default) = (find(&BUILTIN, "default"), find(operators, "default"));
        let default = own_default.limits_over(&builtin_default);
        let routed = own_default.limits_over(&find(&BUILTIN, "routed").limits_over(&builtin_default));
        let routed = find(operators, "routed").limits_over(&routed);

        let layered = BUILTIN.iter().map(|entry| match operators.iter().find(|own| own.name == entry.name) {
            Some(own) => own.over(entry),
            None => entry.clone(),
        });
        let new = operators.iter().filter(|own| BUILTIN.iter().all(|entry| entry.name != own.name)).cloned();
        let others = layered.chain(new).filter(|entry| !is_special(&entry.name));
        let mut list = vec![
            Partial { name: "default".to_owned(), ..default.clone() },
            Partial { name: "routed".to_owned(), ..routed },
        ];
        list.extend(others.map(|entry| entry.limits_over(&default)));
        let mut providers = Self::indexed(list.into_iter().map(Partial::complete).collect());
        // The operator's marks win over the table's.
        for own in operators {
            providers.claim(own);
        }
        providers
    }

    fn indexed(list: Vec<Provider>) -> Self {
        let mut providers = Self {
            list: Vec::new(),
            domains: FxHashMap::default(),
            mx: FxHashMap::default(),
            networks: Vec::new(),
        };
        for (index, provider) in (0..).map(ProviderIndex).zip(&list) {
            providers.domains.extend(provider.domains.iter().map(|domain| (domain.clone(), index)));
            providers.mx.extend(provider.mx.iter().map(|host| (host.clone(), index)));
            providers.networks.extend(provider.networks.iter().map(|&network| (network, index)));
        }
        providers.list = list;
        providers
    }

    fn claim(&mut self, own: &Partial) {
        let Some(index) = self.by_name(&own.name) else { return };
        self.domains.extend(own.domains.iter().map(|domain| (domain.clone(), index)));
        self.mx.extend(own.mx.iter().map(|host| (host.clone(), index)));
        self.networks.retain(|(network, other)| *other == index || !own.networks.contains(network));
    }

    /// Whether any mail can be this provider's.
    pub(crate) fn is_reachable(&self, index: ProviderIndex) -> bool {
        let provider = &self[index];
        let marks = provider.mx.len() + provider.domains.len() + provider.networks.len();
        marks > 0 || is_special(&provider.name)
    }

    /// The names of the built-in table.
    pub(crate) fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|entry| entry.name.as_str())
    }
}

fn is_special(name: &str) -> bool {
    matches!(name, "default" | "routed")
}

pub(super) fn builtin() -> Providers {
    Providers::with(&[])
}
