//! Anything that a peer may send to the session of this protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    waystation_fuzz::drive(
        Box::new(stomp::StompSession::new(Default::default(), waystation_fuzz::seed(), 1_000)),
        data,
    );
});
