//! Names of groups and streams: their placeholders are ours by other words. Not what is filled in.

use super::document::Section;
use super::text::one_line;

/// Their names in braces, ours, and what differs.
const PLACEHOLDERS: [(&str, &str, &str); 7] = [
    ("instance_id", "instance_id", ""),
    (
        "hostname",
        "hostname",
        "{hostname} is the machine's own name here, and was the instance's private DNS name there",
    ),
    ("local_hostname", "hostname", ""),
    ("ip_address", "private_ip", ""),
    ("aws_region", "region", ""),
    ("account_id", "account_id", ""),
    ("date", "date", "{date} is each event's day in UTC here, and was the day of the agent's start there"),
];

/// A log group's name, as a template of ours.
pub(super) fn group(section: &Section<'_>, key: &str, name: &str) -> String {
    let template = template(section, key, name);
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#{}".contains(c);
    let clean: String = template.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    let clean = if clean.starts_with("aws/") { format!("/{clean}") } else { clean };
    if clean != template {
        section.differs(key, "AWS allows letters, digits and ._-/# in a group's name, and none that begins with aws/; it was changed to one that is allowed");
    }
    named(clean)
}

/// A log stream's name, as a template of ours.
pub(super) fn stream(section: &Section<'_>, key: &str, name: &str) -> String {
    let template = template(section, key, name);
    let clean = template.replace([':', '*'], "_");
    if clean != template {
        section.differs(key, "AWS allows no : and * in a stream's name; they became _");
    }
    named(clean)
}

/// AWS allows no empty name.
fn named(name: String) -> String {
    if name.is_empty() { "_".to_owned() } else { name }
}

/// The placeholders that are known become ours; braces around others are taken away, since here they would be a mistake.
fn template(section: &Section<'_>, key: &str, name: &str) -> String {
    let mut out = String::new();
    let mut rest = name;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open].replace('}', ""));
        let (inside, behind) = rest[open + 1..].split_once('}').unwrap_or((&rest[open + 1..], ""));
        if let Some((_, ours, differs)) = PLACEHOLDERS.iter().find(|(theirs, ..)| *theirs == inside) {
            out.extend(["{", ours, "}"]);
            if !differs.is_empty() {
                section.differs(key, differs);
            }
        } else {
            out.push_str(&inside.replace('{', ""));
            let text =
                format!("{{{}}} means nothing to either agent; the name has it without braces", one_line(inside));
            section.differs(key, &text);
        }
        rest = behind;
    }
    out.push_str(&rest.replace('}', ""));
    out
}
