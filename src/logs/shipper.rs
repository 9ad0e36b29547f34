//! The loop: what happened goes into the engine, what it wants done is done. The engine steps where blocking is
//! allowed; requests are tasks of their own; nothing here decides.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::batch::FileId;
use super::creation::{Turns, check, create};
use super::delivery::destination::Moment;
use super::engine::{Action, Engine, Event, Quarantine, Step};
use super::hearing::Hearing;
use super::renewal::renewed_at;
use super::sink::Sink;
use super::source::journal::child::Children;
use super::source::read::Suspect;
use super::source::watch::Ears;
use super::task::{Shown, Task};
use super::{Receiver, Settings, Snapshot, Spool};
use crate::clock::{Clock, boot_time, cpu_time};
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};
use crate::template::Names;

/// How long opening the state waits before it is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// A record that made us panic so often is not framed again.
const MOST_PANICS: u32 = 2;

/// Where the shipper keeps what must survive.
#[derive(Clone, Debug)]
pub struct Place {
    /// The state directory.
    pub state_dir: PathBuf,
}

/// Ships logs; clones share it, so that one can run and another report.
#[derive(Clone)]
pub struct LogShipper(Arc<Inner>);

struct Inner {
    place: Place,
    clock: Clock,
    task: watch::Sender<Task>,
    shown: watch::Sender<Shown>,
    panics: Mutex<HashMap<(FileId, u64), u32>>,
    /// What sockets receive, and where they are.
    received: OnceLock<(Spool, PathBuf)>,
}

impl LogShipper {
    /// A shipper that has not started. `names` fills in as IMDS answers.
    #[must_use]
    pub fn new(
        settings: Settings,
        place: Place,
        sink: Arc<dyn Sink>,
        names: watch::Receiver<Names>,
        clock: Clock,
    ) -> Self {
        let shown = Shown { snapshot: Snapshot::default(), at: boot_time(), revision: 0 };
        let task = Task { settings: Arc::new(settings), sink, names, revision: 1 };
        Self(Arc::new(Inner {
            place,
            clock,
            task: watch::Sender::new(task),
            shown: watch::Sender::new(shown),
            panics: Mutex::default(),
            received: OnceLock::new(),
        }))
    }

    /// Ships what `receiver` receives, too. To be called before it runs.
    #[must_use]
    pub fn with(self, receiver: &Receiver) -> Self {
        self.0.received.get_or_init(|| (receiver.spool(), receiver.directory()));
        self
    }

    /// From now on ships that, to there, under those names, whether it runs or not. Returns when it does, and shows it.
    pub async fn change(&self, settings: Settings, sink: Arc<dyn Sink>, names: watch::Receiver<Names>) {
        let mut changed = 0;
        self.0.task.send_modify(|task| {
            changed = task.revision + 1;
            *task = Task { settings: Arc::new(settings), sink, names, revision: changed };
        });
        // The sender is ours: it does not end before.
        let _ = self.0.shown.subscribe().wait_for(|shown| shown.revision >= changed).await;
    }

    /// When what is shown was last renewed, by the boot-time clock.
    #[must_use]
    pub fn shown_at(&self) -> Duration {
        self.0.shown.borrow().at
    }

    /// Ships until `stop`, then sends what was read, for at most `drain`, and leaves the checkpoint behind. After a
    /// panic it may be run again: it goes on at the checkpoint.
    ///
    /// # Panics
    /// When the engine does, so that a supervisor sees it.
    pub async fn run(&self, stop: CancellationToken, drain: Duration, heartbeat: Heartbeat) {
        let inner = &self.0;
        let suspect = Arc::new(Suspect::default());
        let mut news = inner.task.subscribe();
        let Some((engine, ears)) = self.open(&mut news, &suspect, &stop, &heartbeat).await else { return };
        let received = inner.received.get().map(|(spool, _)| spool.news());
        let mut task = news.borrow().clone();
        task.names.mark_changed();
        let run = Run {
            inner: inner.clone(),
            task,
            news,
            engine: Some(engine),
            suspect,
            hearing: Hearing::new(ears, received),
            tasks: JoinSet::new(),
            background: JoinSet::new(),
            creating: Turns::default(),
            children: Children::default(),
            heartbeat,
        };
        run.go(stop, drain).await;
    }

    /// Opens the engine, where it may block; tried again until it works or `stop`.
    async fn open(
        &self,
        task: &mut watch::Receiver<Task>,
        suspect: &Arc<Suspect>,
        stop: &CancellationToken,
        heartbeat: &Heartbeat,
    ) -> Option<(Engine, Option<Ears>)> {
        let inner = &self.0;
        loop {
            let settings = Settings::clone(&task.borrow_and_update().settings);
            let (place, quarantine) = (inner.place.clone(), inner.quarantine());
            let (received, suspect) = (inner.received.get().cloned(), suspect.clone());
            let opening = tokio::task::spawn_blocking(move || {
                let ears = Ears::open().ok();
                let engine = Engine::open(settings, &place.state_dir, ears.as_ref(), suspect, quarantine);
                engine.map(|mut engine| {
                    if let Some((spool, directory)) = received {
                        engine.attach_spool(spool, &directory);
                    }
                    (engine, ears)
                })
            });
            match heartbeat.beat_while(opening, cpu_time).await {
                Ok(Ok(opened)) => return Some(opened),
                Ok(Err(error)) => inner.show_closed(&error),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(OPEN_AGAIN) => {}
            }
        }
    }

    /// What `status` shows.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let Shown { mut snapshot, at, .. } = self.0.shown.borrow().clone();
        snapshot.warnings.extend(self.0.task.borrow().sink.warnings());
        let age = boot_time().saturating_sub(at).as_secs_f64();
        for source in snapshot.sources.iter_mut().filter(|source| source.lag_seconds > 0.0) {
            source.lag_seconds += age;
        }
        snapshot
    }
}

impl Inner {
    fn now(&self) -> Moment {
        Moment { boot: boot_time(), wall: self.clock.now() }
    }

    fn quarantine(&self) -> Quarantine {
        lock(&self.panics).iter().filter(|(_, count)| **count >= MOST_PANICS).map(|(record, _)| *record).collect()
    }

    fn show(&self, engine: &Engine, revision: u64) {
        let now = self.now();
        self.shown.send_replace(Shown { snapshot: engine.snapshot(now), at: now.boot, revision });
    }

    fn show_closed(&self, error: &std::io::Error) {
        let directory = self.place.state_dir.display();
        tracing::error!(%directory, %error, "the checkpoint can't be opened, nothing is shipped");
        let warning = crate::fault::Warning {
            code: "checkpoint_unreadable".to_owned(),
            message: format!("the checkpoint in '{directory}' can't be opened, nothing is shipped: {error}"),
            hint: Some(format!("let the service's user write '{directory}', and make room there")),
        };
        let snapshot = Snapshot { warnings: vec![warning], ..Snapshot::default() };
        self.shown.send_replace(Shown { snapshot, at: boot_time(), revision: self.task.borrow().revision });
    }
}

/// One run of the loop.
struct Run {
    inner: Arc<Inner>,
    /// What the engine was told to do.
    task: Task,
    /// Tells of another task.
    news: watch::Receiver<Task>,
    /// Away while it steps.
    engine: Option<Engine>,
    suspect: Arc<Suspect>,
    hearing: Hearing,
    /// Requests whose answers the engine waits for.
    tasks: JoinSet<Event>,
    /// What nobody waits for: a look at a group, without hurry.
    background: JoinSet<Event>,
    creating: Turns,
    /// The journalctls that run.
    children: Children,
    heartbeat: Heartbeat,
}

impl Run {
    async fn go(mut self, stop: CancellationToken, drain: Duration) {
        let mut events = Vec::new();
        let mut show_at = Duration::ZERO;
        while !stop.is_cancelled() {
            let Step { actions, wake_at: due, .. } = self.step(std::mem::take(&mut events)).await;
            self.act(actions);
            let is_news = self.inner.shown.borrow().revision != self.task.revision;
            let (now, mut wake_at) = (boot_time(), due.min(show_at));
            if is_news || now >= show_at {
                self.show();
                show_at = renewed_at(now, boot_time());
                wake_at = due;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                gathered = self.gather(wake_at) => events = gathered,
            }
        }
        events.push(Event::Stop);
        if timeout(drain, self.drain(events)).await.is_err() {
            tracing::warn!("what was on its way at the end of the drain will be sent again at the next start");
        }
        self.show();
    }

    /// After the stop: sends what was read, once.
    async fn drain(&mut self, mut events: Vec<Event>) {
        loop {
            let Step { actions, wake_at, drained } = self.step(std::mem::take(&mut events)).await;
            self.act(actions);
            if drained {
                return;
            }
            events = self.gather(wake_at).await;
        }
    }

    fn show(&self) {
        if let Some(engine) = &self.engine {
            self.inner.show(engine, self.task.revision);
        }
    }

    /// Lets the engine step, where it may block, and beats meanwhile: a slow disk is not a stuck task, a step that never
    /// ends is.
    async fn step(&mut self, events: Vec<Event>) -> Step {
        let Some(mut engine) = self.engine.take() else { return Step::default() };
        let now = self.inner.now();
        let stepping = tokio::task::spawn_blocking(move || {
            let step = engine.step(events, now);
            (engine, step)
        });
        match self.heartbeat.beat_while(stepping, cpu_time).await {
            Ok((engine, step)) => {
                self.engine = Some(engine);
                step
            }
            Err(error) => {
                let record = self.suspect.last();
                *lock(&self.inner.panics).entry(record).or_default() += 1;
                std::panic::resume_unwind(error.into_panic())
            }
        }
    }

    /// Waits until something happened or `wake_at`, and returns all that happened.
    async fn gather(&mut self, wake_at: Duration) -> Vec<Event> {
        self.heartbeat.beat();
        let mut events = Vec::new();
        let now = boot_time();
        let until_wake = wake_at.saturating_sub(now).min(LONGEST_SLEEP);
        tokio::select! {
            biased;
            Some(event) = self.tasks.join_next() => events.extend(event.ok()),
            Some(event) = self.background.join_next() => events.extend(event.ok()),
            Ok(()) = self.news.changed() => events.extend(self.change_task()),
            Ok(()) = self.task.names.changed() => events.push(self.more_names()),
            event = self.hearing.next() => events.push(event),
            () = sleep(until_wake) => {}
        }
        while let Some(event) = self.tasks.try_join_next() {
            events.extend(event.ok());
        }
        events.extend(self.hearing.rest());
        events
    }

    fn more_names(&mut self) -> Event {
        Event::Names(self.task.names.borrow_and_update().clone())
    }

    /// There is another task. What is on its way stays on its way.
    fn change_task(&mut self) -> [Event; 2] {
        let before = std::mem::replace(&mut self.task, self.news.borrow_and_update().clone());
        let elsewhere = !Arc::ptr_eq(&before.sink, &self.task.sink);
        // First the names: what goes by them is to find them.
        [self.more_names(), Event::Settings { settings: self.task.settings.clone(), elsewhere }]
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            let sink = self.task.sink.clone();
            match action {
                Action::Put { stream, ticket, log_group, log_stream, body, packed } => {
                    let answer = sink.put(&log_group, &log_stream, body, packed);
                    self.tasks.spawn(async move { Event::Answer { stream, ticket, result: answer.await } });
                }
                Action::Create { stream, log_group, log_stream, without_group, settings } => {
                    let turn = self.creating.of(&log_group);
                    self.tasks.spawn(async move {
                        let place = (&*log_group, &*log_stream);
                        let result = create(&*sink, &turn, place, without_group, &settings).await;
                        Event::Created { stream, result }
                    });
                }
                Action::CheckGroup { log_group, settings } => {
                    self.background.spawn(async move {
                        let result = check(&*sink, &log_group, &settings).await;
                        Event::Checked { log_group, result }
                    });
                }
                Action::Journal(order) => {
                    let event = |reader, output| Event::Journal { reader, output };
                    self.children.obey(order, &mut self.tasks, event);
                }
                Action::Sync(file) => {
                    tokio::task::spawn_blocking(move || {
                        if let Err(error) = file.sync_data() {
                            tracing::warn!(%error, "the checkpoint could not be synced");
                        }
                    });
                }
            }
        }
    }
}

/// What is locked here is whole between any two statements, so that a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "shipper_tests.rs"]
mod tests;
