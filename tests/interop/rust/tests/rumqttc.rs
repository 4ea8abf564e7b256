//! rumqttc against the MQTT door, in 3.1.1 and 5.0.

use std::time::Duration;
use tokio::time::timeout;
use waystation_interop::{address, unique};

const PATIENCE: Duration = Duration::from_secs(10);

macro_rules! round_trip {
    ($name:ident, $client:ident) => {
        #[tokio::test]
        async fn $name() {
            use library::mqttbytes::QoS;
            use $client as library;
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let (host, port) = address("MQTT");
                let topic = unique("rumqttc/t");
                let options = library::MqttOptions::new(unique("rumqttc"), host, port);
                let (client, mut events) = library::AsyncClient::new(options, 100);
                client.subscribe(topic.as_str(), qos).await.expect("subscribes");
                for number in 0..20u8 {
                    client.publish(topic.as_str(), qos, false, vec![number]).await.expect("publishes");
                }
                let mut got = Vec::new();
                while got.len() < 20 {
                    let event = timeout(PATIENCE, events.poll()).await.expect("in time").expect("no error");
                    if let library::Event::Incoming(library::Incoming::Publish(publish)) = event {
                        got.push(publish.payload[0]);
                    }
                }
                assert_eq!(got, (0..20).collect::<Vec<u8>>());
            }
        }
    };
}

mod version_4 {
    pub mod mqttbytes {
        pub use rumqttc::QoS;
    }
    pub use rumqttc::{AsyncClient, Event, Incoming, MqttOptions};
}

mod version_5 {
    pub mod mqttbytes {
        pub use rumqttc::v5::mqttbytes::QoS;
    }
    pub use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions};
}

round_trip!(version_3_1_1, version_4);
round_trip!(version_5_0, version_5);
