//! From CONNECT to the close: logins, heart-beats, time-outs, shutdown.

use super::*;
use model::command::Credentials;

fn login(peer: &Peer) -> (Credentials, Name, Name) {
    match &peer.broker.ops[0] {
        Op::Login { credentials, vhost, client } => (credentials.clone(), vhost.clone(), client.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn connect() {
    let mut peer = Peer::fresh(StompConfig { server: "W/1".into(), ..StompConfig::default() });
    peer.check(
        "\n\0STOMP\naccept-version:1.0,1.2\nhost:v\nlogin:u\npasscode:p\nheart-beat:5000,8000\n\n\0",
        "CONNECTED\nversion:1.2\nheart-beat:8000,5000\nsession:S\nserver:W/1\n\n\0\n",
    );
    let (credentials, vhost, _) = login(&peer);
    assert_eq!(credentials, Credentials::Password { user: "u".into(), password: Bytes::from_static(b"p") });
    assert_eq!(vhost, "v");
    peer.check_error("CONNECT\n\n\0", "Illegal command", "You are logged in already", true);
}

#[test]
fn connect_without_login() {
    let mut peer = Peer::fresh(StompConfig::default());
    assert!(peer.say("CONNECT\n\n\0").starts_with("CONNECTED\nversion:1.0\nheart-beat:0,0\n"));
    assert_eq!(login(&peer), (Credentials::Anonymous, "/".into(), "".into()));
    let mut peer = Peer::fresh(StompConfig::default());
    peer.session.seed.certificate_name = Some("cn".into());
    peer.say("CONNECT\nhost: v \n\n\0");
    assert_eq!(login(&peer), (Credentials::External, "v ".into(), "".into()));
}

#[test]
fn refused_logins() {
    let check = |error, body| {
        let mut peer = Peer::fresh(StompConfig::default());
        peer.broker.refuse = Some(("Login", error));
        peer.check_error("CONNECT\nlogin:x\nhost://\n\n\0", "Bad CONNECT", body, true);
    };
    check(refused(ErrorKind::AccessRefused, "no"), "Access refused for user 'x'");
    check(refused(ErrorKind::NotFound, "no"), "Virtual host '//' access denied");
    check(refused(ErrorKind::NotAllowed, "no"), "Virtual host '//' access denied");
    check(refused(ErrorKind::LimitExceeded, "full up"), "full up");
}

#[test]
fn before_the_login() {
    let check = |text: &str, message, body, closes| {
        Peer::fresh(StompConfig::default()).check_error(text, message, body, closes);
    };
    check(
        "SEND\ndestination:/queue/a\n\n\0",
        "Illegal command",
        "You must log in using CONNECT first",
        false,
    );
    check(
        "CONNECT\naccept-version:9.9\n\n\0",
        "Version mismatch",
        "Supported versions are 1.0,1.1,1.2\n",
        true,
    );
    let body = "'heart-beat' must be two numbers separated by a comma\n";
    check("CONNECT\nheart-beat:x\n\n\0", "Bad CONNECT", body, true);
    let large = format!("CONNECT\n\n{}", "x".repeat(70_000));
    check(&large, "Invalid frame", "The frame is too large\n", true);
}

#[test]
fn login_timeout() {
    let mut peer = Peer::fresh(StompConfig::default());
    assert_eq!(peer.session.next_tick(), Some(10_000));
    assert_eq!(peer.tick(9_999), "");
    assert!(peer.tick(10_000).starts_with("ERROR\nmessage:Bad CONNECT\n"));
    assert!(peer.is_closed());
}

#[test]
fn implicit_connect() {
    let mut peer = Peer::fresh(StompConfig { implicit_connect: true, ..StompConfig::default() });
    peer.check("SEND\ndestination:/topic/a\nreceipt:1\n\nx\0", "RECEIPT\nreceipt-id:1\n\n\0\n");
    assert_eq!(peer.broker.published.len(), 1);
}

#[test]
fn heart_beats() {
    let mut peer = Peer::fresh(StompConfig::default());
    peer.say("CONNECT\naccept-version:1.1\nheart-beat:1000,4000\n\n\0");
    assert_eq!(peer.tick(1999), "");
    assert_eq!(peer.tick(2000), "\n");
    peer.say("\n");
    assert_eq!(peer.tick(4000), "\n");
    assert!(!peer.is_closed());
    assert!(peer.tick(4001).starts_with("ERROR\nmessage:Heart-beat missing\n"));
    assert!(peer.is_closed());
}

#[test]
fn a_client_that_is_not_read_is_not_silent() {
    let mut peer = Peer::fresh(StompConfig::default());
    peer.say("CONNECT\naccept-version:1.1\nheart-beat:1000,0\n\n\0");
    for (signal, now, closes) in
        [(Signal::Blocked("memory".into()), 5000, false), (Signal::Unblocked, 7001, true)]
    {
        peer.session.signal(signal, 5000, &mut peer.broker, &mut peer.out);
        peer.tick(now);
        assert_eq!(peer.is_closed(), closes);
    }
}

#[test]
fn disconnect_waits_for_confirms() {
    let mut peer = Peer::connected("1.2");
    peer.broker.confirms_later = true;
    peer.check("SEND\ndestination:/queue/a\npersistent:true\n\nx\0DISCONNECT\nreceipt:bye\n\n\0rubbish", "");
    assert!(!peer.is_closed() && peer.input.is_empty());
    assert_eq!(peer.confirm(0, true), "RECEIPT\nreceipt-id:bye\n\n\0\n");
    assert!(peer.is_closed());
    let mut peer = Peer::connected("1.2");
    peer.check("DISCONNECT\n\n\0", "");
    assert!(peer.is_closed());
}

#[test]
fn shutdown() {
    let mut peer = Peer::connected("1.2");
    let signal = Signal::Shutdown("maintenance".into());
    peer.session.signal(signal, 0, &mut peer.broker, &mut peer.out);
    assert_eq!(peer.heard(), error("connection_forced", "CONNECTION_FORCED - maintenance\n"));
    assert!(peer.is_closed());
}

#[test]
fn bad_frames() {
    let mut peer = Peer::connected("1.2");
    peer.check_error("NOPE\n\n\0", "Bad command", "Could not interpret command \"NOPE\"\n", false);
    let body = "A header contains an escape sequence that is not defined\n";
    peer.check_error("SEND\na:\\t\n\n\0", "Invalid frame", body, true);
}
