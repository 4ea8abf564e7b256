//! CONNECT: version, heart-beats, credentials and vhost; CONNECTED when the broker agrees.

use super::{Progress, Stage, StompSession, Then, Turn, Work};
use crate::{
    error::{Fault, login_refused},
    frame::Frame,
    heartbeat::Heartbeat,
    version::{SUPPORTED, Version},
    writer,
};
use bytes::Bytes;
use model::{
    Name,
    command::{Credentials, Op, Reply},
    error::BrokerError,
};

/// A login on its way.
pub(super) struct Login {
    version: Version,
    beat: Heartbeat,
    user: Name,
    vhost: Name,
    /// The frame that came instead of a CONNECT.
    implied_by: Option<Frame>,
}

impl Login {
    /// What the client is told when the broker says no.
    pub(super) fn refused(&self, error: &BrokerError) -> Fault {
        login_refused(error, &self.user, &self.vhost)
    }
}

impl StompSession {
    /// Begins the login that a CONNECT asks for. Every fault here closes: a client that is not in has no business.
    pub(super) fn connect(&mut self, frame: &Frame, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        let version = Version::negotiate(frame.header("accept-version")).ok_or_else(|| {
            Fault::closing("Version mismatch", format!("Supported versions are {SUPPORTED}\n"))
        })?;
        // STOMP 1.0 pads values on the left, and CONNECT comes before its version is known.
        let header = |name| {
            frame.header(name).map(|value| if version == Version::V10 { value.trim_start() } else { value })
        };
        let beat = Heartbeat::parse(header("heart-beat")).ok_or_else(|| {
            Fault::closing("Bad CONNECT", "'heart-beat' must be two numbers separated by a comma\n")
        })?;
        let user = header("login").unwrap_or_default();
        let credentials = match header("login") {
            Some(user) => Credentials::Password {
                user: user.into(),
                password: Bytes::copy_from_slice(header("passcode").unwrap_or_default().as_bytes()),
            },
            None => self.credentials_without_login(),
        };
        let vhost = header("host").map_or_else(|| self.config.default_vhost.clone(), Name::from);
        let client = header("client-id").map(Name::from).unwrap_or_default();
        let login = Login { version, beat, user: user.into(), vhost, implied_by: None };
        Ok(self.log_in(login, credentials, client, turn))
    }

    /// Logs in on behalf of a client that did not: as nobody, with no heart-beats, in version 1.0.
    pub(super) fn connect_implicitly(&mut self, frame: Frame, turn: &mut Turn<'_>) -> Progress {
        let login = Login {
            version: Version::V10,
            beat: Heartbeat::default(),
            user: Name::new(),
            vhost: self.config.default_vhost.clone(),
            implied_by: Some(frame),
        };
        let credentials = self.credentials_without_login();
        self.log_in(login, credentials, Name::new(), turn)
    }

    fn credentials_without_login(&self) -> Credentials {
        match self.seed.certificate_name {
            Some(_) => Credentials::External,
            None => Credentials::Anonymous,
        }
    }

    fn log_in(
        &mut self,
        login: Login,
        credentials: Credentials,
        client: Name,
        turn: &mut Turn<'_>,
    ) -> Progress {
        let op = Op::Login { credentials, vhost: login.vhost.clone(), client };
        self.wait(vec![op], Then::LogIn(Box::new(login)), turn)
    }

    pub(super) fn logged_in(&mut self, login: Login, reply: Reply, turn: &mut Turn<'_>) {
        self.user = if let Reply::LoggedIn { user } = reply { user } else { login.user };
        self.stage = Stage::Open;
        self.version = login.version;
        self.beat = login.beat;
        self.beat.start(turn.now);
        match login.implied_by {
            // Dealt with before any further input.
            Some(frame) => self.work.push_back(Work::Frame(Box::new(frame))),
            None => writer::connected(
                &mut turn.out.wire,
                self.version,
                self.beat.answer(),
                &self.session_id,
                &self.config.server,
            ),
        }
    }
}
