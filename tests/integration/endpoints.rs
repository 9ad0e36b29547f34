//! Who gets a role's credentials and who does not, at each door, from outside. Not where they come from.

mod hostile;
mod life;
mod site;

use std::process::Command;

use serde_json::Value;

use crate::harness::http::request;
use crate::harness::set_mode;
use site::{STRANGER, Site, as_stranger, curl_as_stranger, secrets};

#[test]
fn every_door_gives_the_role_to_whom_it_is_for() {
    let site = Site::new();
    let agent = site.ready();
    let (status, by_socket) = site.ask_socket("GET", "/role/app");
    assert_eq!(status, 200, "{by_socket}");
    assert_eq!(by_socket["Endpoint"], format!("http://{}/role/app", site.container));
    assert_eq!(by_socket["TokenFile"], site.host.path("run/tokens/app").display().to_string());
    let token = site.token();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token:?}");
    let (status, by_container) = site.ask("/role/app", &[("Authorization", &token)]);
    assert_eq!(status, 200, "{by_container}");
    let names: Vec<&String> = by_container.as_object().expect("an object").keys().collect();
    for name in names {
        let known = ["AccessKeyId", "SecretAccessKey", "Token", "Expiration", "RoleArn", "AccountId"];
        assert!(known.contains(&name.as_str()), "{name} is none of the protocol's");
    }
    assert_eq!(site.look("/latest/meta-data/iam/security-credentials/"), (200, "app".to_owned()));
    let (status, document) = site.look("/latest/meta-data/iam/security-credentials/app");
    let document: Value = serde_json::from_str(&document).expect("a document");
    assert_eq!((status, &document["Code"]), (200, &Value::from("Success")));
    for other in [&by_container, &document] {
        for key in ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"] {
            assert_eq!(other[key], by_socket[key], "{key}");
        }
    }
    let report = agent.wait_until("all three are counted", |report| report.at("/credentials/1/served") == 3);
    assert_eq!(report.at("/credentials/1/denied"), 0);
    let (_, who) = site.ask_socket("GET", "/who");
    let doors: Vec<&str> = who.as_array().expect("a list").iter().filter_map(|entry| entry["door"].as_str()).collect();
    assert_eq!(doors, ["metadata", "container", "unix"], "{who}");
}

#[test]
fn a_second_local_user_gets_nothing_anywhere() {
    let site = Site::new();
    set_mode(&site.host.path(""), 0o755);
    let agent = site.ready();
    let (_, document) = site.ask_socket("GET", "/role/app");
    let (secrets, token) = (secrets(&document), site.token());
    let socket = site.host.path("run/credentials.sock").display().to_string();
    let token_file = site.host.path("run/tokens/app").display().to_string();
    let container = format!("http://{}/role/app", site.container);
    let metadata = format!("http://{}/latest", site.metadata);
    let authorization = format!("Authorization: {token}");
    let attempts: [&[&str]; 7] = [
        &["--unix-socket", &socket, "http://localhost/role/app"],
        &["--unix-socket", &socket, "http://localhost/base"],
        &["--unix-socket", &socket, "-X", "POST", "http://localhost/refresh?role=app&token=true"],
        &["--unix-socket", &socket, "http://localhost/role/nothing"],
        // Even with the token, should it leak.
        &["-H", &authorization, &container],
        &["-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", &format!("{metadata}/api/token")],
        &[&format!("{metadata}/meta-data/iam/security-credentials/app")],
    ];
    for attempt in attempts {
        let Some((status, body)) = curl_as_stranger(attempt) else { return };
        assert_eq!(status, 403, "{attempt:?}: {body}");
        assert!(!secrets.iter().any(|secret| body.contains(secret)), "{attempt:?}");
        assert!(!body.contains(&token), "{attempt:?}");
    }
    let (_, refusal) = curl_as_stranger(attempts[0]).expect("root can be another user");
    assert!(refusal.contains(&format!("uid {STRANGER}")) && refusal.contains("allow"), "{refusal}");
    let (_, unknown) = curl_as_stranger(attempts[3]).expect("root can be another user");
    assert!(!unknown.contains("app"), "which roles there are is none of a stranger's business: {unknown}");
    let (status, who) = curl_as_stranger(&["--unix-socket", &socket, "http://localhost/who"]).expect("another user");
    assert_eq!(status, 200);
    assert!(
        serde_json::from_str::<Value>(&who).unwrap().as_array().unwrap().iter().all(|e| e["uid"] == STRANGER),
        "{who}"
    );
    let read = as_stranger("cat", &[&token_file]).expect("root can be another user");
    assert!(!read.status.success() && read.stdout.is_empty(), "a stranger can't read the token");
    assert_eq!(site.token(), token, "and can't have it changed");
    let report = agent.report();
    assert!(report.at("/credentials/1/denied").as_u64() >= Some(4), "{report:#}");
    assert_eq!(report.at("/credentials/1/served"), 1);
    assert!(agent.said().contains("credentials were refused"), "{}", agent.said());
}

#[test]
#[expect(clippy::print_stderr, reason = "who reads the log must see what was not tested")]
fn the_users_that_a_rule_names_can_read_the_token_and_nobody_else() {
    let site = Site::new();
    set_mode(&site.host.path(""), 0o755);
    let _agent = site.ready();
    let other = site.host.path("run/tokens/other").display().to_string();
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can be another user");
    }
    let cat = |uid: u32| {
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
        Command::new("setpriv").args(ids).args(["cat", &other]).output().expect("setpriv is installed").status.success()
    };
    assert!(cat(61_235) && !cat(61_236) && !cat(STRANGER));
}

/// Asks for a token's lifetime.
const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";

/// Where the role's name stands.
const PATH: &str = "/latest/meta-data/iam/security-credentials/";

#[test]
fn the_look_alike_is_as_strict_as_the_metadata_service() {
    let site = Site::new();
    let _agent = site.ready();
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        request(site.metadata, method, path, headers, "").expect("an answer").status
    };
    assert_eq!(ask("PUT", "/latest/api/token", &[]), 400);
    assert_eq!(ask("PUT", "/latest/api/token", &[(TTL, "0")]), 400);
    assert_eq!(ask("PUT", "/latest/api/token", &[(TTL, "21601")]), 400);
    assert_eq!(ask("PUT", "/latest/api/token", &[(TTL, "60"), ("X-Forwarded-For", "1.2.3.4")]), 403);
    assert_eq!(ask("PUT", "/2021-01-03/api/token", &[(TTL, "60")]), 403);
    assert_eq!(ask("GET", PATH, &[]), 401);
    assert_eq!(ask("GET", PATH, &[("X-aws-ec2-metadata-token", "guessed")]), 401);
    assert_eq!(ask("POST", PATH, &[]), 405);
    let (status, document) = site.look("/latest/dynamic/instance-identity/document");
    let document: Value = serde_json::from_str(&document).expect("a document");
    assert_eq!((status, &document["region"]), (200, &Value::from(site.look("/latest/meta-data/placement/region").1)));
    assert_eq!(site.look("/latest/meta-data/instance-id").1, document["instanceId"].as_str().expect("an id"));
    assert_eq!(site.look("/latest/meta-data/placement/availability-zone").0, 200);
}

#[test]
fn no_secret_that_was_handed_out_reaches_logs_status_or_argv() {
    let mut site = Site::new();
    site.host.set("IMDS_AGENT_LOG", "trace");
    let agent = site.ready();
    let token = site.token();
    let (_, document) = site.ask("/role/app", &[("Authorization", &token)]);
    let mut secrets = secrets(&document);
    site.ask("/role/other", &[("Authorization", &token)]);
    secrets.push(site.metadata_token());
    secrets.push(token);
    let report = agent.report().to_string();
    let (_, who) = site.ask_socket("GET", "/who");
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", agent.pid())).unwrap_or_default();
    let (_, said) = agent.stop();
    assert!(said.contains("credentials were handed out"), "{said}");
    for (place, text) in [("status", report), ("who", who.to_string()), ("argv", arguments), ("stderr", said)] {
        for secret in &secrets {
            assert!(!text.contains(&secret[..secret.len() / 2]), "a secret stands in {place}");
        }
    }
}

#[test]
fn a_rule_that_names_an_account_which_is_not_there_is_a_warning_and_a_note_of_the_check() {
    let table = "[[role]]\nname = \"slip\"\nrole_arn = \"arn:aws:iam::123456789012:role/slip\"\n\
                 allow = [{ user = \"no-such-user\" }, { group = \"no-such-group\" }]\n";
    let site = Site::with(table);
    let agent = site.host.start();
    let words = "the role slip names user no-such-user, group no-such-group";
    agent.wait_until("it is a warning", |report| {
        let warnings = report.at("/warnings").as_array().expect("a list");
        let mut unknown = warnings.iter().filter(|warning| warning["code"] == "unknown_account");
        unknown.next().is_some_and(|warning| warning["message"].as_str().is_some_and(|said| said.contains(words)))
            && unknown.next().is_none()
    });
    let output = site.host.run(&["config", "check", "--config", &site.host.config().display().to_string()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(&format!("note: `allow` of {words}")), "{said}");
}
