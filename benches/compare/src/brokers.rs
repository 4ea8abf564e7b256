//! Starting and stopping the brokers under comparison, each with its own ports and a directory of its own that is
//! removed afterwards.

use crate::process;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waystation's flags: those that take a value from here, and the doors that stay shut.
const WAYSTATION_DATA: &str = "--data";
const WAYSTATION_AMQP: &str = "--amqp-listen";
const WAYSTATION_MQTT: &str = "--mqtt-listen";
const WAYSTATION_OFF: [&str; 5] =
    ["--mqtt-ws-listen", "--stomp-listen", "--stomp-ws-listen", "--aws-listen", "--management-listen"];

/// How long a broker may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks whether it did, where the time it takes is not what is measured.
const POLL: Duration = Duration::from_millis(100);

/// And where it is.
const POLL_OFTEN: Duration = Duration::from_millis(2);

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

/// Where a broker listens; kept over a restart.
#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    mqtt: u16,
    epmd: u16,
    distribution: u16,
}

/// A running broker. Dropping it stops it and removes what it stored.
pub struct Broker {
    kind: Kind,
    child: Child,
    directory: PathBuf,
    ports: Ports,
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

fn wait_until(
    what: &str,
    (patience, pause): (Duration, Duration),
    mut done: impl FnMut() -> bool,
) -> io::Result<()> {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > patience {
            return Err(io::Error::other(format!("{what} took more than {patience:?}")));
        }
        sleep(pause);
    }
    Ok(())
}

impl Broker {
    /// Starts a broker that stores below the system's temporary directory, and waits until it takes connections.
    pub fn start(kind: &Kind) -> io::Result<Self> {
        Self::start_in(kind, &std::env::temp_dir())
    }

    /// Starts a broker that stores in a new directory below `parent`, and waits until it takes connections.
    pub fn start_in(kind: &Kind, parent: &Path) -> io::Result<Self> {
        let ports =
            Ports { amqp: free_port()?, mqtt: free_port()?, epmd: free_port()?, distribution: free_port()? };
        let directory = parent.join(format!("waystation-compare-{}-{}", std::process::id(), ports.amqp));
        fs::create_dir_all(&directory)?;
        let child = launch(kind, &directory, &ports)?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut this = Self {
            kind: kind.clone(),
            pid: child.id(),
            child,
            directory,
            ports,
            amqp: local(ports.amqp),
            mqtt: local(ports.mqtt),
        };
        this.await_door((PATIENCE, POLL))?;
        Ok(this)
    }

    fn await_door(&mut self, patience: (Duration, Duration)) -> io::Result<()> {
        let name = self.kind.name();
        let door = if self.kind == Kind::Mosquitto { self.mqtt } else { self.amqp };
        let started = wait_until(name, patience, || TcpStream::connect(door).is_ok() || self.ended());
        if started.is_err() || self.ended() {
            let output = fs::read_to_string(self.directory.join("output")).unwrap_or_default();
            return Err(io::Error::other(format!("{name} did not start:\n{output}")));
        }
        if self.kind == Kind::Rabbitmq {
            // The child is a script; the broker is the virtual machine under it, whose home is our directory.
            let home = self.directory.to_string_lossy().into_owned();
            self.pid = process::find("beam.smp", &home).ok_or(io::Error::other("no beam.smp found"))?;
        }
        Ok(())
    }

    /// Ends the broker's process as a crash does, and waits until it is gone. What it stored stays.
    pub fn kill(&mut self) -> io::Result<()> {
        self.end("-KILL", PATIENCE)
    }

    /// Asks the broker to end, and waits until it did. What it stored stays.
    pub fn stop(&mut self, patience: Duration) -> io::Result<()> {
        self.end("-TERM", patience)
    }

    fn end(&mut self, signal: &str, patience: Duration) -> io::Result<()> {
        Command::new("kill").arg(signal).arg(self.pid.to_string()).status()?;
        wait_until("stopping", (patience, POLL_OFTEN), || self.ended())
    }

    /// Starts a broker that ended again, with what it stored, and waits until it takes connections. Answers when
    /// its program was started.
    pub fn restart(&mut self, patience: Duration) -> io::Result<Instant> {
        let begin = Instant::now();
        self.child = launch(&self.kind, &self.directory, &self.ports)?;
        self.pid = self.child.id();
        self.await_door((patience, POLL_OFTEN))?;
        Ok(begin)
    }

    /// Bytes that everything it stored takes on the disk.
    pub fn stored_bytes(&self) -> u64 {
        allocated_bytes(&self.directory)
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

fn allocated_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => allocated_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

fn launch(kind: &Kind, directory: &Path, ports: &Ports) -> io::Result<Child> {
    let mut command = match kind {
        Kind::Waystation(path) => waystation(path, directory, ports.amqp, ports.mqtt),
        Kind::Rabbitmq => rabbitmq(directory, ports.amqp, ports.epmd, ports.distribution),
        Kind::Mosquitto => mosquitto_command(directory, ports.mqtt)?,
    };
    let output = File::create(directory.join("output"))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !self.ended() && self.stop(PATIENCE).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if self.kind == Kind::Rabbitmq {
            let mut epmd = Command::new("epmd");
            epmd.arg("-port").arg(self.ports.epmd.to_string()).arg("-kill");
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
