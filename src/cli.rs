//! The command line: flags from the settings table, and the few that are not settings.

use crate::config::{Config, Raw, SETTINGS, unknown};
use std::fmt::Write;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run the broker.
    Run(Box<Config>),
    /// Check what the configuration names, say whether it is fine, and stop.
    CheckConfig(Box<Config>),
    /// Print this and stop.
    Print(String),
    /// Show what is in a data directory.
    Inspect(PathBuf),
    /// Make a damaged data directory usable again.
    Repair(PathBuf),
    /// Turn a mosquitto.conf into a configuration, on standard output or in a file.
    Import {
        /// The mosquitto.conf.
        from: PathBuf,
        /// Where to; `None` for standard output.
        to: Option<PathBuf>,
    },
}

/// Reads arguments (without the program's name), the environment through `env`, and the file they name.
pub fn parse(
    arguments: impl Iterator<Item = String>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Command, String> {
    let mut flags = Vec::new();
    let (mut file, mut check) = (None, false);
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let mut value = || inline.clone().or_else(|| arguments.next()).ok_or(format!("{name} needs a value"));
        if inline.is_some() && ["-h", "--help", "-V", "--version", "--check-config"].contains(&&*name) {
            return Err(format!("{name} takes no value"));
        }
        match name.as_str() {
            "-h" | "--help" => return Ok(Command::Print(help())),
            "-V" | "--version" => {
                return Ok(Command::Print(format!("waystation {}\n", env!("CARGO_PKG_VERSION"))));
            }
            "--check-config" => check = true,
            "-c" | "--config" => file = Some(value()?),
            "inspect" => return Ok(Command::Inspect(value()?.into())),
            "repair" => return Ok(Command::Repair(value()?.into())),
            "import" => return import(value()?, arguments),
            _ => {
                let known = SETTINGS.iter().find(|s| name.strip_prefix("--") == Some(s.flag));
                let setting = known.ok_or_else(|| {
                    let others = ["config", "check-config", "version", "help"];
                    let known = SETTINGS.iter().map(|s| s.flag).chain(others);
                    unknown(name.trim_start_matches('-'), "command line", known)
                })?;
                flags.push((setting.key, value()?));
            }
        }
    }
    let mut raw = Raw::default();
    let mut variables = Vec::new();
    for (name, value) in env {
        let Some(rest) = name.strip_prefix("WAYSTATION_") else { continue };
        let flag = rest.to_ascii_lowercase().replace('_', "-");
        match SETTINGS.iter().find(|s| s.flag == flag) {
            Some(setting) => variables.push((setting.key, value)),
            None if flag == "config" => file = file.or(Some(value)),
            None if injected(rest) => {}
            None => return Err(unknown(&flag, &name, SETTINGS.iter().map(|s| s.flag))),
        }
    }
    if let Some(file) = file {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
        raw.read_toml(&text, &file)?;
    }
    for (key, value) in variables.into_iter().chain(flags) {
        raw.set(key, value, "command line")?;
    }
    let config = raw.validate()?;
    let config = Box::new(config);
    Ok(if check { Command::CheckConfig(config) } else { Command::Run(config) })
}

/// Reads what follows `import FILE`.
fn import(from: String, mut rest: impl Iterator<Item = String>) -> Result<Command, String> {
    let to = match rest.next().as_deref().map(|flag| flag.split_once('=').unwrap_or((flag, ""))) {
        None => None,
        Some(("--output" | "-o", "")) => Some(rest.next().ok_or("--output needs a value")?.into()),
        Some(("--output", file)) => Some(file.into()),
        Some((other, _)) => {
            return Err(unknown(other.trim_start_matches('-'), "import", ["output"].into_iter()));
        }
    };
    match rest.next() {
        None => Ok(Command::Import { from: from.into(), to }),
        Some(other) => Err(format!("import: '{other}' is one too many")),
    }
}

/// Variables that Kubernetes sets in every pod beside a service named `waystation`; nobody means them for us.
fn injected(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

fn help() -> String {
    let mut text = String::from(
        "waystation: one broker for AMQP 0-9-1, MQTT, STOMP, SQS, SNS, EventBridge and Kinesis\n\n\
         waystation [FLAGS]          run the broker\n\
         waystation inspect DIR      show the log in a data directory\n\
         waystation repair DIR       save what is left of a damaged one\n\
         waystation import FILE      turn a mosquitto.conf into a configuration [--output FILE]\n\n  \
         -c, --config FILE           settings from a TOML file\n      \
         --check-config          check the settings and stop\n  \
         -V, --version   -h, --help\n",
    );
    for setting in SETTINGS {
        let default = if setting.default.is_empty() { "off" } else { setting.default };
        let _ = writeln!(text, "      --{:<21} {} [{default}]", setting.flag, setting.help);
    }
    text.push_str("Each flag is also a variable: --amqp-listen is WAYSTATION_AMQP_LISTEN. File keys: docs/configuration.md\n");
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn check(arguments: &[&str], env: &[(&str, &str)]) -> Result<Command, String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse(arguments.iter().map(|a| (*a).to_owned()), env)
    }

    #[test]
    fn flags_win_over_variables() {
        let env = [("WAYSTATION_DATA", "/a"), ("WAYSTATION_WORKERS", "3"), ("HOME", "/")];
        let Command::Run(config) = check(&["--data=/b"], &env).unwrap() else { panic!("not a run") };
        assert_eq!(config.data, PathBuf::from("/b"));
        assert_eq!(config.workers, 3);
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(check(&["--dta", "x"], &[]).unwrap_err().contains("did you mean 'data'"));
        assert!(check(&["--data"], &[]).unwrap_err().contains("needs a value"));
        assert!(check(&["--confg", "x"], &[]).unwrap_err().contains("did you mean 'config'"));
        assert!(check(&["--version=1"], &[]).unwrap_err().contains("takes no value"));
        assert!(check(&[], &[("WAYSTATION_PORT_5672_TCP", "tcp://10.0.0.1:5672")]).is_ok());
        assert!(check(&[], &[("WAYSTATION_DTA", "x")]).unwrap_err().contains("did you mean 'data'"));
        assert!(check(&["--config", "/nowhere/x.toml"], &[]).unwrap_err().contains("/nowhere/x.toml"));
    }

    #[test]
    fn help_fits_a_screen() {
        let Command::Print(text) = check(&["--help"], &[]).unwrap() else { panic!("no help") };
        assert!(text.lines().count() <= 56 && text.lines().all(|line| line.len() <= 110));
    }
}
