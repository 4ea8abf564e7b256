//! What the MQTT doors have done since the start. Sessions count in fields of their own and add them up once per call
//! of the driver, so that a message costs no atomic operation.
//!
//! Owns: the counters and their names. Refuses: to read a clock or to publish anything (`sys.rs` words the report).

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Sums over all MQTT connections, past and present.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$doc])* pub(crate) $name: AtomicU64),* }

        /// What one connection counted since it last added to [`Counters`].
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Tally { $(pub(crate) $name: u32),* }

        /// [`Counters`] at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Sums { $(pub(crate) $name: u64),* }

        impl Counters {
            /// Takes a tally in and begins a new one.
            pub(crate) fn add(&self, tally: &mut Tally) {
                let Tally { $($name),* } = std::mem::take(tally);
                $(if $name > 0 { self.$name.fetch_add(u64::from($name), Ordering::Relaxed); })*
            }

            /// The sums now.
            pub(crate) fn sums(&self) -> Sums {
                Sums { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters! {
    /// Packets from clients, all types.
    messages_received,
    /// Packets to clients, all types.
    messages_sent,
    /// Bytes of the packets from clients.
    bytes_received,
    /// Bytes of the packets to clients.
    bytes_sent,
    /// PUBLISH packets from clients.
    publishes_received,
    /// PUBLISH packets to clients.
    publishes_sent,
    /// Payload bytes of PUBLISH packets from clients.
    publish_bytes_received,
    /// Payload bytes of PUBLISH packets to clients.
    publish_bytes_sent,
    /// CONNECT packets that were read.
    connects,
    /// Connections that sent something, whether MQTT or not.
    sockets,
    /// Clients let in.
    entered,
    /// Clients let in that are gone.
    left,
}

/// A size for a tally; what one call of the driver moves is far below the limit.
pub(crate) fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
