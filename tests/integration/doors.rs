//! Doors outlive a restart: systemd keeps the listening socket, the next process takes it over, and who connects in
//! between waits instead of failing. Not what is served there.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Agent, Host, Report, SOON, Systemd};

/// Hands standard input over as systemd would: as descriptor 3, with the pid that only the process itself knows.
pub(crate) const HAND_OVER: &str = "exec 3<&0 0</dev/null; export LISTEN_FDS=1";

fn socket_path(host: &Host) -> PathBuf {
    host.path("run/status.sock")
}

/// The daemon, with `socket` on standard input until the shell's `redirection`.
pub(crate) fn start_with(host: &Host, socket: &OwnedFd, redirection: &str) -> Agent {
    let config = host.config().display().to_string();
    let plain = host.command(&["run", "--config", &config]);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{redirection} LISTEN_FDNAMES=whatever LISTEN_PID=$$; exec \"$0\" \"$@\""));
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(socket.try_clone().expect("a descriptor can be copied"));
    Agent::start(command, socket_path(host))
}

/// The status socket, which the agent hands over to be kept, like the others. Those are let go here.
fn stored(systemd: &Systemd) -> OwnedFd {
    let mut status = None;
    loop {
        let mut message = systemd.next();
        if message.text.lines().any(|line| line == "FDSTORE=1") {
            assert_eq!(message.descriptors.len(), 1);
            if message.text.lines().any(|line| line == "FDNAME=status.sock") {
                status = message.descriptors.pop();
            }
        }
        if message.text == "READY=1" {
            return status.expect("the doors are stored before they are open to all");
        }
    }
}

/// Connects, and reads the answer whenever it comes.
fn ask(host: &Host) -> std::thread::JoinHandle<Option<Report>> {
    let mut stream = UnixStream::connect(socket_path(host)).expect("the queue takes a connection");
    stream.set_read_timeout(Some(SOON)).expect("a socket can have a timeout");
    std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Report::parse(&text)
    })
}

#[test]
fn who_connects_while_no_daemon_runs_is_answered_by_the_next_one() {
    let (mut host, _emulator) = Host::with_emulator();
    let systemd = Systemd::of(&mut host);
    let agent = host.start();
    let socket = stored(&systemd);
    let pid = agent.pid();
    agent.kill();
    let waiting = ask(&host);
    let agent = start_with(&host, &socket, HAND_OVER);
    let report = waiting.join().unwrap().expect("an answer");
    assert_ne!(report.at("/pid"), pid);
    // The others are let go: nobody hands them over here.
    systemd.wait_for("READY=1");
    // An orderly stop leaves the door where it is, too.
    agent.stop();
    let waiting = ask(&host);
    let agent = start_with(&host, &socket, HAND_OVER);
    assert_eq!(waiting.join().unwrap().expect("an answer").at("/pid"), agent.pid());
    let mode = std::fs::metadata(socket_path(&host)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn what_is_in_the_store_is_not_stored_again() {
    let (mut host, _emulator) = Host::with_emulator();
    let systemd = Systemd::of(&mut host);
    host.start().kill();
    let socket = stored(&systemd);
    let _agent = start_with(&host, &socket, HAND_OVER);
    loop {
        let message = systemd.next();
        assert!(!message.text.contains("FDNAME=status.sock"), "{}", message.text);
        if message.text == "READY=1" {
            break;
        }
    }
}

#[test]
fn a_stored_socket_whose_file_is_gone_is_replaced_in_the_store() {
    let (mut host, _emulator) = Host::with_emulator();
    let systemd = Systemd::of(&mut host);
    host.start().kill();
    let orphan = stored(&systemd);
    std::fs::remove_file(socket_path(&host)).unwrap();
    let agent = start_with(&host, &orphan, HAND_OVER);
    systemd.wait_for("FDSTOREREMOVE=1");
    let socket = stored(&systemd);
    agent.kill();
    let waiting = ask(&host);
    let _agent = start_with(&host, &socket, HAND_OVER);
    waiting.join().unwrap().expect("an answer");
}

#[test]
fn what_is_none_of_ours_is_closed_whatever_it_is_called() {
    let (host, _emulator) = Host::with_emulator();
    let stranger_path = host.path("stranger.sock");
    let stranger = OwnedFd::from(UnixListener::bind(&stranger_path).unwrap());
    let agent = start_with(&host, &stranger, "exec 3</dev/null 4<&0 0</dev/null; export LISTEN_FDS=2");
    drop(stranger);
    assert_eq!(agent.report().at("/pid"), agent.pid());
    assert!(UnixStream::connect(&stranger_path).is_err(), "nobody holds it any more");
    let said = agent.said();
    assert!(said.contains("none of ours") && said.contains("count=2"), "{said}");
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let (host, _emulator) = Host::with_emulator();
    // Somebody answers there, so this daemon has no business there.
    let _ours = UnixListener::bind(socket_path(&host)).unwrap();
    let config = host.config().display().to_string();
    let mut plain = host.command(&["run", "--config", &config]);
    let output = plain.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another imds-agent answers"), "{said}");
}

#[test]
fn without_systemd_a_stop_takes_the_socket_away() {
    let (host, _emulator) = Host::with_emulator();
    let agent = host.start();
    agent.stop();
    assert!(!socket_path(&host).exists());
}
