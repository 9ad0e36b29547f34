//! What somebody looks at, and what a key or a report makes of it. Not how it is drawn.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::render::now;
use super::detail;
use super::meters::Meters;
use super::news::News;
use super::rows::{Row, rows};
use crate::status::{Report, Style};

/// When something happens.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since the command started; it never goes back.
    pub since_start: Duration,
    /// By this machine's clock.
    pub wall: Timestamp,
}

/// What happens.
#[derive(Debug)]
pub enum Input {
    /// Time goes by.
    Tick,
    /// The terminal has this many columns and lines.
    Size(u16, u16),
    /// Somebody pressed a key.
    Key(Key),
    /// The daemon was asked.
    Answer(Answer),
}

/// What the daemon said, or why it did not.
pub type Answer = Result<Box<Report>, Trouble>;

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The thing and the reason.
    pub message: String,
    /// What cures it.
    pub hint: Option<String>,
}

/// Keys that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A row up.
    Up,
    /// A row down.
    Down,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// To the next table.
    Next,
    /// To the table before.
    Previous,
    /// Into the row.
    Enter,
    /// Out of it.
    Back,
    /// Out of it, or away.
    Escape,
    /// By something else.
    Sort,
    /// Hold still, or go on.
    Pause,
    /// What the keys are.
    Help,
    /// Away.
    Quit,
}

/// Whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    On,
    /// Whoever looked has seen enough.
    Leave,
}

/// The tables, in the order in which they stand and in which Tab goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Credentials,
    Sources,
    Destinations,
    News,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [Self::Credentials, Self::Sources, Self::Destinations, Self::News];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    fn moved(self, by: usize) -> Self {
        Self::ALL[(self.index() + by) % Self::ALL.len()]
    }
}

/// What sources and destinations are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// What is in trouble first, then by lag: what a person came for.
    Trouble,
    Name,
    Rate,
    Lag,
    Pending,
}

impl Sort {
    const ALL: [Self; 5] = [Self::Trouble, Self::Name, Self::Rate, Self::Lag, Self::Pending];

    fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Name => "name",
            Self::Rate => "rate",
            Self::Lag => "lag",
            Self::Pending => "pending",
        }
    }
}

/// What fills the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Overview,
    /// One row's facts, from this line on.
    Detail {
        pane: Pane,
        key: String,
        scroll: usize,
    },
    Help {
        scroll: usize,
    },
}

/// A table's chosen row: by its name, since rows move, and by where it was, for when it is gone.
#[derive(Clone, Debug, Default)]
struct Cursor {
    key: Option<String>,
    index: usize,
}

/// All of it.
#[derive(Debug)]
pub struct View {
    pub(super) style: Style,
    pub(super) size: (u16, u16),
    pub(super) report: Option<Box<Report>>,
    pub(super) trouble: Option<Trouble>,
    pub(super) meters: Meters,
    pub(super) news: News,
    pub(super) rows: [Vec<Row>; 3],
    pub(super) focus: Pane,
    pub(super) sort: Sort,
    pub(super) page: Page,
    pub(super) is_paused: bool,
    cursors: [Cursor; 4],
    heard_at: Duration,
    moment: Moment,
}

impl View {
    /// Nothing was heard yet.
    #[must_use]
    pub fn new(style: Style, size: (u16, u16), moment: Moment) -> Self {
        Self {
            style,
            size,
            report: None,
            trouble: None,
            meters: Meters::default(),
            news: News::default(),
            rows: <[Vec<Row>; 3]>::default(),
            focus: Pane::Sources,
            sort: Sort::Trouble,
            page: Page::Overview,
            is_paused: false,
            cursors: <[Cursor; 4]>::default(),
            heard_at: moment.since_start,
            moment,
        }
    }

    /// What `input` makes of it.
    pub fn step(&mut self, moment: Moment, input: Input) -> Flow {
        if !self.is_paused || matches!(input, Input::Key(Key::Pause)) {
            self.moment = moment;
        }
        match input {
            Input::Tick => {}
            Input::Size(columns, lines) => self.size = (columns, lines),
            Input::Key(key) => return self.press(key),
            Input::Answer(_) if self.is_paused => {}
            Input::Answer(Ok(report)) => self.hear(report),
            Input::Answer(Err(trouble)) => self.hear_nothing(trouble),
        }
        self.hold_scroll();
        Flow::On
    }

    /// The daemon's own idea of now; without one, this machine's.
    pub(super) fn now(&self) -> Timestamp {
        let Some(report) = &self.report else { return self.moment.wall };
        now(report).checked_add(self.silence()).unwrap_or_else(|_| now(report))
    }

    /// Since the last report came.
    pub(super) fn silence(&self) -> SignedDuration {
        let silence = self.moment.since_start.saturating_sub(self.heard_at);
        SignedDuration::try_from(silence).unwrap_or_default()
    }

    /// The chosen row of `pane`.
    pub(super) fn cursor(&self, pane: Pane) -> usize {
        self.cursors[pane.index()].index
    }

    /// How many rows `pane` has.
    pub(super) fn len(&self, pane: Pane) -> usize {
        self.rows.get(pane.index()).map_or(self.news.items().len(), Vec::len)
    }

    fn hear(&mut self, report: Box<Report>) {
        if self.trouble.take().is_some() {
            self.news.back(now(&report));
        }
        self.news.compare(self.report.as_deref(), &report);
        self.heard_at = self.moment.since_start;
        self.meters.look(&report, self.heard_at);
        self.report = Some(report);
        self.arrange();
    }

    fn hear_nothing(&mut self, trouble: Trouble) {
        if self.trouble.as_ref() != Some(&trouble) {
            self.news.lost(&trouble, self.now());
            self.hold_cursors();
        }
        self.trouble = Some(trouble);
    }

    /// The rows anew; each cursor stays with its row, wherever that is now.
    fn arrange(&mut self) {
        if let Some(report) = &self.report {
            self.rows = rows(report, &self.meters, self.sort);
        }
        self.hold_cursors();
    }

    fn hold_cursors(&mut self) {
        for pane in Pane::ALL {
            let len = self.len(pane);
            let cursor = &mut self.cursors[pane.index()];
            let found = self.rows.get(pane.index()).and_then(|rows| {
                let key = cursor.key.as_ref()?;
                rows.iter().position(|row| row.key == *key)
            });
            cursor.index = found.unwrap_or(cursor.index).min(len.saturating_sub(1));
        }
    }

    fn press(&mut self, key: Key) -> Flow {
        match (key, &self.page) {
            (Key::Quit, _) | (Key::Escape, Page::Overview) => return Flow::Leave,
            (Key::Escape | Key::Back, _) | (Key::Help, Page::Help { .. }) => self.page = Page::Overview,
            (Key::Help, _) => self.page = Page::Help { scroll: 0 },
            (Key::Pause, _) => self.is_paused = !self.is_paused,
            (Key::Sort, Page::Overview) => {
                self.sort = self.sort.next();
                self.arrange();
            }
            (Key::Next, Page::Overview) => self.focus = self.focus.moved(1),
            (Key::Previous, Page::Overview) => self.focus = self.focus.moved(Pane::ALL.len() - 1),
            (Key::Enter, Page::Overview) => self.enter(),
            (key, Page::Overview) => self.move_cursor(key),
            (key, _) => self.scroll(key),
        }
        self.hold_scroll();
        Flow::On
    }

    fn enter(&mut self) {
        let index = self.cursor(self.focus);
        let key = match self.rows.get(self.focus.index()) {
            Some(rows) => rows.get(index).map(|row| row.key.clone()),
            // News only ever comes on top: counted from below, a piece keeps its number.
            None => self.news.items().len().checked_sub(index + 1).map(|from_below| from_below.to_string()),
        };
        if let Some(key) = key {
            self.page = Page::Detail { pane: self.focus, key, scroll: 0 };
        }
    }

    fn move_cursor(&mut self, key: Key) {
        let last = self.len(self.focus).saturating_sub(1);
        let half_a_screen = usize::from(self.size.1 / 2).max(1);
        let cursor = &mut self.cursors[self.focus.index()];
        cursor.index = moved(cursor.index, key, half_a_screen).min(last);
        let rows = self.rows.get(self.focus.index());
        cursor.key = rows.and_then(|rows| rows.get(cursor.index)).map(|row| row.key.clone());
    }

    fn scroll(&mut self, key: Key) {
        let page = usize::from(self.size.1).saturating_sub(2).max(1);
        if let Page::Detail { scroll, .. } | Page::Help { scroll } = &mut self.page {
            *scroll = moved(*scroll, key, page);
        }
    }

    /// Nobody scrolls past the end.
    fn hold_scroll(&mut self) {
        if matches!(self.page, Page::Overview) {
            return;
        }
        let lines = detail::compose(self).len();
        let last = lines.saturating_sub(usize::from(self.size.1).saturating_sub(1));
        if let Page::Detail { scroll, .. } | Page::Help { scroll } = &mut self.page {
            *scroll = (*scroll).min(last);
        }
    }
}

fn moved(index: usize, key: Key, page: usize) -> usize {
    match key {
        Key::Up => index.saturating_sub(1),
        Key::Down => index + 1,
        Key::PageUp => index.saturating_sub(page),
        Key::PageDown => index + page,
        Key::First => 0,
        // Whoever asked holds it to what is there.
        Key::Last => usize::MAX / 2,
        _ => index,
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
pub(super) mod tests;
