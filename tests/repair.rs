//! `waystation repair` on directories of a real broker, damaged in every way: refused by name before, started after.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Longest that any one step may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages sent, and how many of them were taken away again.
const SENT: usize = 600;
const TAKEN: usize = 200;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running broker with a STOMP door.
struct Broker {
    child: Child,
    stomp: SocketAddr,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn waystation(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waystation"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WAYSTATION_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    waystation(arguments).output().unwrap()
}

/// Starts a broker; `Err` is what it said when it did not start.
fn start(data: &Path) -> Result<Broker, String> {
    let doors = ["amqp", "mqtt", "mqtt-ws", "stomp-ws", "aws", "management"]
        .map(|door| format!("--{door}-listen=off"));
    let data = data.to_str().unwrap();
    let mut command = waystation(&["--data", data, "--workers=1", "--stomp-listen=127.0.0.1:0"]);
    command.args(doors).args(["--log-segment-bytes=1048576", "--log-page-bytes=65536"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut stomp) = (String::new(), None);
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).unwrap() == 0 {
            let mut error = String::new();
            child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
            let _ = child.wait();
            return Err(said + &error);
        }
        if line.contains(" STOMP ") || line.contains(" stomp ") {
            stomp = line.split_whitespace().next().unwrap().parse().ok();
        }
        said += &line;
        if line.trim() == "ready" {
            break;
        }
    }
    // What it prints from now on must not block it.
    std::thread::spawn(move || output.lines().for_each(drop));
    assert!(!said.contains("damage"), "{said}");
    Ok(Broker { child, stomp: stomp.unwrap_or_else(|| panic!("no door in {said}")) })
}

/// A STOMP connection, as little of one as is needed.
struct Stomp(BufReader<TcpStream>);

impl Stomp {
    fn open(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.stomp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stomp = Self(BufReader::new(stream));
        stomp.send("CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n");
        assert!(stomp.frame().starts_with("CONNECTED"));
        stomp
    }

    fn send(&mut self, frame: &str) {
        self.0.get_mut().write_all(format!("{frame}\0").as_bytes()).unwrap();
    }

    fn frame(&mut self) -> String {
        let mut frame = Vec::new();
        self.0.read_until(0, &mut frame).unwrap();
        String::from_utf8(frame).unwrap().trim_matches(['\0', '\n']).to_owned()
    }

    fn publish(&mut self, number: usize) {
        let body = format!("{number:06}{}", "x".repeat(number * 37 % 900));
        self.send(&format!("SEND\ndestination:/queue/repaired\npersistent:true\nreceipt:{number}\n\n{body}"));
        assert!(self.frame().starts_with("RECEIPT"));
    }

    /// Numbers of the messages up to this one, which are taken away.
    fn take_to(&mut self, last: usize) -> Vec<usize> {
        self.send(
            "SUBSCRIBE\nid:0\ndestination:/queue/repaired\nack:client-individual\nprefetch-count:1\n\n",
        );
        let mut numbers = Vec::new();
        while numbers.last() != Some(&last) {
            let frame = self.frame();
            let (head, body) = frame.split_once("\n\n").unwrap();
            numbers.push(body[..6].parse().unwrap());
            let ack = head.lines().find_map(|line| line.strip_prefix("ack:")).unwrap();
            self.send(&format!("ACK\nid:{ack}\n\n"));
        }
        self.send("UNSUBSCRIBE\nid:0\nreceipt:done\n\n");
        while !self.frame().starts_with("RECEIPT") {}
        numbers
    }
}

/// A directory with settled segments, in which the first messages are taken away again.
fn filled(dir: &Path) {
    let mut broker = start(dir).unwrap();
    let mut stomp = Stomp::open(&broker);
    (0..SENT).for_each(|number| stomp.publish(number));
    assert_eq!(stomp.take_to(TAKEN - 1), (0..TAKEN).collect::<Vec<_>>());
    drop(stomp);
    let id = broker.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    broker.child.wait().unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Damages a copy, repairs it, and says which of the messages that were there are gone.
fn gone_after(
    base: &Path,
    scratch: &Path,
    name: &str,
    harm: impl FnOnce(&Path) -> String,
) -> BTreeSet<usize> {
    let data = scratch.join(name);
    copy_dir(base, &data);
    let file = harm(&data.join("worker-00"));
    let said = start(&data).err().unwrap_or_else(|| panic!("{name}: started"));
    assert!(said.contains(&file) && said.contains("waystation repair"), "{name}: {said}");
    let shown = run(&["inspect", data.to_str().unwrap()]);
    assert!(shown.status.success(), "{name}");
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&file), "{name}: {shown:?}");
    let repaired = run(&["repair", data.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert!(repaired.status.success() && text.contains(&file) && text.contains("repaired"), "{name}: {text}");
    let broker = start(&data).unwrap_or_else(|said| panic!("{name}: repaired, but {said}"));
    let mut stomp = Stomp::open(&broker);
    stomp.publish(SENT);
    let found = stomp.take_to(SENT);
    assert!(found.is_sorted(), "{name}: {found:?}");
    let found: BTreeSet<usize> = found.into_iter().collect();
    drop((stomp, broker));
    let again = run(&["repair", data.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing is wrong"), "{name}: {again:?}");
    (TAKEN..SENT).filter(|number| !found.contains(number)).collect()
}

#[test]
fn damaged_directories_are_repaired() {
    let scratch = Scratch(std::env::temp_dir().join(format!("waystation-repair-{}", std::process::id())));
    let base = scratch.0.join("base");
    filled(&base);
    let segment = |dir: &Path, at: usize| files(dir, "log")[at].clone();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let bit = |at: usize| {
        move |dir: &Path| {
            let path = segment(dir, 0);
            flip(&path, at);
            name(&path)
        }
    };
    assert_eq!(gone_after(&base, &scratch.0, "header", bit(21)), BTreeSet::new());
    assert!(gone_after(&base, &scratch.0, "record", bit(200_000)).len() <= 1);
    let cut = |dir: &Path| {
        let path = segment(dir, 0);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(250_000).unwrap();
        name(&path)
    };
    let gone = gone_after(&base, &scratch.0, "cut", cut);
    assert!(gone.len() < SENT - TAKEN, "all gone");
    let emptied = |dir: &Path| {
        let path = segment(dir, 0);
        fs::write(&path, b"").unwrap();
        name(&path)
    };
    gone_after(&base, &scratch.0, "emptied", emptied);
}

#[test]
fn what_can_not_be_repaired_fails() {
    let scratch =
        Scratch(std::env::temp_dir().join(format!("waystation-repair-none-{}", std::process::id())));
    fs::create_dir_all(&scratch.0).unwrap();
    let nothing = run(&["repair", scratch.0.to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(1));
    let data = scratch.0.join("data");
    let broker = start(&data).unwrap();
    let in_use = run(&["repair", data.to_str().unwrap()]);
    assert_eq!(in_use.status.code(), Some(1));
    let text = String::from_utf8_lossy(&in_use.stderr).into_owned();
    assert!(text.contains(&broker.child.id().to_string()), "{text}");
    let shown = run(&["inspect", data.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("in use by process"), "{shown:?}");
}
