//! Lines onto a frame, with the colours of an ordinary terminal. Not what stands in them.

use ratatui::Frame;
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};

use super::super::screen::Paint;
use super::super::words::{ascii, escape};
use super::view::{Page, View};
use super::{detail, overview};

/// Draws `view`.
pub fn draw(view: &View, frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let lines = match &view.page {
        Page::Overview => overview::compose(view, width, height),
        Page::Detail { scroll, .. } | Page::Help { scroll } => {
            let mut lines: Vec<_> =
                detail::compose(view).into_iter().skip(*scroll).take(height.saturating_sub(1)).collect();
            lines.resize(height.saturating_sub(1), Line::default());
            lines.push(view.quiet("Esc back  j/k scroll  q quit"));
            lines
        }
    };
    for (y, line) in (area.y..area.bottom()).zip(&lines) {
        frame.buffer_mut().set_line(area.x, y, line, area.width);
        // A row that is chosen is so to its end.
        let rest = ratatui::layout::Rect { y, height: 1, ..area };
        frame.buffer_mut().set_style(rest, line.style);
    }
}

impl View {
    /// A text of ours or of others' making, in `paint`.
    pub(super) fn span(&self, text: &str, paint: Paint) -> Span<'static> {
        Span::styled(self.sayable(text), self.look(paint))
    }

    pub(super) fn line(&self, text: &str, paint: Paint) -> Line<'static> {
        Line::from(self.span(text, paint))
    }

    pub(super) fn quiet(&self, text: &str) -> Line<'static> {
        self.line(text, Paint::Quiet)
    }

    /// What may be shown of `text` on this terminal.
    pub(super) fn sayable(&self, text: &str) -> String {
        let text = escape(text);
        if self.style.unicode { text } else { ascii(&text) }
    }

    /// The sixteen colours every terminal has, in its own shades; without colour what is bad is bold.
    fn look(&self, paint: Paint) -> Look {
        let look = Look::default();
        match (paint, self.style.colour) {
            // What was said before the daemon fell silent is no longer so.
            (Paint::Good | Paint::None, _) if self.trouble.is_some() => look.add_modifier(Modifier::DIM),
            (Paint::Good, true) => look.fg(Color::Green),
            (Paint::Doubtful, true) => look.fg(Color::Yellow),
            (Paint::Bad, true) => look.fg(Color::Red),
            (Paint::Doubtful | Paint::Bad, false) => look.add_modifier(Modifier::BOLD),
            (Paint::Quiet, _) => look.add_modifier(Modifier::DIM),
            (Paint::Good | Paint::None, _) => look,
        }
    }
}
