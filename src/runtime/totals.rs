//! What went through the broker since it started, counted where it passes and added up once per batch.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// Sums of one task since it last reported them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Tally { $($(#[$doc])* pub(crate) $name: u64,)* }

        /// Sums of the whole broker.
        #[derive(Debug, Default)]
        pub(crate) struct Totals { $($name: AtomicU64,)* }

        impl Totals {
            /// Adds what a task counted, and lets it begin anew.
            pub(crate) fn take(&self, tally: &mut Tally) {
                $(if tally.$name > 0 {
                    self.$name.fetch_add(tally.$name, Ordering::Relaxed);
                })*
                *tally = Tally::default();
            }

            /// The sums at this moment.
            pub(crate) fn read(&self) -> Tally {
                Tally { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

totals! {
    /// Messages that clients published.
    published
    /// Those of them that went to no destination.
    unroutable
    /// Publishes confirmed, negative answers included.
    confirmed
    /// Messages handed to consumers that answer.
    delivered
    /// Messages handed to consumers that do not: settled at once, or never held.
    delivered_unacked
    /// Those handed out that had been before.
    redelivered
    /// Messages fetched one by one or in batches.
    fetched
    /// Deliveries acknowledged.
    acknowledged
}
