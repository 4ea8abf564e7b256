//! Reading a piece of a shard by position, for those who keep their place themselves (Kinesis).

use super::{
    Stream,
    shard::{Found, Shard, Start},
};
use crate::worker::{command::Asker, turn::Turn};
use model::{
    Millis,
    command::{Reply, StreamPosition},
    error::{BrokerError, ErrorKind},
    record::Page,
};

/// A wish to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) asker: Asker,
    pub(crate) shard: u32,
    pub(crate) from: StreamPosition,
    /// Records at most.
    pub(crate) max: u32,
    /// Bytes of bodies at most, but for the first record.
    pub(crate) max_bytes: usize,
}

impl Stream {
    /// A piece of a shard; `None` when it lies in a page: the answer comes with that.
    /// Errors: `NotFound` for a shard that does not exist, `LimitExceeded` when too many wait.
    pub(crate) fn read(&mut self, request: Request, turn: &mut Turn<'_>) -> Option<Reply> {
        let Some(shard) = self.shards.get_mut(request.shard as usize) else {
            let text = format!("no shard {} in {}", request.shard, self.title());
            return Some(Reply::Failed(BrokerError::new(ErrorKind::NotFound, text)));
        };
        match shard.piece(&request, turn.now) {
            Ok(piece) => Some(self.finish_read(&request, piece, turn)),
            Err(_) if self.reads.len() >= turn.limits.waiting_per_queue => {
                let text = format!("too many reads wait at {}", self.title());
                Some(Reply::Failed(BrokerError::new(ErrorKind::LimitExceeded, text)))
            }
            Err(page) => {
                self.ask_page(request.shard, page, turn);
                self.reads.push_back(request);
                None
            }
        }
    }

    fn finish_read(&mut self, request: &Request, piece: Piece, turn: &mut Turn<'_>) -> Reply {
        let Piece { reply, from, to } = piece;
        let soon = self.shards.get_mut(request.shard as usize).and_then(|shard| shard.advanced(from, to));
        if let Some(page) = soon {
            self.ask_page(request.shard, page, turn);
        }
        reply
    }

    /// Answers those that waited for a page of a shard, as far as it is here.
    pub(super) fn answer_reads(&mut self, number: u32, turn: &mut Turn<'_>) {
        for request in std::mem::take(&mut self.reads) {
            let shard = self.shards.get_mut(number as usize).filter(|_| request.shard == number);
            match shard.map(|shard| shard.piece(&request, turn.now)) {
                None => self.reads.push_back(request),
                Some(Ok(piece)) => {
                    let reply = self.finish_read(&request, piece, turn);
                    turn.effects.replies.push((request.asker, reply));
                }
                Some(Err(page)) => {
                    self.ask_page(number, page, turn);
                    self.reads.push_back(request);
                }
            }
        }
    }

    /// A page holds something else than what was written to it. Nobody gets to see that, nor waits for ever.
    pub(super) fn page_is_wrong(&mut self, number: u32, page: Page, turn: &mut Turn<'_>) {
        let title = self.title();
        let text = format!("page file {} does not hold the records of shard {number} of {title}", page.no);
        self.fail_reads(
            |request| request.shard == number,
            &BrokerError::new(ErrorKind::Internal, text),
            turn,
        );
        self.dissolve(turn);
    }

    /// Answers those that wait and that `is_it` picks with an error.
    pub(super) fn fail_reads(
        &mut self,
        is_it: impl Fn(&Request) -> bool,
        error: &BrokerError,
        turn: &mut Turn<'_>,
    ) {
        let failed = self.reads.iter().filter(|request| is_it(request));
        turn.effects.replies.extend(failed.map(|request| (request.asker, Reply::Failed(error.clone()))));
        self.reads.retain(|request| !is_it(request));
    }
}

/// What was read, from one offset to another.
struct Piece {
    reply: Reply,
    from: u64,
    to: u64,
}

impl Shard {
    /// As much as is in memory of what is wanted; an error is the page that holds its beginning.
    fn piece(&mut self, request: &Request, now: Millis) -> Result<Piece, Page> {
        let mut at = self.resolve(request.from);
        let (from, mut bytes, mut records) = (at.offset, 0, Vec::new());
        let mut left = request.max as usize;
        while left > 0 {
            let before = records.len();
            let entries = match self.read(at, now) {
                Found::Here(entries) => entries,
                Found::Absent(page) if records.is_empty() => return Err(page),
                Found::Absent(_) => break,
            };
            for entry in entries.take(left) {
                bytes += entry.message.body.len();
                if bytes > request.max_bytes && !records.is_empty() {
                    left = 0;
                    break;
                }
                records.push((entry.offset, entry.message.clone()));
                at = Start::at(entry.offset + 1);
            }
            let taken = records.len() - before;
            left = if taken == 0 { 0 } else { left.saturating_sub(taken) };
        }
        let (next, newest) = (at.offset, self.newest_ms());
        let behind_ms = newest.filter(|_| next < self.next()).map_or(0, |newest| now.saturating_sub(newest));
        Ok(Piece { reply: Reply::Records { records, next, behind_ms }, from, to: next })
    }
}
