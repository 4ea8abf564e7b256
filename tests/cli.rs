//! The built program, as somebody at a terminal meets it: what it says, where it says it, how it exits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest that any one step may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of its own for each test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("waystation-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program in a clean environment.
fn waystation(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waystation"));
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("WAYSTATION_"));
    ours.for_each(|name| {
        command.env_remove(name);
    });
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    waystation(arguments).envs(env.iter().copied()).output().unwrap()
}

/// Runs to the end; it must fail with one line on standard error, which is returned.
fn failure(arguments: &[&str], env: &[(&str, &str)]) -> String {
    let output = output(arguments, env);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "one line, not: {text}");
    text.trim_end().to_owned()
}

fn success(arguments: &[&str], env: &[(&str, &str)]) -> String {
    let output = output(arguments, env);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Flags for a broker whose plain doors are all off.
fn doors_off() -> Vec<String> {
    ["amqp", "mqtt", "mqtt-ws", "stomp", "stomp-ws", "aws", "management"]
        .map(|door| format!("--{door}-listen=off"))
        .into()
}

/// A running broker with the doors that `flags` open.
struct Running {
    child: Child,
    lines: Vec<String>,
}

impl Running {
    fn start(data: &str, flags: &[&str]) -> Self {
        let mut command = waystation(&["--data", data]);
        command.args(doors_off()).args(flags).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let mut lines = Vec::new();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.last().is_none_or(|line| line != "ready") {
            lines.push(output.next().expect("it ended before it was ready").unwrap());
        }
        // What it prints from now on must not block it.
        std::thread::spawn(move || output.for_each(drop));
        Self { child, lines }
    }

    /// Where the door with this name listens.
    fn address(&self, name: &str) -> SocketAddr {
        let line = self.lines.iter().find(|line| line.contains(&format!(" {name}  "))).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn version_and_help() {
    assert_eq!(success(&["--version"], &[]), format!("waystation {}\n", env!("CARGO_PKG_VERSION")));
    let help = success(&["--help"], &[]);
    assert!(help.lines().count() <= 60 && help.lines().all(|line| line.len() <= 110), "{help}");
    for word in ["--config", "--check-config", "--amqp-listen", "WAYSTATION_AMQP_LISTEN", "inspect"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    let scratch = Scratch::new("unknown");
    let check = |arguments: &[&str], env: &[(&str, &str)], nearest: &str| {
        let text = failure(arguments, env);
        assert!(text.contains(&format!("did you mean '{nearest}'?")), "{text}");
    };
    let file = scratch.file("key.toml", "[listen]\nampq = \"off\"\n");
    check(&["--config", &file], &[], "listen.amqp");
    check(&["--amqp-lisen", "off"], &[], "amqp-listen");
    check(&["--confg", &file], &[], "config");
    check(&[], &[("WAYSTATION_LOG_LEVL", "info")], "log-level");
}

#[test]
fn a_bad_file_is_one_clear_line() {
    let scratch = Scratch::new("file");
    let check = |text: &str, expected: &str| {
        let file = scratch.file("bad.toml", text);
        let said = failure(&["--check-config", "--config", &file], &[]);
        assert!(said.contains("bad.toml") || !expected.contains("bad.toml"), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    check("data = \"d\"\nno toml", "bad.toml: line 2: ");
    check("users = 3", "users must be a list");
    check("[[users]]\nname = \"a\"\npasswrd = \"b\"", "unknown field `passwrd`");
    check("workers = 1000", "workers: 1000 is not between 0 and 256");
    check("[listen]\namqps = \"127.0.0.1:0\"", "listen.amqps needs tls.cert and tls.key");
    assert!(failure(&["--config", &scratch.path("absent.toml")], &[]).contains("absent.toml"));
}

#[test]
fn check_config_says_fine_and_starts_nothing() {
    let scratch = Scratch::new("check");
    let data = scratch.path("data");
    let file = scratch.file("good.toml", "vhosts = [\"/\", \"shop\"]\n[limits]\nmessage_bytes = 10_000\n");
    let said = success(&["--check-config", "--config", &file, "--data", &data], &[]);
    assert_eq!(said, "the configuration is fine\n");
    assert!(!Path::new(&data).exists());
    assert_eq!(success(&["--check-config"], &[("WAYSTATION_CONFIG", &file)]), said);
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let scratch = Scratch::new("order");
    let (one, two) = (scratch.path("one"), scratch.path("two"));
    let file = scratch.file("c.toml", &format!("data = {one:?}\n"));
    let run = |flags: &[&str], variable: Option<&str>| {
        let mut command = waystation(&["--config", &file]);
        command.args(doors_off()).args(flags).envs(variable.map(|data| ("WAYSTATION_DATA", data)));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.map(Result::unwrap).find(|line| line.starts_with("data in "));
        child.kill().unwrap();
        child.wait().unwrap();
        line.unwrap()
    };
    assert_eq!(run(&[], None), format!("data in {one}"));
    assert_eq!(run(&[], Some(&two)), format!("data in {two}"));
    assert_eq!(run(&["--data", &one], Some(&two)), format!("data in {one}"));
}

#[test]
fn a_taken_port() {
    let scratch = Scratch::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut flags = doors_off();
    flags.extend(["--data".to_owned(), scratch.path("data"), format!("--amqp-listen={address}")]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let text = failure(&flags, &[]);
    assert!(text.contains(&address) && text.contains("in use") && text.contains("listen.amqp"), "{text}");
}

#[test]
fn an_unwritable_or_used_data_directory() {
    let scratch = Scratch::new("data");
    let mut flags = doors_off();
    // A file where the directory is to be: refused for everyone, the superuser included.
    let data = scratch.file("plain", "");
    flags.extend(["--data".to_owned(), data.clone()]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let text = failure(&flags, &[]);
    assert!(text.contains(&data) && text.contains("setting data"), "{text}");

    let data = scratch.path("held");
    let _first = Running::start(&data, &[]);
    let mut flags = doors_off();
    flags.extend(["--data".to_owned(), data.clone()]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    assert!(failure(&flags, &[]).contains(&data));
}

/// Where certs/make.sh puts its output when run on a copy in `scratch`; `None` without openssl.
fn certificates(scratch: &Scratch) -> Option<PathBuf> {
    Command::new("openssl").arg("version").output().ok().filter(|done| done.status.success())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/make.sh");
    fs::copy(script, scratch.0.join("make.sh")).unwrap();
    let made = Command::new("sh").arg(scratch.0.join("make.sh")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(scratch.0.join("out"))
}

#[test]
fn bad_certificates_and_keys() {
    let scratch = Scratch::new("tls");
    let Some(out) = certificates(&scratch) else { return };
    let of = |name: &str| out.join(name).display().to_string();
    let junk = scratch.file("junk.pem", "no certificate\n");
    let check = |cert: &str, key: &str, ca: &str, named: &str, what: &str| {
        let data = scratch.path("data");
        let mut flags = vec!["--tls-cert", cert, "--tls-key", key, "--data", &data];
        if !ca.is_empty() {
            flags.extend(["--tls-client-ca", ca]);
        }
        for first in ["--check-config", "--amqps-listen=127.0.0.1:0"] {
            let mut all = vec![first];
            all.extend(&flags);
            let text = failure(&all, &[]);
            assert!(text.contains(named) && text.contains(what), "{text}");
        }
    };
    check(&of("absent.pem"), &of("server.key"), "", "absent.pem", "cannot be read");
    check(&junk, &of("server.key"), "", &junk, "no certificate in PEM form");
    check(&of("server.pem"), &junk, "", &junk, "no private key in PEM form");
    check(&of("server.pem"), &of("client.key"), "", "client.key", "does not go with the certificate");
    check(&of("server.pem"), &of("server.key"), &junk, &junk, "no certificate in PEM form");
    let text = failure(&["--tls-cert", &of("server.pem")], &[]);
    assert!(text.contains("belong together"), "{text}");
}

#[test]
fn tls_doors_with_the_certificates_of_the_script() {
    let scratch = Scratch::new("doors");
    let Some(out) = certificates(&scratch) else { return };
    let of = |name: &str| out.join(name).display().to_string();
    let (cert, key) = (of("server.pem"), of("server.key"));
    let doors = ["amqps", "mqtts", "mqtt-wss", "stomps", "stomp-wss", "aws-tls"];
    let listen = doors.map(|door| format!("--{door}-listen=127.0.0.1:0"));
    let mut flags: Vec<&str> = listen.iter().map(String::as_str).collect();
    flags.extend(["--tls-cert", &cert, "--tls-key", &key]);
    let running = Running::start(&scratch.path("data"), &flags);
    let open: Vec<&str> =
        running.lines.iter().filter(|line| line.contains("open to")).map(String::as_str).collect();
    assert_eq!(open.len(), doors.len(), "{open:?}");
    for line in open {
        let address = line.split_whitespace().next().unwrap();
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", address, "-verify_return_error", "-brief", "-CAfile"]);
        let met = client.arg(of("ca.pem")).stdin(Stdio::null()).output().unwrap();
        assert!(met.status.success(), "{line}: {}", String::from_utf8_lossy(&met.stderr));
    }
}

#[test]
fn one_signal_drains_and_exits_with_0() {
    for signal in ["-INT", "-TERM"] {
        let scratch = Scratch::new(&format!("drain{signal}"));
        let mut running = Running::start(&scratch.path("data"), &["--stomp-listen=127.0.0.1:0"]);
        let mut client = TcpStream::connect(running.address("STOMP")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // Once it is answered the broker has it; before, it may still be in the system's queue.
        client.write_all(b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0").unwrap();
        assert!(client.read(&mut [0; 512]).unwrap() > 0);
        running.signal(signal);
        assert_eq!(running.exit_code(), Some(0));
        assert!(client.read(&mut [0; 512]).is_ok(), "the client was told or let go, not reset");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let scratch = Scratch::new("twice");
    let mut running = Running::start(&scratch.path("data"), &["--amqp-listen=127.0.0.1:0"]);
    // A client that was told to close and does not answer holds the drain up.
    let held = client_that_never_closes(running.address("AMQP 0-9-1"));
    running.signal("-INT");
    std::thread::sleep(Duration::from_millis(300));
    assert!(running.child.try_wait().unwrap().is_none(), "the drain was not held up");
    let started = Instant::now();
    running.signal("-INT");
    assert_eq!(running.exit_code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(3));
    drop(held);
}

/// An AMQP connection that is open and then silent.
fn client_that_never_closes(address: SocketAddr) -> TcpStream {
    let frame = |payload: &[u8]| {
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        frame
    };
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    // connection.start-ok, tune-ok, open; the answers are start, tune and open-ok.
    client.write_all(&frame(b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US")).unwrap();
    client.write_all(&frame(b"\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0")).unwrap();
    client.write_all(&frame(b"\0\x0a\0\x28\x01/\0\0")).unwrap();
    let mut seen: Vec<u8> = Vec::new();
    while !seen.windows(4).any(|bytes| bytes == b"\0\x0a\0\x29") {
        let mut buffer = [0; 4096];
        let count = client.read(&mut buffer).unwrap();
        assert!(count > 0, "the broker closed the connection");
        seen.extend(buffer.iter().take(count));
    }
    client
}
