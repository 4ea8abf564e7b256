//! What a session wants back when it is opened again, as the blob that the broker keeps for it.
//!
//! ```text
//! | version 1 | last packet id u16                                              |
//! | count u32 | outgoing: packet id u16, phase u8 (1, 2: sent with that QoS; 3: released), queue number u64 |
//! | count u32 | incoming QoS 2 not yet released: packet id u16                  |
//! | count u32 | queues subscribed to: options u8, subscription id u32, name u16 + bytes |
//! ```
//! Written whole at the end of a connection. After a crash the broker may hold an older one: queue numbers in it that
//! were settled since never come again, and incoming identifiers count only for a PUBLISH marked as duplicate.

use super::inflight::Phase;
use crate::{
    codec::{Reader, Version, put_binary, subscribe::Options},
    errors::Refusal,
};
use bytes::{BufMut, Bytes, BytesMut};
use model::Name;

const FORMAT: u8 = 1;
const RELEASED: u8 = 3;

/// The content of the blob.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) last_id: u16,
    /// `Resumed` and `Released` only; the latter in the order of sending.
    pub(crate) outgoing: Vec<(u16, Phase)>,
    pub(crate) incoming: Vec<u16>,
    pub(crate) queues: Vec<(Name, Options, Option<u32>)>,
}

impl State {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(15 + 11 * self.outgoing.len() + 2 * self.incoming.len());
        out.put_u8(FORMAT);
        out.put_u16(self.last_id);
        out.put_u32(self.outgoing.len() as u32);
        for (id, phase) in &self.outgoing {
            let (phase, seq) = match *phase {
                Phase::Resumed { qos, seq } => (qos, seq),
                _ => (RELEASED, 0),
            };
            out.put_u16(*id);
            out.put_u8(phase);
            out.put_u64(seq);
        }
        out.put_u32(self.incoming.len() as u32);
        self.incoming.iter().for_each(|id| out.put_u16(*id));
        out.put_u32(self.queues.len() as u32);
        for (name, options, subscription_id) in &self.queues {
            out.put_u8(options.encode());
            out.put_u32(subscription_id.unwrap_or(0));
            put_binary(&mut out, name.as_bytes());
        }
        out.freeze()
    }

    /// Reads a blob; what can not be read (empty, newer, damaged) is an empty state.
    pub(crate) fn decode(blob: &[u8]) -> Self {
        Self::read(blob).unwrap_or_default()
    }

    fn read(blob: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(blob);
        let mut state = Self::default();
        if reader.u8()? != FORMAT {
            return Ok(state);
        }
        state.last_id = reader.u16()?;
        for _ in 0..reader.u32()? {
            let (id, phase, seq) = (reader.u16()?, reader.u8()?, reader.u64()?);
            let phase = match phase {
                RELEASED => Phase::Released { order: 0 },
                qos => Phase::Resumed { qos: qos.clamp(1, 2), seq },
            };
            state.outgoing.push((id, phase));
        }
        for _ in 0..reader.u32()? {
            state.incoming.push(reader.u16()?);
        }
        for _ in 0..reader.u32()? {
            let options = Options::decode(reader.u8()?, Version::V5)?;
            let subscription_id = Some(reader.u32()?).filter(|id| *id != 0);
            state.queues.push((reader.text()?.into(), options, subscription_id));
        }
        Ok(state)
    }
}

/// A subscription's options and identifier, as the bytes that the broker keeps with it.
pub(crate) fn encode_options(options: Options, subscription_id: Option<u32>) -> Bytes {
    let mut out = BytesMut::with_capacity(5);
    out.put_u8(options.encode());
    if let Some(id) = subscription_id {
        out.put_u32(id);
    }
    out.freeze()
}

/// Reads what [`encode_options`] wrote; what can not be read is QoS 0 with nothing special.
pub(crate) fn decode_options(bytes: &[u8]) -> (Options, Option<u32>) {
    let mut reader = Reader::new(bytes);
    let options = reader.u8().and_then(|byte| Options::decode(byte, Version::V5)).unwrap_or_default();
    (options, reader.u32().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn comes_back() {
        let options = Options { qos: 2, no_local: true, retain_as_published: true, retain_handling: 2 };
        let state = State {
            last_id: 7,
            outgoing: vec![(1, Phase::Resumed { qos: 2, seq: 1 << 40 }), (7, Phase::Released { order: 0 })],
            incoming: vec![3, 65_535],
            queues: vec![("orders".into(), options, Some(9)), ("b".into(), Options::default(), None)],
        };
        assert_eq!(State::decode(&state.encode()), state);
        assert_eq!(decode_options(&encode_options(options, Some(5))), (options, Some(5)));
        assert_eq!(decode_options(&[]), (Options::default(), None));
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(blob in proptest::collection::vec(any::<u8>(), 0..60)) {
            State::decode(&blob);
        }
    }
}
