//! Another configuration in the middle of everything. Not what follows from it.

use std::sync::Arc;
use std::time::Duration;

use super::{Event, Torture};
use crate::template::Template;

impl Torture<'_> {
    /// The configuration is another, or the same: the streams have other names, and something else changes.
    pub(super) fn reload(&mut self) {
        let table = &mut self.settings.files[0];
        if self.random.bool() {
            let names = ["all", "{file_name}", "{file_name}-again"];
            let name = self.random.choice(names).expect("one of three");
            table.target.log_stream = Template::parse(name, &["file_name"]).expect("a name");
        }
        // The table comes second, and first again.
        if self.settings.files.len() > 1 {
            self.settings.files.remove(0);
        } else {
            let mut other = self.settings.files[0].clone();
            other.include = vec!["/nowhere/*.log".to_owned()];
            self.settings.files.insert(0, other);
        }
        self.settings.flush_interval = Duration::from_secs(self.random.u64(1..20));
        self.tell(|| {
            format!(
                "reload: {:?}",
                self.settings.files.iter().map(|table| table.target.log_stream.text()).collect::<Vec<_>>()
            )
        });
        let settings = Arc::new(self.settings.clone());
        let elsewhere = self.random.bool();
        self.step(vec![Event::Settings { settings, elsewhere }]);
    }
}
