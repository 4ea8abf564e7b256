//! What a session wants back when it is opened again, as the blob that the broker keeps for it.
//!
//! ```text
//! | version 3 | last packet id u16                                              |
//! | count u32 | outgoing: packet id u16, phase u8 (1, 2: sent with that QoS; 3: released), queue number u64 |
//! ```
//! Written whole at the end of a connection, and never empty. The broker forgets it when it gives it back, so that an
//! empty one says that the connection before ended in a crash. What has to survive that is kept one by one
//! ([`super::kept`]).

use super::inflight::Phase;
use crate::{
    codec::{Reader, Version, subscribe::Options},
    errors::Refusal,
};
use bytes::{BufMut, Bytes, BytesMut};
const FORMAT: u8 = 3;
const RELEASED: u8 = 3;

/// The content of the blob.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) last_id: u16,
    /// `Resumed` and `Released` only; the latter in the order of sending.
    pub(crate) outgoing: Vec<(u16, Phase)>,
}

impl State {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(11 + 11 * self.outgoing.len());
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
                RELEASED => Phase::Released { order: 0, held: None },
                qos => Phase::Resumed { qos: qos.clamp(1, 2), seq },
            };
            state.outgoing.push((id, phase));
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
            outgoing: vec![
                (1, Phase::Resumed { qos: 2, seq: 1 << 40 }),
                (7, Phase::Released { order: 0, held: None }),
            ],
        };
        let back = State::decode(&state.encode());
        assert_eq!((back.last_id, back.outgoing), (state.last_id, state.outgoing));
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
