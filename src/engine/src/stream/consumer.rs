//! Consumers of a stream: each reads all shards from its own positions, interleaved.

use super::{
    Stream,
    shard::{Found, Start},
};
use crate::worker::{command::Asker, turn::Turn};
use model::{
    command::{Consume, Signal, StreamPosition},
    delivery::{Delivery, Lease},
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, ConsumerId},
    record::Page,
};
use slab::Slab;
use std::collections::VecDeque;

/// Records handed to a consumer from one shard before the next one has its turn.
const SHARD_RUN: usize = 64;

/// The low bits of a lease's number are the offset, the high ones the shard.
const OFFSET_BITS: u32 = 48;

/// One consumer.
#[derive(Debug)]
struct Reader {
    connection_place: u32,
    connection: ConnectionId,
    consumer: ConsumerId,
    auto_ack: bool,
    credit: u32,
    leased: u32,
    group: Option<u16>,
    /// Where it goes on in each shard.
    positions: Vec<Start>,
    /// The shard to go on with.
    turn: usize,
    parked: bool,
}

/// What came of handing records of one shard to one consumer.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    handled: usize,
    /// It can take no more now.
    parked: bool,
    /// A page that it needs, now or soon.
    wanted: Option<Page>,
}

/// All consumers of a stream.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    slab: Slab<Reader>,
    /// Those that may be able to take.
    line: VecDeque<u32>,
}

impl Readers {
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.slab.len()).unwrap_or(u32::MAX)
    }

    /// True when some consumer goes on within this stretch of a shard.
    pub(super) fn any_in(&self, shard: u32, page: Page) -> bool {
        let is_in = |at: &Start| at.offset >= page.first && at.offset < page.end();
        self.slab.iter().any(|(_, reader)| reader.positions.get(shard as usize).is_some_and(is_in))
    }
}

impl Stream {
    /// A consumer comes. Without a position it begins with what comes next.
    /// Errors: `Precondition` when it wants unlimited unsettled records.
    pub(crate) fn consume(
        &mut self,
        asker: Asker,
        consume: &Consume,
        turn: &mut Turn<'_>,
    ) -> Result<(), BrokerError> {
        if !consume.auto_ack && consume.credit == u32::MAX {
            let title = self.title();
            let text = format!("consumer prefetch count is not set for '{title}'");
            return Err(BrokerError::new(ErrorKind::Precondition, text));
        }
        let from = consume.from.unwrap_or(StreamPosition::Next);
        let place = turn.connections.place(asker.connection);
        let key = self.readers.slab.insert(Reader {
            connection_place: place,
            connection: asker.connection,
            consumer: consume.consumer,
            auto_ack: consume.auto_ack,
            credit: consume.credit,
            leased: 0,
            group: consume.group.filter(|_| !consume.auto_ack),
            positions: self.shards.iter().map(|shard| shard.resolve(from)).collect(),
            turn: 0,
            parked: false,
        });
        let key = u32::try_from(key).unwrap_or(u32::MAX);
        self.readers.line.push_back(key);
        if let Some(connection) = turn.connections.find(place) {
            connection.consumers.insert(consume.consumer, (self.place, key));
            connection.holders.insert((self.place, key));
        }
        Ok(())
    }

    /// A consumer stops.
    pub(crate) fn cancel(&mut self, key: u32, turn: &mut Turn<'_>) {
        let Some(reader) = self.readers.slab.try_remove(key as usize) else { return };
        self.readers.line.retain(|other| *other != key);
        if let Some(connection) = turn.connections.find(reader.connection_place) {
            connection.consumers.remove(&reader.consumer);
            connection.holders.remove(&(self.place, key));
        }
        if let Some(group) = reader.group {
            (0..reader.leased).for_each(|_| turn.connections.released(reader.connection_place, group));
        }
    }

    /// A consumer is done with a record: it may have another one.
    pub(crate) fn settle(&mut self, connection: ConnectionId, consumer: ConsumerId, turn: &mut Turn<'_>) {
        let known = turn.connections.find_by_id(connection);
        let at = known.and_then(|connection| connection.consumers.get(&consumer).copied());
        let Some((_, key)) = at.filter(|(place, _)| *place == self.place) else { return };
        let Some(reader) = self.readers.slab.get_mut(key as usize) else { return };
        if reader.leased == 0 {
            return;
        }
        let was_full = reader.leased >= reader.credit;
        reader.leased -= 1;
        if let Some(group) = reader.group {
            turn.connections.released(reader.connection_place, group);
        }
        if was_full {
            self.wake(key);
        }
    }

    /// A consumer that was left out is served again.
    pub(crate) fn wake(&mut self, key: u32) {
        if let Some(reader) = self.readers.slab.get_mut(key as usize)
            && std::mem::take(&mut reader.parked)
        {
            self.readers.line.push_back(key);
        }
    }

    /// Hands out up to `budget` records and returns how many. Less means that nothing more can go out now.
    pub(crate) fn pump(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        self.page_out(turn);
        let mut handled = 0;
        for _ in 0..self.readers.line.len() {
            let Some(key) = self.readers.line.pop_front() else { break };
            handled += self.serve(key, turn, budget.saturating_sub(handled));
            if self.readers.slab.get(key as usize).is_some_and(|reader| !reader.parked) {
                self.readers.line.push_back(key);
            }
        }
        handled
    }

    /// Hands records to one consumer until it has enough, there is nothing more in memory, or the budget is spent.
    fn serve(&mut self, key: u32, turn: &mut Turn<'_>, budget: usize) -> usize {
        let (mut handled, mut empty) = (0, 0);
        while empty < self.shards.len() && handled < budget {
            let Some(reader) = self.readers.slab.get_mut(key as usize) else { break };
            let number = reader.turn % self.shards.len();
            reader.turn = number + 1;
            let run = self.serve_shard(key, number, turn, SHARD_RUN.min(budget - handled));
            handled += run.handled;
            if let Some(page) = run.wanted {
                self.ask_page(u32::try_from(number).unwrap_or(u32::MAX), page, turn);
            }
            if run.parked {
                break;
            }
            empty = if run.handled == 0 { empty + 1 } else { 0 };
        }
        handled
    }

    /// Hands records of one shard to one consumer.
    fn serve_shard(&mut self, key: u32, number: usize, turn: &mut Turn<'_>, max: usize) -> Run {
        let mut run = Run::default();
        let (Some(shard), Some(reader)) =
            (self.shards.get_mut(number), self.readers.slab.get_mut(key as usize))
        else {
            return run;
        };
        let Some(position) = reader.positions.get_mut(number) else { return run };
        let before = position.offset;
        let entries = match shard.read(*position, turn.now) {
            Found::Here(entries) => entries,
            Found::Absent(page) => return Run { wanted: Some(page), ..run },
        };
        for entry in entries.take(max) {
            let has_credit = reader.auto_ack || reader.leased < reader.credit;
            let at = (self.place, key);
            if !has_credit || !turn.connections.can_take(reader.connection_place, reader.group, at) {
                (reader.parked, run.parked) = (true, true);
                break;
            }
            turn.connections.took(reader.connection_place, entry.message.cost_bytes(), reader.group);
            reader.leased += u32::from(!reader.auto_ack);
            *position = Start::at(entry.offset + 1);
            run.handled += 1;
            let lease = Lease { queue: self.id, seq: ((number as u64) << OFFSET_BITS) | entry.offset };
            let delivery = Delivery {
                consumer: reader.consumer,
                via: 0,
                message: entry.message.clone(),
                lease: (!reader.auto_ack).then_some(lease),
                redelivered: false,
                earlier_deliveries: 0,
                first_delivery_ms: 0,
                offset: Some(entry.offset),
            };
            turn.effects.deliveries.push((reader.connection, delivery));
        }
        if run.handled > 0 {
            run.wanted = shard.advanced(before, position.offset);
        }
        run
    }

    /// Takes the stream's traces out of the connections and tells its consumers that it is gone.
    pub(super) fn dissolve(&mut self, turn: &mut Turn<'_>) {
        let keys: Vec<u32> =
            self.readers.slab.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for key in keys {
            if let Some(reader) = self.readers.slab.get(key as usize) {
                let signal = Signal::ConsumerCancelled(reader.consumer);
                turn.effects.signals.push((reader.connection, signal));
            }
            self.cancel(key, turn);
        }
    }
}
