//! The task around one worker: mailbox in, effects out.
//!
//! Owns: the worker, its clock readings, the way of its effects to outboxes, the log, the pager and other workers.
//! Refuses: waiting for anyone but its own mailbox and timer.

use super::cleaning::Cleaning;
use super::dispatcher::Dispatcher;
use super::mailbox::{Mail, Mailbox};
use super::pager::Pager;
use super::shared::{Shared, worker_connection};
use super::topology_task::{TopologyRequest, Wish};
use crate::net::outbox::{Event, Outbox};
use engine::worker::{
    Worker,
    command::{Asker, WorkerCommand},
    effect::{DeadLetter, Effects},
};
use model::{
    Millis, Name,
    command::{Publish, Reply},
    delivery::{Confirm, Lease, Outcome},
    ids::{ConfirmToken, ConnectionId, ConsumerId, Lsn, RequestId, WorkerId},
};
use rustc_hash::FxHashMap;
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;
use store::{Batch, LocalLog, WorkerLog};

/// Turns after which the task lets others run even when more waits.
const TURNS_PER_POLL: usize = 8;

/// Between two looks at the totals, milliseconds.
const MEASURE_MS: Millis = 50;

/// Events on their way to one connection.
#[derive(Default)]
struct Staged {
    outbox: Option<Arc<Outbox>>,
    now: Vec<Event>,
    durable: Vec<Event>,
    window: u64,
    durable_window: u64,
    touched: bool,
}

/// A worker with everything around it.
pub(crate) struct WorkerTask {
    id: WorkerId,
    worker: Worker,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    log: Arc<LocalLog>,
    cleaning: Cleaning,
    pager: Arc<Pager>,
    outbox: Arc<Outbox>,
    effects: Effects,
    peers: FxHashMap<ConnectionId, Staged>,
    touched: Vec<ConnectionId>,
    dispatcher: Dispatcher,
    dead_letters: FxHashMap<ConfirmToken, Lease>,
    next_token: u64,
    /// End of the segment being cleaned, once all of it was read.
    surveyed: Option<Lsn>,
    measured: Millis,
    /// Something happened since.
    unmeasured: bool,
    stopping: bool,
}

impl WorkerTask {
    /// A task for a worker that has recovered, with what came of that.
    pub(crate) fn new(
        id: WorkerId,
        (worker, effects): (Worker, Effects),
        shared: Arc<Shared>,
        log: Arc<LocalLog>,
        (cleaning, pager): (Cleaning, Pager),
    ) -> Option<Self> {
        let mailbox = shared.mailbox(id)?.clone();
        let outbox = Arc::new(Outbox::default());
        shared.enter_as(worker_connection(id), outbox.clone());
        Some(Self {
            id,
            worker,
            mailbox,
            dispatcher: Dispatcher::new(shared.clone(), worker_connection(id)),
            shared,
            log,
            cleaning,
            pager: Arc::new(pager),
            outbox,
            effects,
            peers: FxHashMap::default(),
            touched: Vec::new(),
            dead_letters: FxHashMap::default(),
            next_token: 1,
            surveyed: None,
            measured: 0,
            unmeasured: true,
            stopping: false,
        })
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self) {
        let mut mail = Vec::new();
        let mut events = Vec::new();
        let mut more = true;
        let mut turns = 0;
        while !self.stopping {
            if !more {
                self.wait().await;
                turns = 0;
            }
            turns += 1;
            if turns > TURNS_PER_POLL {
                turns = 0;
                tokio::task::yield_now().await;
            }
            more = self.turn(&mut mail, &mut events);
        }
        // The last records first: they say which pages are to be removed.
        self.log.close();
        self.pager.close();
        self.cleaning.close();
    }

    async fn wait(&self) {
        let now = self.shared.now();
        let deadlines = [self.worker.next_deadline(), self.cleaning.deadline(now)];
        let deadline = deadlines.into_iter().flatten().min().map_or(3_600_000, |at| at.saturating_sub(now));
        // Publishers may be waiting for what only a look at the totals shows.
        let watch = self.unmeasured || self.log.backlog_bytes() > 0 || self.shared.alarm_on();
        let deadline = if watch { deadline.min(MEASURE_MS) } else { deadline };
        tokio::select! {
            () = self.mailbox.notified() => {}
            () = self.outbox.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(deadline)) => {}
        }
    }

    /// One turn; true when more is to be done at once.
    fn turn(&mut self, mail: &mut Vec<Mail>, events: &mut Vec<Event>) -> bool {
        let now = self.shared.now();
        self.dispatcher.refresh();
        self.mailbox.swap(mail);
        let had_mail = !mail.is_empty();
        for mail in mail.drain(..) {
            self.read(mail, now);
        }
        self.outbox.swap(events);
        for event in events.drain(..) {
            if let Event::Confirm(confirm) = event {
                self.dead_letter_safe(confirm, now);
            }
        }
        if self.worker.next_deadline().is_some_and(|at| at <= now) {
            self.worker.tick(now, &mut self.effects);
        }
        let mut more = self.worker.pump(now, &mut self.effects);
        more |= self.carry_out(now);
        let due = self.worker.next_deadline().is_some_and(|at| at <= now);
        more || had_mail || due
    }

    fn read(&mut self, mail: Mail, now: Millis) {
        match mail {
            Mail::Command(WorkerCommand::Disconnect { connection, at }) => {
                self.worker.apply(WorkerCommand::Disconnect { connection, at }, now, &mut self.effects);
                self.peers.remove(&connection);
            }
            Mail::Command(command) => self.worker.apply(command, now, &mut self.effects),
            Mail::Survey(records) => {
                let live = records.iter().filter_map(|record| self.worker.survivor(record));
                self.effects.records.extend(live);
            }
            // Only after this turn's records, the survivors among them, are on their way.
            Mail::Surveyed(end) => self.surveyed = Some(end),
            Mail::Stop => self.stopping = true,
        }
    }

    /// Does what came of the turn; true when the worker has more to hand out at once.
    fn carry_out(&mut self, now: Millis) -> bool {
        let mut more = false;
        while !self.effects.dead_letters.is_empty() {
            for letter in std::mem::take(&mut self.effects.dead_letters) {
                self.republish(letter, now);
            }
            more |= self.worker.pump(now, &mut self.effects);
        }
        self.dispatcher.flush();
        for queue in std::mem::take(&mut self.effects.ended) {
            let asker = Asker { connection: worker_connection(self.id), request: RequestId(0) };
            let wish = Wish::QueueEnded(queue);
            let request = TopologyRequest { asker, vhost: Name::new(), wish };
            if self.shared.definitions.send(request).is_err() {
                tracing::debug!("the broker is shutting down: a queue's end was not told");
            }
        }
        self.unmeasured = now < self.measured + MEASURE_MS;
        // Before the log can say that a page is dead: what is still to be read of it is read then.
        self.pager.carry_out(&mut self.effects.page_outs, &mut self.effects.page_ins);
        self.stage();
        self.send();
        if let Some(end) = self.surveyed.take() {
            self.cleaning.surveyed(end);
        }
        if !self.unmeasured {
            self.measured = now;
            self.measure(now);
        }
        more
    }

    /// Looks at totals, which costs a step per queue, and at what follows from them.
    fn measure(&mut self, now: Millis) {
        let stats = self.worker.stats();
        if let Some(held) = self.shared.held_bytes.get(usize::from(self.id.0)) {
            held.store(stats.memory_bytes, Ordering::Relaxed);
        }
        if let Some(outrun) = self.shared.outrun.get(usize::from(self.id.0)) {
            outrun.store(stats.outruns_paging, Ordering::Relaxed);
        }
        self.shared.note_stats(self.id, stats);
        self.shared.tell_alarm();
        self.worker.press(self.shared.memory_short());
        let full = self.log.disk_full() || self.pager.disk_full();
        self.cleaning.look(&mut self.worker, full, now);
    }

    fn peer(&mut self, connection: ConnectionId) -> &mut Staged {
        let shared = &self.shared;
        let staged = self
            .peers
            .entry(connection)
            .or_insert_with(|| Staged { outbox: shared.outbox(connection), ..Staged::default() });
        if !staged.touched {
            staged.touched = true;
            self.touched.push(connection);
        }
        staged
    }

    /// Sorts the turn's effects by connection. Deliveries go before confirms: who subscribes to what it publishes
    /// sees the message first, as with mosquitto. What a stream shows waits for the disk: a reader goes on behind the
    /// offset that it saw, so after a crash that offset may not belong to another record.
    fn stage(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for (asker, reply) in effects.replies.drain(..) {
            let shows_stream = matches!(&reply, Reply::Records { records, .. } if !records.is_empty());
            let peer = self.peer(asker.connection);
            let events = if shows_stream { &mut peer.durable } else { &mut peer.now };
            events.push(Event::Reply(asker.request, Box::new(reply)));
        }
        for (connection, signal) in effects.signals.drain(..) {
            self.peer(connection).now.push(Event::Signal(signal));
        }
        for (connection, delivery) in effects.deliveries.drain(..) {
            let peer = self.peer(connection);
            let (events, window) = match delivery.offset {
                Some(_) => (&mut peer.durable, &mut peer.durable_window),
                None => (&mut peer.now, &mut peer.window),
            };
            *window += delivery.message.cost_bytes() as u64;
            events.push(Event::Delivery(delivery));
        }
        for (connection, confirm) in effects.confirms.drain(..) {
            self.peer(connection).now.push(Event::Confirm(confirm));
        }
        for (asker, reply) in effects.durable_replies.drain(..) {
            self.peer(asker.connection).durable.push(Event::Reply(asker.request, Box::new(reply)));
        }
        for (connection, confirm) in effects.durable_confirms.drain(..) {
            self.peer(connection).durable.push(Event::Confirm(confirm));
        }
        self.effects = effects;
    }

    /// Wakes each connection once, and gives the log what waits for the disk.
    fn send(&mut self) {
        let mut after_sync: Vec<(Arc<Outbox>, Vec<Event>)> = Vec::new();
        for connection in self.touched.drain(..) {
            let Some(peer) = self.peers.get_mut(&connection) else { continue };
            peer.touched = false;
            let window = std::mem::take(&mut peer.window);
            let durable_window = std::mem::take(&mut peer.durable_window);
            let Some(outbox) = &peer.outbox else {
                self.peers.remove(&connection);
                continue;
            };
            if window > 0 {
                peer.now.push(Event::Window(self.id, window));
            }
            if durable_window > 0 {
                peer.durable.push(Event::Window(self.id, durable_window));
            }
            outbox.push_all(&mut peer.now);
            if !peer.durable.is_empty() {
                after_sync.push((outbox.clone(), std::mem::take(&mut peer.durable)));
            }
        }
        let records = std::mem::take(&mut self.effects.records);
        let dead_pages = std::mem::take(&mut self.effects.dead_pages);
        if records.is_empty() && after_sync.is_empty() && dead_pages.is_empty() {
            return;
        }
        let sync = !after_sync.is_empty();
        let pager = self.pager.clone();
        let on_durable = Box::new(move || {
            for (outbox, mut events) in after_sync {
                outbox.push_all(&mut events);
            }
            pager.remove(dead_pages);
        });
        if let Err(error) = self.log.append(Batch { records, sync, on_durable: Some(on_durable) }) {
            // The writer is gone only while the broker stops: nothing is confirmed any more.
            tracing::error!(worker = self.id.0, %error, "the log takes no more records");
        }
    }

    fn republish(&mut self, letter: DeadLetter, now: Millis) {
        let token = ConfirmToken(self.next_token);
        self.next_token += 1;
        let publish = Publish { message: letter.message, confirm: Some(token), retain: false };
        match self.dispatcher.publish(&letter.vhost, publish) {
            Ok(routed) if routed.pending => {
                self.dead_letters.insert(token, letter.lease);
            }
            // Nowhere to go, or no such exchange: RabbitMQ drops it, so do we.
            _ => self.settle_dead_letter(letter.lease, now),
        }
    }

    fn dead_letter_safe(&mut self, confirm: Confirm, now: Millis) {
        let Some(confirm) = self.dispatcher.confirmed(confirm) else { return };
        if let Some(lease) = self.dead_letters.remove(&confirm.token) {
            self.settle_dead_letter(lease, now);
        }
    }

    fn settle_dead_letter(&mut self, lease: Lease, now: Millis) {
        let command = WorkerCommand::Settle {
            connection: ConnectionId(0),
            consumer: ConsumerId(0),
            lease,
            outcome: Outcome::Ack,
        };
        self.worker.apply(command, now, &mut self.effects);
    }
}
