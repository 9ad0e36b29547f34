//! The virtual environment with the Python clients and servers that we did not write, made once under `target/`.
//! `IMDS_AGENT_TEST_VENV` names another one, which must hold what `tests/requirements.txt` asks for.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of a program of the virtual environment, which is made first if need be.
pub(crate) fn program(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(directory).join("bin").join(name)
}

fn directory() -> PathBuf {
    if let Some(given) = std::env::var_os("IMDS_AGENT_TEST_VENV") {
        return given.into();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = target.join("venv");
    // Two test binaries may run at the same time; the lock ends with the file.
    let lock = File::create(target.join("venv.lock")).expect("target/ can be written to");
    lock.lock().expect("a file on a local disk can be locked");
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).expect("tests/requirements.txt can be read");
    let made_of = directory.join("made-of.txt");
    if std::fs::read_to_string(&made_of).is_ok_and(|text| text == wanted) {
        return directory;
    }
    let cure = "install python3-venv (Debian: apt-get install python3-venv), or name an environment that holds \
                tests/requirements.txt in IMDS_AGENT_TEST_VENV";
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory), cure);
    let pip = directory.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements), cure);
    std::fs::write(made_of, wanted).expect("target/ can be written to");
    directory
}

fn run(command: &mut Command, cure: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}; {cure}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}\n{cure}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
