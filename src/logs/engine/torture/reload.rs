//! Another configuration in the middle of everything. Not what follows from it.

use std::sync::Arc;

use super::{Event, Torture, draw_changes};

impl Torture<'_> {
    /// The configuration is another, or the same: the streams have other names, and something else changes.
    pub(super) fn reload(&mut self) {
        // The table comes second, and first again.
        if self.settings.files.len() > 1 {
            self.settings.files.remove(0);
        } else {
            let mut other = self.settings.files[0].clone();
            other.include = vec!["/nowhere/*.log".to_owned()];
            self.settings.files.insert(0, other);
        }
        let before = self.names();
        draw_changes(&mut self.settings, &mut self.random);
        if before != self.names() {
            self.renamed.insert(self.life);
        }
        self.tell(|| format!("reload: {:?}", self.names()));
        let settings = Arc::new(self.settings.clone());
        let elsewhere = self.random.bool();
        self.step(vec![Event::Settings { settings, elsewhere }]);
    }

    /// What the tables call their streams.
    fn names(&self) -> Vec<String> {
        self.settings.files.iter().map(|table| table.target.log_stream.text().to_owned()).collect()
    }
}
