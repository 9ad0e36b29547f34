//! What sockets brought, over restarts: what is delivered is counted, and nothing is sent in a way that nobody wanted. By
//! a real spool; not the sockets.

use std::sync::Arc;
use std::time::Duration;

use super::tests::Bench;
use crate::caller::Rules;
use crate::logs::disk::faults::{self, Condition};
use crate::logs::framing::recorded::encode;
use crate::logs::framing::{self, Pattern, Redaction};
use crate::logs::spool::{Append, Key, Spool, Writer};
use crate::logs::{SocketKind, SocketSettings, Syntax, Target};
use crate::template::Template;

/// Longer than a segment is waited for, and than until the next look at the spool.
const A_WHILE: Duration = Duration::from_secs(10);

fn table(redact: bool) -> SocketSettings {
    let name = |text| Template::parse(text, &[]).expect("a name");
    let pattern = Pattern::parse("password=[a-z]+").expect("a pattern");
    let redact = redact.then(|| Redaction { pattern, replace: "password=***".to_owned() });
    SocketSettings {
        path: "app.sock".to_owned(),
        kind: SocketKind::default(),
        syntax: Syntax::default(),
        allow: Rules::default(),
        target: Target::new(name("g"), name("s")),
        framing: framing::Settings { redact: redact.into_iter().collect(), ..framing::Settings::default() },
    }
}

impl Bench {
    /// One with a socket of this table, by which `text` has come.
    fn with_record(table: SocketSettings, text: &str) -> Self {
        let mut bench = Self::new();
        let as_they_came = table.framing.says_nothing();
        bench.settings.sockets = vec![table];
        let mut records = Vec::new();
        encode(&mut records, None, text.as_bytes());
        let key = Arc::new(Key {
            source: bench.state.path().join("app.sock").display().to_string(),
            uid: 0,
            log_group: "g".to_owned(),
            log_stream: "s".to_owned(),
            named_stream: None,
            long_line: None,
            as_they_came,
        });
        let append = Append { key, records, durable: true, last: false };
        Writer::new(bench.spool()).write(&[append]).remove(0).expect("there is room");
        bench.restart_with_spool();
        bench
    }

    fn spool(&self) -> Spool {
        Spool::open(self.state.path(), self.settings.spool_limit).expect("opens")
    }

    fn restart_with_spool(&mut self) {
        self.kill_and_restart();
        let spool = self.spool();
        self.engine.attach_spool(spool, self.state.path());
    }

    fn segments(&self) -> usize {
        std::fs::read_dir(self.state.path().join("spool")).expect("a spool").filter(is_segment).count()
    }

    fn says(&self, code: &str) -> bool {
        self.snapshot().warnings.iter().any(|warning| warning.code == code)
    }
}

fn is_segment(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "segment"))
}

#[test]
fn what_was_to_be_redacted_is_kept_while_nobody_knows_what_and_sent_as_wanted_when_its_table_is_back() {
    let mut bench = Bench::with_record(table(true), "password=hunter");
    let tables = std::mem::take(&mut bench.settings.sockets);
    bench.restart_with_spool();
    bench.deliver_all();
    assert_eq!((bench.delivered.len(), bench.segments()), (0, 1));
    assert!(bench.says("spool_without_table"));
    bench.settings.sockets = tables;
    bench.reload();
    bench.deliver_all();
    assert_eq!(bench.delivered, ["password=***"]);
    assert!(!bench.says("spool_without_table"));
}

#[test]
fn what_is_sent_as_it_came_goes_where_its_table_said_also_when_that_is_gone() {
    let mut bench = Bench::with_record(table(false), "one");
    bench.settings.sockets.clear();
    bench.restart_with_spool();
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one"]);
    assert!(!bench.says("spool_without_table"));
}

#[test]
fn a_delivered_segment_stays_until_the_checkpoint_says_so() {
    let mut bench = Bench::with_record(table(false), "one");
    bench.put();
    faults::set(Condition { full: Some(fastrand::Rng::with_seed(1)), ..Condition::default() });
    bench.answer(Ok(crate::logs::sink::Accepted::default()));
    bench.go(A_WHILE);
    assert_eq!((bench.delivered.len(), bench.segments()), (1, 1));
    faults::set(Condition::default());
    bench.deliver_all();
    bench.go(A_WHILE);
    assert_eq!(bench.segments(), 0);
    bench.restart_with_spool();
    bench.deliver_all();
    assert_eq!((bench.delivered.len(), bench.snapshot().ledger.events.delivered), (1, 1));
}
