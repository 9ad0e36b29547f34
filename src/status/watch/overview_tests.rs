//! Whole screens, as a terminal of a given size shows them.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::status::report::tests::sample;
use super::super::view::tests::looking_at;
use super::super::{Input, Key, Moment, Trouble, draw};
use super::*;
use crate::logs::SourceSnapshot;

/// What `view` looks like.
pub(in crate::status::watch) fn screen(view: &View) -> String {
    let mut terminal = Terminal::new(TestBackend::new(view.size.0, view.size.1)).expect("it is only memory");
    terminal.draw(|frame| draw(view, frame)).expect("it is only memory");
    let lines = terminal.backend().buffer().content.chunks(view.size.0.into());
    let lines = lines.map(|cells| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn press(view: &mut View, key: Key) {
    let moment = Moment { since_start: std::time::Duration::from_secs(1), wall: Timestamp::UNIX_EPOCH };
    view.step(moment, Input::Key(key));
}

fn hear(view: &mut View, second: u64, answer: Result<Report, Trouble>) {
    let moment = Moment { since_start: std::time::Duration::from_secs(second), wall: Timestamp::UNIX_EPOCH };
    view.step(moment, Input::Answer(answer.map(Box::new)));
}

#[test]
fn an_ordinary_terminal_has_room_for_all_of_it() {
    let mut view = looking_at(sample(), (80, 20));
    let mut next = sample();
    next.uptime_seconds += 2;
    next.logs.ledger.events.read += 480;
    next.logs.sources[0].ledger.events.read += 480;
    hear(&mut view, 3, Ok(next));
    assert_eq!(screen(&view), include_str!("golden.txt"));
}

#[test]
fn twenty_columns_and_five_lines_show_the_table_that_one_looks_at() {
    let mut view = looking_at(sample(), (20, 5));
    assert_eq!(screen(&view), "degraded: 1 source …\n>SOURCES 2\n>!…ar/log/secret.log\n  …r/log/app/app.log\n\n");
    press(&mut view, Key::Next);
    assert_eq!(screen(&view), "degraded: 1 source …\n>DESTINATIONS 1\n>!…2/audit …/app.log\n\n\n");
}

#[test]
fn no_line_is_wider_than_the_terminal_and_the_keys_are_told() {
    for width in [20, 40, 80, 132] {
        let view = looking_at(sample(), (width, 24));
        let lines = compose(&view, width.into(), 24);
        assert_eq!(lines.len(), 24);
        for line in lines.iter().take(23) {
            assert!(line.width() <= width.into(), "{width}: {line}");
        }
        assert!(lines[23].to_string().starts_with("q quit  ? help"));
    }
}

#[test]
fn a_daemon_that_is_away_is_said_with_the_cure_and_what_was_known_stays() {
    let trouble =
        Trouble { message: "no imds-agent is running".to_owned(), hint: Some("systemctl start it".to_owned()) };
    let mut view = looking_at(sample(), (80, 20));
    hear(&mut view, 13, Err(trouble));
    let screen = screen(&view);
    assert!(
        screen.contains("silent for 12s: no imds-agent is running; asked again\n→ systemctl start it\n"),
        "{screen}"
    );
    assert!(screen.contains("/log/app/app.log"), "{screen}");
}

#[test]
fn one_destination_has_all_its_facts_and_its_last_error_with_the_cure() {
    let mut view = looking_at(sample(), (80, 40));
    press(&mut view, Key::Next);
    press(&mut view, Key::Enter);
    let wide = screen(&view);
    for part in [
        "destination /aws/ec2/audit i-0123456789abcdef0/app.log\n\n! logs:PutLogEvents is denied on",
        "→ allow logs:PutLogEvents for role web in an identity-based policy\n",
        "put_calls                 250\n",
        "ledger.bytes.read         190.7 MiB\n",
        "delivered_until           2026-11-22 11:59:58Z, 2 s ago\n",
    ] {
        assert!(wide.contains(part), "{part}\n{wide}");
    }
    view.step(Moment { since_start: std::time::Duration::ZERO, wall: Timestamp::UNIX_EPOCH }, Input::Size(20, 200));
    let narrow = screen(&view);
    assert!(narrow.contains("\nput_calls\n  250\n"), "{narrow}");
    assert!(
        narrow.replace(['\n', ' '], "").contains("log-group:/aws/ec2/audit"),
        "nothing is beyond the edge: {narrow}"
    );
}

#[test]
fn an_event_is_shown_whole_where_one_enters_it() {
    let mut view = looking_at(sample(), (80, 24));
    press(&mut view, Key::Next);
    press(&mut view, Key::Next);
    press(&mut view, Key::Down);
    press(&mut view, Key::Enter);
    let screen = screen(&view);
    assert!(screen.contains("→ allow logs:PutLogEvents for role web in an identity-based policy"), "{screen}");
}

#[test]
fn twenty_thousand_sources_are_no_more_on_the_screen_than_fit() {
    let mut report = sample();
    let source = report.logs.sources[0].clone();
    report.logs.sources.extend(
        (0..20_000).map(|index| SourceSnapshot { name: format!("/var/log/{index:05}.log").into(), ..source.clone() }),
    );
    let mut view = looking_at(report, (80, 24));
    press(&mut view, Key::Last);
    let screen = screen(&view);
    assert!(
        screen.contains(">SOURCES 20,002") && screen.contains(">  /var/log/19999.log".trim_start_matches("> ")),
        "{screen}"
    );
}

#[test]
fn without_unicode_and_colour_it_is_ascii_and_signs() {
    let mut view = looking_at(sample(), (80, 24));
    view.style.unicode = false;
    view.style.colour = false;
    let screen = screen(&view);
    assert!(
        screen.is_ascii() && screen.contains(">!/var/log/secret.log") && screen.contains(" !~s/ec2/audit ~"),
        "{screen}"
    );
    let styles = compose(&view, 80, 24).into_iter().flat_map(|line| line.spans).map(|span| span.style.fg);
    assert!(styles.into_iter().all(|colour| colour.is_none()));
}

#[test]
fn a_name_of_others_making_cannot_move_the_cursor() {
    let mut report = sample();
    report.logs.sources[0].name = "/x\u{1b}[2J\n\u{202e}".into();
    let screen = screen(&looking_at(report, (80, 24)));
    assert!(screen.contains(r"\u{1b}[2J\n\u{202e}"), "{screen}");
}
