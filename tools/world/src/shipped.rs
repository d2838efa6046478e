//! The worlds that come with the program.

/// The pretend providers of `staffetta demo` and of `staffetta sink --world builtin`.
pub(crate) const BUILTIN: &str = include_str!("../data/builtin.toml");

/// Name and text of the others, by name.
pub(crate) const WORLDS: &[(&str, &str)] = &[
    ("burnt-ip", include_str!("../worlds/burnt-ip.toml")),
    ("calm-day", include_str!("../worlds/calm-day.toml")),
    ("cold-ips", include_str!("../worlds/cold-ips.toml")),
    ("hourly-quota", include_str!("../worlds/hourly-quota.toml")),
    ("huge-gmail-share", include_str!("../worlds/huge-gmail-share.toml")),
    ("identity-limits", include_str!("../worlds/identity-limits.toml")),
    ("italian-list", include_str!("../worlds/italian-list.toml")),
    ("limit-change-at-noon", include_str!("../worlds/limit-change-at-noon.toml")),
    ("mailbox-full", include_str!("../worlds/mailbox-full.toml")),
    ("mixed-classes", include_str!("../worlds/mixed-classes.toml")),
    ("one-bad-tenant", include_str!("../worlds/one-bad-tenant.toml")),
    ("provider-outage", include_str!("../worlds/provider-outage.toml")),
    ("strict-small-servers", include_str!("../worlds/strict-small-servers.toml")),
    ("warm-up", include_str!("../worlds/warm-up.toml")),
];
