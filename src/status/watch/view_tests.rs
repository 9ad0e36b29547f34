//! What keys and reports make of a view.

use crate::status::report::tests::sample;
use super::*;
use crate::logs::SourceSnapshot;

fn at(seconds: u64) -> Moment {
    Moment { since_start: Duration::from_secs(seconds), wall: Timestamp::UNIX_EPOCH }
}

pub(in crate::status::watch) fn looking_at(report: Report, size: (u16, u16)) -> View {
    let mut view = View::new(Style::default(), size, at(0));
    view.step(at(1), Input::Answer(Ok(Box::new(report))));
    view
}

fn press(view: &mut View, keys: &[Key]) -> Flow {
    keys.iter().map(|key| view.step(at(2), Input::Key(*key))).last().unwrap_or(Flow::On)
}

fn away() -> Trouble {
    Trouble { message: "no imds-agent is running".to_owned(), hint: Some("systemctl start imds-agent".to_owned()) }
}

fn chosen(view: &View) -> &str {
    &view.rows[view.focus.index()][view.cursor(view.focus)].key
}

#[test]
fn it_is_left_by_q_and_from_the_tables_by_escape() {
    let mut view = looking_at(sample(), (80, 24));
    assert_eq!(press(&mut view, &[Key::Enter, Key::Escape]), Flow::On);
    assert_eq!(press(&mut view, &[Key::Help, Key::Escape]), Flow::On);
    assert_eq!(view.page, Page::Overview);
    assert_eq!(press(&mut view, &[Key::Escape]), Flow::Leave);
    assert_eq!(press(&mut view, &[Key::Enter, Key::Quit]), Flow::Leave);
}

#[test]
fn tab_goes_round_the_tables_and_the_cursor_stays_within() {
    let mut view = looking_at(sample(), (80, 24));
    press(&mut view, &[Key::Down, Key::Down, Key::Down]);
    assert_eq!(chosen(&view), "file /var/log/app/app.log");
    press(&mut view, &[Key::Next, Key::Next, Key::Next, Key::Last]);
    assert_eq!((view.focus, view.cursor(view.focus)), (Pane::Credentials, 0));
    press(&mut view, &[Key::Previous]);
    assert_eq!(view.focus, Pane::News);
}

#[test]
fn the_cursor_stays_with_its_row_when_rows_move() {
    let mut view = looking_at(sample(), (80, 24));
    press(&mut view, &[Key::Down]);
    assert_eq!((chosen(&view), view.cursor(Pane::Sources)), ("file /var/log/app/app.log", 1));
    press(&mut view, &[Key::Sort]);
    assert_eq!((chosen(&view), view.cursor(Pane::Sources)), ("file /var/log/app/app.log", 0));
    let mut fewer = sample();
    fewer.logs.sources.remove(0);
    view.step(at(3), Input::Answer(Ok(Box::new(fewer))));
    assert_eq!(chosen(&view), "file /var/log/secret.log", "its row is gone: the one that has its place");
}

#[test]
fn a_page_shows_its_row_also_when_that_moves_and_says_when_it_is_gone() {
    let mut view = looking_at(sample(), (80, 24));
    press(&mut view, &[Key::Enter]);
    let Page::Detail { key, .. } = view.page.clone() else { panic!("{:?}", view.page) };
    assert_eq!(key, "file /var/log/secret.log");
    let mut fewer = sample();
    fewer.logs.sources.pop();
    view.step(at(3), Input::Answer(Ok(Box::new(fewer))));
    let lines = detail::compose(&view);
    assert_eq!(lines[0].to_string(), "file /var/log/secret.log: the daemon no longer reports it");
}

#[test]
fn nobody_scrolls_past_the_end() {
    let mut view = looking_at(sample(), (80, 10));
    press(&mut view, &[Key::Enter, Key::Last]);
    let Page::Detail { scroll, .. } = view.page else { panic!("{:?}", view.page) };
    assert_eq!(scroll + 9, detail::compose(&view).len());
    view.step(at(3), Input::Size(80, 200));
    assert!(matches!(view.page, Page::Detail { scroll: 0, .. }));
}

#[test]
fn while_it_holds_still_nothing_moves() {
    let mut view = looking_at(sample(), (80, 24));
    let before = view.now();
    press(&mut view, &[Key::Pause]);
    let mut other = sample();
    other.logs.sources.clear();
    view.step(at(9), Input::Answer(Ok(Box::new(other.clone()))));
    assert_eq!(view.len(Pane::Sources), 2);
    assert!(view.now().duration_since(before) <= SignedDuration::from_secs(1));
    press(&mut view, &[Key::Pause]);
    view.step(at(10), Input::Answer(Ok(Box::new(other))));
    assert_eq!(view.len(Pane::Sources), 0);
}

#[test]
fn a_daemon_that_is_away_is_news_once_and_so_is_its_return() {
    let mut view = looking_at(sample(), (80, 24));
    let before = view.news.items().len();
    for second in 2..9 {
        view.step(at(second), Input::Answer(Err(away())));
    }
    assert_eq!(view.news.items().len(), before + 1);
    assert_eq!(view.silence(), SignedDuration::from_secs(7));
    view.step(at(9), Input::Answer(Ok(Box::new(sample()))));
    assert_eq!(view.news.items()[0].text, "the daemon answers again");
    assert_eq!((view.trouble.as_ref(), view.silence()), (None, SignedDuration::ZERO));
}

#[test]
fn countdowns_go_on_between_two_reports() {
    let mut view = looking_at(sample(), (80, 24));
    let before = view.now();
    view.step(at(31), Input::Tick);
    assert_eq!(view.now().duration_since(before), SignedDuration::from_secs(30));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_pressed_and_heard_it_can_be_drawn(steps in proptest::collection::vec(0..24_u8, 1..40)) {
        use Key::*;
        let keys = [Up, Down, PageUp, PageDown, First, Last, Next, Previous, Enter, Back, Escape, Sort, Pause, Help];
        let mut view = View::new(Style { unicode: false, ..Style::default() }, (20, 5), at(0));
        for (second, step) in (1..).zip(steps) {
            let input = match step {
                14 => Input::Answer(Err(away())),
                15 => Input::Tick,
                16 => Input::Size(1, 1),
                17 => Input::Size(20, 5),
                18 => Input::Size(200, 60),
                19..=23 => {
                    let mut report = sample();
                    let source = report.logs.sources[0].clone();
                    report.logs.sources = (0..step - 19)
                        .map(|index| SourceSnapshot { name: format!("日{index}").into(), ..source.clone() })
                        .collect();
                    report.pid += u32::from(step % 2);
                    Input::Answer(Ok(Box::new(report)))
                }
                key => Input::Key(keys[usize::from(key)]),
            };
            view.step(at(second), input);
            for pane in Pane::ALL {
                proptest::prop_assert!(view.cursor(pane) <= view.len(pane).saturating_sub(1));
            }
            super::super::overview::tests::screen(&view);
        }
    }
}
