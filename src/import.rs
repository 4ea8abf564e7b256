//! A mosquitto.conf as our configuration, and what of it could not be carried over.
//!
//! Owns: mosquitto's options, what each becomes here, and a sentence for each that becomes nothing. Refuses: to guess;
//! a listener that can not be made as it was is left out and named.

mod listener;
mod options;

use listener::Section;
use options::{Fate, fate};
use std::fmt::Write;
use std::path::Path;

/// Deepest chain of `include_dir`.
const INCLUDES_MAX: usize = 4;
/// Most lines of all files together.
const LINES_MAX: usize = 100_000;

/// What came of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// The configuration, TOML.
    pub toml: String,
    /// What could not be carried over, one sentence each, beginning with file and line.
    pub notes: Vec<String>,
}

/// An option with where it stands.
#[derive(Clone, Debug)]
struct Line {
    place: String,
    option: String,
    value: String,
}

/// Reads the file and those that it includes. Errors: one that can not be read.
pub fn mosquitto(path: &Path) -> Result<Imported, String> {
    let mut lines = Vec::new();
    read(path, 0, &mut lines)?;
    Ok(convert(&lines))
}

fn read(path: &Path, depth: usize, lines: &mut Vec<Line>) -> Result<(), String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (option, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let place = format!("{}:{}", path.display(), index + 1);
        if option == "include_dir" && depth < INCLUDES_MAX {
            for file in included(Path::new(value.trim()), &place)? {
                read(&file, depth + 1, lines)?;
            }
            continue;
        }
        if lines.len() >= LINES_MAX {
            return Err(format!("{place}: more than {LINES_MAX} lines in all"));
        }
        lines.push(Line { place, option: option.to_owned(), value: value.trim().to_owned() });
    }
    Ok(())
}

/// The files of an included folder that end in `.conf`, in mosquitto's order.
fn included(folder: &Path, place: &str) -> Result<Vec<std::path::PathBuf>, String> {
    let listed =
        std::fs::read_dir(folder).map_err(|error| format!("{place}: {}: {error}", folder.display()))?;
    let mut files: Vec<_> = listed.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    Ok(files)
}

/// What has been read so far.
#[derive(Debug, Default)]
struct State {
    notes: Vec<String>,
    broker: Vec<(&'static str, String)>,
    /// Options of all listeners.
    general: Section,
    /// Options of the listener that needs no line of its own.
    first: Section,
    listeners: Vec<Section>,
    in_bridge: Option<String>,
    per_listener: bool,
}

fn convert(lines: &[Line]) -> Imported {
    let mut state = State {
        per_listener: lines.iter().any(|line| line.option == "per_listener_settings" && line.value == "true"),
        ..State::default()
    };
    for line in lines {
        state.take(line);
    }
    state.finish()
}

impl State {
    fn note(&mut self, line: &Line, why: &str) {
        self.notes.push(format!("{}: {}: {why}", line.place, line.option));
    }

    fn take(&mut self, line: &Line) {
        match line.option.as_str() {
            "listener" => {
                self.in_bridge = None;
                self.listeners.push(Section::listener(line));
                return;
            }
            "connection" => {
                self.in_bridge = Some(line.value.clone());
                return self.note(line, "there are no bridges yet; this one and its options are left out");
            }
            _ => {}
        }
        if self.in_bridge.is_some() && options::of_bridge(&line.option) {
            return;
        }
        match fate(&line.option, &line.value) {
            Fate::Same => {}
            Fate::Broker(key, value) => self.broker.push((key, value)),
            Fate::Listener => {
                let own = options::of_one_listener(&line.option) || self.per_listener;
                let section = match self.listeners.last_mut() {
                    _ if line.option == "max_packet_size" => &mut self.general,
                    Some(listener) if own => listener,
                    _ if own => &mut self.first,
                    _ => &mut self.general,
                };
                section.lines.push(line.clone());
            }
            Fate::Lost(why) => self.note(line, why),
        }
    }

    fn finish(mut self) -> Imported {
        let mut listeners = std::mem::take(&mut self.listeners);
        let local_only = listeners.is_empty() && !self.first.has("port");
        if listeners.is_empty() || self.first.has("port") {
            listeners.insert(0, std::mem::take(&mut self.first));
        }
        self.general.lose(&mut self.notes);
        let mut toml = String::from("# Made from a mosquitto.conf by `waystation import`.\n");
        toml.push_str("\n# The doors of mosquitto are the listeners below.\n[listen]\nmqtt = \"off\"\nmqtt_ws = \"off\"\n");
        self.broker.sort();
        let mut table = "";
        for (key, value) in &self.broker {
            let Some((group, name)) = key.split_once('.') else { continue };
            if group != table {
                let _ = writeln!(toml, "\n[{group}]");
                table = group;
            }
            let _ = writeln!(toml, "{name} = {value}");
        }
        for listener in &listeners {
            match listener.toml(&self.general, local_only, &mut self.notes) {
                Some(text) => toml.push_str(&text),
                None => continue,
            }
        }
        Imported { toml, notes: self.notes }
    }
}

/// Text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
#[path = "import/tests.rs"]
mod tests;
