//! The built-in table of providers.
use super::{FxHashMap, Limits, Provider, Providers};
pub(super) fn builtin() -> Providers {
    let limits = Limits { connections: 10, rate: None, messages_per_connection: 100, pipeline_depth: 1 };
    let one = |name: &str| Provider {
        name: name.into(),
        mx: vec![],
        domains: vec![],
        networks: vec![],
        limits,
        tls: None,
        retry: None,
    };
    Providers {
        list: vec![one("default"), one("routed")],
        domains: FxHashMap::default(),
        mx: FxHashMap::default(),
        networks: vec![],
    }
}
