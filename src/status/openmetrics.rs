//! The report as Prometheus reads it: OpenMetrics 1.0, or the older text format for what asks for that. Names, meanings
//! and values are the tables of `families`; here is how they are written. Not how the page is asked for.
//!
//! What there may be thousands of (files, streams) is shown one by one up to a bound; the rest is summed, so that a scrape
//! stays small whatever a host has.

use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use super::Report;
use super::families::{self, Family, Kind, Summed, Values};
use crate::credentials;

/// So many sources, and so many destinations, have series of their own: some fifteen each, two megabytes in all, which a
/// Prometheus takes in its stride.
const MOST: usize = 1_000;

/// The labels of the rest, all together.
const OTHER: &str = "other";

/// In which words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format, 0.0.4.
    Text,
}

impl Format {
    /// What one understands whose `Accept` header says this: OpenMetrics, unless only the older format is named.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let named =
            |kind: &str| accept.split(',').any(|range| range.split(';').next().is_some_and(|r| r.trim() == kind));
        if named("text/plain") && !named("application/openmetrics-text") { Self::Text } else { Self::OpenMetrics }
    }

    /// For the `Content-Type` header.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The whole page.
#[must_use]
pub fn render(report: &Report, format: Format) -> String {
    let sources = grouped(&report.logs.sources, ["kind", "source"], |source| [&source.kind, &source.name]);
    let destinations =
        grouped(&report.logs.destinations, ["log_group", "log_stream"], |to| [&to.log_group, &to.log_stream]);
    let summed = Summed { sources: summed(&sources), destinations: summed(&destinations) };
    let mut page = Page { text: String::new(), format };
    page.all(families::AGENT, &[(String::new(), vec![report])]);
    page.all(families::SUMMED, &[(String::new(), vec![&summed])]);
    page.all(families::ROLES, &roles(report));
    let doors = report.doors.iter().map(|door| (labels(&[("door", &door.door)]), vec![door]));
    page.all(families::DOORS, &doors.collect::<Vec<_>>());
    page.all(families::SOURCES, &sources);
    page.all(families::DESTINATIONS, &destinations);
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

/// The base role's own name may be another role's, too, and is not known from the start.
fn roles(report: &Report) -> Vec<Group<'_, credentials::Snapshot>> {
    let roles = report.credentials.iter().enumerate();
    let labelled = roles.map(|(index, role)| {
        let name = if index == 0 { "base" } else { &role.role };
        (labels(&[("role", name)]), vec![role])
    });
    labelled.collect()
}

/// How many have no series of their own.
fn summed<T>(groups: &[Group<'_, T>]) -> usize {
    groups.get(MOST).map_or(0, |(_, rest)| rest.len())
}

/// Those of one name together, in the order of their names; behind the first [`MOST`] names all others as one.
fn grouped<'r, S>(all: &'r [S], names: [&str; 2], key: impl Fn(&S) -> [&str; 2]) -> Vec<Group<'r, S>> {
    let mut sorted: Vec<&S> = all.iter().collect();
    sorted.sort_by(|one, other| key(one).cmp(&key(other)));
    let mut groups: Vec<Group<'r, S>> = Vec::new();
    let mut last: Option<[&str; 2]> = None;
    let others = || labels(&[(names[0], OTHER), (names[1], OTHER)]);
    for item in sorted {
        let [one, other] = key(item);
        let is_next = last != Some([one, other]);
        last = Some([one, other]);
        if is_next && groups.len() <= MOST {
            let text = if groups.len() == MOST { others() } else { labels(&[(names[0], one), (names[1], other)]) };
            groups.push((text, Vec::new()));
        }
        if let Some((_, group)) = groups.last_mut() {
            group.push(item);
        }
    }
    groups
}

/// `a="b",c="d"`, with what would end a value early escaped.
fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// The labels, and what has them.
type Group<'r, T> = (String, Vec<&'r T>);

struct Page {
    text: String,
    format: Format,
}

impl Page {
    fn all<T>(&mut self, families: &[Family<T>], groups: &[Group<'_, T>]) {
        for family in families {
            self.head(family);
            for (labels, items) in groups {
                let mut samples = Samples { text: &mut self.text, name: family.name, labels };
                match family.values {
                    Values::One(values) => items.iter().for_each(|item| values(item, &mut samples)),
                    Values::All(values) => values(items, &mut samples),
                }
            }
        }
    }

    /// OpenMetrics names a family without what its samples have at the end.
    fn head<T>(&mut self, family: &Family<T>) {
        let Family { name, kind, help, .. } = family;
        let (family_name, word) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => (name.trim_end_matches("_total"), "counter"),
            (Format::OpenMetrics, Kind::Info) => (name.trim_end_matches("_info"), "info"),
            (Format::Text, Kind::Counter) => (*name, "counter"),
            (_, Kind::Gauge) | (Format::Text, Kind::Info) => (*name, "gauge"),
        };
        let _ = writeln!(self.text, "# TYPE {family_name} {word}");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| family_name.ends_with(unit));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            let _ = writeln!(self.text, "# UNIT {family_name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {family_name} {help}");
    }
}

/// Where the values of one family and one item go.
pub(super) struct Samples<'p> {
    text: &'p mut String,
    name: &'static str,
    labels: &'p str,
}

impl Samples<'_> {
    pub(super) fn put(&mut self, value: impl Display) {
        self.with(&[], value);
    }

    /// With further labels.
    pub(super) fn with(&mut self, more: &[(&str, &str)], value: impl Display) {
        let (more, own) = (labels(more), self.labels);
        let comma = if own.is_empty() || more.is_empty() { "" } else { "," };
        let _ = if own.is_empty() && more.is_empty() {
            writeln!(self.text, "{} {value}", self.name)
        } else {
            writeln!(self.text, "{}{{{own}{comma}{more}}} {value}", self.name)
        };
    }

    /// In seconds since 1970; nothing where there is none.
    pub(super) fn time(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at {
            let millis = at.as_millisecond();
            self.put(format_args!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::report::tests::sample;
    use super::*;

    fn page(report: &Report) -> String {
        render(report, Format::OpenMetrics)
    }

    #[test]
    fn what_is_asked_for_is_answered_in_kind() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for accept in [prometheus, "*/*", "", "text/html", "text/plainer"] {
            assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in ["text/plain", "text/plain; version=0.0.4", "text/html, text/plain;q=0.5, */*;q=0.1"] {
            assert_eq!(Format::accepted(accept), Format::Text, "{accept}");
        }
    }

    #[test]
    fn the_page_holds_the_report() {
        let text = page(&sample());
        for line in [
            "# TYPE imds_agent_build info",
            "imds_agent_build_info{version=\"0.1.0\"} 1",
            "imds_agent_healthy 0",
            "imds_agent_credentials_expiry_timestamp_seconds{role=\"base\"} 1795367550.000",
            "imds_agent_credentials_state{role=\"base\",state=\"fresh\"} 1",
            "imds_agent_door_refused_requests_total{door=\"unix\"} 2",
            "# TYPE imds_agent_logs_read_bytes counter",
            "# UNIT imds_agent_logs_read_bytes bytes",
            "imds_agent_logs_read_bytes_total 200000000",
            "imds_agent_logs_dropped_events_total{reason=\"empty\"} 20",
            "imds_agent_logs_dropped_events_total{reason=\"too_old\"} 0",
            "imds_agent_source_lag_seconds{kind=\"file\",source=\"/var/log/app/app.log\"} 0.4",
            "imds_agent_source_state{kind=\"file\",source=\"/var/log/secret.log\",state=\"failed\"} 1",
            "imds_agent_destination_state{log_group=\"/aws/ec2/audit\",log_stream=\"i-0123456789abcdef0/app.log\",state=\"denied\"} 1",
            "imds_agent_dead_letter_events 12",
            "imds_agent_warnings{code=\"clock_skew\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n") && !text.contains("X7QZ"));
    }

    /// The documentation's table, made of what the code knows and of what the page of a report with everything shows.
    fn table() -> String {
        fn rows<T>(families: &[Family<T>], text: &str) -> Vec<String> {
            let row = |family: &Family<T>| {
                let mut samples = text.lines().filter_map(|line| line.strip_prefix(family.name));
                let sample = samples.find(|rest| rest.starts_with(['{', ' '])).expect(family.name);
                let names = sample.split_once('{').map_or("", |(_, rest)| rest).split("\",");
                let labels: Vec<_> = names.filter_map(|part| part.split_once("=\"")).map(|(name, _)| name).collect();
                let kind = format!("{:?}", family.kind).to_lowercase();
                format!("| `{}` | {kind} | {} | {} |\n", family.name, labels.join(", "), family.help)
            };
            families.iter().map(row).collect()
        }
        let text = page(&sample());
        let all = [
            rows(families::AGENT, &text),
            rows(families::SUMMED, &text),
            rows(families::ROLES, &text),
            rows(families::DOORS, &text),
            rows(families::SOURCES, &text),
            rows(families::DESTINATIONS, &text),
        ];
        all.concat().concat()
    }

    #[test]
    fn each_metric_is_documented_as_it_is() {
        let manual = include_str!("../../packaging/monitoring/README.md");
        assert!(manual.contains(&table()), "the table of packaging/monitoring/README.md should be\n{}", table());
    }

    #[test]
    fn dashboards_and_alerts_name_no_metric_that_there_is_not() {
        let known = table();
        for text in [
            include_str!("../../packaging/monitoring/alerts.yml"),
            include_str!("../../packaging/monitoring/grafana.json"),
        ] {
            let names = text.match_indices("imds_agent_").map(|(at, _)| {
                let rest = &text[at..];
                &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())]
            });
            let unknown: BTreeSet<&str> = names.filter(|name| !known.contains(&format!("| `{name}` |"))).collect();
            assert_eq!(unknown, BTreeSet::new());
        }
    }

    #[test]
    fn the_older_format_has_the_names_of_the_samples_and_no_end() {
        let text = render(&sample(), Format::Text);
        assert!(text.contains("# TYPE imds_agent_build_info gauge\n"));
        assert!(text.contains("# TYPE imds_agent_logs_read_bytes_total counter\n"));
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"));
    }

    #[test]
    fn no_name_of_a_file_ends_a_label_or_a_line() {
        let mut report = sample();
        report.logs.sources[0].name = "/a\\b\"c\nd".into();
        let text = page(&report);
        assert!(text.contains("source=\"/a\\\\b\\\"c\\nd\"} "), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("imds_agent_")));
    }

    #[test]
    fn beyond_so_many_the_rest_is_one_sum_and_none_is_there_twice() {
        let mut report = sample();
        let source = report.logs.sources[0].clone();
        report.logs.sources.clear();
        for n in 0..MOST + 5 {
            let name = format!("/var/log/{n:05}.log").into();
            report.logs.sources.extend([crate::logs::SourceSnapshot { name, ..source.clone() }]);
        }
        report.logs.sources.push(report.logs.sources[0].clone());
        let text = page(&report);
        let sum = |labels: &str| format!("imds_agent_source_read_events_total{{{labels}}} ");
        let line = |labels: &str, n: u64| format!("{}{}\n", sum(labels), n * 1_000_000);
        assert!(text.contains(&line("kind=\"other\",source=\"other\"", 5)));
        assert!(text.contains(&line("kind=\"file\",source=\"/var/log/00000.log\"", 2)));
        assert!(!text.contains(&sum("kind=\"file\",source=\"/var/log/01000.log\"")));
        assert!(text.contains("imds_agent_sources_summed 5\n"));
        let series: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|s| s.0)
            .collect();
        assert_eq!(series.len(), series.iter().collect::<BTreeSet<_>>().len());
    }
}
