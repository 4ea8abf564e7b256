//! lapin against the AMQP door.

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use std::time::Duration;
use waystation_interop::{address, unique};

const PATIENCE: Duration = Duration::from_secs(10);

async fn channel() -> (Connection, Channel) {
    let (host, port) = address("AMQP");
    let uri = format!("amqp://guest:guest@{host}:{port}/%2f");
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

async fn declare(channel: &Channel, name: &str) {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, FieldTable::default()).await.expect("a queue");
}

#[tokio::test]
async fn consumes_in_order_with_prefetch_and_acks() {
    let (_connection, channel) = channel().await;
    let name = unique("lapin");
    declare(&channel, &name).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    for number in 0..100u32 {
        let confirm = channel
            .basic_publish(
                "".into(),
                name.as_str().into(),
                BasicPublishOptions::default(),
                number.to_string().as_bytes(),
                BasicProperties::default().with_delivery_mode(2),
            )
            .await
            .expect("publishes");
        assert!(matches!(confirm.await.expect("a confirm"), Confirmation::Ack(None)));
    }
    channel.basic_qos(10, BasicQosOptions::default()).await.expect("qos");
    let mut consumer = channel
        .basic_consume(
            name.as_str().into(),
            "c".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("consumes");
    for number in 0..100u32 {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time");
        let delivery = next.expect("a delivery").expect("no error");
        assert_eq!(delivery.data, number.to_string().as_bytes());
        delivery.ack(BasicAckOptions::default()).await.expect("acks");
    }
}

#[tokio::test]
async fn headers_come_back_typed() {
    let (_connection, channel) = channel().await;
    let name = unique("lapin");
    declare(&channel, &name).await;
    channel
        .queue_bind(
            name.as_str().into(),
            "amq.topic".into(),
            format!("{name}.*").into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("binds");
    let mut headers = FieldTable::default();
    headers.insert("text".into(), AMQPValue::LongString("blue".into()));
    headers.insert("number".into(), AMQPValue::LongLongInt(7));
    headers.insert("truth".into(), AMQPValue::Boolean(true));
    channel
        .basic_publish(
            "amq.topic".into(),
            format!("{name}.x").into(),
            BasicPublishOptions::default(),
            b"body",
            BasicProperties::default().with_headers(headers.clone()),
        )
        .await
        .expect("publishes");
    for _ in 0..100 {
        let got =
            channel.basic_get(name.as_str().into(), BasicGetOptions { no_ack: true }).await.expect("gets");
        if let Some(message) = got {
            assert_eq!(message.properties.headers().as_ref(), Some(&headers));
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing arrived");
}

#[tokio::test]
async fn mandatory_message_without_a_queue_comes_back() {
    let (_connection, channel) = channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let confirm = channel
        .basic_publish(
            "".into(),
            unique("absent").into(),
            BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
            b"lost",
            BasicProperties::default(),
        )
        .await
        .expect("publishes");
    match confirm.await.expect("a confirm") {
        Confirmation::Ack(Some(returned)) => assert_eq!(returned.reply_code, 312),
        other => panic!("{other:?}"),
    }
}
