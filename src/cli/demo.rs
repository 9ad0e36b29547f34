//! `demo`: the whole thing on this machine. An emulator and the daemon in one process, over real sockets, ship the
//! given files, or a log that an invented application writes meanwhile. Not a test: it shows, and checks what it shows.

mod application;
mod proof;
mod screen;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::application::Application;
use self::proof::Text;
use self::screen::Screen;
use super::exit::{FAILED, failed};
use crate::agent::{self, Configured, Daemon, Directories, Environment, Inherited};
use crate::config::Config;
use crate::emulator::{Emulator, Options};
use crate::logs::{FileSettings, StartAt, Target};
use crate::status::Report;
use crate::template::Template;
use crate::{aws, imds};

/// Where the demo's lines go.
const LOG_GROUP: &str = "/imds-agent/demo";

/// Between two looks at the daemon: often enough to look alive.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files to ship; without one, a log that an invented application writes until Ctrl-C
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("can't read '{path}'")]
    File { path: String, source: io::Error },
    #[error("'{path}' is not a regular file")]
    NotRegular { path: String },
    #[error("can't make a directory for the demo below '{path}'")]
    Directory { path: String, source: io::Error },
    #[error("the emulator can't be started on loopback")]
    Emulator(#[source] io::Error),
    #[error("the event loop can't be started")]
    Loop(#[source] io::Error),
    #[error("the name of the demo's stream can't be parsed")]
    Name(#[from] crate::template::Error),
    #[error("the emulator's address can't be used")]
    Address(#[from] aws::Error),
    #[error(transparent)]
    Agent(#[from] agent::Error),
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Loop);
    match event_loop.and_then(|event_loop| event_loop.block_on(show(&args.files))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => failed(FAILED, &error, None),
    }
}

/// The demo from beginning to end; `false` when a line did not arrive.
async fn show(files: &[PathBuf]) -> Result<bool, Error> {
    let texts = files.iter().map(|path| open(path)).collect::<Result<Vec<Text>, Error>>()?;
    let place = Place::make()?;
    let emulator = Emulator::start(Options::default()).await.map_err(Error::Emulator)?;
    let (texts, application) = if texts.is_empty() {
        let application = Application::start(&place.0)?;
        (vec![Text::growing(application.path())], Some(application))
    } else {
        (texts, None)
    };
    let mut screen = Screen::new(&emulator.url(), &texts, application.is_some());
    let stop = CancellationToken::new();
    let daemon = start_daemon(&texts, &place, &emulator, stop.clone()).await?;
    tokio::select! {
        () = watch(&daemon, &texts, &mut screen) => {}
        () = interrupted() => {}
    }
    if let Some(application) = application {
        application.stop().await;
        // Its last lines are read before reading ends.
        let whole = [Text::at(&texts[0])?];
        tokio::select! {
            () = watch(&daemon, &whole, &mut screen) => {}
            () = interrupted() => {}
        }
    }
    screen.show(&daemon.report());
    let report = finish(daemon, &stop).await;
    Ok(Screen::conclude(&emulator, &texts, &report))
}

/// A file as it is now, by the path that leads to it without links.
fn open(path: &Path) -> Result<Text, Error> {
    let named = |source| Error::File { path: path.display().to_string(), source };
    let real = fs::canonicalize(path).map_err(named)?;
    if !real.is_file() {
        return Err(Error::NotRegular { path: path.display().to_string() });
    }
    Text::of(&real).map_err(named)
}

async fn start_daemon(
    texts: &[Text],
    place: &Place,
    emulator: &Emulator,
    stop: CancellationToken,
) -> Result<Daemon, Error> {
    let include = texts.iter().map(|text| globset::escape(&text.path.to_string_lossy())).collect();
    let target = Target::new(Template::parse(LOG_GROUP, &[])?, Template::parse("{instance_id}{file_path}", &[])?);
    let table = FileSettings { start_at: StartAt::Beginning, ..FileSettings::new(include, target) };
    let mut config = Config::default();
    config.imds = imds::Settings { endpoint: Some(emulator.url()), ..config.imds };
    config.logs.files = vec![table];
    let endpoint = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| emulator.url());
    let environment = Environment { aws: aws::Environment::read(&endpoint)?, ..Environment::default() };
    let directories = Directories { state: place.0.join("state"), runtime: place.0.join("run") };
    Ok(Daemon::start(Configured::given(config), &directories, environment, Inherited::default(), stop).await?)
}

/// Shows what goes on until all that stood in the files at the start is delivered.
async fn watch(daemon: &Daemon, texts: &[Text], screen: &mut Screen) {
    loop {
        let report = daemon.report();
        screen.show(&report);
        if texts.iter().all(|text| is_delivered(text, &report)) {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_delivered(text: &Text, report: &Report) -> bool {
    let name = text.path.to_string_lossy();
    let source = report.logs.sources.iter().find(|source| source.name == name);
    text.complete_bytes.is_some_and(|end| end == 0 || source.is_some_and(|source| source.position >= end))
}

/// The phases of a real stop; returns what the daemon said last.
async fn finish(daemon: Daemon, stop: &CancellationToken) -> Report {
    let report = daemon.report();
    stop.cancel();
    daemon.finish().await;
    report
}

/// Ctrl-C, or being told to end.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The demo's own directory, which goes when the demo does.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt as _;
        let parent = std::env::temp_dir();
        let path = parent.join(format!("imds-agent-demo-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| Error::Directory { path: parent.display().to_string(), source })?;
        // Log files are reached without links, and /tmp may be one.
        Ok(Self(fs::canonicalize(&path).unwrap_or(path)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What can't be removed is small, and the system's own cleaning takes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
