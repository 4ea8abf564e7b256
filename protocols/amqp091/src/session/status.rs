//! What listings say of a connection: its channels and what was agreed upon with the client.

use super::{
    Amqp091Session,
    channel::{Channel, Mode},
};
use model::{
    Name,
    status::{ChannelStatus, SessionStatus},
};

impl Amqp091Session {
    /// The connection now.
    pub(crate) fn describe(&self) -> SessionStatus {
        let mut channels: Vec<ChannelStatus> =
            self.channels.iter().map(|(number, channel)| channel.describe(*number)).collect();
        channels.sort_unstable_by_key(|channel| channel.number);
        SessionStatus {
            protocol: Name::from_static("AMQP 0-9-1"),
            client_properties: self.client_properties.clone(),
            auth_mechanism: self.mechanism.clone(),
            frame_max: self.frame_max,
            channel_max: self.channel_max,
            heartbeat_s: u32::try_from(self.heartbeat_ms / 1000).unwrap_or(u32::MAX),
            channels,
        }
    }
}

impl Channel {
    fn describe(&self, number: u16) -> ChannelStatus {
        let mut consumers: Vec<_> = self.consumers.iter().map(|(tag, id)| (*id, tag.clone())).collect();
        consumers.sort_unstable_by_key(|(id, _)| *id);
        ChannelStatus {
            number,
            prefetch: if self.prefetch == u32::MAX { 0 } else { self.prefetch },
            confirms: matches!(self.mode, Mode::Confirm(_)),
            transactional: matches!(self.mode, Mode::Transaction(_)),
            unacknowledged: self.unacked.len() as u64,
            unconfirmed: match &self.mode {
                Mode::Confirm(confirms) => confirms.waiting() as u64,
                Mode::Plain | Mode::Transaction(_) => 0,
            },
            consumers,
        }
    }
}
