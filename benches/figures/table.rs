//! How a figure is printed: what, how much, the goal, and what others need. Not how it is measured.

use std::borrow::Cow;

/// One figure.
pub(crate) struct Row {
    pub(crate) what: Cow<'static, str>,
    /// The figure with its unit, and what it was made of.
    pub(crate) measured: String,
    pub(crate) goal: &'static str,
    /// Whether the goal is reached.
    pub(crate) met: bool,
    /// What others need for the same, as the design quotes it, or the yardstick of the same run.
    pub(crate) others: &'static str,
}

pub(crate) fn print_head() {
    println!("{:<34} {:<44} {:<20} {:<6} others", "what", "measured", "goal", "");
}

pub(crate) fn print(row: &Row) {
    let verdict = if row.met { "met" } else { "MISSED" };
    println!("{:<34} {:<44} {:<20} {verdict:<6} {}", row.what, row.measured, row.goal, row.others);
}
