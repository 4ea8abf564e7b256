//! Records about where messages are and how things stand: pages, leases, and the state in snapshots.

use super::decode::DecodeError;
use super::primitives::{Reader, VARINT_BYTES_MAX, bytes_max, put_bytes, put_u64, put_varint};
use model::Millis;
use model::ids::QueueId;
use model::record::{DedupId, Page, QueueState, Record, ShardState, Span};

/// An upper bound of what a page takes.
pub(super) const PAGE_BYTES_MAX: usize = 8 * VARINT_BYTES_MAX;

fn put_varints(out: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| put_varint(out, *value));
}

fn put_page(out: &mut Vec<u8>, page: &Page) {
    put_varints(out, &[page.no, page.file_bytes, page.first, page.count.into()]);
    put_varints(out, &[page.body_bytes, page.cost_bytes, page.first_ms, page.last_ms]);
}

fn page(reader: &mut Reader<'_>) -> Result<Page, DecodeError> {
    Ok(Page {
        no: reader.varint()?,
        file_bytes: reader.varint()?,
        first: reader.varint()?,
        count: reader.varint_u32()?,
        body_bytes: reader.varint()?,
        cost_bytes: reader.varint()?,
        first_ms: reader.varint()?,
        last_ms: reader.varint()?,
    })
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_varint(out, spans.len() as u64);
    spans.iter().for_each(|(first, last)| put_varints(out, &[*first, *last]));
}

fn spans(reader: &mut Reader<'_>) -> Result<Vec<Span>, DecodeError> {
    (0..reader.count(2)?).map(|_| Ok((reader.varint()?, reader.varint()?))).collect()
}

pub(super) fn put_page_record(out: &mut Vec<u8>, queue: QueueId, shard: u32, page: &Page) {
    put_u64(out, queue.0);
    put_varint(out, shard.into());
    put_page(out, page);
}

pub(super) fn page_record(reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    Ok(Record::Page { queue: QueueId(reader.u64()?), shard: reader.varint_u32()?, page: page(reader)? })
}

pub(super) fn put_lease(out: &mut Vec<u8>, queue: QueueId, until_ms: Millis, taken: &[(u64, u32)]) {
    put_u64(out, queue.0);
    put_varints(out, &[until_ms, taken.len() as u64]);
    taken.iter().for_each(|(seq, deliveries)| put_varints(out, &[*seq, (*deliveries).into()]));
}

pub(super) fn lease(reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let (queue, until_ms) = (QueueId(reader.u64()?), reader.varint()?);
    Ok(Record::Lease { queue, until_ms, taken: counted(reader)? })
}

/// Numbers, each with a count.
fn counted(reader: &mut Reader<'_>) -> Result<Vec<(u64, u32)>, DecodeError> {
    (0..reader.count(2)?).map(|_| Ok((reader.varint()?, reader.varint_u32()?))).collect()
}

pub(super) fn put_queue(out: &mut Vec<u8>, state: &QueueState) {
    put_u64(out, state.queue.0);
    put_varint(out, state.next);
    put_spans(out, &state.live);
    put_varint(out, state.failures.len() as u64);
    state.failures.iter().for_each(|(seq, failures)| put_varints(out, &[*seq, (*failures).into()]));
    put_varint(out, state.pages.len() as u64);
    for (page, settled) in &state.pages {
        put_page(out, page);
        put_spans(out, settled);
    }
    put_varint(out, state.leases.len() as u64);
    for (seq, until_ms, deliveries) in &state.leases {
        put_varints(out, &[*seq, *until_ms, (*deliveries).into()]);
    }
    put_varint(out, state.dedup.len() as u64);
    for known in &state.dedup {
        put_bytes(out, known.group.as_bytes());
        put_bytes(out, known.id.as_bytes());
        put_varint(out, known.until_ms);
        put_bytes(out, &known.identity);
    }
}

/// An upper bound of what `put_queue` appends.
pub(super) fn queue_bytes_max(state: &QueueState) -> usize {
    let numbers = 6 + 2 * (state.live.len() + state.failures.len()) + 3 * state.leases.len();
    let pages =
        state.pages.iter().map(|(_, settled)| PAGE_BYTES_MAX + (1 + 2 * settled.len()) * VARINT_BYTES_MAX);
    let dedup = state.dedup.iter().map(|known| {
        let texts = [known.group.len(), known.id.len(), known.identity.len()];
        texts.into_iter().map(bytes_max).sum::<usize>() + VARINT_BYTES_MAX
    });
    8 + numbers * VARINT_BYTES_MAX + pages.sum::<usize>() + dedup.sum::<usize>()
}

pub(super) fn queue(reader: &mut Reader<'_>) -> Result<QueueState, DecodeError> {
    Ok(QueueState {
        queue: QueueId(reader.u64()?),
        next: reader.varint()?,
        live: spans(reader)?,
        failures: counted(reader)?,
        pages: (0..reader.count(9)?)
            .map(|_| Ok((page(reader)?, spans(reader)?)))
            .collect::<Result<_, DecodeError>>()?,
        leases: (0..reader.count(3)?)
            .map(|_| Ok((reader.varint()?, reader.varint()?, reader.varint_u32()?)))
            .collect::<Result<_, DecodeError>>()?,
        dedup: (0..reader.count(4)?)
            .map(|_| {
                let (group, id) = (reader.name()?, reader.name()?);
                Ok(DedupId { group, id, until_ms: reader.varint()?, identity: reader.bytes()? })
            })
            .collect::<Result<_, DecodeError>>()?,
    })
}

pub(super) fn put_shard(out: &mut Vec<u8>, state: &ShardState) {
    put_u64(out, state.stream.0);
    put_varints(out, &[state.shard.into(), state.first, state.next]);
    put_spans(out, &state.live);
    put_varint(out, state.pages.len() as u64);
    state.pages.iter().for_each(|page| put_page(out, page));
}

pub(super) fn shard(reader: &mut Reader<'_>) -> Result<ShardState, DecodeError> {
    Ok(ShardState {
        stream: QueueId(reader.u64()?),
        shard: reader.varint_u32()?,
        first: reader.varint()?,
        next: reader.varint()?,
        live: spans(reader)?,
        pages: (0..reader.count(8)?).map(|_| page(reader)).collect::<Result<_, _>>()?,
    })
}
