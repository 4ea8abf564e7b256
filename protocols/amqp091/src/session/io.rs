//! What every handler is given: the time, the broker, and where to write.

use crate::codec::method;
use amq_protocol::protocol::AMQPClass;
use bytes::BytesMut;
use model::{
    Millis, Name,
    session::{Broker, Output},
};

/// The arguments of one call into the session.
pub(crate) struct Io<'a> {
    /// Now.
    pub(crate) now: Millis,
    /// The broker.
    pub(crate) broker: &'a mut dyn Broker,
    /// Where bytes for the peer go.
    pub(crate) out: &'a mut Output,
}

impl Io<'_> {
    /// The buffer that frames are appended to.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.out.wire.tail
    }

    /// Writes a control method.
    pub(crate) fn send(&mut self, channel: u16, method: AMQPClass) {
        method::put(self.tail(), channel, method);
    }

    /// Ends the transport after what was written is flushed; `why` goes to the log.
    pub(crate) fn close(&mut self, why: impl Into<Name>) {
        self.out.close.get_or_insert(why.into());
    }
}
