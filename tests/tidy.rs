//! Rules that the compiler does not hold: who may depend on whom, what may be named where, how large things get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, lines.
const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && name != "node_modules" && name != ".venv" {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

fn files_under(dirs: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    dirs.iter().for_each(|dir| rust_files(&root().join(dir), &mut found));
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Source without its test modules and comment lines: tests may name what code may not.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn absent(dirs: &[&str], words: &[&str], why: &str) {
    let mut broken = Vec::new();
    for (path, text) in files_under(dirs) {
        for word in words.iter().filter(|word| code(&text).contains(**word)) {
            broken.push(format!("{}: {word}", path.display()));
        }
    }
    assert!(broken.is_empty(), "{why}:\n{}", broken.join("\n"));
}

#[test]
fn files_are_short() {
    let long: Vec<String> = files_under(&["src", "protocols", "tests", "benches"])
        .into_iter()
        .filter(|(_, text)| text.lines().count() > FILE_LINES_MAX)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split by idea:\n{}", long.join("\n"));
}

#[test]
fn modules_say_what_they_are() {
    let silent: Vec<PathBuf> = files_under(&["src", "protocols"])
        .into_iter()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "begin with //! and say what the module owns and refuses: {silent:?}");
}

#[test]
fn pure_crates_touch_nothing() {
    let pure = [
        "src/model",
        "src/engine/src",
        "protocols/amqp091/src",
        "protocols/mqtt/src",
        "protocols/stomp/src",
        "protocols/aws/src",
    ];
    let words = [
        "std::net",
        "std::fs",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "tokio",
        "Mutex",
        "RwLock",
        "rand::",
        "getrandom",
    ];
    absent(&pure, &words, "no socket, file, clock, executor, lock or randomness in a pure crate");
}

#[test]
fn the_engine_names_no_protocol() {
    absent(
        &["src/engine/src"],
        &["amqp091", "mqtt::", "stomp::", "aws_protocol"],
        "the engine names no protocol",
    );
}

#[test]
fn protocols_do_not_know_each_other() {
    let names = ["amqp091", "mqtt", "stomp", "aws"];
    for name in names {
        let manifest = fs::read_to_string(root().join(format!("protocols/{name}/Cargo.toml"))).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let others = names.iter().filter(|other| **other != name).map(|other| format!("waystation-{other}"));
        for other in others.chain(["engine.workspace".to_owned(), "store.workspace".to_owned()]) {
            assert!(!dependencies.contains(&other), "protocols/{name} depends on {other}");
        }
    }
}

#[test]
fn only_the_network_touches_sockets() {
    let words = ["TcpListener", "TcpStream", "tokio_rustls"];
    absent(&["src/runtime", "src/auth", "src/admin"], &words, "only net/ and the HTTP door touch sockets");
}

#[test]
fn only_the_registry_lists_protocols() {
    let mut broken = Vec::new();
    for (path, text) in files_under(&["src/net", "src/runtime", "src/auth"]) {
        let code = code(&text);
        if ["amqp091::", "mqtt::", "stomp::", "aws_protocol::"].iter().any(|word| code.contains(word)) {
            broken.push(path);
        }
    }
    assert!(broken.is_empty(), "only registry.rs names protocols: {broken:?}");
}

#[test]
fn unsafe_is_forbidden_everywhere() {
    for (path, text) in files_under(&["src", "protocols"]) {
        assert!(!code(&text).contains("unsafe {"), "{} has unsafe code", path.display());
    }
}
