//! Scenes of a budget that several holders draw on: together they never have more tokens than there are, and none is lost.
//! The meter is the engine's own `lease/meter.rs`.

use loom::sync::Arc;
use loom::thread;

use super::meter::{Drawn, Meter};

const INTERVAL_NS: u64 = 1_000;
/// The bucket holds so many tokens.
const BURST: u32 = 3;
const BURST_NS: u64 = BURST as u64 * INTERVAL_NS;
const NOW_NS: u64 = 1_000_000;

fn draw(meter: &Meter, want: u32) -> Drawn {
    meter.draw(want, BURST_NS, NOW_NS).unwrap_or_default()
}

/// What is left in the bucket.
fn left(meter: &Meter) -> u32 {
    let drawn = draw(meter, u32::MAX);
    meter.give_back(drawn);
    drawn.tokens
}

/// Two holders draw at the same time.
pub(super) fn two_draw() {
    let meter = Arc::new(Meter::new(INTERVAL_NS));
    let other = thread::spawn({
        let meter = Arc::clone(&meter);
        move || draw(&meter, 2).tokens
    });
    let mine = draw(&meter, 2).tokens;
    let drawn = mine + other.join().expect("it draws");
    assert!(drawn <= BURST, "{drawn} tokens of {BURST} are on loan");
    assert_eq!(drawn, BURST, "what is there is lent");
}

/// One gives back what another draws.
pub(super) fn one_gives_back() {
    let meter = Arc::new(Meter::new(INTERVAL_NS));
    let first = draw(&meter, 2);
    let other = thread::spawn({
        let meter = Arc::clone(&meter);
        move || draw(&meter, 3).tokens
    });
    meter.give_back(first);
    let drawn = other.join().expect("it draws");
    assert!((1..=3).contains(&drawn), "{drawn} tokens");
    let rest = left(&meter);
    assert!(drawn + rest <= BURST, "{} tokens of {BURST} are on loan", drawn + rest);
    assert_eq!(drawn + rest, BURST, "a token is lost");
}

/// The rate changes while tokens are on loan: they go back at the price at which they were lent.
pub(super) fn the_rate_changes() {
    let meter = Arc::new(Meter::new(INTERVAL_NS));
    let other = thread::spawn({
        let meter = Arc::clone(&meter);
        move || {
            let drawn = draw(&meter, 2);
            meter.give_back(drawn);
        }
    });
    meter.set_interval(3 * INTERVAL_NS);
    let mine = draw(&meter, 1).tokens;
    other.join().expect("it gives back");
    let rest = left(&meter);
    assert!(mine + rest <= 1, "{} tokens of one are on loan", mine + rest);
}
