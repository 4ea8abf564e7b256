//! Starting and stopping the brokers under comparison, each with its own ports and a directory of its own that is
//! removed afterwards.

use crate::process;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waystation's flags: those that take a value from here, and the doors that stay shut.
const WAYSTATION_DATA: &str = "--data";
const WAYSTATION_AMQP: &str = "--amqp-listen";
const WAYSTATION_MQTT: &str = "--mqtt-listen";
const WAYSTATION_OFF: [&str; 4] = ["--mqtt-ws-listen", "--stomp-listen", "--stomp-ws-listen", "--aws-listen"];

/// How long a broker may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, at this path.
    Waystation(PathBuf),
    /// rabbitmq-server as installed.
    Rabbitmq,
    /// mosquitto as installed.
    Mosquitto,
}

impl Kind {
    /// Heading of its columns.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Waystation(_) => "Waystation",
            Kind::Rabbitmq => "RabbitMQ",
            Kind::Mosquitto => "mosquitto",
        }
    }

    /// Whether it can be started here.
    pub fn installed(&self) -> bool {
        match self {
            Kind::Waystation(path) => path.exists(),
            Kind::Rabbitmq => Path::new(RABBITMQ).exists(),
            Kind::Mosquitto => mosquitto().is_some(),
        }
    }
}

const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

fn mosquitto() -> Option<PathBuf> {
    ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].map(PathBuf::from).into_iter().find(|p| p.exists())
}

/// A running broker. Dropping it stops it.
pub struct Broker {
    child: Child,
    directory: PathBuf,
    epmd_port: Option<u16>,
    /// Process whose CPU and memory count.
    pub pid: u32,
    /// AMQP door, if it has one.
    pub amqp: SocketAddr,
    /// MQTT door, if it has one.
    pub mqtt: SocketAddr,
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> io::Result<()> {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{what} took more than {PATIENCE:?}")));
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

impl Broker {
    /// Starts a broker and waits until it takes connections.
    pub fn start(kind: &Kind) -> io::Result<Self> {
        let (amqp, mqtt) = (free_port()?, free_port()?);
        let directory =
            std::env::temp_dir().join(format!("waystation-compare-{}-{amqp}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let mut epmd_port = None;
        let mut command = match kind {
            Kind::Waystation(path) => waystation(path, &directory, amqp, mqtt),
            Kind::Rabbitmq => {
                let port = free_port()?;
                epmd_port = Some(port);
                rabbitmq(&directory, amqp, port, free_port()?)
            }
            Kind::Mosquitto => mosquitto_command(&directory, mqtt)?,
        };
        let output = File::create(directory.join("output"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn()?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let pid = child.id();
        let mut this = Self { child, directory, epmd_port, pid, amqp: local(amqp), mqtt: local(mqtt) };
        let door = if *kind == Kind::Mosquitto { this.mqtt } else { this.amqp };
        let started = wait_until(kind.name(), || TcpStream::connect(door).is_ok() || this.ended());
        if started.is_err() || this.ended() {
            let output = fs::read_to_string(this.directory.join("output")).unwrap_or_default();
            return Err(io::Error::other(format!("{} did not start:\n{output}", kind.name())));
        }
        if *kind == Kind::Rabbitmq {
            // The child is a script; the broker is the virtual machine under it, whose home is our directory.
            let home = this.directory.to_string_lossy().into_owned();
            this.pid = process::find("beam.smp", &home).ok_or(io::Error::other("no beam.smp found"))?;
        }
        Ok(this)
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.pid.to_string()).status();
        if wait_until("stopping", || self.child.try_wait().is_ok_and(|status| status.is_some())).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(port) = self.epmd_port {
            let mut epmd = Command::new("epmd");
            epmd.arg("-port").arg(port.to_string()).arg("-kill");
            let _ = epmd.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn waystation(path: &Path, directory: &Path, amqp: u16, mqtt: u16) -> Command {
    let mut command = Command::new(path);
    command.arg(WAYSTATION_DATA).arg(directory.join("data"));
    command.args([
        WAYSTATION_AMQP,
        &format!("127.0.0.1:{amqp}"),
        WAYSTATION_MQTT,
        &format!("127.0.0.1:{mqtt}"),
    ]);
    for flag in WAYSTATION_OFF {
        command.args([flag, ""]);
    }
    command
}

/// A node with its own name, data, ports and port mapper, without plugins and configuration files.
fn rabbitmq(directory: &Path, amqp: u16, epmd_port: u16, distribution_port: u16) -> Command {
    let mut command = Command::new(RABBITMQ);
    command
        .env("HOME", directory)
        .env("RABBITMQ_NODENAME", format!("waystation-compare-{epmd_port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", amqp.to_string())
        .env("RABBITMQ_DIST_PORT", distribution_port.to_string())
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", directory.join("log"))
        .env("RABBITMQ_CONF_ENV_FILE", directory.join("none.conf"))
        .env("RABBITMQ_CONFIG_FILE", directory.join("none"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", directory.join("pid"));
    command
}

fn mosquitto_command(directory: &Path, port: u16) -> io::Result<Command> {
    let file = directory.join("mosquitto.conf");
    let owner = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
    fs::write(
        &file,
        format!(
            "{owner}listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
             max_queued_messages 0\nmax_inflight_messages 0\nlog_type error\nsys_interval 0\n"
        ),
    )?;
    let mut command = Command::new(mosquitto().unwrap_or_default());
    command.arg("-c").arg(file);
    Ok(command)
}
