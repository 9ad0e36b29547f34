//! How the agent comes and goes: started, killed, stopped in order, or left behind by a power loss. Not what it does.

use std::fs::OpenOptions;
use std::sync::Arc;

use super::{Torture, draw_changes};
use crate::logs::checkpoint::FileState;
use crate::logs::engine::{Engine, Event, Quarantine};
use crate::logs::source::watch::Ears;

impl Torture<'_> {
    /// Starts, if the disk lets it.
    pub(super) fn start(&mut self) {
        self.ears = if self.random.bool() { Ears::open().ok() } else { None };
        let (settings, state) = (self.settings.clone(), self.state.path());
        let mut opened = Engine::open(settings, state, self.ears.as_ref(), Arc::default(), Quarantine::new());
        let known = |engine: &Engine| {
            let states = engine.files.known.values();
            let about = |state: &FileState| {
                let (place, low) = (state.path.rsplit('/').next(), state.coverage.low().offset);
                format!("{place:?} {low} of {}", state.size)
            };
            states.map(about).collect()
        };
        self.tell(|| format!("start: {:?}", opened.as_ref().map(|engine| -> Vec<String> { known(engine) })));
        if let Ok(engine) = &mut opened {
            self.senders.attach(engine);
        }
        self.engine = opened.ok();
        self.life += 1;
        self.began_at = (self.cloud.heard, self.settled());
        self.written = self.cloud.heard;
    }

    pub(super) fn kill(&mut self) {
        let Some(engine) = self.engine.take() else { return self.start() };
        self.tell(|| "kill".to_owned());
        let stands = engine.books.stands();
        self.forgotten += self.cloud.heard - self.written;
        self.logs.killed(stands);
        self.end();
    }

    /// What was not synced may be lost, from some write on.
    pub(super) fn lose_power(&mut self) {
        if self.engine.is_none() || self.unsynced.is_empty() {
            return;
        }
        self.engine = None;
        let (length, heard) = self.unsynced[self.random.usize(..self.unsynced.len())];
        self.tell(|| format!("power loss: the checkpoint has {length} bytes"));
        let checkpoint =
            OpenOptions::new().write(true).open(self.state.path().join("checkpoint")).expect("a checkpoint");
        // A crash is no write.
        let written_at = checkpoint.metadata().and_then(|metadata| metadata.modified()).expect("a file of ours");
        let torn = self.random.u64(..100).min(length);
        checkpoint.set_len(length - torn).expect("a file of ours");
        checkpoint.set_modified(written_at).expect("a file of ours");
        self.forgotten += self.cloud.heard - heard;
        // A torn line may be any of the records of that write: more than it may have been forgotten.
        self.forgotten += if torn > 0 { heard } else { 0 };
        self.lost_power = true;
        self.logs.lost_power();
        self.senders.lose_power(&mut self.random);
        self.end();
    }

    fn end(&mut self) {
        self.senders.restart();
        self.cloud.forget_flying(self.life, &mut self.random);
        self.creating.clear();
        self.unsynced.clear();
    }

    /// A stop, with or without time to drain, and another start at once.
    pub(super) fn restart_in_order(&mut self) {
        self.tell(|| "restart in order".to_owned());
        self.step(vec![Event::Stop]);
        for _ in 0..self.random.usize(..10) {
            self.answer_one();
        }
        let Some(engine) = self.engine.take() else { return };
        let stands = engine.books.stands();
        self.forgotten += self.cloud.heard - self.written;
        drop(engine);
        self.logs.killed(stands);
        self.senders.restart();
        draw_changes(&mut self.settings, &mut self.random);
        self.cloud.forget_flying(self.life, &mut self.random);
        self.creating.clear();
        self.unsynced.clear();
        self.start();
    }
}
