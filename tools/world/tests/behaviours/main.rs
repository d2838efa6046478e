//! What pretend providers do, and that all of it depends on nothing but the seed.

mod answers;
mod chance;
mod limits;
mod readers;
mod standing;
mod words;
mod worlds;

use std::net::IpAddr;

use mail::{Address, ReversePath, UnixMs};
use world::{Answer, Connection, Counters, World};

const START: UnixMs = UnixMs(1_700_000_000_000);
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn at(ms: u64) -> UnixMs {
    UnixMs(START.0 + ms)
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("a good address")
}

fn sender() -> ReversePath {
    Some(address("news@sender.test"))
}

/// A world of one provider with the domain x.test and these further lines.
fn world(lines: &str) -> World {
    let text = format!("[[provider]]\nname = 'x'\nhost = 'mx.x.test'\ndomains = ['x.test']\n{lines}");
    World::from_toml(&text, 1).expect("a good world")
}

fn counters(world: &World) -> Counters {
    world.counters(world.provider_named("x").expect("it is there"))
}

fn open(world: &mut World, last: u8, now: UnixMs) -> (Connection, Answer) {
    let provider = world.provider_named("x").expect("it is there");
    world.connect_to(provider, ip(last), now)
}

/// One message to one recipient: the first answer that is not positive, or the one to the body.
fn send(world: &mut World, connection: &mut Connection, to: &str, now: UnixMs) -> Answer {
    send_from(world, connection, &sender(), (to, now))
}

fn send_from(
    world: &mut World,
    connection: &mut Connection,
    sender: &ReversePath,
    (to, now): (&str, UnixMs),
) -> Answer {
    let answer = connection.mail(world, sender, now);
    if !answer.reply.is_positive() {
        return answer;
    }
    let answer = connection.rcpt(world, &address(to), now);
    if answer.reply.is_positive() { connection.body(world, b"Subject: x\r\n\r\nx\r\n", now) } else { answer }
}

/// One message over a connection of its own.
fn visit(world: &mut World, last: u8, to: &str, now: UnixMs) -> Answer {
    let (mut connection, banner) = open(world, last, now);
    let answer = if banner.reply.is_positive() { send(world, &mut connection, to, now) } else { banner };
    connection.end(world);
    answer
}
