//! The metrics: the name, kind and meaning of each, and where in the report its value stands. Not how they are written.
//! The same words are in packaging/monitoring/README.md; a test holds the two together.

use super::openmetrics::Samples;
use super::{Condition, Report};
use crate::credentials::Snapshot as RoleSnapshot;
use crate::endpoints::Snapshot as DoorSnapshot;
use crate::logs::{DROP_REASONS, DestinationSnapshot, SourceSnapshot, Tally};

/// What a number means to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only ever grows while the daemon runs; ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; what counts is in the labels. Ends in `_info`.
    Info,
}

/// One metric of things like `T`.
pub(super) struct Family<T: 'static> {
    /// The name of its samples.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) values: Values<T>,
}

/// How a sample is made.
pub(super) enum Values<T: 'static> {
    /// Of one thing.
    One(fn(&T, &mut Samples<'_>)),
    /// Of all things of one name.
    All(fn(&[&T], &mut Samples<'_>)),
}

/// What has no series of its own.
pub(super) struct Summed {
    pub(super) sources: usize,
    pub(super) destinations: usize,
}

const fn family<T>(kind: Kind, name: &'static str, help: &'static str, values: fn(&T, &mut Samples<'_>)) -> Family<T> {
    Family { name, kind, help, values: Values::One(values) }
}

const fn group<T>(
    kind: Kind,
    name: &'static str,
    help: &'static str,
    values: fn(&[&T], &mut Samples<'_>),
) -> Family<T> {
    Family { name, kind, help, values: Values::All(values) }
}

use Kind::{Counter, Gauge, Info};

/// Of the agent as a whole.
pub(super) const AGENT: &[Family<Report>] = &[
    family(Info, "imds_agent_build_info", "The agent's version.", |r, s| {
        s.with(&[("version", &r.version)], 1);
    }),
    family(Info, "imds_agent_instance_info", "The instance, as far as it is known.", |r, s| {
        let (i, known) = (&r.instance, |value: &Option<String>| value.clone().unwrap_or_default());
        let values = [&i.instance_id, &i.region, &i.account_id, &i.availability_zone, &i.instance_type].map(known);
        let names = ["instance_id", "region", "account_id", "availability_zone", "instance_type"];
        let labels: Vec<(&str, &str)> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        s.with(&labels, 1);
    }),
    family(Gauge, "imds_agent_healthy", "1 if `status` says healthy and /health answers 200, else 0.", |r, s| {
        s.put(u8::from(Condition::of(r) == Condition::Healthy));
    }),
    family(Gauge, "imds_agent_start_timestamp_seconds", "When the daemon started.", |r, s| {
        s.time(Some(r.started_at));
    }),
    family(Gauge, "imds_agent_uptime_seconds", "For how long it has been running.", |r, s| {
        s.put(r.uptime_seconds);
    }),
    family(
        Gauge,
        "imds_agent_config_load_timestamp_seconds",
        "When the configuration in use was read; not there without a file.",
        |r, s| s.time(r.config.loaded_at),
    ),
    family(
        Gauge,
        "imds_agent_config_error",
        "1 if the configuration on disk is refused, and another one is in use.",
        |r, s| s.put(u8::from(r.config.error.is_some())),
    ),
    family(Gauge, "imds_agent_imds_state", "1 for the state that IMDS is in.", |r, s| {
        s.with(&[("state", &word(&r.imds.state))], 1);
    }),
    family(Counter, "imds_agent_imds_requests_total", "Requests to IMDS, tokens included.", |r, s| {
        s.put(r.imds.requests);
    }),
    family(Counter, "imds_agent_imds_failures_total", "Those that failed.", |r, s| s.put(r.imds.failures)),
    family(Gauge, "imds_agent_imds_token_expiry_timestamp_seconds", "When the IMDS token in use ends.", |r, s| {
        s.time(r.imds.token_expires_at);
    }),
    family(Counter, "imds_agent_logs_read_events_total", "Records read, of all sources.", |r, s| {
        s.put(r.logs.ledger.events.read);
    }),
    family(Counter, "imds_agent_logs_read_bytes_total", "Bytes read, of all sources.", |r, s| {
        s.put(r.logs.ledger.bytes.read);
    }),
    family(Counter, "imds_agent_logs_delivered_events_total", "Records that CloudWatch accepted.", |r, s| {
        s.put(r.logs.ledger.events.delivered);
    }),
    family(Counter, "imds_agent_logs_delivered_bytes_total", "Bytes that CloudWatch accepted.", |r, s| {
        s.put(r.logs.ledger.bytes.delivered);
    }),
    family(Gauge, "imds_agent_logs_pending_events", "Records read and neither delivered nor dropped.", |r, s| {
        s.put(r.logs.ledger.events.pending);
    }),
    family(Gauge, "imds_agent_logs_pending_bytes", "Bytes read and neither delivered nor dropped.", |r, s| {
        s.put(r.logs.ledger.bytes.pending);
    }),
    family(Counter, "imds_agent_logs_dropped_events_total", "Records that were given up.", |r, s| {
        dropped(&r.logs.ledger.events, s);
    }),
    family(Counter, "imds_agent_logs_dropped_bytes_total", "Bytes that were given up.", |r, s| {
        dropped(&r.logs.ledger.bytes, s);
    }),
    family(Gauge, "imds_agent_sources", "Sources, finished ones included.", |r, s| s.put(r.logs.sources.len())),
    family(Gauge, "imds_agent_destinations", "Log streams that are written to.", |r, s| {
        s.put(r.logs.destinations.len());
    }),
    family(Gauge, "imds_agent_spool_bytes", "What the spool holds on the disk.", |r, s| s.put(r.logs.spool.bytes)),
    family(Gauge, "imds_agent_spool_limit_bytes", "What it may hold.", |r, s| s.put(r.logs.spool.limit_bytes)),
    family(Gauge, "imds_agent_spool_quarantined_bytes", "What of it was damaged and is set aside.", |r, s| {
        s.put(r.logs.spool.quarantined_bytes);
    }),
    family(Gauge, "imds_agent_dead_letter_events", "Events in the dead-letter file.", |r, s| {
        s.put(r.logs.dead_letters.events);
    }),
    family(Gauge, "imds_agent_dead_letter_bytes", "Its size.", |r, s| s.put(r.logs.dead_letters.bytes)),
    family(
        Counter,
        "imds_agent_dead_letter_rolled_off_events_total",
        "Dead letters that were given up for newer ones.",
        |r, s| s.put(r.logs.dead_letters.rolled_off),
    ),
    family(Gauge, "imds_agent_memory_resident_bytes", "What the process occupies.", |r, s| {
        s.put(r.memory.rss_bytes);
    }),
    family(Gauge, "imds_agent_memory_buffer_bytes", "What is in buffers of log data.", |r, s| {
        s.put(r.memory.buffers_bytes);
    }),
    family(Gauge, "imds_agent_memory_buffer_limit_bytes", "The ceiling of those buffers.", |r, s| {
        s.put(r.memory.limit_bytes);
    }),
    family(Gauge, "imds_agent_warnings", "Warnings that `status` shows, by their code.", |r, s| {
        let mut codes: Vec<&str> = r.warnings.iter().map(|warning| warning.code.as_str()).collect();
        codes.sort_unstable();
        for same in codes.chunk_by(|one, other| one == other) {
            s.with(&[("code", same[0])], same.len());
        }
    }),
];

/// Of what has no series of its own.
pub(super) const SUMMED: &[Family<Summed>] = &[
    family(
        Gauge,
        "imds_agent_sources_summed",
        "Sources without series of their own: beyond 1,000 they are summed in kind and source `other`.",
        |r, s| s.put(r.sources),
    ),
    family(
        Gauge,
        "imds_agent_destinations_summed",
        "Streams without series of their own: beyond 1,000 they are summed in log_group and log_stream `other`.",
        |r, s| s.put(r.destinations),
    ),
];

/// Of one role.
pub(super) const ROLES: &[Family<RoleSnapshot>] = &[
    family(
        Info,
        "imds_agent_credentials_info",
        "The role's own name, where its credentials come from, and who they are.",
        |r, s| {
            let arn = r.arn.as_deref().unwrap_or_default();
            s.with(&[("name", &r.role), ("source", &r.source), ("arn", arn)], 1);
        },
    ),
    family(Gauge, "imds_agent_credentials_state", "1 for the state the credentials are in.", |r, s| {
        s.with(&[("state", &word(&r.state))], 1);
    }),
    family(
        Gauge,
        "imds_agent_credentials_expiry_timestamp_seconds",
        "When they expire; not there while there are none.",
        |r, s| s.time(r.expiration),
    ),
    family(Gauge, "imds_agent_credentials_next_refresh_timestamp_seconds", "When they are fetched next.", |r, s| {
        s.time(r.next_refresh);
    }),
    family(Counter, "imds_agent_credentials_refreshes_total", "Fetches that brought credentials.", |r, s| {
        s.put(r.refreshes);
    }),
    family(Counter, "imds_agent_credentials_refresh_failures_total", "Fetches that failed.", |r, s| {
        s.put(r.failures);
    }),
    family(
        Counter,
        "imds_agent_credentials_served_total",
        "How often they were handed out, to the agent itself included.",
        |r, s| s.put(r.served),
    ),
    family(
        Counter,
        "imds_agent_credentials_denied_total",
        "How often a caller was refused them: an authentication failure.",
        |r, s| s.put(r.denied),
    ),
];

/// Of one door at which credentials are had.
pub(super) const DOORS: &[Family<DoorSnapshot>] = &[
    family(
        Counter,
        "imds_agent_door_served_requests_total",
        "Requests that were given credentials at this door.",
        |d, s| s.put(d.served),
    ),
    family(
        Counter,
        "imds_agent_door_refused_requests_total",
        "Requests that were refused there, whatever they asked for: authentication failures.",
        |d, s| s.put(d.refused),
    ),
];

/// Of the sources of one name.
pub(super) const SOURCES: &[Family<SourceSnapshot>] = &[
    group(
        Gauge,
        "imds_agent_source_state",
        "How many sources of that name are in the state: 1 for a single one.",
        |all, s| states(all.iter().map(|source| word(&source.state)), s),
    ),
    group(Counter, "imds_agent_source_read_events_total", "Records read.", |all, s| {
        s.put(sum(all, |source| source.ledger.events.read));
    }),
    group(Counter, "imds_agent_source_read_bytes_total", "Bytes read.", |all, s| {
        s.put(sum(all, |source| source.ledger.bytes.read));
    }),
    group(Counter, "imds_agent_source_delivered_events_total", "Records that CloudWatch accepted.", |all, s| {
        s.put(sum(all, |source| source.ledger.events.delivered));
    }),
    group(Counter, "imds_agent_source_delivered_bytes_total", "Bytes that CloudWatch accepted.", |all, s| {
        s.put(sum(all, |source| source.ledger.bytes.delivered));
    }),
    group(Gauge, "imds_agent_source_pending_events", "Records on their way.", |all, s| {
        s.put(sum(all, |source| source.ledger.events.pending));
    }),
    group(Gauge, "imds_agent_source_pending_bytes", "Bytes on their way.", |all, s| {
        s.put(sum(all, |source| source.ledger.bytes.pending));
    }),
    group(
        Counter,
        "imds_agent_source_dropped_events_total",
        "Records given up; only reasons that occurred.",
        |all, s| dropped_of(all, |source| &source.ledger.events, s),
    ),
    group(Counter, "imds_agent_source_dropped_bytes_total", "Bytes given up; only reasons that occurred.", |all, s| {
        dropped_of(all, |source| &source.ledger.bytes, s);
    }),
    group(
        Gauge,
        "imds_agent_source_lag_seconds",
        "For how long undelivered data has been standing there.",
        |all, s| s.put(all.iter().map(|source| source.lag_seconds).fold(0.0, f64::max)),
    ),
    group(
        Gauge,
        "imds_agent_source_position_bytes",
        "Everything before this byte is delivered or dropped.",
        |all, s| s.put(sum(all, |source| source.position)),
    ),
    group(Gauge, "imds_agent_source_size_bytes", "The file's size, when last looked at.", |all, s| {
        s.put(sum(all, |source| source.size));
    }),
    group(
        Counter,
        "imds_agent_source_invalid_utf8_records_total",
        "Records with bytes that are not UTF-8, delivered with replacement characters.",
        |all, s| s.put(sum(all, |source| source.invalid_utf8)),
    ),
    group(
        Counter,
        "imds_agent_source_unparsed_timestamps_total",
        "Records whose time was looked for and not found.",
        |all, s| s.put(sum(all, |source| source.unparsed_timestamps)),
    ),
];

/// Of the log streams of one name.
pub(super) const DESTINATIONS: &[Family<DestinationSnapshot>] = &[
    group(
        Gauge,
        "imds_agent_destination_state",
        "How many streams of that name are in the state: 1 for a single one.",
        |all, s| states(all.iter().map(|to| word(&to.state)), s),
    ),
    group(Gauge, "imds_agent_destination_in_flight_requests", "PutLogEvents calls on their way.", |all, s| {
        s.put(sum(all, |to| to.in_flight));
    }),
    group(Counter, "imds_agent_destination_put_requests_total", "PutLogEvents calls, retries included.", |all, s| {
        s.put(sum(all, |to| to.put_calls));
    }),
    group(Counter, "imds_agent_destination_throttled_requests_total", "Those that CloudWatch throttled.", |all, s| {
        s.put(sum(all, |to| to.throttles));
    }),
    group(Counter, "imds_agent_destination_retries_total", "Those that were a second or later try.", |all, s| {
        s.put(sum(all, |to| to.retries));
    }),
    group(
        Counter,
        "imds_agent_destination_delivered_events_total",
        "Records that the stream accepted since the start.",
        |all, s| s.put(sum(all, |to| to.ledger.events.delivered)),
    ),
    group(Counter, "imds_agent_destination_delivered_bytes_total", "Their bytes.", |all, s| {
        s.put(sum(all, |to| to.ledger.bytes.delivered));
    }),
    group(
        Gauge,
        "imds_agent_destination_lag_seconds",
        "How old the oldest event is that is not accepted yet; 0 if there is none.",
        |all, s| s.put(all.iter().map(|to| to.lag_seconds).fold(0.0, f64::max)),
    ),
    group(
        Gauge,
        "imds_agent_destination_oldest_pending_timestamp_seconds",
        "The time of that event; not there if there is none.",
        |all, s| s.time(all.iter().filter_map(|to| to.oldest_pending_at).min()),
    ),
    group(
        Gauge,
        "imds_agent_destination_delivered_until_timestamp_seconds",
        "The time of the newest event that was accepted.",
        |all, s| s.time(all.iter().filter_map(|to| to.delivered_until).max()),
    ),
];

fn sum<T>(all: &[&T], of: impl Fn(&T) -> u64) -> u64 {
    all.iter().map(|one| of(one)).sum()
}

/// All reasons, so that the first drop is an increase.
fn dropped(tally: &Tally, samples: &mut Samples<'_>) {
    for reason in DROP_REASONS {
        samples.with(&[("reason", reason)], tally.dropped.get(reason).copied().unwrap_or(0));
    }
}

fn dropped_of(all: &[&SourceSnapshot], tally: impl Fn(&SourceSnapshot) -> &Tally, samples: &mut Samples<'_>) {
    for reason in DROP_REASONS {
        let count = sum(all, |source| tally(source).dropped.get(reason).copied().unwrap_or(0));
        if count > 0 {
            samples.with(&[("reason", reason)], count);
        }
    }
}

fn states(words: impl Iterator<Item = String>, samples: &mut Samples<'_>) {
    let mut words: Vec<String> = words.collect();
    words.sort_unstable();
    for same in words.chunk_by(|one, other| one == other) {
        samples.with(&[("state", &same[0])], same.len());
    }
}

/// A state as the JSON has it.
fn word(state: &impl serde::Serialize) -> String {
    super::word(state).replace(' ', "_")
}
