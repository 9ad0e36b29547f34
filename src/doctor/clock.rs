//! Whether the clock is right, by the metadata service's `Date`, and who keeps it so. The agent corrects what it signs;
//! other programs don't, and TLS can't.

use std::sync::Arc;

use jiff::SignedDuration;

use super::systemd;
use super::visit::{Check, Finding, Found, Host, look};
use crate::status::duration;

pub(super) const CHECK: Check = Check {
    name: "clock",
    title: "the machine's clock is right",
    needs: &[],
    after: &["imds-token"],
    look: |host| look(check(host)),
};

/// AWS refuses signatures that are farther off (FACTS, CloudWatch Logs: `InvalidSignatureException`).
const REFUSED: SignedDuration = SignedDuration::from_mins(5);

/// What no clock has that somebody keeps right: a slow answer is a second or two.
const NOTABLE: SignedDuration = SignedDuration::from_secs(10);

/// Those who keep a clock right, as their units are called, and what makes each set it at once.
const KEEPERS: [(&str, &str); 6] = [
    ("chronyd.service", "sudo chronyc makestep"),
    ("chrony.service", "sudo chronyc makestep"),
    ("systemd-timesyncd.service", "sudo systemctl restart systemd-timesyncd"),
    ("ntpd.service", "sudo systemctl restart ntpd"),
    ("ntpsec.service", "sudo systemctl restart ntpsec"),
    ("ntpd-rs.service", "sudo systemctl restart ntpd-rs"),
];

async fn check(host: Arc<Host>) -> Found {
    let keeper = keeper().await;
    let skew = host.facts.imds.get().map(|_| host.ground.clock.skew());
    judge(skew, keeper, systemd::is_here()).into()
}

/// Who keeps the clock, and how it is set.
async fn keeper() -> Option<(&'static str, &'static str)> {
    for (unit, cure) in KEEPERS {
        let shown = systemd::show(unit, &["ActiveState"]).await;
        if shown.first().is_some_and(|unit| unit.get("ActiveState").is_some_and(|state| state == "active")) {
            return Some((unit, cure));
        }
    }
    None
}

/// `skew` is how far the clock is behind the metadata service's, if that was asked.
fn judge(skew: Option<SignedDuration>, keeper: Option<(&str, &str)>, has_systemd: bool) -> Finding {
    let kept = keeper.map_or("no NTP service runs".to_owned(), |(unit, _)| format!("{unit} runs"));
    let cure = match keeper {
        Some((_, cure)) => cure,
        None if has_systemd => {
            "sudo timedatectl set-ntp true, or: sudo systemctl enable --now chronyd && sudo chronyc makestep"
        }
        None => "sudo chronyd -q 'server 169.254.169.123 iburst'",
    };
    match skew.filter(|skew| skew.abs() >= NOTABLE) {
        Some(skew) => {
            let direction = if skew.is_positive() { "behind" } else { "ahead of" };
            let summary = format!("the clock is {} {direction} AWS's", duration(skew.abs()));
            let finding = if skew.abs() >= REFUSED { Finding::fault(summary) } else { Finding::warning(summary) };
            finding
                .evidence(format!("the metadata service's Date header; {kept}"))
                .why(
                    "AWS refuses signatures that are more than five minutes off, and certificates may seem expired or not \
                     yet valid; the agent corrects its own signatures, other programs don't",
                )
                .cure(cure)
        }
        None if keeper.is_none() && has_systemd => {
            Finding::note("nothing keeps the clock right").evidence(kept).cure(cure)
        }
        None if skew.is_none() => Finding::note("the clock could be compared with nobody's").evidence(kept),
        None => Finding::ok("it agrees with the metadata service's").evidence(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let keeper = Some(("chronyd.service", "sudo chronyc makestep"));
        for (seconds, outcome, said) in [
            (0, Outcome::Ok, "agrees"),
            (-9, Outcome::Ok, "agrees"),
            (60, Outcome::Warning, "1 min behind"),
            (-300, Outcome::Fault, "5 min ahead of"),
        ] {
            let finding = judge(Some(SignedDuration::from_secs(seconds)), keeper, true);
            assert!(finding.outcome == outcome && finding.summary.contains(said), "{finding:?}");
        }
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_a_note_while_it_is_right() {
        assert_eq!(judge(Some(SignedDuration::ZERO), None, true).outcome, Outcome::Note);
        let wrong = judge(Some(SignedDuration::from_mins(9)), None, true);
        assert!(wrong.outcome == Outcome::Fault && wrong.cure.unwrap().contains("set-ntp true"));
    }
}
