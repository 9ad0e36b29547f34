//! `status` as somebody looks at it: `--watch` in a real terminal, and what programs and odd daemons make of `status`.
//! Not how each screen is drawn: that is tested beside the drawing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Denial, Effect, Emulator, Fault, Host, SOON, Terminal, append, look_until, numbered};

/// Two sources, of which one has a destination that is denied.
fn host() -> (Host, Emulator) {
    let (host, emulator) = Host::with_emulator();
    let logs = host.path("logs").display().to_string();
    host.configure(&format!(
        "[logs]\nlog_stream = \"{{file_name}}\"\nflush_interval = \"250ms\"\n\
         [[logs.file]]\ninclude = [\"{logs}/app.log\"]\nlog_group = \"/test/app\"\nstart_at = \"beginning\"\n\
         [[logs.file]]\ninclude = [\"{logs}/secure.log\"]\nlog_group = \"/test/denied\"\nstart_at = \"beginning\"\n"
    ));
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Deny(Denial::default())).group("/test/denied"));
    append(&host.log("app.log"), &numbered(0, 1_234, 40));
    append(&host.log("secure.log"), &numbered(0, 3, 40));
    (host, emulator)
}

/// The order in which the tables name the two files.
fn order(screen: &str) -> Option<bool> {
    let place = |name: &str| screen.lines().position(|line| line.contains(name) && line.contains("running"));
    Some(place("app.log")? < place("secure.log")?)
}

#[test]
fn a_person_at_a_terminal_sorts_looks_into_one_resizes_and_leaves() {
    let (host, _emulator) = host();
    let agent = host.start();
    let terminal = Terminal::start(
        &host,
        "echo before; \"$AGENT\" status --watch; echo \"left with $?\"; stty -a; exec sleep 1000",
    );
    terminal.wait_for("degraded: 1 destination denied");
    let screen = terminal.wait_for("1,237 read = 1,234 delivered + 3 pending + 0 dropped");
    assert!(!screen.contains("before"), "it has a screen of its own:\n{screen}");
    assert_eq!(terminal.modes(), "1 0");
    assert_eq!(order(&screen), Some(false), "what lags stands first:\n{screen}");

    terminal.press(&["s"]);
    let screen = terminal.wait_for("SOURCES 2 by name");
    assert_eq!(order(&screen), Some(true), "{screen}");

    terminal.press(&["Tab", "g"]);
    terminal.wait_for(">DESTINATIONS 2");
    terminal.press(&["j", "Enter"]);
    let screen = terminal.wait_for("destination /test/denied secure.log");
    assert!(screen.contains("! logs:PutLogEvents") && screen.contains("→ "), "the error and its cure:\n{screen}");
    terminal.press(&["G"]);
    terminal.wait_for("throttles ");
    terminal.press(&["Escape"]);
    terminal.wait_for(">DESTINATIONS 2");

    for (columns, lines) in [(20, 24), (20, 5), (200, 50), (80, 24)] {
        terminal.resize(columns, lines);
        let what = format!("{columns} columns and {lines} lines");
        // At full width the row that is chosen is marked to the edge, so what stands there is of this size.
        let screen = terminal.wait_until(&what, |screen| {
            let widest = screen.lines().map(|line| line.chars().count()).max();
            screen.contains(">DESTINATIONS 2")
                && widest.is_some_and(|widest| widest <= columns.into())
                && (columns < 80 || screen.contains("THROTTL"))
        });
        assert!(screen.contains("degraded"), "{screen}");
    }

    terminal.press(&["q"]);
    let screen = terminal.wait_for("left with 0");
    assert!(screen.contains("before"), "the screen is the one from before:\n{screen}");
    let screen = terminal.wait_for("echok");
    assert!(screen.contains(" echo ") && screen.contains(" icanon "), "what is typed is seen again:\n{screen}");
    assert_eq!(terminal.modes(), "0 1");
    agent.stop_in_order();
}

#[test]
fn a_daemon_that_dies_under_the_screen_is_said_and_found_again() {
    let (host, _emulator) = host();
    let agent = host.start();
    let pid = host.path("pid");
    let script = format!(
        "sh -c 'echo $$ >{}; exec \"$AGENT\" status --watch --interval 100ms'; echo \"left with $?\"; exec sleep 1000",
        pid.display()
    );
    let terminal = Terminal::start(&host, &script);
    terminal.wait_for("degraded: 1 destination denied");
    // All that a new daemon brings fits: what is waited for must not scroll away.
    terminal.resize(80, 60);
    agent.kill();
    let screen = terminal.wait_for("silent for");
    assert!(screen.contains("no imds-agent is running") && screen.contains("systemctl start imds-agent"), "{screen}");
    assert!(screen.contains("app.log"), "what was known stays:\n{screen}");
    let agent = host.start();
    terminal.wait_until("the daemon is back", |screen| {
        screen.contains("the daemon answers again") && screen.contains("degraded: 1 destination denied")
    });

    let pid = std::fs::read_to_string(pid).unwrap().trim().parse().ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    terminal.wait_for("left with 143");
    assert_eq!(terminal.modes(), "0 1", "a kill gives the terminal back, too");
    agent.stop_in_order();
}

#[test]
fn without_a_terminal_watching_is_refused_and_json_offered() {
    let host = Host::new("http://127.0.0.1:9");
    let output = host.run(&["status", "--watch"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("status --watch --json"), "{output:?}");
    for wrong in [&["status", "--interval", "2s"][..], &["status", "--watch", "--interval", "1ms"]] {
        assert_eq!(host.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn programs_get_a_report_a_line_until_they_have_seen_enough() {
    let (host, _emulator) = host();
    let agent = host.start();
    let mut command = host.command(&["status", "--watch", "--json", "--interval", "100ms"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        let report: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(report["schema"], 1);
    }
    drop(lines);
    let status = look_until(SOON, || child.try_wait().unwrap()).expect("it ends when nobody reads");
    assert_eq!(status.code(), Some(0));
    agent.stop_in_order();
}

#[test]
fn a_daemon_of_another_version_is_not_guessed_at() {
    let host = Host::new("http://127.0.0.1:9");
    let listener = UnixListener::bind(host.path("run/status.sock")).unwrap();
    let answers = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"{\"schema\": 2}").unwrap());
    let output = host.run(&["status"]);
    answers.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not one that this version can draw") && said.contains("status --json"), "{said}");
}
