//! The worlds that come with the program.

use world::World;

#[test]
fn every_shipped_world_is_a_world_that_says_what_it_is() {
    for (name, text) in World::shipped() {
        let world = World::from_toml(text, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        let about = world.about();
        assert_eq!(about.name, *name);
        assert!(about.about.len() > 40, "{name}");
    }
}
