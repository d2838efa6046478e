//! The worlds that come with the program.

use world::{Per, World};

use super::{START, address, at, send_from};

#[test]
fn every_shipped_world_is_a_world_that_says_what_it_is() {
    for (name, text) in World::shipped() {
        let world = World::from_toml(text, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        let about = world.about();
        assert_eq!(about.name, *name);
        assert!(about.about.len() > 40, "{name}");
    }
}

/// Every usual mailbox of a good sender who comes now and then gets its mail, by what a world is like when it begins.
#[test]
fn shipped_worlds_take_a_trickle_of_wanted_mail() {
    for (name, text) in World::shipped() {
        let mut world = World::from_toml(text, 1).expect("a good world");
        world.begin(START);
        let identity = &world.load().identities[0].domain.clone();
        let source = world.load().sources.last().expect("a source").ip;
        let sender = Some(address(&format!("news@{identity}")));
        for provider in world.providers() {
            let domain = world.domains(provider).into_iter().find(|domain| domain != "*").expect("a domain");
            let mut taken = 0;
            for n in 0..200 {
                // Three mailboxes in turn, so that greylisting ends.
                let (to, now) = (format!("reader{}@{domain}", n % 3), at(n * 30_000));
                let (mut connection, banner) = world.connect_to(provider, source, now);
                if banner.reply.is_positive() {
                    let answer = send_from(&mut world, &mut connection, &sender, (&to, now));
                    taken += u64::from(answer.cause.is_none());
                }
                connection.end(&mut world);
            }
            assert!(taken > 120, "{name}, {}: {taken} of 200", world.name(provider));
        }
    }
}

#[test]
fn shipped_worlds_are_of_a_size_that_is_simulated_in_seconds() {
    for (name, text) in World::shipped() {
        let world = World::from_toml(text, 1).expect("a good world");
        let (load, duration) = (world.load(), world.about().duration.as_secs_f64());
        let campaigns: f64 = load.campaigns.iter().map(|campaign| campaign.recipients as f64).sum();
        let streams = load.streams.iter().map(|stream| {
            let until = stream.until.map_or(duration, |until| until.as_secs_f64());
            let per_second = f64::from(stream.rate.count()) / stream.rate.per().as_secs_f64();
            per_second * (until - stream.from.as_secs_f64())
        });
        let all = campaigns + streams.sum::<f64>();
        assert!((50_000.0..1_300_000.0).contains(&all), "{name}: {all} recipients");
        assert!(world.providers().count() >= 3 && !load.sources.is_empty(), "{name}");
    }
}

/// Whether what senders are told is true all the time is what the world says of itself.
#[test]
fn hidden_limits_are_said_of_worlds_that_have_them() {
    for (name, text) in World::shipped() {
        let world = World::from_toml(text, 1).expect("a good world");
        let is_hidden = world.providers().any(|provider| {
            let told = world.documented(provider);
            let [first, last] = [std::time::Duration::ZERO, world.about().duration].map(|age| {
                let truth = world.limits(provider, age);
                let rates: Vec<_> = truth.rates.iter().map(|limit| (limit.per, limit.rate)).collect();
                (truth.connections, truth.messages_per_connection, rates)
            });
            let told_rates: Vec<_> = told.rate.iter().map(|&rate| (Per::Ip, rate)).collect();
            first != last || first != (told.connections, told.messages_per_connection, told_rates)
        });
        assert_eq!(is_hidden, world.about().hidden_limits, "{name}");
    }
}
