//! The `waystation` program: arguments to configuration to [`Server`], signals to shutdown.

use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use waystation::{Server, cli, cli::Command, config::Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args().skip(1), std::env::vars()) {
        Ok(command) => command,
        Err(error) => return fail(&error),
    };
    match command {
        Command::Print(text) => print!("{text}"),
        Command::CheckConfig(config) => match waystation::check(&config) {
            Ok(()) => println!("the configuration is fine"),
            Err(error) => return fail(&error),
        },
        Command::Inspect(dir) => match waystation::inspect(&dir) {
            Ok(text) => print!("{text}"),
            Err(error) => return fail(&error),
        },
        Command::Repair(dir) => {
            let (text, failed) = waystation::repair(&dir);
            print!("{text}");
            if let Some(error) = failed {
                return fail(&error);
            }
        }
        Command::Import { from, to } => return import(&from, to.as_deref()),
        Command::Run(config) => return run(*config),
    }
    ExitCode::SUCCESS
}

/// The configuration goes to `to` or standard output, what could not be carried over to standard error.
fn import(from: &Path, to: Option<&Path>) -> ExitCode {
    let imported = match waystation::import::mosquitto(from) {
        Ok(imported) => imported,
        Err(error) => return fail(&error),
    };
    imported.notes.iter().for_each(|note| eprintln!("{note}"));
    match to {
        None => print!("{}", imported.toml),
        Some(to) => {
            if let Err(error) = std::fs::write(to, &imported.toml) {
                return fail(&format!("cannot write {}: {error}", to.display()));
            }
        }
    }
    ExitCode::SUCCESS
}

fn fail(error: &str) -> ExitCode {
    eprintln!("waystation: {error}");
    ExitCode::FAILURE
}

fn run(config: Config) -> ExitCode {
    tracing_subscriber::fmt().with_max_level(config.log_level).with_target(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}")),
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn serve(config: Config) -> Result<(), String> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
    let server = Server::start(config).await?;
    server.announcement().iter().for_each(|line| println!("{line}"));
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => server.reload(),
        }
    }
    tracing::info!("draining; a second signal ends it at once");
    tokio::select! {
        () = server.stop() => Ok(()),
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    }
}
