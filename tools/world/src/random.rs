//! Worlds made by chance: small ones of every kind, for finding what nobody thought of.

use std::fmt::Write as _;

use crate::chance::Roll;

/// Rolls one after the other.
struct Dice {
    roll: Roll,
    rolled: u64,
}

impl Dice {
    fn portion(&mut self) -> f64 {
        self.rolled += 1;
        self.roll.portion(self.rolled)
    }

    fn is(&mut self, share: f64) -> bool {
        self.portion() < share
    }

    /// From `least` to `most`, both included.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + (self.portion() * (most - least + 1) as f64) as u64
    }

    /// The same, small numbers as often as large ones.
    fn magnitude(&mut self, least: f64, most: f64) -> u64 {
        (least * (most / least).powf(self.portion())).round() as u64
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.between(0, all.len() as u64 - 1) as usize]
    }

    /// A share up to `most`, most often none.
    fn share(&mut self, most: f64) -> f64 {
        if self.is(0.4) { (self.portion() * most * 1e4).round() / 1e4 } else { 0.0 }
    }
}

const MANNERS: [&str; 10] =
    ["google", "microsoft", "yahoo", "libero", "tiscali", "aruba", "tim", "gmx", "orange", "plain"];
const CLASSES: [&str; 4] = ["critical", "transactional", "personal", "bulk"];

/// The text of a small world: one to five providers of any kind, one to six sources, up to some thousands of recipients in
/// one to four hours. Every seed gives a world that can be read.
pub(crate) fn text(seed: u64) -> String {
    let mut dice = Dice { roll: Roll::of(seed, 0x77_6f72_6c64), rolled: 0 };
    let mut text = format!(
        "name = \"random-{seed}\"\nabout = \"Made by chance from the number {seed}.\"\nduration = \"{}h\"\nhidden_limits = true\n",
        dice.between(1, 4)
    );
    let providers = dice.between(1, 5);
    for place in 0..providers {
        provider(&mut dice, place, &mut text);
    }
    for place in 2..=dice.between(2, 7) {
        let block = dice.one_of(&["127.0.0", "127.0.1"]);
        let _ = write!(text, "\n[[source]]\nname = \"ip{place}\"\nip = \"{block}.{place}\"\n");
        match dice.between(0, 5) {
            0 => text.push_str("warm = false\n"),
            1 => drop(writeln!(text, "warm = \"{}d careful\"", dice.between(1, 20))),
            2 => drop(writeln!(text, "standing = {:.2}", dice.portion())),
            _ => {}
        }
    }
    let identities = dice.between(1, 4);
    for place in 0..identities {
        let _ = write!(
            text,
            "\n[[identity]]\ndomain = \"sender{place}.test\"\ncomplaint = {}\n",
            dice.share(0.02)
        );
        if dice.is(0.7) {
            let _ = writeln!(text, "standing = {:.2}", 0.3 + 0.7 * dice.portion());
        }
    }
    let tenants = dice.between(1, 3);
    for place in 0..tenants {
        let _ = write!(text, "\n[[tenant]]\nname = \"tenant{place}\"\n");
    }
    for place in 0..dice.between(1, 3) {
        let _ = write!(
            text,
            "\n[[campaign]]\nname = \"campaign{place}\"\ntenant = \"tenant{}\"\nidentity = \"sender{}.test\"\nstarts = \"{}m\"\nrecipients = {}\n",
            dice.between(0, tenants - 1),
            dice.between(0, identities - 1),
            dice.between(0, 40),
            dice.magnitude(1.0, 4000.0),
        );
        list(&mut dice, &mut text);
    }
    for place in 0..dice.between(0, 2) {
        let class = dice.one_of(&CLASSES);
        let _ = write!(
            text,
            "\n[[stream]]\nname = \"stream{place}\"\ntenant = \"tenant{}\"\nidentity = \"sender{}.test\"\nclass = \"{class}\"\nrate = \"{}/m\"\n",
            dice.between(0, tenants - 1),
            dice.between(0, identities - 1),
            dice.magnitude(1.0, 30.0),
        );
        if class == "critical" {
            let _ = writeln!(text, "deadline = \"{}s\"", dice.magnitude(5.0, 600.0));
        }
        list(&mut dice, &mut text);
    }
    text
}

fn list(dice: &mut Dice, text: &mut String) {
    let _ = write!(text, "list = {{ unknown = {}, full = {}", dice.share(0.2), dice.share(0.2));
    let _ = write!(text, ", trap = {}, complain = {}", dice.share(0.01), dice.share(0.03));
    if dice.is(0.2) {
        let _ = write!(text, ", mailboxes = {}", dice.magnitude(1.0, 500.0));
    }
    text.push_str(" }\n");
}

fn provider(dice: &mut Dice, place: u64, text: &mut String) {
    let _ = write!(
        text,
        "\n[[provider]]\nname = \"p{place}\"\nmanner = \"{}\"\nhost = \"mx.p{place}.test\"\ndomains = [\"p{place}.test\"]\n\
         latency = {{ banner = \"{}ms\", command = \"{}ms\", body = \"{}ms\", jitter = 0.4 }}\n",
        dice.one_of(&MANNERS),
        dice.magnitude(1.0, 300.0),
        dice.magnitude(1.0, 150.0),
        dice.magnitude(1.0, 800.0),
    );
    limits(dice, text);
    if dice.is(0.4) {
        let rate = dice.magnitude(1.0, 100.0);
        let _ =
            writeln!(text, "documented = {{ connections = {}, rate = \"{rate}/s\" }}", dice.between(1, 20));
    } else if dice.is(0.4) {
        text.push_str("documented = false\n");
    }
    if dice.is(0.3) {
        let _ = writeln!(
            text,
            "changes = [{{ after = \"{}m\", rate = \"{}/m\", connections = {} }}]",
            dice.between(5, 90),
            dice.magnitude(6.0, 3000.0),
            dice.between(1, 20),
        );
    }
    if dice.is(0.3) {
        let share = (dice.portion() * 100.0).round() / 100.0;
        let _ =
            writeln!(text, "greylist = {{ delay = \"{}s\", share = {share} }}", dice.magnitude(1.0, 900.0));
    }
    let _ = write!(text, "mailboxes = {{ unknown = {}, abandoned = {}", dice.share(0.1), dice.share(0.05));
    let _ = write!(text, ", full = {}, traps = {}", dice.share(0.2), dice.share(0.002));
    if dice.is(0.5) {
        let _ = write!(text, ", full_until = \"{}m\"", dice.between(10, 120));
    }
    text.push_str(" }\n");
    let _ = writeln!(
        text,
        "readers = {{ complaint = {}, open = 0.2, click = 0.1, complaint_after = \"{}m\", open_after = \"{}m\" }}",
        dice.share(0.005),
        dice.between(1, 60),
        dice.between(1, 60),
    );
    trouble(dice, text);
    if dice.is(0.6) {
        let _ = writeln!(
            text,
            "reputation = {{ start = {:.2}, few = {}, memory = \"{}m\", floor = {}, block = \"{}m\" }}",
            0.3 + 0.6 * dice.portion(),
            dice.magnitude(20.0, 1000.0),
            dice.magnitude(10.0, 1440.0),
            dice.magnitude(20.0, 2000.0),
            dice.magnitude(5.0, 120.0),
        );
    }
}

fn limits(dice: &mut Dice, text: &mut String) {
    let _ = writeln!(text, "connections = {}", dice.magnitude(1.0, 50.0));
    if dice.is(0.7) {
        let _ = writeln!(text, "messages_per_connection = {}", dice.magnitude(1.0, 200.0));
    }
    if dice.is(0.5) {
        let _ = writeln!(text, "recipients_per_message = {}", dice.magnitude(1.0, 100.0));
    }
    let mut stated = Vec::new();
    for _ in 0..dice.between(0, 3) {
        let per = dice.one_of(&["ip", "ip", "netblock", "identity"]);
        let rate = match dice.one_of(&["s", "m", "h", "d"]) {
            "s" => format!("{}/s", dice.magnitude(1.0, 100.0)),
            "m" => format!("{}/m", dice.magnitude(6.0, 3000.0)),
            "h" => format!("{}/h", dice.magnitude(50.0, 50_000.0)),
            _ => format!("{}/d", dice.magnitude(200.0, 100_000.0)),
        };
        let penalty = if dice.is(0.3) {
            let refusals = dice.magnitude(2.0, 200.0);
            format!(", penalty = {{ refusals = {refusals}, lasts = \"{}s\" }}", dice.magnitude(10.0, 1200.0))
        } else {
            String::new()
        };
        stated.push(format!("{{ per = \"{per}\", rate = \"{rate}\"{penalty} }}"));
    }
    let _ = writeln!(text, "limits = [{}]", stated.join(", "));
}

fn trouble(dice: &mut Dice, text: &mut String) {
    if dice.is(0.2) {
        let _ = writeln!(
            text,
            "outages = [{{ after = \"{}m\", lasts = \"{}m\", silent = {} }}]",
            dice.between(0, 60),
            dice.between(1, 30),
            dice.is(0.4),
        );
    }
    if dice.is(0.3) {
        let (loss, tls, hang_up) = (dice.share(0.05), dice.share(0.05), dice.share(0.02));
        let _ = writeln!(text, "faults = {{ loss = {loss}, tls = {tls}, hang_up = {hang_up} }}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;

    #[test]
    fn every_number_gives_a_world_and_the_same_one_each_time() {
        for seed in 0..2000 {
            let made = text(seed);
            let world =
                World::from_toml(&made, seed).unwrap_or_else(|error| panic!("{seed}: {error}\n{made}"));
            assert!(!world.load().campaigns.is_empty() && !world.load().sources.is_empty());
            assert_eq!(made, text(seed));
        }
        assert_ne!(text(1), text(2));
    }
}
