//! The account of one source: read = delivered + pending + dropped, in records and bytes. Each side is counted where
//! it happens, none is computed from the others, so that a mistake shows.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::gaps::{Gaps, Where};
use super::report::{Ledger, Tally};

/// Why a record was given up; the words of `status` and of the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// CloudWatch takes nothing older than 14 days.
    TooOld,
    /// CloudWatch takes nothing more than two hours ahead.
    TooNew,
    /// Older than the group's retention.
    Expired,
    /// CloudWatch refused this very event, or it could not be framed.
    Invalid,
    /// An empty line: CloudWatch takes no empty message.
    Empty,
    /// A filter of the configuration held it back.
    Filtered,
    /// The day's budget was used up, and it was not of the sample.
    Budget,
    /// It could not be kept until it is delivered: there was no room, and its sender did not wait.
    SpoolFull,
    /// Cut off in the source before it was read.
    Gap,
}

/// The words of all of them.
pub const DROP_REASONS: [&str; 9] = [
    Reason::TooOld.word(),
    Reason::TooNew.word(),
    Reason::Expired.word(),
    Reason::Invalid.word(),
    Reason::Empty.word(),
    Reason::Filtered.word(),
    Reason::Budget.word(),
    Reason::SpoolFull.word(),
    Reason::Gap.word(),
];

impl Reason {
    /// Whether the stream itself says that something is missing. Nobody misses an empty line, or what was not wanted.
    fn is_missed(self) -> bool {
        !matches!(self, Self::Empty | Self::Filtered)
    }

    /// The word in `status`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Empty => "empty",
            Self::Filtered => "filtered",
            Self::Budget => "budget",
            Self::SpoolFull => "spool_full",
            Self::Gap => "gap",
        }
    }
}

/// Records and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Records.
    pub(crate) events: u64,
    /// The source's bytes.
    pub(crate) bytes: u64,
}

impl Count {
    /// Adds others.
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.events = self.events.saturating_sub(other.events);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// The account of one source. What is kept is what is settled; what was on its way is read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(skip)]
    read: Count,
    #[serde(skip)]
    pending: Count,
    delivered: Count,
    #[serde(default)]
    dropped: BTreeMap<Reason, Count>,
    /// Records that held bytes that are not UTF-8, and were delivered with replacement characters.
    #[serde(default)]
    pub(crate) invalid_utf8: u64,
    /// What was dropped and is not among the gaps yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    missed: BTreeMap<Reason, Count>,
    /// What its streams do not know of yet.
    #[serde(default, skip_serializing_if = "Gaps::is_empty")]
    pub(crate) gaps: Gaps,
    /// Records whose time was looked for and not found; they got the time of reading.
    #[serde(default)]
    pub(crate) unparsed_timestamps: u64,
}

impl Account {
    /// An account as the checkpoint kept it: what is settled was once read.
    pub(crate) fn revived(mut self) -> Self {
        self.read = self.delivered;
        for count in self.dropped.values() {
            self.read.add(*count);
        }
        self.pending = Count::default();
        self
    }

    /// Records were read, and are on their way.
    pub(crate) fn read(&mut self, count: Count) {
        self.read.add(count);
        self.pending.add(count);
    }

    /// Records on their way were given back to the source.
    pub(crate) fn give_back(&mut self, count: Count) {
        self.read.subtract(count);
        self.pending.subtract(count);
    }

    /// Records on their way were accepted.
    pub(crate) fn deliver(&mut self, count: Count) {
        self.pending.subtract(count);
        self.delivered.add(count);
    }

    /// Records on their way were accepted, others that were read with them are not sent.
    pub(crate) fn settle(&mut self, delivered: Count, skipped: &BTreeMap<Reason, Count>) {
        self.deliver(delivered);
        for (reason, count) in skipped {
            self.drop(*reason, *count);
        }
    }

    /// Records on their way were given up.
    pub(crate) fn drop(&mut self, reason: Reason, count: Count) {
        self.pending.subtract(count);
        if count != Count::default() {
            self.dropped.entry(reason).or_default().add(count);
        }
        if reason.is_missed() {
            self.missed.entry(reason).or_default().add(count);
        }
    }

    /// Whether something was dropped since it was last noted.
    pub(crate) fn has_missed(&self) -> bool {
        !self.missed.is_empty()
    }

    /// What was dropped since it was last noted is missing at `place`; its records were of these times.
    pub(crate) fn note_gaps(&mut self, place: &Where, times: (Timestamp, Timestamp), now: Duration) {
        for (reason, count) in std::mem::take(&mut self.missed) {
            self.gaps.add(place, reason, count, times, now);
        }
    }

    /// Records, or bytes of unknown records, are given up as soon as they are known of; nothing, if not even that much is
    /// known of them, and yet something is missing.
    pub(crate) fn lose(&mut self, reason: Reason, count: Count) {
        self.read(count);
        self.drop(reason, count);
    }

    /// Whether nothing is on its way, and nothing is still to be said.
    pub(crate) fn is_quiet(&self) -> bool {
        self.pending == Count::default() && self.missed.is_empty() && self.gaps.is_empty()
    }

    /// Adds another account, which is quiet.
    pub(crate) fn add(&mut self, other: &Self) {
        self.read.add(other.read);
        self.delivered.add(other.delivered);
        for (reason, count) in &other.dropped {
            self.dropped.entry(*reason).or_default().add(*count);
        }
        self.invalid_utf8 += other.invalid_utf8;
        self.unparsed_timestamps += other.unparsed_timestamps;
    }

    /// Adds this account to what `status` shows.
    pub(crate) fn add_to(&self, ledger: &mut Ledger) {
        add(&mut ledger.events, self, |count| count.events);
        add(&mut ledger.bytes, self, |count| count.bytes);
    }
}

fn add(tally: &mut Tally, account: &Account, side: impl Fn(&Count) -> u64) {
    tally.read += side(&account.read);
    tally.delivered += side(&account.delivered);
    tally.pending += side(&account.pending);
    for (reason, count) in &account.dropped {
        *tally.dropped.entry(reason.word().to_owned()).or_default() += side(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(events: u64, bytes: u64) -> Count {
        Count { events, bytes }
    }

    fn balanced(account: &Account) -> bool {
        let mut ledger = Ledger::default();
        account.add_to(&mut ledger);
        [ledger.events, ledger.bytes]
            .iter()
            .all(|side| side.read == side.delivered + side.pending + side.dropped.values().sum::<u64>())
    }

    #[test]
    fn the_account_balances_after_each_step_and_after_a_restart() {
        let mut account = Account::default();
        account.read(count(10, 100));
        assert!(balanced(&account));
        account.deliver(count(5, 50));
        account.drop(Reason::Empty, count(2, 2));
        assert!(balanced(&account));
        account.give_back(count(1, 20));
        assert!(balanced(&account));
        let kept = serde_json::to_string(&account).expect("plain data");
        let revived = serde_json::from_str::<Account>(&kept).expect("as written").revived();
        assert!(balanced(&revived));
        assert_eq!(revived.read, count(7, 52));
    }
}
