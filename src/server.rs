//! The whole broker as a value: recover, bind, serve, stop.
//!
//! Owns: the order of start (data first, then doors) and of stop (doors first, data last).

use crate::admin::AdminDoor;
use crate::auth::{Reload, Reloadable, Users, admission::Admission, password_file::PasswordFile};
use crate::aws::AwsDoor;
use crate::config::{Anonymous, CertificateUser, Config, Door, DoorRules, Protocol};
use crate::net::listener::{Bound, Entrance, Reception, bind};
use crate::net::tls;
use crate::registry::{Behaviours, Protocols};
use crate::runtime::caller::Caller;
use crate::runtime::mailbox::{Mail, Mailbox};
use crate::runtime::pager::Pager;
use crate::runtime::recovery::{Recovered, RecoveredWorker, recover};
use crate::runtime::shared::{Shared, TOPOLOGY_CONNECTION};
use crate::runtime::sys_topics;
use crate::runtime::topology_task::{TopologyRequest, TopologyTask, Wish};
use crate::runtime::{
    cleaning::{Budget, Cleaning},
    worker_task::WorkerTask,
};
use engine::worker::command::Asker;
use model::{Name, ids::RequestId};
use std::net::SocketAddr;
use std::sync::{Arc, atomic::AtomicUsize};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long connections may take to leave when the broker stops.
const DRAIN: Duration = Duration::from_secs(10);

/// A running broker.
pub struct Server {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    connections: TaskTracker,
    core: TaskTracker,
    doors: Vec<(Door, SocketAddr)>,
    announcement: Vec<String>,
    reloads: Reloads,
}

impl Server {
    /// Recovers the data directory, binds every door and serves. Errors: one clear sentence.
    pub async fn start(config: Config) -> Result<Self, String> {
        let bound = bind(&config).await?;
        let behaviours = Arc::new(Behaviours::new(&config));
        let (config, recovered) = tokio::task::spawn_blocking(move || {
            let recovered = recover(&config, behaviours);
            (config, recovered)
        })
        .await
        .map_err(|error| error.to_string())?;
        let Recovered { definitions, sessions, users, workers } = recovered?;

        let users = Users::new(config.users.clone(), users);
        let logs = workers.iter().map(|one| one.log.clone()).collect();
        let mailboxes = workers.iter().map(|_| Arc::new(Mailbox::default())).collect();
        let (publisher, topology) = watch::channel(Arc::new(definitions.topology().clone()));
        let (requests, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(mailboxes, topology, requests, users, &config, logs));
        let core = TaskTracker::new();
        for recovered in workers {
            let task = worker_task(recovered, &shared, &config)?;
            task.into_iter().for_each(|task| {
                core.spawn(task.run());
            });
        }
        core.spawn(TopologyTask::new(shared.clone(), definitions, sessions, publisher).run(inbox));
        let caller = Caller::new(shared.clone());
        tokio::spawn(caller.clone().run());

        let aws = Arc::new(AwsDoor::new(caller.clone(), aws_config(&config)));
        let doors: Vec<_> = bound.iter().map(|bound| (bound.door.clone(), bound.address)).collect();
        let admin = Arc::new(AdminDoor::new(shared.clone(), caller, &config, doors.clone()));
        tokio::spawn(admin.clone().sample());
        let protocols = Protocols::new(&config, aws, admin);
        let (entrances, reloads) = entrances(&config.doors, &protocols)?;
        let announcement = announce(&config, &bound, &shared.users);
        let reception = Reception {
            shared: shared.clone(),
            protocols: Arc::new(protocols),
            connections_max: config.connections_max,
            message_bytes_max: config.message_bytes_max,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        let server = Self {
            shared,
            shutdown: reception.shutdown.clone(),
            connections: reception.tasks.clone(),
            core,
            doors,
            announcement,
            reloads,
        };
        if config.mqtt_sys_interval_s > 0 {
            let (vhost, report) = reception.protocols.sys_report(server.shared.now());
            let interval = Duration::from_secs(config.mqtt_sys_interval_s);
            let (shared, shutdown) = (server.shared.clone(), server.shutdown.clone());
            server.connections.spawn(sys_topics::run(shared, vhost, interval, report, shutdown));
        }
        for (bound, entrance) in bound.into_iter().zip(entrances) {
            server.connections.spawn(reception.clone().accept(bound, entrance));
        }
        Ok(server)
    }

    /// What to tell the person who started it: a line per door, where the data is, and that it is ready.
    pub fn announcement(&self) -> &[String] {
        &self.announcement
    }

    /// Where a door of this key (`listen.amqp`, ...) listens.
    pub fn address(&self, key: &str) -> Option<SocketAddr> {
        self.doors.iter().find(|(door, _)| door.key == key).map(|(_, address)| *address)
    }

    /// Reads password files and access control lists again; who is in is bound by the new lists at once.
    pub fn reload(&self) {
        self.reloads.iter().for_each(|file| file.reload());
    }

    /// Drains: no new connections, existing ones are told to leave, then everything is made durable.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            tracing::warn!(open = self.connections.len(), "connections did not leave in time");
        }
        let asker = Asker { connection: TOPOLOGY_CONNECTION, request: RequestId(0) };
        let stop = TopologyRequest { asker, vhost: Name::new(), wish: Wish::Stop };
        if self.shared.definitions.send(stop).is_err() {
            tracing::debug!("the topology task had stopped before");
        }
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.push(Mail::Stop));
        self.core.close();
        self.core.wait().await;
        tracing::info!("stopped; everything is on the disk");
    }
}

fn worker_task(
    recovered: RecoveredWorker,
    shared: &Arc<Shared>,
    config: &Config,
) -> Result<Option<WorkerTask>, String> {
    let RecoveredWorker { worker, effects, log, pages } = recovered;
    let id = worker.id();
    let Some(mailbox) = shared.mailbox(id).cloned() else { return Ok(None) };
    let budget = Budget { log_bytes: config.log_budget_bytes, snapshot_bytes: config.snapshot_bytes };
    let cleaning = Cleaning::new(log.clone(), mailbox.clone(), budget, shared.now());
    let pager = Pager::start(id, pages, mailbox).map_err(|error| format!("cannot start threads: {error}"))?;
    Ok(WorkerTask::new(id, (worker, effects), shared.clone(), log, (cleaning, pager)))
}

/// Files to be read again on demand.
type Reloads = Vec<Arc<dyn Reload>>;

/// The doors with what their rules need, and the files to be read again on demand.
fn entrances(doors: &[Door], protocols: &Protocols) -> Result<(Vec<Arc<Entrance>>, Reloads), String> {
    let mut reloads = Reloads::new();
    let mut entrances = Vec::new();
    for door in doors {
        let rules = &door.rules;
        let secure = rules.tls.as_ref().filter(|_| door.tls);
        let mut admission = Admission::USERS_ONLY;
        if door.protocol == Protocol::Mqtt {
            admission.anonymous = rules.anonymous;
            admission.certificate = rules.certificate;
            if let Some(path) = &rules.password_file {
                let file = Arc::new(Reloadable::open(path, PasswordFile::parse)?);
                reloads.push(file.clone());
                admission.passwords = Some(file);
            }
        }
        entrances.push(Arc::new(Entrance {
            door: door.clone(),
            tls: secure.map(tls::acceptor).transpose().map_err(|error| error.to_string())?,
            admission: Arc::new(admission),
            sessions: protocols.sessions(door, &mut reloads)?,
            open: AtomicUsize::new(0),
        }));
    }
    Ok((entrances, reloads))
}

fn aws_config(config: &Config) -> crate::aws::AwsConfig {
    let open =
        config.doors.iter().any(|door| door.protocol == Protocol::Aws && !door.address.ip().is_loopback());
    crate::aws::AwsConfig {
        region: config.aws_region.clone(),
        account: config.aws_account.clone(),
        keys: config
            .aws_keys
            .iter()
            .map(|key| crate::aws::AccessKey {
                id: key.id.clone(),
                secret: key.secret.clone(),
                account: key.account.clone().unwrap_or_else(|| config.aws_account.clone()),
            })
            .collect(),
        verify: open || !config.aws_keys.is_empty(),
        ..crate::aws::AwsConfig::default()
    }
}

fn mqtt_guests(rules: &DoorRules, users: &Users) -> &'static str {
    let (file, guest) = (rules.password_file.is_some(), users.only_guest());
    match (rules.certificate, rules.anonymous) {
        (CertificateUser::CommonName | CertificateUser::Subject, _) => "holders of certificates",
        (_, Anonymous::Yes | Anonymous::Any) => "anyone",
        (_, Anonymous::Loopback) if file => "anyone from loopback, users of the password file",
        (_, Anonymous::Loopback) if guest => "anyone from loopback, user guest from loopback",
        (_, Anonymous::Loopback) => "anyone from loopback, configured users",
        (_, Anonymous::No) if file => "users of the password file",
        (_, Anonymous::No) if guest => "user guest (password guest) from loopback",
        (_, Anonymous::No) => "configured users",
    }
}

fn announce(config: &Config, bound: &[Bound], users: &Users) -> Vec<String> {
    let mut lines = Vec::new();
    for Bound { door, address, .. } in bound {
        let who = match door.protocol {
            Protocol::Aws if aws_config(config).verify => "configured access keys",
            Protocol::Aws => "any access key",
            Protocol::Mqtt => mqtt_guests(&door.rules, users),
            _ if users.only_guest() => "user guest (password guest) from loopback",
            _ => "configured users",
        };
        lines.push(format!("{:<22} {:<42} open to {who}", address, door.name));
    }
    lines.push(format!("data in {}", config.data.display()));
    lines.push("ready".to_owned());
    lines
}
