//! Anything that a peer may send to the session of this protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    waystation_fuzz::drive(
        Box::new(amqp091::Amqp091Session::new(Default::default(), waystation_fuzz::seed())),
        data,
    );
});
