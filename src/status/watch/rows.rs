//! The tables' rows and their order. Not their cells.

use std::cmp::Reverse;

use super::super::render::{destination_paint, role_paint, source_paint};
use super::super::screen::Paint;
use super::meters::{Meter, Meters, destination_key, source_key};
use super::view::Sort;
use crate::status::Report;

/// One role, source or destination.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What tells it from the others.
    pub(super) key: String,
    /// Its place in the report.
    pub(super) index: usize,
    rank: u8,
    rate: f64,
    lag: f64,
    pending: u64,
}

/// The rows of roles, sources and destinations. Roles keep the report's order: the base, then the configuration's.
pub(super) fn rows(report: &Report, meters: &Meters, sort: Sort) -> [Vec<Row>; 3] {
    let roles = report.credentials.iter().enumerate().map(|(index, role)| Row {
        // The base's name is not known from the start.
        key: if index == 0 { String::new() } else { role.role.clone() },
        index,
        rank: rank(role_paint(role.state)),
        rate: 0.0,
        lag: 0.0,
        pending: 0,
    });
    let sources = report.logs.sources.iter().enumerate().map(|(index, source)| {
        let key = source_key(source);
        let rate = meters.source(&key).map_or(0.0, |meter| meter.events_per_second);
        let (rank, pending) = (rank(source_paint(source.state)), source.ledger.events.pending);
        Row { key, index, rank, rate, lag: source.lag_seconds, pending }
    });
    let destinations = report.logs.destinations.iter().enumerate().map(|(index, to)| {
        let key = destination_key(to);
        let rate = meters.destination(&key).map_or(0.0, Meter::mean_events_per_second);
        let (rank, pending) = (rank(destination_paint(to.state)), to.ledger.events.pending);
        Row { key, index, rank, rate, lag: to.lag_seconds, pending }
    });
    let mut rows = [roles.collect(), sources.collect(), destinations.collect::<Vec<_>>()];
    rows[1..].iter_mut().for_each(|rows| arrange(rows, sort));
    rows
}

/// Rows that are alike stand by name, so that they hold still.
fn arrange(rows: &mut [Row], sort: Sort) {
    rows.sort_by(|a, b| {
        let order = match sort {
            Sort::Trouble => a.rank.cmp(&b.rank).then(b.lag.total_cmp(&a.lag)),
            Sort::Name => std::cmp::Ordering::Equal,
            Sort::Rate => b.rate.total_cmp(&a.rate),
            Sort::Lag => b.lag.total_cmp(&a.lag),
            Sort::Pending => Reverse(a.pending).cmp(&Reverse(b.pending)),
        };
        order.then_with(|| a.key.cmp(&b.key))
    });
}

fn rank(paint: Paint) -> u8 {
    match paint {
        Paint::Bad => 0,
        Paint::Doubtful => 1,
        Paint::Good | Paint::None => 2,
        Paint::Quiet => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::report::tests::sample;
    use super::*;

    #[test]
    fn each_order_puts_its_most_first() {
        let row = |key: &str, rank, rate, lag, pending| Row { key: key.to_owned(), index: 0, rank, rate, lag, pending };
        let order = |sort| {
            let mut rows = [
                row("d", 2, 9.0, 1.0, 1),
                row("a", 2, 1.0, 2.0, 3),
                row("c", 0, 2.0, 0.0, 0),
                row("b", 2, 1.0, 2.0, 9),
            ];
            arrange(&mut rows, sort);
            rows.map(|row| row.key).concat()
        };
        assert_eq!(
            [Sort::Trouble, Sort::Name, Sort::Rate, Sort::Lag, Sort::Pending].map(order),
            ["cabd", "abcd", "dcab", "abdc", "badc"]
        );
    }

    #[test]
    fn every_row_knows_its_place_in_the_report() {
        let report = sample();
        let rows = rows(&report, &Meters::default(), Sort::Trouble);
        assert_eq!(rows[1].iter().map(|row| row.index).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(rows.map(|rows| rows.len()), [1, 2, 1]);
    }
}
