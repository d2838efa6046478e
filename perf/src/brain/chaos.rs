//! Random worlds: anything that a world file can say, in any mixture. The same number gives the same world.

use std::fmt::Write as _;

/// A sequence of chances (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// From `low` to `high`, both included.
    fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// A number whose magnitude is as even as it can be.
    fn magnitude(&mut self, low: u64, high: u64) -> u64 {
        let (from, to) = ((low as f64).ln(), (high as f64).ln());
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (from + (to - from) * share).exp().round() as u64
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    fn share(&mut self, most: f64) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 * most
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[(self.next() % among.len() as u64) as usize]
    }
}

/// The text of world number `seed`.
pub(crate) fn world(seed: u64) -> String {
    let mut chance = Chance::new(seed);
    let mut text =
        format!("name = \"random-{seed}\"\nseed = {seed}\nduration = \"{}h\"\n", chance.within(1, 6));
    let (providers, sources) = (chance.within(1, 5), chance.within(1, 5));
    let (tenants, identities) = (chance.within(1, 3), chance.within(1, 3));
    for number in 0..sources {
        source(&mut text, &mut chance, number);
    }
    for number in 0..tenants {
        let _ = writeln!(text, "[[tenant]]\nname = \"tenant{number}\"");
    }
    for number in 0..identities {
        let (complaint, open) = (chance.share(0.01), chance.share(0.5));
        let _ = writeln!(
            text,
            "[[identity]]\ndomain = \"sender{number}.example\"\ncomplaint = {complaint:.5}\nopen = {open:.3}"
        );
    }
    for number in 0..providers {
        provider(&mut text, &mut chance, number);
    }
    for number in 0..chance.within(1, 3) {
        campaign(&mut text, &mut chance, (number, tenants, identities));
    }
    for number in 0..chance.within(0, 2) {
        stream(&mut text, &mut chance, (number, tenants, identities));
    }
    text
}

fn source(text: &mut String, chance: &mut Chance, number: u64) {
    let _ = writeln!(text, "[[source]]\nname = \"ip{number}\"\nip = \"192.0.2.{}\"", number + 1);
    if number > 0 && chance.one_in(4) {
        text.push_str("pool = \"reserve\"\n");
    }
    if chance.one_in(5) {
        text.push_str("warm = false\n");
    }
    if chance.one_in(6) {
        let _ = writeln!(text, "standing = {:.2}", chance.share(1.0));
    }
}

fn provider(text: &mut String, chance: &mut Chance, number: u64) {
    let manners =
        ["google", "microsoft", "yahoo", "libero", "tiscali", "aruba", "tim", "gmx", "orange", "plain"];
    let _ = writeln!(
        text,
        "[[provider]]\nname = \"provider{number}\"\nmanner = \"{}\"\ndomains = [\"p{number}.example\"]",
        chance.pick(&manners)
    );
    let (banner, command, body) = (chance.within(0, 300), chance.within(0, 100), chance.within(0, 500));
    let _ = writeln!(
        text,
        "latency = {{ banner = \"{banner}ms\", command = \"{command}ms\", body = \"{body}ms\", jitter = 0.3 }}"
    );
    let _ = writeln!(text, "connections = {}", chance.magnitude(1, 50));
    let _ = writeln!(text, "messages_per_connection = {}", chance.magnitude(1, 500));
    if !chance.one_in(3) {
        let per = chance.pick(&["s", "m", "h"]);
        let _ = writeln!(text, "rate = \"{}/{per}\"", chance.magnitude(1, 2000));
    }
    let _ = writeln!(
        text,
        "documented = {{ connections = {}, rate = \"{}/s\", messages_per_connection = {} }}",
        chance.magnitude(1, 50),
        chance.magnitude(1, 500),
        chance.magnitude(1, 500)
    );
    limits(text, chance);
    if chance.one_in(3) {
        let _ = writeln!(
            text,
            "changes = [{{ after = \"{}m\", rate = \"{}/s\", connections = {} }}]",
            chance.within(1, 300),
            chance.magnitude(1, 500),
            chance.magnitude(1, 50)
        );
    }
    troubles(text, chance);
}

fn limits(text: &mut String, chance: &mut Chance) {
    if chance.one_in(2) {
        return;
    }
    let per = chance.pick(&["ip", "netblock", "identity"]);
    let unit = chance.pick(&["s", "m", "h", "d"]);
    let count = chance.magnitude(if unit == "d" { 200 } else { 5 }, 5000);
    let penalty = match chance.one_in(3) {
        true => {
            let (refusals, lasts) = (chance.within(1, 50), chance.within(1, 30));
            format!(", penalty = {{ refusals = {refusals}, lasts = \"{lasts}m\" }}")
        }
        false => String::new(),
    };
    let _ = writeln!(text, "limits = [{{ per = \"{per}\", rate = \"{count}/{unit}\"{penalty} }}]");
}

fn troubles(text: &mut String, chance: &mut Chance) {
    if chance.one_in(3) {
        let (delay, share) = (chance.within(1, 30), chance.share(1.0));
        let _ = writeln!(text, "greylist = {{ delay = \"{delay}m\", share = {share:.2} }}");
    }
    let (unknown, full) = (chance.share(0.1), chance.share(0.05));
    let _ = writeln!(
        text,
        "mailboxes = {{ unknown = {unknown:.3}, full = {full:.3}, full_for = \"{}m\" }}",
        chance.within(1, 300)
    );
    if chance.one_in(4) {
        let (after, lasts) = (chance.within(0, 60), chance.within(1, 60));
        let _ = writeln!(text, "outages = [{{ after = \"{after}m\", lasts = \"{lasts}m\" }}]");
    }
    if chance.one_in(4) {
        let (loss, hang_up) = (chance.share(0.2), chance.share(0.1));
        let _ = writeln!(text, "faults = {{ loss = {loss:.2}, hang_up = {hang_up:.2} }}");
    }
    if chance.one_in(2) {
        text.push_str("reputation = {}\n");
    }
}

fn campaign(text: &mut String, chance: &mut Chance, (number, tenants, identities): (u64, u64, u64)) {
    let (tenant, identity) = (chance.within(0, tenants - 1), chance.within(0, identities - 1));
    let _ = writeln!(
        text,
        "[[campaign]]\nname = \"campaign{number}\"\ntenant = \"tenant{tenant}\"\nidentity = \"sender{identity}.example\"\n\
         recipients = {}\nstarts = \"{}m\"",
        chance.magnitude(1, 3000),
        chance.within(0, 30)
    );
    if chance.one_in(3) {
        let shares = [0.5, 0.2, 0.1, 0.1].map(|most| chance.share(most));
        let [unknown, full, trap, complain] = shares;
        let _ = writeln!(
            text,
            "list = {{ unknown = {unknown:.3}, full = {full:.3}, trap = {trap:.3}, complain = {complain:.3} }}"
        );
    }
}

fn stream(text: &mut String, chance: &mut Chance, (number, tenants, identities): (u64, u64, u64)) {
    let (tenant, identity) = (chance.within(0, tenants - 1), chance.within(0, identities - 1));
    let class = chance.pick(&["critical", "transactional", "personal"]);
    let _ = writeln!(
        text,
        "[[stream]]\nname = \"stream{number}\"\ntenant = \"tenant{tenant}\"\nidentity = \"sender{identity}.example\"\n\
         class = \"{class}\"\nrate = \"{}/m\"\nuntil = \"{}m\"",
        chance.magnitude(1, 60),
        chance.within(10, 59)
    );
    if class == "critical" {
        text.push_str("deadline = \"60s\"\n");
    }
}
