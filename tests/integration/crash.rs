//! Promises 3, 4 and 9: SIGKILL at any moment loses nothing, repeats at most what was in flight, and the ledger adds up
//! after each restart. Not power loss: no process can make the kernel forget; the checkpoint's own tests cut its file.

use std::time::Duration;

use crate::harness::{Fates, Host, SOON, Writer, append, fates, look_until, numbered};

/// Batches side by side on one stream, at most.
const MOST_IN_FLIGHT: usize = 8;

/// Long enough for lines to be written, read, sent and acknowledged between two kills, short enough to hit each of
/// these stages.
const KILL_WITHIN: std::ops::Range<u64> = 5..600;

#[test]
fn sigkill_at_five_random_moments_loses_nothing() {
    kill_at_random_moments(5, 30_000, 5);
}

#[test]
#[ignore = "takes minutes: run by tests/slow.sh"]
fn sigkill_at_twenty_random_moments_loses_nothing() {
    kill_at_random_moments(20, 200_000, 20);
}

/// The seed is fixed so that a failure can be seen again, as far as the machine's own timing allows.
fn kill_at_random_moments(kills: usize, count: usize, seed: u64) {
    let (host, emulator) = Host::with_emulator();
    // So that there is always something in flight to be killed.
    emulator.set_put_latency(Duration::from_millis(20));
    let mut random = fastrand::Rng::with_seed(seed);
    let lines = numbered(0, count, 200);
    // Writing lasts about as long as the killing does.
    let pauses = kills as u64 * KILL_WITHIN.end / 2;
    let burst = count / usize::try_from(pauses / 10).expect("a small number");
    let writer = Writer::start(host.log("app.log"), lines.clone(), burst.max(1), Duration::from_millis(10));
    for kill in 0..kills {
        let agent = host.start();
        agent.report().assert_ledger_adds_up();
        std::thread::sleep(Duration::from_millis(random.u64(KILL_WITHIN)));
        let report = agent.report();
        report.assert_ledger_adds_up();
        agent.kill();
        assert!(report.events().read <= count as u64, "kill {kill}: more was read than was written:\n{report:#}");
    }
    writer.finish();
    let agent = host.start();
    let report = agent.wait_until("every line is delivered", |report| {
        let events = report.events();
        events.delivered == count as u64 && events.pending == 0
    });
    report.assert_ledger_adds_up();
    assert_eq!(report.events().read, count as u64, "the ledger goes on over restarts");
    let fates = fates(&emulator.lines("/test/app", "app"), &lines);
    let side_by_side = usize::try_from(emulator.counts().puts.peak_in_flight).expect("a few");
    // One more: a reply that the emulator has sent counts as done there, and as in flight here until it is read.
    let most = kills * MOST_IN_FLIGHT.min(side_by_side + 1) * emulator.largest_put("/test/app", "app");
    // Of batches side by side, a later one may have arrived and an earlier one not: only order is not promised here.
    assert_eq!((fates.lost, fates.strange), (0, 0), "{fates:?}");
    assert!(fates.again <= most, "{} lines arrived again; {most} can have been in flight", fates.again);
}

#[test]
fn sigkill_at_rest_repeats_nothing() {
    let (host, emulator) = Host::with_emulator();
    let lines = numbered(0, 2_000, 200);
    append(&host.log("app.log"), &lines[..1_000]);
    let agent = host.start();
    agent.wait_until_delivered(1_000);
    agent.kill();
    append(&host.log("app.log"), &lines[1_000..]);
    let agent = host.start();
    let arrived = || Some(emulator.lines("/test/app", "app")).filter(|arrived| arrived.len() >= 2_000);
    let _ = look_until(SOON, arrived);
    let report = agent.wait_until_delivered(2_000);
    assert_eq!(fates(&emulator.lines("/test/app", "app"), &lines), Fates::default(), "{report:#}");
    report.assert_ledger_adds_up();
}

#[test]
fn two_daemons_never_share_one_state_directory() {
    let (host, _emulator) = Host::with_emulator();
    let agent = host.start();
    let config = host.config().display().to_string();
    let output = host.run(&["run", "--config", &config]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&agent.pid().to_string()), "it names the other's pid: {said}");
    assert!(agent.report().at("/pid") == agent.pid(), "the first one goes on");
}
