//! Callers that mean no good: they guess, they come by a browser, they say too much, or nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::site::{Site, curl_as_stranger};
use crate::harness::http::request;
use crate::harness::{SOON, look_until, set_mode};

#[test]
fn a_guessed_token_and_the_token_of_another_role_open_nothing() {
    let site = Site::new();
    let agent = site.ready();
    let token = site.token();
    let others = std::fs::read_to_string(site.host.path("run/tokens/other")).expect("the other role's token");
    let guesses = ["", "0", &token[..63], &format!("{token}0"), &token.to_uppercase(), &"0".repeat(64), &others];
    for guess in guesses {
        let (status, body) = site.ask("/role/app", &[("Authorization", guess)]);
        assert_eq!((status, &body["Code"]), (403, &Value::from("AccessDenied")), "{guess:?}");
    }
    assert_eq!(site.ask("/role/app", &[]).0, 403);
    assert_eq!(site.ask("/role/app", &[("Authorization", &token), ("Authorization", &token)]).0, 403);
    // Without a token a role that is not there looks like one that is.
    let there = site.ask("/role/other", &[]);
    let (status, not_there) = site.ask("/role/otter", &[]);
    assert_eq!((status, not_there["Message"].clone()), (there.0, there.1["Message"].clone()));
    // With the other role's own token it is still the user that is wrong.
    assert_eq!(site.ask("/role/other", &[("Authorization", &others)]).0, 403);
    assert_eq!(agent.report().at("/credentials/1/served"), 0);
}

#[test]
fn no_path_leads_to_anything_but_what_is_served() {
    let site = Site::new();
    let _agent = site.ready();
    let token = site.token();
    for path in [
        "/",
        "/role",
        "/role/",
        "/role/app/",
        "/role//app",
        "//role/app",
        "/role/./app",
        "/role/../role/app",
        "/role/%61pp",
        "/role/app%00",
        "/role/app%2f..",
        "/role/app?x=1",
        "/base",
        "/who",
        "/role/app/../../base",
        "/role/base",
        "/role/..%2f..%2fetc%2fpasswd",
        "/tokens/app",
        "/ROLE/app",
        "/role/App",
        "/role/app;x",
        "/role/app.json",
    ] {
        let (status, body) = site.ask(path, &[("Authorization", &token)]);
        assert!((400..500).contains(&status), "{path}: {status} {body}");
        assert!(body.get("AccessKeyId").is_none(), "{path}");
    }
    for path in [
        "/latest/meta-data/iam/security-credentials/other",
        "/latest/meta-data/iam/security-credentials/app/",
        "/latest/meta-data/iam/security-credentials/../security-credentials/app",
        "/latest/user-data",
        "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
        "/latest/meta-data/",
        "/latest/meta-data/iam/security-credentials-extended/app",
        "/2021-01-03/meta-data/instance-id",
    ] {
        let (status, body) = site.look(path);
        assert_eq!(status, 404, "{path}: {body}");
    }
}

#[test]
fn a_page_in_a_browser_gets_nothing_whatever_its_host_resolves_to() {
    let site = Site::new();
    let agent = site.ready();
    let token = site.token();
    let raw = |host: &str, more: &str| {
        let text = format!(
            "GET /role/app HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n{more}Connection: close\r\n\r\n"
        );
        say(site.container, text.as_bytes())
    };
    let here = site.container.to_string();
    assert!(raw(&here, "").starts_with("HTTP/1.1 200 "));
    for host in ["evil.example", &format!("evil.example:{}", site.container.port()), "127.0.0.1", "localhost", "[::1]"]
    {
        assert!(raw(host, "").starts_with("HTTP/1.1 403 "), "{host}: {}", raw(host, ""));
    }
    for header in [
        "Origin: http://evil.example",
        "Origin: null",
        "Referer: http://127.0.0.1/",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: cors",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: localhost",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
    ] {
        let answer = raw(&here, &format!("{header}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{header}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{header}: {answer}");
    }
    let preflight = format!("OPTIONS /role/app HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n\r\n");
    let answer = say(site.container, preflight.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && !answer.to_ascii_lowercase().contains("access-control-"),
        "{answer}"
    );
    let proxied = format!(
        "GET http://{here}/role/app HTTP/1.1\r\nHost: {here}\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    );
    assert!(say(site.container, proxied.as_bytes()).starts_with("HTTP/1.1 400 "));
    assert_eq!(agent.report().at("/credentials/1/served"), 1);
}

/// Sends `bytes` and reads what comes until the end.
fn say(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).expect("the door is open");
    stream.set_read_timeout(Some(SOON)).expect("a socket can have a timeout");
    // What is refused early is not read to its end.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_header_bomb_and_a_body_are_refused_and_cost_nothing() {
    let site = Site::new();
    let agent = site.ready();
    let before = agent.report().at("/memory/rss_bytes").as_u64().expect("a size");
    let begin = format!("GET /role/app HTTP/1.1\r\nHost: {}\r\n", site.container);
    let long = format!("{begin}X-Long: {}\r\n\r\n", "x".repeat(64 << 20));
    let many = (0..10_000).fold(String::new(), |all, n| all + &format!("X-{n}: y\r\n"));
    let body = format!("{begin}Content-Length: 5\r\nConnection: close\r\n\r\nhello");
    let chunked = format!("{begin}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n");
    for (name, text) in [
        ("a long header", long),
        ("many headers", format!("{begin}{many}\r\n")),
        ("a long path", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20))),
        ("a body", body),
        ("a chunked body", chunked),
        ("noise", "\0\u{1}\u{2}\r\n\r\n".repeat(100)),
    ] {
        let answer = say(site.container, text.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    let after = agent.report().at("/memory/rss_bytes").as_u64().expect("a size");
    assert!(after < before + (16 << 20), "{before} became {after}");
    assert_eq!(site.ask("/role/app", &[("Authorization", &site.token())]).0, 200);
}

#[test]
fn a_caller_that_connects_and_says_nothing_is_put_out_and_holds_nobody_up() {
    let site = Site::new();
    let _agent = site.ready();
    let mut silent = TcpStream::connect(site.container).expect("the door is open");
    let mut slow = TcpStream::connect(site.container).expect("the door is open");
    slow.write_all(b"GET /role/app HTTP/1.1\r\nHost: ").expect("half a request");
    let mut silent_here = UnixStream::connect(site.host.path("run/credentials.sock")).expect("the door is open");
    assert_eq!(site.ask("/role/app", &[("Authorization", &site.token())]).0, 200);
    silent.set_read_timeout(Some(SOON)).expect("a timeout");
    slow.set_read_timeout(Some(SOON)).expect("a timeout");
    silent_here.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).expect("the agent closes the connection");
    silent_here.read_to_end(&mut rest).expect("the agent closes the connection");
    slow.read_to_end(&mut rest).expect("the agent closes the connection");
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
}

#[test]
fn ten_thousand_connections_are_survived_and_another_user_is_still_served() {
    let site = Site::new();
    set_mode(&site.host.path(""), 0o755);
    let agent = site.ready();
    let socket = site.host.path("run/credentials.sock");
    let mut held = Vec::new();
    for _ in 0..10_000 {
        // Those beyond the share of a user are closed at once; we keep our end of a few hundred.
        if let Ok(stream) = TcpStream::connect(site.container) {
            held.push(stream);
        }
        if held.len() > 400 {
            held.remove(0);
        }
    }
    let locals: Vec<_> = (0..400).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    let socket = socket.display().to_string();
    if let Some((status, body)) = curl_as_stranger(&["--unix-socket", &socket, "http://localhost/role/app"]) {
        assert_eq!(status, 403, "another user has a share of its own: {body}");
    }
    drop((held, locals));
    let token = site.token();
    let served = look_until(SOON, || {
        let answer = request(site.container, "GET", "/role/app", &[("Authorization", &token)], "").ok()?;
        (answer.status == 200).then_some(())
    });
    assert!(served.is_ok(), "{}", agent.said());
    assert!(agent.report().at("/memory/rss_bytes").as_u64() < Some(128 << 20));
}
