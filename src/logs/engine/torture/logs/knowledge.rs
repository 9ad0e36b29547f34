//! What the agent knew of the logs when it was killed: what it did not know may be lost, what it knew has to be a gap. Not
//! what was done to them.

use super::{Fate, Identity, Logs};
use crate::logs::batch::FileId;
use crate::logs::engine::Engine;

impl Logs {
    /// After each step: what the agent knows now, and what it gave back that is nowhere any more.
    pub(in crate::logs::engine::torture) fn note(&mut self, engine: &Engine, checkpoint_stands: bool) {
        self.looked |= checkpoint_stands && engine.books.has_looked();
        for content in &mut self.contents {
            let Some(id) = tailed(engine, content.file).filter(|id| content.before != Some(*id)) else { continue };
            if !checkpoint_stands || content.fate != Fate::Named {
                continue;
            }
            content.enlisted = true;
            if let Some(feed) = engine.feeds.get(id).filter(|_| !engine.files.grown.contains(&id)) {
                content.noted = content.noted.max(feed.size.min(content.size));
            }
        }
        for line in &mut self.lines {
            if let Fate::Destroyed(Some(id)) = self.contents[line.content].fate {
                let feed = engine.feeds.get(id);
                line.excused |= feed.is_some_and(|feed| !feed.coverage.holds(line.last_byte));
            }
        }
    }

    /// The agent is gone, and with it what it held; `checkpoint_stands` says whether that knows all files.
    pub(in crate::logs::engine::torture) fn killed(&mut self, checkpoint_stands: bool) {
        for index in 0..self.contents.len() {
            let content = &mut self.contents[index];
            // Known by an open descriptor alone, which is closed now.
            content.born_later &= self.looked;
            let away = content.left_at.is_some() && !checkpoint_stands;
            content.enlisted &= checkpoint_stands;
            if content.fate != Fate::Named || away {
                self.excuse(index);
            }
        }
    }

    /// The configuration is without the table: what no name leads to is nobody's, and who was not seen yet came before it
    /// is back.
    pub(in crate::logs::engine::torture) fn table_leaves(&mut self, checkpoint_stands: bool) {
        self.killed(checkpoint_stands);
        self.meant = false;
        for index in 0..self.contents.len() {
            let content = &mut self.contents[index];
            content.born_later &= content.enlisted;
            if content.left_at.is_some() && !content.enlisted {
                self.excuse(index);
            }
        }
    }

    /// The configuration has the table again.
    pub(in crate::logs::engine::torture) fn table_is_back(&mut self) {
        self.meant = true;
    }

    /// The checkpoint may be an older one: what it knew of sizes, and that anybody looked around, it may not know now.
    pub(in crate::logs::engine::torture) fn lost_power(&mut self) {
        self.killed(false);
        self.looked = false;
        for content in &mut self.contents {
            (content.noted, content.born_later) = (0, false);
        }
    }
}

/// What this file is followed as, if it can still be read.
pub(super) fn tailed(engine: &Engine, wanted: Identity) -> Option<FileId> {
    let mut alive = engine.feeds.files().filter(|(_, file)| !file.is_cut());
    alive.find(|(_, file)| Identity::from(file.fingerprint) == wanted).map(|(feed, _)| feed.id)
}
