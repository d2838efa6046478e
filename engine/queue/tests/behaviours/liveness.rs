//! A shell that looks only where the queue tells it to look serves everything: no wake is missing.

use mail::{Class, UnixMs};
use policy::Rate;
use proptest::prelude::*;
use queue::{FlowKey, PathId, Pull, Queue};

use crate::scene::*;

/// Messages after which this shell closes a connection.
const MESSAGES_MAX: u32 = 7;
const PATHS: u64 = 12;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    /// Asks the queue now.
    Pulling,
    /// Asks again at this moment, or when the queue names its path.
    Waiting(UnixMs),
    /// Asks when the queue names its path.
    Idle,
    /// Is gone.
    Closed,
}

#[derive(Debug)]
struct Connection {
    path: PathId,
    served: u32,
    doing: Doing,
}

/// Connections that do nothing but what the queue says. They never close for being idle.
struct Shell {
    queue: Queue,
    connections: Vec<Connection>,
}

impl Shell {
    fn step(&mut self, now: UnixMs) {
        for path in wanting(&mut self.queue, now) {
            self.look_at(path, now);
        }
        for connection in &mut self.connections {
            if let Doing::Waiting(until) = connection.doing
                && until <= now
            {
                connection.doing = Doing::Pulling;
            }
            if connection.doing == Doing::Pulling {
                pull(&mut self.queue, connection, now);
            }
        }
        self.connections.retain(|connection| connection.doing != Doing::Closed);
    }

    fn look_at(&mut self, path: PathId, now: UnixMs) {
        let mut rests = self.connections.iter_mut().filter(|connection| connection.path == path);
        if let Some(connection) = rests.find(|connection| connection.doing != Doing::Pulling) {
            connection.doing = Doing::Pulling;
        }
        while self.queue.wants_connection(path, now) {
            self.queue.connection_opened(path);
            self.connections.push(Connection { path, served: 0, doing: Doing::Pulling });
        }
    }
}

/// One question of one connection.
fn pull(queue: &mut Queue, connection: &mut Connection, now: UnixMs) {
    match queue.pull(connection.path, now) {
        Pull::Ticket(..) => {
            connection.served += 1;
            if connection.served == MESSAGES_MAX {
                connection.doing = Doing::Closed;
            }
        }
        Pull::Empty => connection.doing = Doing::Idle,
        Pull::Wait(until) => connection.doing = Doing::Waiting(until),
        Pull::Suspended(_) | Pull::Yield => connection.doing = Doing::Closed,
    }
    if connection.doing == Doing::Closed {
        queue.connection_closed(connection.path);
    }
}

/// What happens at one moment.
#[derive(Clone, Debug)]
enum Event {
    Arrive { path: u64, class: usize, count: u64 },
    Suspend { path: u64, for_ms: u64 },
    Break { connection: usize },
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..PATHS, 0_usize..4, 1_u64..20)
            .prop_map(|(path, class, count)| Event::Arrive { path, class, count }),
        1 => (0..PATHS, 0_u64..300).prop_map(|(path, for_ms)| Event::Suspend { path, for_ms }),
        1 => (0_usize..8).prop_map(|connection| Event::Break { connection }),
        4 => Just(Event::Nothing),
    ]
}

/// Paths 0 to 3 share one place, 4 to 7 share three and a rate, the others have two places each.
fn path(queue: &mut Queue, site: u64) -> PathId {
    match site / 4 {
        0 => queue.path(key(0, site), limits(1, None)),
        1 => queue.path(key(1, site), limits(3, Some(Rate::per_second(200)))),
        _ => queue.path_alone(key(2, site), limits(2, None)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_served_by_following_the_hints(events in prop::collection::vec(event(), 1..200)) {
        let mut shell = Shell { queue: queue(), connections: Vec::new() };
        let mut arrived = 0;
        for (event, ms) in events.into_iter().zip(0..) {
            match event {
                Event::Arrive { path: site, class, count } => {
                    let path = path(&mut shell.queue, site);
                    let key = FlowKey { class: Class::ALL[class], tenant: 1, campaign: None, identity: 0 };
                    fill(&mut shell.queue, path, key, arrived..arrived + count, at(ms));
                    arrived += count;
                }
                Event::Suspend { path: site, for_ms } => {
                    let path = path(&mut shell.queue, site);
                    shell.queue.suspend(path, at(ms + for_ms), "test");
                }
                Event::Break { connection } if connection < shell.connections.len() => {
                    let connection = shell.connections.swap_remove(connection);
                    shell.queue.connection_closed(connection.path);
                }
                _ => {}
            }
            shell.step(at(ms));
        }
        for ms in 200..60_000 {
            if shell.queue.totals().waiting() == 0 {
                break;
            }
            shell.step(at(ms));
        }
        let left: Vec<_> = shell.queue.paths().into_iter().filter(|path| path.ready != [0; 4]).collect();
        prop_assert!(left.is_empty(), "not served: {left:#?}\n{:#?}", shell.connections);
    }
}
