//! One connection: the protocol is smtp's, this file moves bytes and counts what came.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use mail::{Enhanced, Reply};
use mta::io::Stream;
use smtp::server::{Config, Peer, ReceivedMessage, Session, Step};

use super::Desk;
use super::tally::Arrival;

/// What the sessions of one thread share.
pub(super) struct Office {
    desk: Arc<Desk>,
    config: Arc<Config>,
    sessions: Cell<usize>,
    closing: Cell<bool>,
}

impl Office {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        let config = Arc::new(Config { hostname: "sink.staffetta.test".to_owned(), ..Config::default() });
        Self { desk, config, sessions: Cell::new(0), closing: Cell::new(false) }
    }

    /// Sessions that are open.
    pub(super) const fn sessions(&self) -> usize {
        self.sessions.get()
    }

    /// From now on every session ends with its next reply.
    pub(super) fn close(&self) {
        self.closing.set(true);
    }
}

/// Counts a connection in, and out again however it ends.
struct Presence {
    office: Rc<Office>,
    client: IpAddr,
}

impl Presence {
    fn new(office: &Rc<Office>, client: IpAddr) -> Self {
        office.sessions.set(office.sessions.get() + 1);
        office.desk.book().tally.connected(client);
        Self { office: Rc::clone(office), client }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.office.sessions.set(self.office.sessions.get() - 1);
        self.office.desk.book().tally.disconnected(self.client);
    }
}

/// Serves one connection to its end.
pub(super) async fn run(mut stream: Stream, client: IpAddr, at: SocketAddr, office: Rc<Office>) {
    let _presence = Presence::new(&office, client);
    let mut session = Session::new(Arc::clone(&office.config), Peer { ip: client, trusted: true });
    let _ = at;
    loop {
        match session.step() {
            Step::NeedInput | Step::AwaitVerdict => {
                if !session.output().is_empty() && stream.write_all(session.output()).await.is_err() {
                    return;
                }
                if office.closing.get() || !matches!(stream.read(session.input()).await, Ok(1..)) {
                    return;
                }
            }
            Step::Flush => {
                if stream.write_all(session.output()).await.is_err() {
                    return;
                }
            }
            Step::Message(message) => take(&mut session, *message, client, &office),
            Step::StartTls | Step::Close => {
                // The sink offers no STARTTLS, so this is the end in both cases; nobody minds a failed goodbye.
                drop(stream.write_all(session.output()).await);
                return;
            }
            Step::Authenticate { .. } => session.authenticated(None),
        }
    }
}

fn take(session: &mut Session, message: ReceivedMessage, client: IpAddr, office: &Office) {
    if let Some(files) = &office.desk.files
        && let Err(error) = files.keep(&message, client)
    {
        eprintln!("sink: {error:#}");
        let reply = Reply::enhanced(452, Enhanced(4, 3, 1), "the sink cannot write its files");
        return session.refuse(&reply);
    }
    let arrival = Arrival::of(&message);
    office.desk.book().arrived(client, &message, &arrival);
    session.accept("taken");
    session.recycle(message.body);
}
