//! The built-in table, and what an operator's entries make of it.

use std::time::Duration;

use super::*;
use crate::Rate;
use crate::config::check;

fn with(entries: &str) -> Providers {
    let text = format!("[node]\ndata_dir = \"d\"\n[http]\n{entries}");
    let checked = check("f", &text);
    checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems)).providers
}

fn name<'p>(providers: &'p Providers, domain: &str, hosts: &[&str], ips: &[&str]) -> &'p str {
    let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().expect(ip)).collect();
    &providers[providers.identify(domain, hosts, &ips)].name
}

#[test]
fn the_table_has_thirty_providers_and_each_is_known_by_something() {
    let providers = Providers::builtin();
    assert!(providers.count() >= 32, "{}", providers.count());
    for (index, provider) in providers.iter() {
        assert!(providers.is_reachable(index), "{}", provider.name);
        assert_eq!(providers.by_name(&provider.name), Some(index));
        let limits = provider.limits;
        assert!(limits.connections > 0 && limits.messages_per_connection > 0 && limits.pipeline_depth > 0);
    }
}

#[test]
fn no_mark_of_the_table_belongs_to_two_providers() {
    let mut marks = std::collections::HashMap::new();
    for (_, provider) in Providers::builtin().iter() {
        let networks = provider.networks.iter().map(ToString::to_string);
        for mark in provider.mx.iter().chain(&provider.domains).cloned().chain(networks) {
            assert_eq!(marks.insert(mark.clone(), provider.name.clone()), None, "{mark}");
        }
    }
}

#[test]
fn providers_are_known_by_domain_then_hosts_then_addresses() {
    let providers = Providers::builtin();
    for (domain, hosts, ips, expected) in [
        ("gmail.com", &["127.0.0.1"][..], &[][..], "google"),
        ("corp.test", &["aspmx.l.google.com", "alt1.aspmx.l.google.com"], &[], "google"),
        ("corp.test", &["aspmx.l.google.com", "mx.corp.test"], &[], "default"),
        ("corp.test", &["aspmx.l.google.com", "mta5.am0.yahoodns.net"], &[], "default"),
        ("corp.test", &["corp-test.mail.protection.outlook.com"], &[], "microsoft-365"),
        ("corp.test", &["corp-test.x-v1.mx.microsoft"], &[], "microsoft-365"),
        ("hotmail.fr", &["hotmail-fr.olc.protection.outlook.com"], &[], "microsoft"),
        ("sky.com", &["mx-eu.mail.am0.yahoodns.net"], &[], "yahoo"),
        ("libero.it", &[], &[], "italiaonline"),
        ("x.test", &["smtp-in.virgilio.it"], &[], "italiaonline"),
        ("bottega.test", &["mx.bottega.test"], &["62.149.128.151", "62.149.128.154"], "aruba"),
        ("bottega.test", &["mx.bottega.test"], &["62.149.128.151", "192.0.2.1"], "default"),
        ("corp.test", &["google.com"], &[], "default"),
        ("corp.test", &["evil-google.com"], &[], "default"),
        ("corp.test", &[], &[], "default"),
        ("me.test", &["mail.me.com"], &[], "apple"),
        ("me.test", &["x.mail.me.com"], &[], "default"),
    ] {
        assert_eq!(name(&providers, domain, hosts, ips), expected, "{domain} {hosts:?}");
    }
}

#[test]
fn routed_hosts_that_are_nobodys_are_routed() {
    let providers = Providers::builtin();
    assert_eq!(providers.identify_routed("x.test", &["127.0.0.1"], &[]), ProviderIndex::ROUTED);
    assert_eq!(providers[providers.identify_routed("gmail.com", &["127.0.0.1"], &[])].name, "google");
    assert_eq!(providers[ProviderIndex::ROUTED].limits.rate, None);
    assert!(providers[ProviderIndex::ROUTED].limits.pipeline_depth > 1);
}

#[test]
fn what_an_entry_does_not_say_is_as_in_default() {
    let providers = with("[provider.default]\nrate = \"7/s\"\nconnections = 3\nretry = [\"1h\"]\n");
    let limits = |name| providers[providers.by_name(name).expect(name)].limits;
    assert_eq!(limits("default").connections, 3);
    assert_eq!((limits("google").rate, limits("google").connections), (Some(Rate::per_second(7)), 5));
    assert_eq!(limits("tiscali").connections, 3);
    assert_eq!(limits("yahoojp").rate, Some(Rate::per_second(10)));
    // The operator's word about receivers in general holds for those he routes to as well.
    assert_eq!((limits("routed").rate, limits("routed").connections), (Some(Rate::per_second(7)), 3));
    assert_eq!(limits("routed").pipeline_depth, 8);
    assert_eq!(providers[ProviderIndex::DEFAULT].retry, Some(vec![Duration::from_secs(3600)]));
}

#[test]
fn an_operators_entry_adds_marks_and_replaces_limits() {
    let entries = "[provider.google]\nmx = [\".ghs.test\"]\nmessages_per_connection = 9\nrate = \"unlimited\"\n\
                   [provider.mine]\ndomains = [\"gmail.com\"]\nmx = [\".googlemail.com\", \"127.0.0.1\"]\nnetworks = [\"62.149.128.0/24\"]\n\
                   [provider.routed]\nconnections = 77\n";
    let providers = with(entries);
    let google = &providers[providers.by_name("google").expect("built in")];
    assert_eq!(google.limits.messages_per_connection, 9);
    assert_eq!((google.limits.connections, google.limits.rate), (5, None));
    assert_eq!(name(&providers, "x.test", &["a.ghs.test"], &[]), "google");
    assert_eq!(name(&providers, "x.test", &["a.google.com"], &[]), "google");
    assert_eq!(name(&providers, "gmail.com", &[], &[]), "mine");
    assert_eq!(name(&providers, "x.test", &["a.googlemail.com"], &[]), "mine");
    assert_eq!(name(&providers, "x.test", &["127.0.0.1"], &[]), "mine");
    assert_eq!(name(&providers, "x.test", &["mx.x.test"], &["62.149.128.5"]), "mine");
    assert_eq!(providers[ProviderIndex::ROUTED].limits.connections, 77);
}

#[test]
fn an_index_of_another_configuration_is_answered_with_default() {
    assert_eq!(Providers::builtin()[ProviderIndex(u16::MAX)].name, "default");
}

#[test]
fn who_has_a_ceiling_says_where_learning_begins() {
    let table = include_str!("../../data/providers.toml").parse::<toml::Table>().expect("TOML");
    let entries = table["provider"].as_table().expect("providers");
    for (name, entry) in entries {
        for key in entry.as_table().expect(name).keys() {
            let start = key.strip_suffix("_max");
            assert!(start.is_none_or(|start| entry.get(start).is_some()), "{name}: {key}");
        }
    }
}

#[test]
fn no_provider_begins_beyond_its_ceiling() {
    for (_, provider) in Providers::builtin().iter() {
        let (start, most) = (provider.limits, provider.ceiling);
        assert!(start.connections <= most.connections, "{}", provider.name);
        assert!(start.messages_per_connection <= most.messages_per_connection, "{}", provider.name);
        let per_second = |limits: Limits| limits.rate.map_or(f64::INFINITY, Rate::as_per_second);
        assert!(per_second(start) <= per_second(most), "{}", provider.name);
    }
}

#[test]
fn a_limit_of_bytes_holds_for_all_but_those_that_say_otherwise() {
    let providers = with(
        "[provider.default]\nrate_bytes = \"5MB/s\"\n[provider.google]\nrate_bytes = \"20MB/s\"\n\
         [provider.yahoo]\nrate_bytes = \"unlimited\"\n",
    );
    let shown =
        |name: &str| providers[providers.by_name(name).expect(name)].rate_bytes.map(|rate| rate.to_string());
    assert_eq!([shown("default"), shown("routed"), shown("gmx")], [(); 3].map(|()| Some("5MB/s".to_owned())));
    assert_eq!((shown("google").as_deref(), shown("yahoo")), (Some("20MB/s"), None));
    assert!(Providers::builtin().iter().all(|(_, provider)| provider.rate_bytes.is_none()));
}

#[test]
fn what_an_operator_writes_is_a_hard_limit_unless_he_writes_a_ceiling() {
    let providers = with(
        "[provider.google]\nconnections = 3\n\
         [provider.yahoo]\nrate = \"5/s\"\nrate_max = \"50/s\"\nrate_min = \"1/min\"\n\
         [provider.default]\nrate = \"20/s\"\n\
         [provider.gmx]\nmessages_per_connection_max = 40\n",
    );
    let caps = |name: &str| providers[providers.by_name(name).expect(name)].caps(true);
    let (google, yahoo, gmx, routed) = (caps("google"), caps("yahoo"), caps("gmx"), caps("routed"));
    let per_second = |count| Some(Rate::per_second(count));
    assert_eq!((google.start.connections, google.most.connections), (3, 3));
    assert_eq!((google.start.rate, google.most.rate), (per_second(20), per_second(20)));
    assert_eq!((yahoo.start.rate, yahoo.most.rate), (per_second(5), per_second(50)));
    assert_eq!(yahoo.least, Rate::new(1, Duration::from_secs(60)).expect("above zero"));
    assert_eq!(google.least, Rate::per_hour(1));
    assert_eq!((gmx.start.connections, gmx.most.connections), (4, 20), "the table's own");
    assert_eq!((gmx.start.messages_per_connection, gmx.most.messages_per_connection), (20, 40));
    assert_eq!((routed.start.rate, routed.most.rate), (per_second(20), per_second(20)));
    let routed = Providers::builtin()[ProviderIndex::ROUTED].caps(true);
    assert_eq!((routed.start.rate, routed.most.rate), (None, None), "it learns only from refusals");
}

#[test]
fn a_start_beyond_its_ceiling_is_complained_of() {
    for (keys, key) in [
        ("rate = \"10/s\"\nrate_max = \"5/s\"", "rate_max"),
        ("rate = \"unlimited\"\nrate_max = \"5/s\"", "rate_max"),
        ("rate = \"10/s\"\nrate_min = \"50/s\"", "rate_min"),
        ("rate_max = \"10/s\"\nrate_min = \"50/s\"", "rate_min"),
        ("connections = 5\nconnections_max = 4", "connections_max"),
        ("messages_per_connection = 5\nmessages_per_connection_max = 4", "messages_per_connection_max"),
    ] {
        let text = format!("[node]\ndata_dir = \"d\"\n[http]\n[provider.google]\n{keys}\n");
        let checked = check("f", &text);
        let found: Vec<_> = checked.problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(found, [format!("provider.google.{key}")], "{keys}");
        assert!(checked.config.is_none());
    }
}

#[test]
fn learning_is_switched_off_in_one_place() {
    let config = |text: &str| {
        let checked = check("f", &format!("[node]\ndata_dir = \"d\"\n[http]\n{text}"));
        checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems))
    };
    assert!(config("").deliver.learns);
    assert!(!config("[learning]\nenabled = false\n").deliver.learns);
}
