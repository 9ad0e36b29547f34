//! A real terminal: a tmux server of the test's own, keys into it and the screen out of it. Not what should stand there.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::{Host, SOON, look_until};

/// A terminal; gone when dropped.
pub(crate) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// A terminal of 80 columns and 24 lines in which `script` runs with `host`'s environment; `$AGENT` is the binary.
    pub(crate) fn start(host: &Host, script: &str) -> Self {
        require_tmux();
        let terminal = Self { socket: host.path("tmux.sock") };
        let agent = host.command(&[]);
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&terminal.socket).args(["-f", "/dev/null", "-u"]);
        command.args(["new-session", "-d", "-x", "80", "-y", "24", "sh", "-c", script]);
        command.env_clear().envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("AGENT", agent.get_program()).env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
        let output = command.output().expect("tmux can be started");
        assert!(output.status.success(), "{output:?}");
        // What ended is still to be read.
        terminal.tmux(&["set-option", "-g", "remain-on-exit", "on"]);
        terminal
    }

    /// Types `keys`, by tmux's names of them.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// What stands on the screen.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// Whether the screen is the alternate one, and whether there is a cursor.
    pub(crate) fn modes(&self) -> String {
        let output = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits for a screen of which `holds` is true.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let found = look_until(SOON, || Some(self.screen()).filter(|screen| holds(screen)));
        found.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}; the screen is\n{}", self.screen()))
    }

    /// Waits for `text`.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).arg("-u").args(arguments);
        command.output().expect("tmux can be started")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Without tmux there is no terminal: on a bare Debian root installs it, anybody else is told how.
fn require_tmux() {
    static THERE: std::sync::Once = std::sync::Once::new();
    let works = || {
        let outcome = Command::new("tmux").arg("-V").stdout(Stdio::null()).status();
        outcome.is_ok_and(|status| status.success())
    };
    THERE.call_once(|| {
        if !works() && rustix::process::geteuid().is_root() {
            let install = "apt-get update -q && apt-get install -qy --no-install-recommends tmux";
            let _ = Command::new("sh").args(["-c", install]).env("DEBIAN_FRONTEND", "noninteractive").output();
        }
        assert!(works(), "there is no tmux, in which `status --watch` is tested: sudo apt-get install tmux");
    });
}
