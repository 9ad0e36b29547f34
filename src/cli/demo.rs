//! `demo`: the whole thing on this machine. An emulator and the daemon in one process, over real sockets, ship the
//! given files and stdin, or a log that an invented application writes meanwhile, the journal, and stdin if it is given.
//! Not a test: it shows, and checks what it shows.

mod application;
mod conclusion;
mod journal;
mod proof;
mod screen;
mod stdin;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::application::Application;
use self::conclusion::Conclusion;
use self::proof::Text;
use self::screen::{Cast, Screen};
use self::stdin::Stdin;
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

/// How long the invented application writes where no terminal is: nobody may be there to press Ctrl-C, and this is time
/// enough for several batches.
const UNATTENDED: Duration = Duration::from_secs(30);

/// Signals that come so soon after one are the same wish: `timeout`, for one, sends two at once.
const ONE_WISH: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files to ship, `-` for stdin; without one, a log that an invented application writes until Ctrl-C (for 30 s where
    /// stdout is no terminal), the machine's journal if it can be read, and stdin if it is neither a terminal nor
    /// /dev/null
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
    let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
    let named = files.iter().filter(|path| !is_stdin(path)).map(|path| open(path));
    let named = named.collect::<Result<Vec<Text>, Error>>()?;
    let is_live = files.is_empty();
    let place = Place::make()?;
    let emulator = Emulator::start(Options::default()).await.map_err(Error::Emulator)?;
    let application = if is_live { Some(Application::start(&place.0)?) } else { None };
    let cast = Cast {
        texts: application.as_ref().map_or(named, |application| vec![Text::growing(application.path())]),
        is_live,
        stdin: if is_live { stdin::is_given() } else { files.iter().any(|path| is_stdin(&path)) },
        journal: if is_live { Some(journal::look().await) } else { None },
    };
    let mut screen = Screen::new(&emulator.url(), &cast);
    let stop = CancellationToken::new();
    let directories = Directories { state: place.0.join("state"), runtime: place.0.join("run") };
    let daemon = start_daemon(configuration(&cast, &emulator)?, &directories, &emulator, stop.clone()).await?;
    let stdin = cast.stdin.then(|| Stdin::start(directories.runtime));
    tokio::select! {
        () = watch(&daemon, &cast.texts, stdin.as_ref(), &mut screen) => {}
        () = interrupted() => {}
        () = sleep(UNATTENDED), if is_live && !screen.is_terminal() => {}
    }
    let mut whole = Vec::new();
    if let Some(application) = application {
        application.stop().await;
        whole.push(Text::at(&cast.texts[0])?);
    }
    if let Some(stdin) = &stdin {
        stdin.stop();
    }
    // The last lines of what was ended here are read before reading ends.
    tokio::select! {
        () = watch(&daemon, &whole, stdin.as_ref(), &mut screen) => {}
        () = interrupted_again() => {}
    }
    // The phases of a real stop: what was read is sent in them.
    stop.cancel();
    let last = daemon.finish().await;
    screen.show(&last);
    Ok(Conclusion::of(&emulator, &cast, stdin.and_then(|stdin| stdin.outcome()).as_ref(), &last).say())
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

/// The demo's own configuration.
fn configuration(cast: &Cast, emulator: &Emulator) -> Result<Config, Error> {
    let target = |log_stream| -> Result<Target, Error> {
        Ok(Target::new(Template::parse(LOG_GROUP, &[])?, Template::parse(log_stream, &[])?))
    };
    let include: Vec<String> = cast.texts.iter().map(|text| globset::escape(&text.path.to_string_lossy())).collect();
    let mut config = Config::default();
    config.imds = imds::Settings { endpoint: Some(emulator.url()), ..config.imds };
    if !include.is_empty() {
        let table = FileSettings::new(include, target("{instance_id}{file_path}")?);
        config.logs.files.push(FileSettings { start_at: StartAt::Beginning, ..table });
    }
    if let Some(Ok(beginning)) = &cast.journal {
        config.logs.journals.push(journal::settings(target(journal::STREAM)?, beginning));
    }
    if cast.stdin {
        config.logs.sockets.push(stdin::settings(target(stdin::STREAM)?));
    }
    Ok(config)
}

async fn start_daemon(
    config: Config,
    directories: &Directories,
    emulator: &Emulator,
    stop: CancellationToken,
) -> Result<Daemon, Error> {
    let endpoint = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| emulator.url());
    let environment = Environment { aws: aws::Environment::read(&endpoint)?, ..Environment::default() };
    Ok(Daemon::start(Configured::given(config), directories, environment, Inherited::default(), stop).await?)
}

/// Shows what goes on until all that stood in the files at the start, and all of stdin, is delivered.
async fn watch(daemon: &Daemon, texts: &[Text], stdin: Option<&Stdin>, screen: &mut Screen) {
    loop {
        let report = daemon.report();
        screen.show(&report);
        let is_through = stdin.is_none_or(|stdin| stdin.outcome().is_some_and(|outcome| outcome.is_through(&report)));
        if is_through && texts.iter().all(|text| is_delivered(text, &report)) {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_delivered(text: &Text, report: &Report) -> bool {
    let name = text.path.to_string_lossy();
    let source = report.logs.sources.iter().find(|source| *source.name == *name);
    text.complete_bytes.is_some_and(|end| end == 0 || source.is_some_and(|source| source.position >= end))
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

/// Ctrl-C by somebody who does not want to wait.
async fn interrupted_again() {
    sleep(ONE_WISH).await;
    interrupted().await;
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
