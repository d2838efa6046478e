//! Connections to the pretend providers, and the pool of each path. It refuses to decide anything.

use mail::{Reply, UnixMs};
use policy::verdict::Fault;
use queue::{FlowKey, PathId, PathKey, Ticket};
use rustc_hash::FxHashMap;
use world::{Answer, Cause, Connection};

/// What a provider said, and why if it was no.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) reply: Reply,
    pub(crate) cause: Option<Cause>,
    pub(crate) close: bool,
    /// What happened instead of a reply.
    pub(crate) fault: Option<Fault>,
}

impl Said {
    pub(crate) fn of(answer: Answer) -> Self {
        let fault = answer.fault();
        Self { reply: answer.reply, cause: answer.cause, close: answer.close || fault.is_some(), fault }
    }
}

/// What a connection waits for.
#[derive(Debug)]
pub(crate) enum Await {
    /// The greeting.
    Greeting(Said),
    /// The end of the envelope: the message goes then.
    Envelope(Ticket, FlowKey),
    /// The reply to the recipient.
    Recipient(Ticket, FlowKey, Said),
    /// The reply to the message.
    Message(Ticket, FlowKey, Said),
    /// Work, until it has been idle for too long.
    Work,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) path: PathId,
    pub(crate) key: PathKey,
    pub(crate) guest: Option<Connection>,
    pub(crate) awaits: Await,
    /// Messages begun.
    pub(crate) begun: u32,
    /// Of those, how many the provider has answered for and went on listening.
    pub(crate) heard: u32,
    /// Of those, how many it refused before it had the message.
    pub(crate) refused: u32,
    /// Counts what the line was told to await, so that a stale timer is known.
    pub(crate) turn: u32,
    is_open: bool,
}

/// The connections of one path.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    opening: u32,
    open: u32,
    idle: Vec<u32>,
    /// When the path is looked at again.
    armed: Option<UnixMs>,
    /// Failed connections in a row.
    failures: usize,
    /// The path rests until then.
    rests_until: UnixMs,
}

impl Pool {
    /// Whether one more may be opened: as many at a time as are open, and one to begin with.
    pub(crate) fn may_open(&self) -> bool {
        self.opening < self.open.max(1)
    }

    pub(crate) fn is_armed(&self, now: UnixMs) -> bool {
        self.armed.is_some_and(|at| at > now)
    }

    /// Notes when the path is looked at again; false when that is so already.
    pub(crate) fn arm(&mut self, at: UnixMs, now: UnixMs) -> bool {
        let is_new = self.armed.is_none_or(|armed| armed > at || armed <= now);
        if is_new {
            self.armed = Some(at);
        }
        is_new
    }

    /// The moment has come; false when another one counts.
    pub(crate) fn disarm(&mut self, at: UnixMs) -> bool {
        let counts = self.armed == Some(at);
        if counts {
            self.armed = None;
        }
        counts
    }

    /// Whatever the path waited for may have changed.
    pub(crate) const fn forget_alarm(&mut self) {
        self.armed = None;
    }

    /// Open connections, and those that are being opened.
    pub(crate) const fn connections(&self) -> u32 {
        self.open + self.opening
    }

    /// Connections that are open.
    pub(crate) const fn open(&self) -> u32 {
        self.open
    }

    /// The provider has answered for a recipient.
    pub(crate) const fn works(&mut self) {
        self.failures = 0;
    }

    /// Counts one more failure to connect, unless the path rests already; how many there were before.
    pub(crate) fn failed(&mut self, now: UnixMs) -> Option<usize> {
        if self.rests_until > now {
            return None;
        }
        self.failures += 1;
        Some(self.failures - 1)
    }

    /// Notes a rest; false when the path rests as long already.
    pub(crate) fn rests(&mut self, until: UnixMs) -> bool {
        let is_longer = self.rests_until < until;
        self.rests_until = self.rests_until.max(until);
        is_longer
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rows: Vec<Option<Line>>,
    free: Vec<u32>,
    pools: FxHashMap<PathId, Pool>,
}

impl Lines {
    pub(crate) fn pool(&mut self, path: PathId) -> &mut Pool {
        self.pools.entry(path).or_default()
    }

    pub(crate) fn add(&mut self, path: PathId, key: PathKey, guest: Connection, greeting: Said) -> u32 {
        self.pool(path).opening += 1;
        let awaits = Await::Greeting(greeting);
        let line = Line {
            path,
            key,
            guest: Some(guest),
            awaits,
            begun: 0,
            heard: 0,
            refused: 0,
            turn: 0,
            is_open: false,
        };
        match self.free.pop() {
            Some(index) => {
                self.rows[index as usize] = Some(line);
                index
            }
            None => {
                self.rows.push(Some(line));
                self.rows.len() as u32 - 1
            }
        }
    }

    pub(crate) fn get(&mut self, index: u32) -> Option<&mut Line> {
        self.rows.get_mut(index as usize)?.as_mut()
    }

    /// The greeting was kind.
    pub(crate) fn opened(&mut self, index: u32) {
        let Some(line) = self.rows[index as usize].as_mut() else { return };
        line.is_open = true;
        let pool = self.pools.entry(line.path).or_default();
        pool.opening -= 1;
        pool.open += 1;
    }

    /// Takes a connection out.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Line> {
        let line = self.rows.get_mut(index as usize)?.take()?;
        self.free.push(index);
        let pool = self.pools.entry(line.path).or_default();
        if line.is_open {
            pool.open -= 1;
        } else {
            pool.opening -= 1;
        }
        pool.idle.retain(|&idle| idle != index);
        Some(line)
    }

    /// Lets a connection wait for work.
    pub(crate) fn put_idle(&mut self, index: u32) {
        let Some(line) = self.rows[index as usize].as_mut() else { return };
        line.awaits = Await::Work;
        line.turn += 1;
        self.pools.entry(line.path).or_default().idle.push(index);
    }

    /// Recipients that are being offered to providers.
    pub(crate) fn under_way(&self) -> u64 {
        let carries = |line: &&Line| {
            matches!(line.awaits, Await::Envelope(..) | Await::Recipient(..) | Await::Message(..))
        };
        self.rows.iter().flatten().filter(carries).count() as u64
    }

    /// The connection of a path that has waited for the shortest time.
    pub(crate) fn take_idle(&mut self, path: PathId) -> Option<u32> {
        self.pools.get_mut(&path)?.idle.pop()
    }

    /// All connections of a path that wait for work; they do not any more.
    pub(crate) fn take_all_idle(&mut self, path: PathId) -> Vec<u32> {
        self.pools.get_mut(&path).map_or_else(Vec::new, |pool| std::mem::take(&mut pool.idle))
    }
}
