//! Every durable definition written anew, for log cleaning: the old records may go afterwards.

use super::{Definitions, record};

impl Definitions {
    /// Adds a `Define` change for everything durable that exists now.
    pub fn rewrite(&mut self) {
        let topology = self.topology.clone();
        self.write(record::numbers(self.reserved));
        for vhost in topology.vhosts() {
            self.write(record::vhost(vhost.name()));
            // Predeclared exchanges come with their vhost.
            let declared = |name: &str| !name.is_empty() && !name.starts_with("amq.");
            for exchange in vhost.exchanges().filter(|one| one.declare.durable && declared(&one.name)) {
                self.write(record::exchange(vhost.name(), &exchange.declare));
            }
            for queue in vhost.queues().filter(|queue| queue.is_logged()) {
                self.write(record::queue(queue));
            }
            for binding in vhost.bindings().filter(|binding| binding.durable) {
                self.write(record::binding(vhost.name(), binding));
            }
        }
    }
}
