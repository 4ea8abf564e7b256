//! Both ends of a WebSocket in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::{client_async, tungstenite::client::IntoClientRequest};

type Client = tokio_tungstenite::WebSocketStream<DuplexStream>;

const PATHS: &[&str] = &["/ws"];

/// A client and a server connected in memory, and the subprotocol that was agreed.
async fn pair(
    path: &str,
    offer: Option<&str>,
    text: bool,
) -> Option<(Client, WebSocketStream<DuplexStream>, String)> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
    if let Some(offer) = offer {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(offer).unwrap());
    }
    let options =
        Options { subprotocols: &["v12.stomp", "v11.stomp"], paths: PATHS, message_bytes_max: 1 << 25, text };
    let (client, server) = tokio::join!(client_async(request, near), accept(far, &options));
    let (client, response) = client.ok()?;
    let agreed = response.headers().get(SEC_WEBSOCKET_PROTOCOL).map(|name| name.to_str().unwrap().to_owned());
    Some((client, server.unwrap(), agreed.unwrap_or_default()))
}

#[tokio::test]
async fn handshake() {
    let (.., agreed) = pair("/ws", Some("v10.stomp, v11.stomp,v12.stomp"), true).await.unwrap();
    assert_eq!(agreed, "v11.stomp");
    let (.., agreed) = pair("/ws", None, true).await.unwrap();
    assert_eq!(agreed, "");
    assert!(pair("/other", None, true).await.is_none());
}

#[tokio::test]
async fn reads_join_messages() {
    let (mut client, mut server, _) = pair("/ws", None, true).await.unwrap();
    for message in
        [Message::text("ab"), Message::binary(vec![]), Message::Ping(Bytes::new()), Message::binary("cd")]
    {
        client.send(message).await.unwrap();
    }
    let mut four = [0; 4];
    server.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"abcd");
    assert!(matches!(client.next().await, Some(Ok(Message::Pong(_)))));
    let (closed, read) = tokio::join!(client.close(None), server.read(&mut four));
    assert_eq!(read.unwrap(), 0);
    closed.unwrap();
}

#[tokio::test]
async fn writes_are_text_where_they_can_be() {
    let (mut client, mut server, _) = pair("/ws", None, true).await.unwrap();
    let both = [IoSlice::new("é".as_bytes()), IoSlice::new(b"\xe2\x82")];
    assert_eq!(server.write_vectored(&both).await.unwrap(), 2);
    server.write_all(b"\xff\0").await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("é"));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(&b"\xff\0"[..]));
    let shutdown = async move {
        server.shutdown().await.unwrap();
        server.read(&mut [0]).await
    };
    let leave = async {
        let close = client.next().await;
        // Polled again, the client answers.
        assert!(client.next().await.is_none());
        close
    };
    let (ended, close) = tokio::join!(shutdown, leave);
    assert_eq!(ended.unwrap(), 0);
    assert!(matches!(close, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn binary_only() {
    let (mut client, mut server, _) = pair("/ws", None, false).await.unwrap();
    server.write_all(b"ab").await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary("ab"));
    client.send(Message::text("ab")).await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn large_output_goes_in_pieces() {
    let (mut client, mut server, _) = pair("/ws", None, false).await.unwrap();
    let large = vec![7; SEND_MAX + 5];
    let write = async {
        server.write_all(&large).await.unwrap();
        server.flush().await.unwrap();
    };
    let read =
        async { (client.next().await.unwrap().unwrap().len(), client.next().await.unwrap().unwrap().len()) };
    let ((), lengths) = tokio::join!(write, read);
    assert_eq!(lengths, (SEND_MAX, 5));
}
