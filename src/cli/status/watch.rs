//! `status --watch` on a real terminal: keys and reports go in, frames come out, and at the end, however it comes, the
//! terminal is as it was. Not what is drawn.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use ratatui::crossterm::terminal;
use tokio::signal::unix::{SignalKind, signal};

use super::super::exit::{FAILED, failed};
use super::undrawable;
use crate::fault::chain;
use crate::status::watch::{Answer, Flow, Input, Key, Moment, Trouble, View, draw};
use crate::status::{Report, Style, fetch};

/// Countdowns go on between two reports.
const REDRAWN_EVERY: Duration = Duration::from_secs(1);

/// What a shell adds to a signal's number.
const BY_SIGNAL: u8 = 128;

/// Signals that end it, with their numbers (signal(7)).
const ENDING: [(fn() -> SignalKind, u8); 3] =
    [(SignalKind::hangup, 1), (SignalKind::interrupt, 2), (SignalKind::terminate, 15)];

/// What the threads that listen hand in.
enum News {
    Input(Input),
    /// The number of a signal.
    Ended(u8),
    /// There is nobody at the keyboard any more.
    Deserted(std::io::Error),
}

/// The terminal is given back when this is dropped, also by a panic.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        // One that is gone can't be given back.
        let _ = ratatui::try_restore();
    }
}

pub(super) fn run(runtime: &Path, interval: Duration, style: Style) -> ExitCode {
    let (sender, news) = channel();
    if let Err(error) = listen_for_signals(sender.clone()) {
        return failed(FAILED, &error, None);
    }
    let restored = Restored;
    let outcome = ratatui::try_init().and_then(|mut terminal| {
        std::thread::spawn({
            let sender = sender.clone();
            move || read_keys(&sender)
        });
        let runtime = runtime.to_owned();
        std::thread::spawn(move || ask(&runtime, interval, &sender));
        watch(&mut terminal, style, &news)
    });
    drop(restored);
    outcome.unwrap_or_else(|error| {
        failed(FAILED, &error, Some("imds-agent status --watch --json needs no keyboard and no screen"))
    })
}

fn watch(terminal: &mut ratatui::DefaultTerminal, style: Style, news: &Receiver<News>) -> std::io::Result<ExitCode> {
    let start = Instant::now();
    let moment = || Moment { since_start: start.elapsed(), wall: Timestamp::now() };
    let mut view = View::new(style, terminal::size()?, moment());
    loop {
        terminal.draw(|frame| draw(&view, frame))?;
        let mut next = match news.recv_timeout(REDRAWN_EVERY) {
            Ok(news) => Some(news),
            Err(RecvTimeoutError::Timeout) => Some(News::Input(Input::Tick)),
            Err(RecvTimeoutError::Disconnected) => return Ok(ExitCode::SUCCESS),
        };
        // All that has come meanwhile is drawn at once: a key that is held down must not lag behind.
        while let Some(news_item) = next {
            match news_item {
                News::Input(input) => {
                    if view.step(moment(), input) == Flow::Leave {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                News::Ended(signal) => return Ok(ExitCode::from(BY_SIGNAL + signal)),
                News::Deserted(error) => return Err(error),
            }
            next = news.try_recv().ok();
        }
    }
}

/// Asks the daemon for ever; one that is away is asked again.
fn ask(runtime: &Path, interval: Duration, sender: &Sender<News>) {
    while sender.send(News::Input(Input::Answer(answer(runtime)))).is_ok() {
        std::thread::sleep(interval);
    }
}

fn answer(runtime: &Path) -> Answer {
    let json = fetch(runtime).map_err(|error| Trouble { message: chain(&error), hint: Some(error.hint()) })?;
    serde_json::from_str::<Report>(&json).map(Box::new).map_err(|error| {
        let (message, hint) = undrawable(&error);
        Trouble { message, hint: Some(hint.to_owned()) }
    })
}

fn read_keys(sender: &Sender<News>) {
    loop {
        let news = match read() {
            Ok(Event::Resize(columns, lines)) => News::Input(Input::Size(columns, lines)),
            Ok(Event::Key(event)) => match key(event) {
                Some(key) => News::Input(Input::Key(key)),
                None => continue,
            },
            Ok(_) => continue,
            Err(error) => News::Deserted(error),
        };
        let is_last = matches!(news, News::Deserted(_));
        if sender.send(news).is_err() || is_last {
            return;
        }
    }
}

fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return (event.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match event.code {
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ') => Key::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Key::First,
        KeyCode::End | KeyCode::Char('G') => Key::Last,
        KeyCode::Tab | KeyCode::Right => Key::Next,
        KeyCode::BackTab | KeyCode::Left => Key::Previous,
        KeyCode::Enter => Key::Enter,
        KeyCode::Backspace => Key::Back,
        KeyCode::Esc => Key::Escape,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('p') => Key::Pause,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Char('q') => Key::Quit,
        _ => return None,
    })
}

/// So that a `kill` gives the terminal back, too.
fn listen_for_signals(sender: Sender<News>) -> std::io::Result<()> {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = Vec::new();
    {
        let _inside = event_loop.enter();
        for (kind, number) in ENDING {
            signals.push((signal(kind())?, number));
        }
    }
    std::thread::spawn(move || {
        let number = event_loop.block_on(async {
            let waiting = signals.iter_mut().map(|(signal, number)| {
                Box::pin(async move {
                    signal.recv().await;
                    *number
                })
            });
            futures_util::future::select_all(waiting).await.0
        });
        // Whoever would listen has left already.
        let _ = sender.send(News::Ended(number));
    });
    Ok(())
}
