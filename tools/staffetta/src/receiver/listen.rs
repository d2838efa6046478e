//! One thread of the receiver: its listening sockets, its sessions, and its end.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use anyhow::Context;
use mta::io::{Listener, spawn};
use tokio::sync::watch;

use super::session::{self, Office, Visit};
use super::{Desk, Door};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// How often files are flushed, so that readers see them grow, and complaints are heard.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// How long sessions may take to end when the receiver stops.
const LEAVE: Duration = Duration::from_millis(300);

/// Listens, tells `ready` where, and serves until `stopped`.
pub(super) async fn serve(
    desk: Arc<Desk>,
    doors: Vec<Door>,
    mut stopped: watch::Receiver<bool>,
    ready: SyncSender<anyhow::Result<Vec<SocketAddr>>>,
) {
    let listeners = match bind(&doors) {
        Ok(listeners) => listeners,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let bound = listeners.iter().map(Listener::local_addr).collect();
    drop(ready.send(Ok(bound)));
    drop(ready);
    let office = Rc::new(Office::new(Arc::clone(&desk)));
    let accepting: Vec<_> = listeners
        .into_iter()
        .zip(doors)
        .map(|(listener, door)| spawn(accept(listener, door.provider, Rc::clone(&office))))
        .collect();
    while !*stopped.borrow() {
        tokio::select! {
            changed = stopped.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(FLUSH_INTERVAL), if desk.files.is_some() || desk.reports.is_some() => flush(&desk),
        }
    }
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    office.close();
    let last = async {
        while office.sessions() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // A session that does not end in time ends with the thread.
    drop(tokio::time::timeout(LEAVE, last).await);
}

fn bind(doors: &[Door]) -> anyhow::Result<Vec<Listener>> {
    let bind = |door: &Door| {
        Listener::bind(door.address, BACKLOG)
            .with_context(|| format!("{} cannot be listened on", door.address))
    };
    doors.iter().map(bind).collect()
}

async fn accept(listener: Listener, provider: Option<String>, office: Rc<Office>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let visit = Visit::new(&office, peer.ip(), provider.as_deref());
                spawn(session::run(stream, visit));
            }
            Err(fault) => eprintln!("sink: a connection cannot be accepted: {fault}"),
        }
    }
}

fn flush(desk: &Desk) {
    let flushed = desk.files.as_ref().map_or(Ok(()), |files| files.flush());
    if let Err(error) = flushed.and_then(|()| desk.hear()) {
        eprintln!("sink: {error:#}");
    }
}
