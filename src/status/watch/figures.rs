//! Figures in a few columns: times, sizes, counts, and a curve of the last looks. Not which are shown.

use std::collections::VecDeque;

use jiff::SignedDuration;

use super::super::headline::count;

/// Looks that a curve remembers: half a minute at the usual interval. With 20,000 sources they are 5 MB.
const REMEMBERED: usize = 32;

/// What a curve is drawn with, from nothing to the most.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_BARS: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];

/// The last looks at one figure; a look that was not answered is a gap.
#[derive(Clone, Debug, Default)]
pub(super) struct Curve(VecDeque<f32>);

impl Curve {
    pub(super) fn add(&mut self, value: f64) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        #[expect(clippy::cast_possible_truncation, reason = "a curve for the eye")]
        self.0.push_back(value as f32);
    }

    /// The mean of the newest `looks`.
    pub(super) fn mean(&self, looks: usize) -> f64 {
        let newest = self.0.iter().rev().take(looks);
        #[expect(clippy::cast_precision_loss, reason = "a few looks")]
        let number = newest.len().max(1) as f64;
        newest.map(|value| f64::from(*value)).sum::<f64>() / number
    }

    /// The newest `width` looks, the newest on the right, as high as the highest of them is, or as `ordinary`: below that
    /// nothing is to look like a peak.
    pub(super) fn drawn(&self, width: usize, unicode: bool, ordinary: f32) -> String {
        let bars = if unicode { BARS } else { ASCII_BARS };
        let shown = self.0.len().min(width);
        let newest = self.0.iter().skip(self.0.len() - shown);
        let highest = newest.clone().fold(ordinary, |highest, value| highest.max(*value));
        let bar = |value: &f32| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "one of eight")]
            let step = if highest > 0.0 { (value / highest * 7.0).ceil() as usize } else { 0 };
            bars[step.min(7)]
        };
        " ".repeat(width - shown).chars().chain(newest.map(bar)).collect()
    }
}

/// At most six columns: `59s`, `12m30s`, `5h12m`, `3d4h`.
pub(super) fn brief(time: SignedDuration) -> String {
    let seconds = time.as_secs();
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        86_400..8_640_000 => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// At most seven columns: `999,999`, `12.3M`.
pub(super) fn brief_count(n: u64) -> String {
    match n {
        ..1_000_000 => count(n),
        1_000_000..1_000_000_000 => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
        _ => format!("{}.{}G", n / 1_000_000_000, n % 1_000_000_000 / 100_000_000),
    }
}

/// At most seven columns: `1023B`, `240.1K`, `9.8M`.
pub(super) fn brief_bytes(n: u64) -> String {
    super::super::words::bytes(n).replace(" B", "B").replace("iB", "").replace(' ', "")
}

/// A rate as a whole number; what is slower than that is not nothing.
pub(super) fn whole(rate: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for the eye")]
    let whole = rate.ceil() as u64;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_brief() {
        let times = [59, 750, 18_750, 273_600, 9_000_000].map(|s| brief(SignedDuration::from_secs(s)));
        assert_eq!(times, ["59s", "12m30s", "5h12m", "3d4h", "104d"]);
        assert_eq!([999_999, 12_345_678, 7_000_000_000].map(brief_count), ["999,999", "12.3M", "7.0G"]);
        assert_eq!([1_023, 245_862, 10_276_045].map(brief_bytes), ["1023B", "240.0K", "9.8M"]);
        assert_eq!([0.0, 0.2, 7.0].map(whole), [0, 1, 7]);
    }

    #[test]
    fn a_curve_is_as_high_as_its_highest_and_remembers_no_more_than_it_may() {
        let mut curve = Curve::default();
        assert_eq!(curve.drawn(3, true, 1.0), "   ");
        for value in [0.0, 50.0, 100.0] {
            curve.add(value);
        }
        assert_eq!(curve.drawn(5, true, 1.0), "  ▁▅█");
        assert!((curve.mean(2) - 75.0).abs() < 0.1 && Curve::default().mean(2).abs() < 0.1);
        assert_eq!(curve.drawn(2, false, 1.0), "=#");
        assert_eq!(curve.drawn(2, true, 1_000.0), "▂▂");
        (0..100).for_each(|_| curve.add(0.0));
        assert_eq!(curve.drawn(40, true, 1.0), format!("{}{}", " ".repeat(8), "▁".repeat(32)));
    }
}
