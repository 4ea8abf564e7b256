//! Anything that a peer may send to the session of this protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    waystation_fuzz::drive(
        Box::new(mqtt::MqttSession::new(waystation_fuzz::seed(), Default::default())),
        data,
    );
});
