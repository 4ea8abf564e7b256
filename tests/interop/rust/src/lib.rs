//! Where the broker is, for the tests of this crate. The addresses come from tests/interop/run.

use std::time::{SystemTime, UNIX_EPOCH};

/// Host and port of a door (`AMQP`, `MQTT`), from `INTEROP_<door>`.
pub fn address(door: &str) -> (String, u16) {
    let text = std::env::var(format!("INTEROP_{door}")).expect("tests/interop/run sets the addresses");
    let (host, port) = text.rsplit_once(':').expect("host:port");
    (host.to_owned(), port.parse().expect("a port"))
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos();
    format!("{prefix}-{nanos:x}")
}
