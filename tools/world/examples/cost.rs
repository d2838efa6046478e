//! What a simulated recipient costs: `cargo run --profile fast -p world --example cost`.

use std::time::{Duration, Instant};

use mail::{Address, UnixMs};
use world::World;

const RECIPIENTS: u32 = 1_000_000;
const PER_CONNECTION: u32 = 50;

const PLAIN: &str = "[[provider]]\nname = 'x'\ndomains = ['x.test']\nrate = '1000000/s'\n";
const FULL: &str = "[[provider]]\nname = 'x'\ndomains = ['x.test']\nmanner = 'google'\n\
    latency = { banner = '50ms', command = '20ms', body = '90ms', jitter = 0.3 }\n\
    connections = 20\nmessages_per_connection = 50\n\
    limits = [{ per = 'ip', rate = '1000000/s' }, { per = 'ip', rate = '100000000/h' },\n\
        { per = 'netblock', rate = '1000000/s' }, { per = 'identity', rate = '100000000/d' }]\n\
    mailboxes = { unknown = 0.01, full = 0.01, traps = 0.0001 }\n\
    readers = { complaint = 0.0005, open = 0.25, click = 0.1 }\n\
    reputation = {}\n\
    [[source]]\nname = 'a'\nip = '192.0.2.1'\n\
    [[identity]]\ndomain = 'shop.test'\nstanding = 1.0\n";

fn main() {
    for (name, text) in [("one limit", PLAIN), ("everything", FULL)] {
        let addresses: Vec<Address> = (0..RECIPIENTS)
            .map(|n| Address::parse(&format!("reader{n}@x.test")).expect("an address"))
            .collect();
        let mut world = World::from_toml(text, 1).expect("a world");
        let begun = Instant::now();
        let heard = send_all(&mut world, &addresses);
        let each = begun.elapsed() / RECIPIENTS;
        let provider = world.provider_named("x").expect("it is there");
        let accepted = world.counters(provider).accepted;
        println!("{name}: {} ns a recipient; {accepted} taken, {heard} times feedback", each.as_nanos());
    }
}

fn send_all(world: &mut World, addresses: &[Address]) -> usize {
    let provider = world.provider_named("x").expect("it is there");
    let sender = Some(Address::parse("news@shop.test").expect("an address"));
    let mut now = UnixMs(1_700_000_000_000);
    let (mut feedback, mut heard) = (Vec::new(), 0);
    for group in addresses.chunks(PER_CONNECTION as usize) {
        let (mut connection, _) = world.connect_to(provider, [192, 0, 2, 1].into(), now);
        for address in group {
            connection.set_token(7);
            connection.mail(world, &sender, now);
            if connection.rcpt(world, address, now).reply.is_positive() {
                connection.body_of(world, 20_000, now);
            }
        }
        connection.end(world);
        now = now + Duration::from_millis(10);
        world.feedback(now, &mut feedback);
        heard += feedback.len();
        feedback.clear();
    }
    heard
}
