//! One connection: the protocol is smtp's and the verdicts are the world's; this file moves bytes and counts what came.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail::{Enhanced, Reply, UnixMs};
use mta::io::Stream;
use policy::verdict::Fault;
use smtp::server::{Config, Peer, Question, ReceivedMessage, Session, Step, Verdicts};
use world::{Answer, Connection, Line, World};

use super::Desk;
use super::tally::Arrival;
use crate::ui::human;

/// Read at a time of what a silent server does not answer.
const UNHEARD_BYTES: usize = 4096;
/// How often a silent server looks whether the receiver is to stop.
const SILENCE_STEP: Duration = Duration::from_millis(250);

/// What the sessions of one thread share.
pub(super) struct Office {
    desk: Arc<Desk>,
    config: Arc<Config>,
    sessions: Cell<usize>,
    closing: Cell<bool>,
}

impl Office {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        let hostname = "sink.staffetta.test".to_owned();
        let config = Arc::new(Config { hostname, starttls: desk.tls.is_some(), ..Config::default() });
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

/// A client that is here: counted in, and out again however it leaves.
pub(super) struct Visit {
    office: Rc<Office>,
    client: IpAddr,
    /// Its standing with the world, and the greeting that waits for it.
    guest: Option<Connection>,
    greeting: Option<Answer>,
    /// How long the world takes for what is to be said next.
    delay: Duration,
    /// The world closes the connection after that.
    leave: bool,
    /// What happens instead of a reply.
    fault: Option<Fault>,
}

impl Visit {
    /// `client` has connected to a server of `provider`, or of all of them.
    pub(super) fn new(office: &Rc<Office>, client: IpAddr, provider: Option<&str>) -> Self {
        office.sessions.set(office.sessions.get() + 1);
        office.desk.book().tally.connected(client);
        let connect = |mut world: std::sync::MutexGuard<'_, World>| {
            let provider = provider.and_then(|name| world.provider_named(name));
            match provider {
                Some(provider) => world.connect_to(provider, client, now()),
                None => world.connect(client, now()),
            }
        };
        let (guest, greeting) = office.desk.world().map(connect).unzip();
        Self {
            office: Rc::clone(office),
            client,
            guest,
            greeting,
            delay: Duration::ZERO,
            leave: false,
            fault: None,
        }
    }

    fn session(&self) -> Session {
        let peer = Peer { ip: self.client, trusted: true };
        let verdicts = if self.guest.is_some() { Verdicts::ALL } else { Verdicts::default() };
        Session::with_verdicts(Arc::clone(&self.office.config), peer, verdicts)
    }

    /// Asks the world what the session asks; true when there was something to ask.
    fn settle(&mut self, session: &mut Session) -> bool {
        let Some(question) = session.question() else { return false };
        let answer = self.ask(question);
        self.fault = answer.as_ref().and_then(Answer::fault);
        match answer {
            _ if self.fault.is_some() => {}
            Some(answer) => session.answer(&self.heed(answer)),
            None => session.go_on(),
        }
        true
    }

    fn ask(&mut self, question: Question<'_>) -> Option<Answer> {
        if question == Question::Greeting {
            return self.greeting.take();
        }
        let mut world = self.office.desk.world()?;
        let guest = self.guest.as_mut()?;
        Some(match question {
            Question::Mail(envelope) => guest.mail(&mut world, &envelope.sender, now()),
            Question::Recipient(_, recipient) => guest.rcpt(&mut world, &recipient.address, now()),
            Question::Greeting => return None,
        })
    }

    /// Remembers how long an answer takes and whether it is the last.
    fn heed(&mut self, answer: Answer) -> Reply {
        self.delay += answer.delay;
        self.leave |= answer.close;
        answer.reply
    }

    /// A whole message: kept, judged, counted, answered.
    fn take(&mut self, session: &mut Session, message: ReceivedMessage) {
        let desk = Arc::clone(&self.office.desk);
        let token = desk.reports.as_ref().map(|reports| reports.remember(&message.body));
        if let (Some(token), Some(guest)) = (token, &mut self.guest) {
            guest.set_token(token);
        }
        let answer = match (desk.world(), &mut self.guest) {
            (Some(mut world), Some(guest)) => Some(guest.body(&mut world, &message.body, now())),
            _ => None,
        };
        self.fault = answer.as_ref().and_then(Answer::fault);
        if self.fault.is_some() {
            return;
        }
        let reply = answer.map(|answer| self.heed(answer));
        if let Some(refusal) = reply.as_ref().filter(|reply| !reply.is_positive()) {
            session.refuse(refusal);
        } else if let Some(Err(error)) = desk.files.as_ref().map(|files| files.keep(&message, self.client)) {
            eprintln!("sink: {error:#}");
            session.refuse(&Reply::enhanced(452, Enhanced(4, 3, 1), "the sink cannot write its files"));
        } else {
            let arrival = Arrival::of(&message);
            desk.book().arrived(self.client, &message, &arrival);
            session.accept(reply.as_ref().map_or("taken", |reply| reply.text.as_str()));
        }
        session.recycle(message.body);
    }

    /// Says what is to be said, as late as the world wants it; it is heard when it has come through the line.
    async fn speak(&mut self, session: &mut Session, line: &mut Line) {
        if session.output().is_empty() {
            return;
        }
        let delay = std::mem::take(&mut self.delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        line.put(session.output(), Instant::now());
    }

    /// Makes the TLS handshake that the client has asked for; false when it fails.
    async fn encrypt(&self, stream: &mut Stream) -> bool {
        let is_broken = self.guest.as_ref().is_some_and(|guest| guest.tls_fault().is_some());
        match &self.office.desk.tls {
            Some(tls) if !is_broken => stream.start_tls_server(Arc::clone(tls)).await.is_ok(),
            _ => false,
        }
    }

    /// Waits until the client of a server that says nothing more gives up; one that hangs up does not wait.
    async fn fall_silent(&self, fault: Fault, stream: &mut Stream) {
        let mut unheard = Vec::with_capacity(UNHEARD_BYTES);
        while fault == Fault::ReplyTimeout && !self.office.closing.get() {
            let read = stream.read(&mut unheard);
            match tokio::time::timeout(SILENCE_STEP, read).await {
                Ok(Ok(1..)) => unheard.clear(),
                Ok(_) => return,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.office.sessions.set(self.office.sessions.get() - 1);
        self.office.desk.book().tally.disconnected(self.client);
        if let (Some(guest), Some(mut world)) = (self.guest.take(), self.office.desk.world()) {
            guest.end(&mut world);
        }
    }
}

fn now() -> UnixMs {
    UnixMs(human::now_ms())
}

/// Serves one connection to its end.
pub(super) async fn run(mut stream: Stream, mut visit: Visit) {
    let mut session = visit.session();
    let mut line = Line::new(visit.office.desk.latency);
    loop {
        if let Some(fault) = visit.fault {
            // What was said before is still heard.
            visit.speak(&mut session, &mut line).await;
            drain(&mut stream, &mut line).await;
            return visit.fall_silent(fault, &mut stream).await;
        }
        match session.step() {
            Step::AwaitVerdict if visit.settle(&mut session) => {}
            Step::NeedInput | Step::AwaitVerdict => {
                visit.speak(&mut session, &mut line).await;
                if visit.leave || visit.office.closing.get() {
                    break;
                }
                if !listen(&mut stream, &mut session, &mut line).await {
                    return;
                }
            }
            Step::Flush => {
                visit.speak(&mut session, &mut line).await;
                if let Some(due) = line.due()
                    && hand_over(&mut stream, &mut line, due).await.is_err()
                {
                    return;
                }
            }
            Step::Message(message) => visit.take(&mut session, *message),
            Step::StartTls => {
                visit.speak(&mut session, &mut line).await;
                if !drain(&mut stream, &mut line).await || !visit.encrypt(&mut stream).await {
                    return;
                }
                session.tls_established();
            }
            Step::Close => {
                visit.speak(&mut session, &mut line).await;
                break;
            }
            Step::Authenticate { .. } => session.authenticated(None),
        }
    }
    // Nobody minds a failed goodbye.
    drain(&mut stream, &mut line).await;
}

/// Waits until all has come out of the line; false when the client is gone.
async fn drain(stream: &mut Stream, line: &mut Line) -> bool {
    while let Some(due) = line.due() {
        if hand_over(stream, line, due).await.is_err() {
            return false;
        }
    }
    true
}

/// Waits for the next input; meanwhile the client gets what comes out of the line. False when it is gone.
async fn listen(stream: &mut Stream, session: &mut Session, line: &mut Line) -> bool {
    while let Some(due) = line.due() {
        if due > Instant::now() {
            // A read that is given up for the moment is taken up by the next one, and no byte of it is lost.
            let read = tokio::select! {
                biased;
                read = stream.read_with(|bytes| session.feed(bytes)) => Some(read),
                () = tokio::time::sleep_until(due.into()) => None,
            };
            if let Some(read) = read {
                return matches!(read, Ok(1..));
            }
        }
        if hand_over(stream, line, due).await.is_err() {
            return false;
        }
    }
    matches!(stream.read_with(|bytes| session.feed(bytes)).await, Ok(1..))
}

/// Gives the client what comes out of the line at `due`.
async fn hand_over(stream: &mut Stream, line: &mut Line, due: Instant) -> std::io::Result<()> {
    // The timer rounds up to the next millisecond, also what is due already.
    if due > Instant::now() {
        tokio::time::sleep_until(due.into()).await;
    }
    match line.take(due) {
        Some(mut text) => stream.write_all(&mut text).await,
        None => Ok(()),
    }
}
