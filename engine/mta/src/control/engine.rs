//! The engine as a whole: started from a configuration, stopped without losing anything.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use policy::config::Config;
use spool::SpoolLock;

use super::handle::Handle;
use super::room;
use super::start::{self, StartError};
use super::takeover;
use crate::accept;
use crate::brain::{self, BrainRoom, Ears};
use crate::campaigns::Campaigns;
use crate::classification::Classifier;
use crate::clock::Clock;
use crate::control::destination::Destinations;
use crate::io::{self, Receiver, ShardThread};
use crate::logins;
use crate::mta_sts::MtaSts;
use crate::shard::{Birth, Recordings, ToShard, Written};
use crate::shared::{Condition, Counting, Shared};
use crate::signing::Signing;
use crate::sources::Sources;
use crate::tls_report::{self, TlsReports};

/// Messages that a shard's ring holds: some milliseconds of full load.
const RING_CAPACITY: usize = 16_384;
/// How much longer than the grace the engine waits for a shard that winds down.
const WIND_DOWN_MARGIN: Duration = Duration::from_secs(5);

/// A running engine.
pub struct Engine {
    shared: Arc<Shared>,
    threads: Vec<ShardThread<()>>,
    control: tokio::runtime::Runtime,
    addresses: Vec<SocketAddr>,
    _lock: Arc<SpoolLock>,
}

impl Engine {
    /// Starts the engine; when it returns, everything that was queued is queued again and every listener stands.
    ///
    /// # Errors
    /// One sentence that says what is missing and how to mend it.
    pub fn start(config: Arc<Config>) -> Result<Self, StartError> {
        Self::start_in(config, Condition::default())
    }

    /// The same on a spool that was restored from a copy: everything is queued and mail is accepted, but nothing leaves
    /// until [`Handle::release`], because what was finished after the copy was made waits in it again.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_restored(config: Arc<Config>) -> Result<Self, StartError> {
        tracing::warn!("restored: nothing is sent until `staffetta queue release`");
        Self::start_in(config, Condition { holding: true.into(), ..Condition::default() })
    }

    fn start_in(config: Arc<Config>, condition: Condition) -> Result<Self, StartError> {
        start::raise_file_limit();
        start::keep_pages_small();
        start::warn_of_risks(&config);
        start::check_host(&config)?;
        let config = logins::with_passwords(config).map_err(StartError)?;
        let lock = start::lock(&config.node.data_dir)?;
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(StartError::because)?;
        let logs = start::open_logs(
            &config.node.data_dir,
            start::shard_count(&config),
            start::spool_options(&config),
        )?;
        let host_name = start::host_name(&config);
        let doors = accept::doors(&config, &host_name, logs.len()).map_err(StartError)?;
        let signing = Signing::load(&config, logs.len()).map_err(StartError)?;
        let campaigns = Campaigns::default();
        for (log, recovered) in &logs {
            report_recovery(recovered);
            start::recover_campaigns(&campaigns, &log.reader(), &recovered.campaigns);
        }
        let (rings, receivers): (Vec<_>, Vec<_>) = logs.iter().map(|_| io::mailbox(RING_CAPACITY)).unzip();
        let tls_reports = TlsReports::open(&config.node.data_dir);
        let destinations = {
            let _inside = control.enter();
            Destinations::new(Arc::clone(&config), &tls_reports).map_err(StartError)?
        };
        let clock = Clock::default();
        let (brain, ears) = BrainRoom::open(&config, logs.len(), clock.now());
        let shared = Arc::new(Shared {
            brain,
            sources: Sources::new(&config, host_name.clone()),
            host_name,
            clock,
            shards: rings,
            readers: logs.iter().map(|(log, _)| log.reader()).collect(),
            counting: Counting {
                shards: logs.iter().map(|_| Arc::default()).collect(),
                books: logs.iter().map(|_| Arc::default()).collect(),
                tls_reports,
                classifier: Classifier::new(config.classes.behaviour),
            },
            campaigns,
            signing,
            destinations,
            control: control.handle().clone(),
            recordings: Recordings::new(logs.len()),
            written: Written::new(logs.len()),
            condition,
            config,
        });
        let mut logs: Vec<_> = logs.into_iter().map(|(log, _)| log).collect();
        let outboxes = takeover::take_over(&shared, &mut logs)?;
        let mut engine = Self { shared, threads: Vec::new(), control, addresses: Vec::new(), _lock: lock };
        if let Err(error) = engine.start_shards(logs.into_iter().zip(outboxes), receivers, doors) {
            // Those that live already must not go on without the others.
            engine.stop();
            return Err(error);
        }
        engine.start_tasks(ears);
        Ok(engine)
    }

    /// Starts what works beside the shards until the engine stops.
    fn start_tasks(&self, ears: Ears) {
        let shared = &self.shared;
        self.control.spawn(brain::keep(Arc::clone(shared), ears));
        self.control.spawn(room::watch(Arc::clone(shared), shared.config.node.data_dir.clone()));
        self.control.spawn(tls_report::keep(Arc::clone(shared)));
        if let Some(mta_sts) = shared.destinations.mta_sts() {
            self.control.spawn(mta_sts.clone().keep(Arc::clone(shared)));
        }
    }

    fn start_shards(
        &mut self,
        logs: impl Iterator<Item = (spool::Log, Option<spool::Outbox>)>,
        receivers: Vec<Receiver<ToShard>>,
        mut doors: Vec<accept::Door>,
    ) -> Result<(), StartError> {
        for (index, ((log, outbox), ring)) in logs.zip(receivers).enumerate() {
            let (born, birth_told) = mpsc::channel();
            let birth = Birth {
                index: u8::try_from(index).unwrap_or(u8::MAX),
                shared: Arc::clone(&self.shared),
                log,
                outbox,
                ring,
                doors: doors.clone(),
                born,
            };
            let thread =
                io::run_shard(index, move || crate::shard::run(birth)).map_err(StartError::because)?;
            let told =
                birth_told.recv().map_err(|_| StartError(format!("shard {index} ended while it started")))?;
            let addresses = told.map_err(StartError)?;
            self.threads.push(thread);
            doors = start::settled(doors, &addresses);
            self.addresses = addresses;
        }
        Ok(())
    }

    /// What others use the engine by.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    /// Where SMTP is taken, in the order of the configuration.
    #[must_use]
    pub fn smtp_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The runtime for what is not per message.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.control.handle()
    }

    /// Stops: accepts nothing more, finishes the transactions in flight as long as `deliver.stop_grace` lasts, makes
    /// everything durable. What is not finished is queued again at the next start.
    pub fn stop(mut self) {
        self.shared.condition.stopping.store(true, Ordering::Release);
        let wait = self.shared.config.deliver.stop_grace + WIND_DOWN_MARGIN;
        let (done, finished) = mpsc::channel();
        for index in 0..self.shared.shards.len() {
            let done = done.clone();
            self.tell(index, move |shard| {
                let shard = std::rc::Rc::clone(shard);
                io::spawn(async move {
                    shard.wind_down().await;
                    // The stopping thread may have given up waiting.
                    let _ = done.send(());
                });
            });
        }
        drop(done);
        let all = self.shared.shards.iter().all(|_| finished.recv_timeout(wait).is_ok());
        if !all {
            tracing::warn!(
                "a shard did not finish in time; what it had under way is repeated after the next start"
            );
        }
        self.keep_learned();
        // Outcomes that were sent home are in the rings before this.
        for index in 0..self.shared.shards.len() {
            self.tell(index, |shard| shard.bells.end.notify_one());
        }
        std::mem::take(&mut self.threads).into_iter().for_each(ShardThread::join);
        self.keep_for_next_start();
        self.control.shutdown_timeout(Duration::from_secs(1));
    }

    /// Writes what is no mail and should outlive the stop.
    fn keep_for_next_start(&self) {
        if let Err(error) = self.shared.counting.tls_reports.save() {
            tracing::warn!(%error, "the counts for TLS reports cannot be written");
        }
        if let Some(Err(error)) = self.shared.destinations.mta_sts().map(MtaSts::save) {
            tracing::warn!(%error, "MTA-STS policies cannot be written");
        }
    }

    /// Writes what budgets and the brain have learned.
    fn keep_learned(&self) {
        let (tell, told) = mpsc::channel();
        for index in 0..self.shared.shards.len() {
            let tell = tell.clone();
            self.tell(index, move |shard| {
                // The stopping thread may have given up waiting.
                let _ = tell.send(shard.learned());
            });
        }
        drop(tell);
        let shards = 0..self.shared.shards.len();
        let learned = shards.filter_map(|_| told.recv_timeout(WIND_DOWN_MARGIN).ok()).flatten();
        brain::write(&self.shared, learned.collect::<Vec<_>>().into_iter());
    }

    fn tell(&self, shard: usize, what: impl FnOnce(&std::rc::Rc<crate::shard::Shard>) + Send + 'static) {
        let mut message = ToShard::Call(Box::new(what));
        while let Err(back) = self.shared.shards[shard].try_send(message) {
            if self.shared.shards[shard].is_closed() {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn report_recovery(recovered: &spool::Recovered) {
    for damage in &recovered.damage {
        tracing::error!(record = %damage.id, bytes = damage.bytes, what = damage.what, kept_in = ?damage.kept_in, "damaged spool record set aside");
    }
    if recovered.waiting > 0 {
        tracing::info!(waiting = recovered.waiting, "recipients queued again");
    }
}
