//! Streams and groups that are missing are created, and a group that exists is compared with what was asked for. Not
//! when: the engine asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::GroupSettings;
use super::sink::{Failure, Group, Kind, Sink};
use crate::rate::Rate;

/// A group is looked at within this time: thousands of hosts that start together must not ask together.
const SPREAD: Duration = Duration::from_mins(1);

/// Groups that are made in any one second. An account may make ten (FACTS, quotas): who asks for more is refused, and then
/// waits for longer than its turn would have taken.
const GROUPS_A_SECOND: usize = 9;

/// Who makes groups: one creation a group at a time, so that the others of that group wait for it and nobody else does.
#[derive(Debug)]
pub(super) struct Turns {
    locks: HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>,
    rate: Arc<Mutex<Rate>>,
}

/// The right to make one group.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// Held while it is made.
    lock: Arc<tokio::sync::Mutex<()>>,
    rate: Arc<Mutex<Rate>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { locks: HashMap::new(), rate: Arc::new(Mutex::new(Rate::new(GROUPS_A_SECOND))) }
    }
}

impl Turns {
    /// For this group.
    pub(super) fn of(&mut self, log_group: &Arc<str>) -> Turn {
        Turn { lock: self.locks.entry(log_group.clone()).or_default().clone(), rate: self.rate.clone() }
    }
}

impl Turn {
    /// Waits until another group may be made.
    async fn comes(&self) {
        let starts = self.rate.lock().unwrap_or_else(PoisonError::into_inner).reserve(Instant::now());
        sleep_until(starts).await;
    }
}

/// A stream that is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Created {
    /// Whether its group was made for it.
    pub(crate) with_group: bool,
    /// Why the new group's retention could not be set, if so.
    pub(crate) unset: Option<Failure>,
}

/// Creates a stream, and its group where that is missing, which is known already if `without_group`.
pub(super) async fn create(
    sink: &dyn Sink,
    turn: &Turn,
    (log_group, log_stream): (&str, &str),
    without_group: bool,
    settings: &GroupSettings,
) -> Result<Created, Failure> {
    if !without_group && is_there(sink.create_stream(log_group, log_stream).await)? {
        return Ok(Created::default());
    }
    let free = turn.lock.try_lock();
    let may_be_made_by_now = free.is_err();
    let _one_at_a_time = match free {
        Ok(held) => held,
        Err(_) => turn.lock.lock().await,
    };
    if may_be_made_by_now && is_there(sink.create_stream(log_group, log_stream).await)? {
        return Ok(Created::default());
    }
    turn.comes().await;
    match sink.create_group(log_group, settings).await {
        Ok(()) => tracing::info!(log_group, "created the log group"),
        // Somebody else was faster, and it is theirs.
        Err(failure) if failure.kind == Kind::AlreadyExists => {
            is_there(sink.create_stream(log_group, log_stream).await)?;
            return Ok(Created::default());
        }
        Err(failure) => return Err(failure),
    }
    let unset = match settings.retention_in_days {
        Some(days) => sink.set_retention(log_group, days).await.err(),
        None => None,
    };
    sink.create_stream(log_group, log_stream).await.or_else(|failure| match failure.kind {
        Kind::AlreadyExists => Ok(()),
        _ => Err(failure),
    })?;
    Ok(Created { with_group: true, unset })
}

/// Whether a stream is there now; not when its group is missing. That it exists already is as good as having created it.
fn is_there(result: Result<(), Failure>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(failure) if failure.kind == Kind::AlreadyExists => Ok(true),
        Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::GroupNotFound) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Compares a group with what was asked for, some time later, and sets its retention if it differs. Returns what differs
/// and can't be changed.
pub(super) async fn check(
    sink: &dyn Sink,
    log_group: &str,
    settings: &GroupSettings,
) -> Result<Option<String>, Failure> {
    sleep(SPREAD.mul_f64(fastrand::f64())).await;
    let Some(found) = sink.group(log_group).await? else { return Ok(None) };
    if let Some(days) = settings.retention_in_days
        && found.retention_in_days != Some(days)
    {
        sink.set_retention(log_group, days).await?;
        tracing::info!(log_group, days, "set the retention");
    }
    Ok(difference(settings, &found))
}

/// What was asked for at creation and is another way, in words.
fn difference(settings: &GroupSettings, found: &Group) -> Option<String> {
    let class =
        settings.log_class.filter(|class| found.log_class.as_deref().is_some_and(|other| other != class.word()));
    let class = class
        .map(|class| format!("its class is {}, not {}", found.log_class.as_deref().unwrap_or_default(), class.word()));
    let key = settings.kms_key_id.as_deref().filter(|key| found.kms_key_id.as_deref() != Some(key));
    let key = key.map(|key| match &found.kms_key_id {
        Some(other) => format!("it is encrypted with {other}, not {key}"),
        None => format!("it is not encrypted with {key}, but with AWS's own key"),
    });
    let parts: Vec<String> = class.into_iter().chain(key).collect();
    (!parts.is_empty()).then(|| parts.join(", and "))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;

    use super::*;
    use crate::logs::LogClass;
    use crate::logs::sink::{Accepted, Answer};

    /// An account with one group, or none.
    #[derive(Default)]
    struct Account {
        group: Mutex<Option<Group>>,
        calls: Mutex<Vec<&'static str>>,
        retention_is_denied: bool,
        is_full: bool,
    }

    fn failure(kind: Kind) -> Failure {
        Failure { kind, message: format!("{kind:?}"), hint: None, retry_after: None }
    }

    impl Account {
        fn answer<T: Send + 'static>(&self, call: &'static str, result: Result<T, Failure>) -> Answer<T> {
            self.calls.lock().expect("one thread").push(call);
            Box::pin(async move { result })
        }

        fn found(&self) -> Option<Group> {
            self.group.lock().expect("one thread").clone()
        }
    }

    impl Sink for Account {
        fn put(&self, _: &str, _: &str, _: Bytes, _: bool) -> Answer<Accepted> {
            unreachable!("nothing is put")
        }

        fn create_group(&self, _: &str, _: &GroupSettings) -> Answer<()> {
            if self.is_full {
                return self.answer("group", Err(failure(Kind::LimitReached)));
            }
            *self.group.lock().expect("one thread") = Some(Group::default());
            self.answer("group", Ok(()))
        }

        fn create_stream(&self, _: &str, _: &str) -> Answer<()> {
            self.answer("stream", self.found().map(|_| ()).ok_or_else(|| failure(Kind::NotFound)))
        }

        fn group(&self, _: &str) -> Answer<Option<Group>> {
            self.answer("look", Ok(self.found()))
        }

        fn set_retention(&self, _: &str, days: u16) -> Answer<()> {
            if self.retention_is_denied {
                return self.answer("retention", Err(failure(Kind::Denied)));
            }
            if let Some(group) = &mut *self.group.lock().expect("one thread") {
                group.retention_in_days = Some(days);
            }
            self.answer("retention", Ok(()))
        }
    }

    fn days(days: u16) -> GroupSettings {
        GroupSettings { retention_in_days: Some(days), ..GroupSettings::default() }
    }

    async fn make(account: &Account) -> Result<Created, Failure> {
        create(account, &Turns::default().of(&"g".into()), ("g", "s"), false, &days(14)).await
    }

    #[tokio::test]
    async fn a_group_is_made_with_its_retention_before_its_stream() {
        let account = Account::default();
        assert_eq!(make(&account).await, Ok(Created { with_group: true, unset: None }));
        assert_eq!(*account.calls.lock().unwrap(), ["stream", "group", "retention", "stream"]);
        assert_eq!(make(&account).await, Ok(Created::default()));
        assert_eq!(account.calls.lock().unwrap().len(), 5, "a group that exists is left alone");
    }

    #[tokio::test]
    async fn a_group_that_is_known_to_be_missing_is_not_asked_for_first() {
        let account = Account::default();
        let turn = Turns::default().of(&"g".into());
        let created = create(&account, &turn, ("g", "s"), true, &GroupSettings::default()).await;
        assert_eq!(created, Ok(Created { with_group: true, unset: None }));
        assert_eq!(*account.calls.lock().unwrap(), ["group", "stream"]);
    }

    #[tokio::test]
    async fn who_waited_for_another_to_make_the_group_does_not_make_it_again() {
        let account = Account::default();
        let turn = Turns::default().of(&"g".into());
        let held = turn.lock.lock().await;
        let settings = GroupSettings::default();
        let waiting = create(&account, &turn, ("g", "s"), true, &settings);
        let other = async {
            *account.group.lock().unwrap() = Some(Group::default());
            drop(held);
        };
        assert_eq!(tokio::join!(waiting, other).0, Ok(Created::default()));
        assert_eq!(*account.calls.lock().unwrap(), ["stream"]);
    }

    #[tokio::test(start_paused = true)]
    async fn in_no_second_are_more_groups_made_than_an_account_may() {
        let (account, mut turns, begun) = (Account::default(), Turns::default(), Instant::now());
        for number in 0..=2 * GROUPS_A_SECOND {
            let turn = turns.of(&format!("g{number}").into());
            create(&account, &turn, ("g", "s"), true, &GroupSettings::default()).await.unwrap();
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_retention_that_can_not_be_set_does_not_hold_the_stream_up() {
        let account = Account { retention_is_denied: true, ..Account::default() };
        let created = make(&account).await.unwrap();
        assert_eq!(created.unset.map(|failure| failure.kind), Some(Kind::Denied));
    }

    #[tokio::test]
    async fn an_account_that_is_full_is_a_failure_of_its_own() {
        let account = Account { is_full: true, ..Account::default() };
        assert_eq!(make(&account).await.unwrap_err().kind, Kind::LimitReached);
    }

    #[tokio::test(start_paused = true)]
    async fn the_retention_is_set_only_if_it_differs() {
        let account = Account::default();
        *account.group.lock().unwrap() = Some(Group { retention_in_days: Some(7), ..Group::default() });
        for _ in 0..2 {
            assert_eq!(check(&account, "g", &days(14)).await, Ok(None));
        }
        assert_eq!(*account.calls.lock().unwrap(), ["look", "retention", "look"]);
    }

    #[test]
    fn what_can_not_be_changed_is_said() {
        let settings = GroupSettings {
            log_class: Some(LogClass::InfrequentAccess),
            kms_key_id: Some("arn:aws:kms:eu-west-1:1:key/a".to_owned()),
            ..GroupSettings::default()
        };
        let found = Group { log_class: Some("STANDARD".to_owned()), ..Group::default() };
        let said = difference(&settings, &found).expect("both differ");
        assert!(said.contains("STANDARD, not INFREQUENT_ACCESS") && said.contains("key/a"), "{said}");
        let same =
            Group { log_class: Some("INFREQUENT_ACCESS".to_owned()), kms_key_id: settings.kms_key_id.clone(), ..found };
        assert_eq!(difference(&settings, &same), None);
        assert_eq!(difference(&GroupSettings::default(), &Group::default()), None);
    }
}
