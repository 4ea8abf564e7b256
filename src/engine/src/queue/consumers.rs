//! Consumers of a queue: coming, being woken, leaving.

use super::{
    Queue,
    holder::{Holder, Park, Role},
    rotation::Rotation,
    slot::State,
};
use crate::worker::{
    command::Asker,
    connections::{Connection, Connections},
    turn::Turn,
};
use model::{
    command::{Consume, Reply, Signal},
    error::{BrokerError, ErrorKind},
};

impl Queue {
    /// A consumer comes.
    /// Errors: `AccessRefused` when it or another one wants the queue for itself.
    pub(crate) fn consume(
        &mut self,
        asker: Asker,
        consume: &Consume,
        turn: &mut Turn<'_>,
    ) -> Result<(), BrokerError> {
        let taken = self.consumers > 0 && (consume.exclusive || self.has_exclusive_consumer());
        if taken {
            let text = format!("{} in exclusive use", self.title());
            return Err(BrokerError::new(ErrorKind::AccessRefused, text));
        }
        let place = turn.connections.place(asker.connection);
        self.arrivals += 1;
        let holder = Holder {
            role: Role::Consumer,
            consumer: consume.consumer,
            auto_ack: consume.auto_ack,
            exclusive: consume.exclusive,
            priority: consume.priority,
            credit: consume.credit,
            group: consume.group,
            arrival: self.arrivals,
            ..Holder::getter(place, asker.connection)
        };
        let key = self.add_holder(holder, turn.connections);
        if let Some(connection) = turn.connections.find(place) {
            connection.consumers.insert(consume.consumer, (self.place, key));
        }
        self.consumers += 1;
        self.rotation.push(consume.priority, key);
        let best = self.best.and_then(|best| self.holders.get(best as usize));
        if best.is_none_or(|best| best.priority < consume.priority) {
            self.best = Some(key);
        }
        Ok(())
    }

    /// Exclusive consumers are alone, so any holder tells.
    fn has_exclusive_consumer(&self) -> bool {
        let best = self.best.and_then(|key| self.holders.get(key as usize));
        best.is_some_and(|holder| holder.exclusive)
    }

    fn add_holder(&mut self, holder: Holder, connections: &mut Connections) -> u32 {
        let place = holder.place;
        let key = u32::try_from(self.holders.insert(holder)).unwrap_or(u32::MAX);
        if let Some(connection) = connections.find(place) {
            connection.holders.insert((self.place, key));
        }
        key
    }

    /// The holder of the gets of a connection.
    pub(super) fn getter(&mut self, asker: Asker, connections: &mut Connections) -> u32 {
        let place = connections.place(asker.connection);
        let known = connections.find(place).and_then(|connection| connection.getters.get(&self.place));
        if let Some(key) = known {
            return *key;
        }
        let key = self.add_holder(Holder::getter(place, asker.connection), connections);
        if let Some(connection) = connections.find(place) {
            connection.getters.insert(self.place, key);
        }
        key
    }

    /// A consumer may take more than before.
    pub(super) fn credit_came(&mut self, key: u32) {
        if self.holders.get(key as usize).is_some_and(|holder| holder.park == Park::Credit) {
            self.wake(key);
        }
    }

    /// A consumer that was left out is served again.
    pub(crate) fn wake(&mut self, key: u32) {
        let Some(holder) = self.holders.get_mut(key as usize) else { return };
        if holder.role == Role::Consumer && holder.park != Park::No {
            holder.park = Park::No;
            if !self.settings.single_active_consumer {
                self.rotation.push(holder.priority, key);
            }
        }
    }

    /// A consumer stops; what it holds stays leased.
    pub(crate) fn cancel(&mut self, key: u32, turn: &mut Turn<'_>) {
        let Some(holder) = self.holders.get_mut(key as usize) else { return };
        if holder.role != Role::Consumer {
            return;
        }
        holder.role = Role::Leaving;
        let (priority, place, consumer, idle) =
            (holder.priority, holder.place, holder.consumer, holder.leased == 0);
        if let Some(connection) = turn.connections.find(place) {
            connection.consumers.remove(&consumer);
        }
        self.rotation.remove(priority, key);
        if self.active == Some(key) {
            self.active = None;
        }
        if self.best == Some(key) {
            // Otherwise it only tells whether somebody is here alone, which nobody is who leaves others behind.
            self.best = if self.settings.single_active_consumer { self.find_best() } else { None };
        }
        if idle {
            self.forget_holder(key, turn);
        }
        self.consumers -= 1;
        if self.consumers == 0 {
            self.used(turn.now);
            if self.settings.auto_delete && !self.ended {
                self.ended = true;
                turn.effects.ended.push(self.id);
            }
        }
    }

    fn find_best(&self) -> Option<u32> {
        let consumers = self.holders.iter().filter(|(_, holder)| holder.role == Role::Consumer);
        let best =
            consumers.max_by_key(|(_, holder)| (holder.priority, std::cmp::Reverse(holder.arrival)))?;
        u32::try_from(best.0).ok()
    }

    pub(super) fn forget_holder(&mut self, key: u32, turn: &mut Turn<'_>) {
        let Some(holder) = self.holders.try_remove(key as usize) else { return };
        if let Some(connection) = turn.connections.find(holder.place) {
            connection.holders.remove(&(self.place, key));
        }
    }

    /// The connection of a holder is gone (and taken off the worker's list): what it held comes back in order. To be
    /// followed by `enforce_length` when all of the connection's are back.
    pub(crate) fn leave(&mut self, key: u32, turn: &mut Turn<'_>) {
        self.cancel(key, turn);
        let Some(holder) = self.holders.get_mut(key as usize) else { return };
        holder.role = Role::Leaving;
        for seq in holder.take_numbers() {
            if self.slots.find(seq).is_some_and(|slot| slot.state == State::Leased(key)) {
                self.give_back(seq, true, 0, turn);
            }
        }
        self.forget_holder(key, turn);
    }

    /// Takes the queue's traces out of the connections and tells its consumers and waiting receives that it is gone.
    pub(crate) fn dissolve(&mut self, turn: &mut Turn<'_>) {
        for (key, holder) in &self.holders {
            let Some(connection) = turn.connections.find(holder.place) else { continue };
            forget_queue(connection, self.place, key, holder);
            if holder.role == Role::Consumer {
                turn.effects.signals.push((holder.connection, Signal::ConsumerCancelled(holder.consumer)));
            }
            if let Some(group) = holder.group {
                (0..holder.leased).for_each(|_| turn.connections.released(holder.place, group));
            }
        }
        let error = BrokerError::not_found("queue", &self.name, &self.vhost);
        for (id, wait) in self.waiting.drain().collect::<Vec<_>>() {
            self.forget_wait(id, wait.place, turn.connections);
            turn.effects.replies.push((wait.asker, Reply::Failed(error.clone())));
        }
    }

    /// Serves every consumer again from the start (settings changed).
    pub(super) fn rebuild_rotation(&mut self) {
        self.rotation = Rotation::default();
        self.active = None;
        self.best = self.find_best();
        for (key, holder) in &mut self.holders {
            holder.park = Park::No;
            if let (Role::Consumer, Ok(key)) = (holder.role, u32::try_from(key)) {
                self.rotation.push(holder.priority, key);
            }
        }
    }
}

fn forget_queue(connection: &mut Connection, place: u32, key: usize, holder: &Holder) {
    connection.getters.remove(&place);
    if let Ok(key) = u32::try_from(key) {
        connection.holders.remove(&(place, key));
    }
    if holder.role == Role::Consumer {
        connection.consumers.remove(&holder.consumer);
    }
}
