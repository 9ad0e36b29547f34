//! Static keys that come before the role: found wherever SDKs would find them, said by place, never by value.

use std::path::PathBuf;

use super::{Diagnosis, doctor, examine};
use crate::harness::{Emulator, Host, set_mode};

const SECRET: &str = "wJalrXUtnFEMI-never-printed";
const ID: &str = "AKIAIOSFODNN7EXAMPLE";

fn host() -> (Host, Emulator) {
    Host::with_emulator()
}

fn keys_of(host: &Host) -> Diagnosis {
    let output = doctor(host, &["--only", "static-keys"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(SECRET) && !text.contains(ID), "{text}");
    examine(host, &["--only", "static-keys"])
}

/// What was found in the host's own files; there may be more on the machine that the tests run on.
fn found_below(host: &Host) -> Vec<String> {
    let diagnosis = keys_of(host);
    let all = ["fault", "warning"].into_iter().flat_map(|outcome| diagnosis.with(outcome));
    all.filter(|finding| finding.contains(&host.path("").display().to_string())).collect()
}

fn at_home(host: &Host, name: &str, text: &str) -> PathBuf {
    let path = host.path(name);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory can be made");
    std::fs::write(&path, text).expect("a file can be written");
    path
}

#[test]
fn keys_in_the_environment_are_unset_by_the_cure() {
    let (mut host, _emulator) = host();
    host.set("AWS_ACCESS_KEY_ID", ID);
    host.set("AWS_SECRET_ACCESS_KEY", SECRET);
    keys_of(&host).says(
        "static-keys",
        "fault",
        &["AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY are set", "every AWS SDK", "unset AWS_ACCESS_KEY_ID"],
    );
}

#[test]
fn keys_that_the_configuration_asks_for_are_no_fault() {
    let (mut host, _emulator) = host();
    host.configure("[credentials]\nsource = \"environment\"\n");
    host.set("AWS_ACCESS_KEY_ID", ID);
    host.set("AWS_SECRET_ACCESS_KEY", SECRET);
    keys_of(&host).says("static-keys", "note", &["`source`"]);
}

#[test]
fn keys_of_the_default_profile_are_found_by_their_lines_and_removed_by_the_cure() {
    let (host, _emulator) = host();
    let text = format!("[default]\naws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\n");
    let path = at_home(&host, ".aws/credentials", &text);
    let cure = format!("sed -i '2d;3d' '{}'", path.display());
    let place = format!("{}:2,3", path.display());
    keys_of(&host).says("static-keys", "fault", &[&place, "profile default", "every AWS SDK and the AWS CLI", &cure]);
    let sed = std::process::Command::new("sh").args(["-c", &cure]).status().expect("a shell");
    assert!(sed.success());
    assert_eq!(found_below(&host), [""; 0], "the cure cures");
}

#[test]
fn keys_of_another_profile_are_a_warning_unless_it_is_chosen() {
    let (mut host, _emulator) = host();
    at_home(&host, ".aws/credentials", &format!("[old]\naws_access_key_id = {ID}\n"));
    keys_of(&host).says("static-keys", "warning", &["profile old", "AWS_PROFILE=old"]);
    host.set("AWS_PROFILE", "old");
    keys_of(&host).says("static-keys", "fault", &["profile old"]);
}

#[test]
fn our_own_credential_process_is_well() {
    let (host, _emulator) = host();
    at_home(&host, ".aws/config", "[default]\ncredential_process = /usr/bin/imds-agent credentials\n");
    assert_eq!(found_below(&host), [""; 0]);
}

#[test]
fn a_dotenv_file_above_the_working_directory_is_found_whatever_it_is_called_with() {
    let (host, _emulator) = host();
    let path =
        at_home(&host, "logs/.env", &format!("PORT=1\nAWS_ACCESS_KEY_ID={ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n"));
    let mut command = host.command(&["doctor", "--json", "--only", "static-keys"]);
    let below = host.path("logs/a/b");
    std::fs::create_dir_all(&below).expect("a directory");
    let output = command.current_dir(below).output().expect("the binary can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("{}:2,3", path.display())) && text.contains("python-dotenv"), "{text}");
    assert!(text.contains("sed -i '2d;3d'") && !text.contains(SECRET), "{text}");
}

#[test]
fn a_link_to_a_file_with_keys_is_not_followed() {
    let (host, _emulator) = host();
    let path = at_home(&host, "elsewhere", &format!("[default]\naws_access_key_id = {ID}\n"));
    std::fs::create_dir(host.path(".aws")).expect("a directory");
    std::os::unix::fs::symlink(path, host.path(".aws/credentials")).expect("a link");
    assert_eq!(found_below(&host), [""; 0]);
}

#[test]
fn what_this_user_may_not_read_is_said_to_be_unseen() {
    let (mut host, _emulator) = host();
    let path = at_home(&host, ".aws/credentials", &format!("[default]\naws_access_key_id = {ID}\n"));
    host.configure("");
    set_mode(&path, 0o600);
    host.without_root();
    keys_of(&host).says("static-keys", "unseen", &[".aws/credentials", "sudo imds-agent doctor"]);
}
