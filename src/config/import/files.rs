//! `logs.logs_collected.files.collect_list`: each entry becomes a `[[logs.file]]` table. Not the journal.

use globset::GlobBuilder;

use super::document::Section;
use super::text::{comment, line, list, quoted};
use super::{names, patterns, time};
use crate::config::logs::LOG_CLASSES;
use crate::logs::RETENTION_DAYS;
use crate::logs::framing::{Encoding, Pattern};

/// A table and what it reads.
pub(super) struct Table {
    /// Where it comes from.
    pub(super) path: String,
    /// Its patterns.
    pub(super) include: Vec<String>,
}

/// All entries, in their order. A file that two tables mean belongs to the first, which is said of the second.
pub(super) fn all(sections: Vec<Section<'_>>, stream: &str, body: &mut String) {
    let mut tables: Vec<Table> = Vec::new();
    for mut section in sections {
        let (from, mut text) = (section.noted(), String::new());
        let include = entry(&mut section, stream, &mut text);
        if let Some(include) = &include {
            let before = tables.iter().find(|table| overlap(&table.include, include));
            if let Some(before) = before {
                section.differs(
                    "file_path",
                    &format!(
                        "{} means the same files, and a file belongs to one table here: to the first",
                        before.path
                    ),
                );
            }
        }
        finish(section, from, include.is_some().then_some(("[[logs.file]]", text.as_str())), body, |path| {
            tables.extend(include.map(|include| Table { path: path.to_owned(), include }));
        });
    }
}

/// Notes what is left, and writes the table behind its origin and what is to be said of it.
pub(super) fn finish(
    section: Section<'_>,
    from: usize,
    table: Option<(&str, &str)>,
    body: &mut String,
    then: impl FnOnce(&str),
) {
    let (path, log) = (section.path.clone(), section.log());
    section.finish("not taken over: the CloudWatch agent documents no such setting, and this agent has none");
    if let Some((header, text)) = table {
        body.push('\n');
        comment(&path, body);
        for note in log.notes_from(from) {
            comment(&note.below(&path), body);
        }
        body.extend([header, "\n", text]);
        then(&path);
    }
}

/// Writes the keys of one entry; returns its patterns, if it can be a table at all.
fn entry(section: &mut Section<'_>, default_stream: &str, out: &mut String) -> Option<Vec<String>> {
    let path = section.text("file_path").unwrap_or_default();
    let include = patterns::globs(&path);
    let Some(include) = include else {
        section.refuse(
            "file_path",
            &path,
            "the whole entry is not taken over: that is no path of files on Linux, nor a pattern of such",
        );
        return None;
    };
    line(out, "include", &list(&include));
    excluded(section, out);
    let is_multi = section.flag("publish_multi_logs").unwrap_or(false);
    target(section, &path, is_multi.then_some(default_stream), out);
    if !is_multi && patterns::is_glob(&path) {
        section.differs(
            "file_path",
            "every file that matches is followed here, and was only the one that changed last there \
             (publish_multi_logs); {file_name} in log_stream gives each its own stream",
        );
    }
    encoding(section, out);
    times_and_lines(section, out);
    filters(section, out);
    if section.flag("from_beginning") == Some(false) {
        line(out, "start_at", "\"end\"");
    }
    if section.flag("auto_removal") == Some(true) {
        section.refuse("auto_removal", "true", "not taken over: no file is ever removed here; let logrotate do it");
    }
    if section.flag("pipe") == Some(true) {
        section.refuse("pipe", "true", "not taken over: a program can write to a [[logs.socket]] instead");
    }
    section.leave(
        "backpressure_mode",
        "not needed: an unread file that was deleted is copied to the spool, within bounds",
    );
    for key in ["service.name", "deployment.environment"] {
        section.leave(key, "not taken over: log events carry no entity here");
    }
    Some(include)
}

/// Whether some file is meant by both, as far as a path or the same pattern tells.
fn overlap(before: &[String], here: &[String]) -> bool {
    let means = |pattern: &String, path: &String| {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        pattern == path || (!patterns::is_glob(path) && glob.is_ok_and(|glob| glob.compile_matcher().is_match(path)))
    };
    before.iter().any(|one| here.iter().any(|other| means(one, other) || means(other, one)))
}

fn excluded(section: &mut Section<'_>, out: &mut String) {
    let Some(regex) = section.text("blacklist").filter(|regex| !regex.is_empty()) else { return };
    match patterns::excludes(&regex) {
        Some(globs) => line(out, "exclude", &list(&globs)),
        None => section.refuse(
            "blacklist",
            &regex,
            "not taken over: files are left out by patterns here, and this is a regular expression; say it as \
             exclude = [\"*.debug.log\"]",
        ),
    }
}

/// `many` is the stream that is taken if none is named, where each file has its own.
fn target(section: &mut Section<'_>, path: &str, many: Option<&str>, out: &mut String) {
    let group = section.text("log_group_name").filter(|name| !name.is_empty());
    let is_named = group.is_some();
    let group = match group {
        Some(name) => names::group(section, "log_group_name", &name),
        None if many.is_some() => "{file_path}".to_owned(),
        // What stands before the last dot is what the CloudWatch agent takes.
        None => names::group(section, "file_path", path.rsplit_once('.').map_or(path, |(before, _)| before)),
    };
    line(out, "log_group", &quoted(&group));
    let stream = section.text("log_stream_name").filter(|name| !name.is_empty());
    let stream = stream.map(|name| names::stream(section, "log_stream_name", &name));
    if let Some(default) = many.filter(|_| is_named) {
        let stream = stream.unwrap_or_else(|| default.to_owned());
        line(out, "log_stream", &quoted(&format!("{stream}_{{file_path}}")));
        section.differs(
            "publish_multi_logs",
            "the file's path in the stream's name keeps its slashes, which were _ there",
        );
    } else if let Some(stream) = stream {
        line(out, "log_stream", &quoted(&stream));
    }
    group_settings(section, out);
}

/// How long events are kept, and in which class.
pub(super) fn group_settings(section: &mut Section<'_>, out: &mut String) {
    if let Some(days) = section.number("retention_in_days") {
        if RETENTION_DAYS.iter().any(|known| i64::from(*known) == days) {
            line(out, "retention_in_days", &days.to_string());
        } else if !matches!(days, -1 | 0) {
            section.refuse(
                "retention_in_days",
                &days.to_string(),
                "not taken over: CloudWatch knows no such retention",
            );
        }
    }
    if let Some(class) = section.text("log_group_class").filter(|class| !class.is_empty()) {
        match LOG_CLASSES.iter().find(|(word, _)| word.eq_ignore_ascii_case(&class)) {
            Some((word, _)) => line(out, "log_class", &quoted(word)),
            None => section.refuse("log_group_class", &class, "not taken over: expected STANDARD or INFREQUENT_ACCESS"),
        }
    }
}

fn encoding(section: &mut Section<'_>, out: &mut String) {
    let Some(label) = section.text("encoding").filter(|label| !label.is_empty()) else { return };
    let ours = label.replace('_', "-");
    if Encoding::for_label(&ours).is_some() {
        line(out, "encoding", &quoted(&ours));
    } else {
        section.refuse("encoding", &label, "not taken over: no encoding of encoding.spec.whatwg.org has that label");
    }
}

fn times_and_lines(section: &mut Section<'_>, out: &mut String) {
    let format = section.text("timestamp_format").filter(|format| !format.is_empty());
    let zone = section.text("timezone");
    let rule = format.as_ref().and_then(|format| match time::rule(format) {
        Ok(rule) => Some(rule),
        Err(reason) => {
            let text = format!("not taken over, so events get the time of reading: {reason}");
            section.refuse("timestamp_format", format, &text);
            None
        }
    });
    if let Some(rule) = &rule {
        let zone = if zone.as_deref() == Some("UTC") { "UTC" } else { "local" };
        let (regex, format) = (quoted(&rule.regex), quoted(&rule.format));
        line(out, "timestamp", &format!("{{ regex = {regex}, format = {format}, timezone = \"{zone}\" }}"));
    }
    if section.flag("trim_timestamp") == Some(true) {
        section.refuse("trim_timestamp", "true", "not taken over: the time stays in the event's text");
    }
    let start = section.text("multi_line_start_pattern").filter(|pattern| !pattern.is_empty());
    let pattern = match start.as_deref() {
        Some("{timestamp_format}" | "{timestamp_regex}") => rule.map(|rule| rule.regex),
        Some(pattern) => Some(pattern.to_owned()),
        // Lines that begin with a blank go on with the one before, if nothing is said.
        None => Some(r"^\S".to_owned()),
    };
    match pattern.as_ref().map(|pattern| Pattern::parse(pattern)) {
        Some(Ok(pattern)) => line(out, "multiline", &format!("{{ start = {} }}", quoted(pattern.text()))),
        Some(Err(error)) => {
            let text = format!("not taken over, so each line is an event: it {error}");
            section.refuse("multi_line_start_pattern", &start.unwrap_or_default(), &text);
        }
        None => section.refuse(
            "multi_line_start_pattern",
            "{timestamp_format}",
            "not taken over, so each line is an event: there is no timestamp_format that could be used",
        ),
    }
}

/// What is sent and what is not.
pub(super) fn filters(section: &mut Section<'_>, out: &mut String) {
    let (mut keep, mut drop) = (Vec::new(), Vec::new());
    for mut filter in section.sections("filters") {
        let (kind, expression) = (filter.text("type"), filter.text("expression").unwrap_or_default());
        let parsed = Pattern::parse(&expression);
        match (kind.as_deref(), parsed) {
            _ if expression.is_empty() => {
                filter.refuse("expression", "", "not taken over: an empty expression matches every event");
            }
            (_, Err(error)) => filter.refuse("expression", &expression, &format!("not taken over: it {error}")),
            (Some("exclude"), Ok(_)) => drop.push(expression),
            (Some("include"), Ok(_)) if keep.is_empty() => keep.push(expression),
            (Some("include"), Ok(_)) => filter.refuse(
                "expression",
                &expression,
                "not taken over: an event had to match all that include; here one of several is enough, so only the \
                 first is kept, and more is sent",
            ),
            (other, Ok(_)) => {
                let other = other.unwrap_or_default().to_owned();
                filter.refuse("type", &other, "not taken over: expected include or exclude");
                filter.refuse("expression", &expression, "not taken over with it");
            }
        }
        filter.finish("not taken over: a filter has a type and an expression");
    }
    for (key, patterns) in [("keep", keep), ("drop", drop)] {
        if !patterns.is_empty() {
            line(out, key, &list(&patterns));
        }
    }
}
