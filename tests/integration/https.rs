//! AWS over HTTPS: whose certificates are trusted, which host is asked, through which proxy. All of it on loopback. Not
//! what is sent: that is `delivery`'s.

use crate::harness::{Authority, Emulator, Host, TlsFront, append, assert_same_lines, numbered};

const GROUP: &str = "/test/app";

/// A host, AWS behind HTTPS, and an authority that the host does not trust yet.
fn https() -> Option<(Host, Emulator, TlsFront, Authority)> {
    let authority = Authority::new()?;
    let (host, emulator) = Host::with_emulator();
    let front = TlsFront::start(&authority, &emulator.url());
    append(&host.log("app.log"), &numbered(0, 100, 100));
    Some((host, emulator, front, authority))
}

fn trust(host: &mut Host, authority: &Authority) {
    host.set("AWS_CA_BUNDLE", &authority.bundle().display().to_string());
}

#[test]
fn an_authority_of_ones_own_is_trusted_if_it_is_named_and_otherwise_the_cure_is() {
    let Some((mut host, emulator, front, authority)) = https() else { return };
    host.set("AWS_ENDPOINT_URL", &format!("https://{}", front.server));
    let agent = host.start();
    let report = agent.wait_until("the certificate is refused", |report| {
        let place = report.destination(GROUP, "app");
        place.is_some_and(|place| {
            place["last_error"]["message"].as_str().is_some_and(|text| text.contains("certificate"))
        })
    });
    let error = &report.destination(GROUP, "app").expect("it is shown")["last_error"];
    let (message, hint) = (error["message"].as_str().unwrap_or_default(), error["hint"].as_str().unwrap_or_default());
    assert!(message.contains("UnknownIssuer") && hint.contains("AWS_CA_BUNDLE"), "{error:#}");
    let report = agent.wait_until("STS is refused, too", |report| {
        report
            .list("/warnings")
            .iter()
            .any(|warning| warning["hint"].as_str().is_some_and(|hint| hint.contains("AWS_CA_BUNDLE")))
    });
    assert_eq!((report.events().delivered, report.events().dropped), (0, 0));
    agent.stop_in_order();
    trust(&mut host, &authority);
    let agent = host.start();
    agent.wait_until_delivered(100).assert_ledger_adds_up();
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 100, 100));
    assert_eq!(front.asked(), [] as [String; 0], "no proxy was named");
}

#[test]
fn a_bundle_that_is_not_there_is_named_with_the_cure_wherever_one_looks_and_read_when_it_is() {
    let Some((mut host, emulator, front, authority)) = https() else { return };
    let bundle = host.path("authority.pem");
    host.set("AWS_CA_BUNDLE", &bundle.display().to_string());
    host.set("AWS_ENDPOINT_URL", &format!("https://{}", front.server));
    let agent = host.start();
    let is_named = |text: &str| {
        for part in ["AWS_CA_BUNDLE names", "authority.pem", "No such file", "namei -l", "systemctl edit imds-agent"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    };
    let warnings = agent.wait_until("it is a warning", |report| {
        report.list("/warnings").iter().any(|warning| warning["code"] == "aws_client")
    });
    is_named(&warnings.at("/warnings").to_string());
    let config = host.path("config.toml").display().to_string();
    for command in
        [&["config", "check", "--config", &config][..], &["doctor", "--config", &config, "--only", "logs-reach"]]
    {
        is_named(&String::from_utf8_lossy(&host.run(command).stdout).split_whitespace().collect::<Vec<_>>().join(" "));
    }
    std::fs::copy(authority.bundle(), &bundle).expect("it can be copied");
    agent.wait_until_delivered(100).assert_ledger_adds_up();
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 100, 100));
}

/// Ships through the proxy, with these switches set, and returns the hosts that were asked for.
fn asked_with(switches: &[&str]) -> Option<Vec<String>> {
    let (mut host, emulator, front, authority) = https()?;
    trust(&mut host, &authority);
    host.only_through_proxy(front.proxy);
    for switch in switches {
        host.set(switch, "true");
    }
    let agent = host.start();
    agent.wait_until_delivered(100);
    agent.wait_until("STS has answered", |report| report.at("/credentials/0/arn").is_string());
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 100, 100));
    assert!(emulator.counts().operations.contains_key("imds:token"), "IMDS was asked, and not through the proxy");
    let mut asked = front.asked();
    asked.sort();
    asked.dedup();
    Some(asked)
}

fn connects(hosts: [&str; 2]) -> Vec<String> {
    hosts.map(|host| format!("CONNECT {host}:443 HTTP/1.1")).to_vec()
}

#[test]
fn through_a_proxy_the_regions_own_hosts_are_asked_and_imds_never_is() {
    let Some(asked) = asked_with(&[]) else { return };
    assert_eq!(asked, connects(["logs.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com"]));
}

#[test]
fn fips_and_dual_stack_have_hosts_of_their_own() {
    let Some(asked) = asked_with(&["AWS_USE_FIPS_ENDPOINT"]) else { return };
    assert_eq!(asked, connects(["logs-fips.eu-west-1.amazonaws.com", "sts-fips.eu-west-1.amazonaws.com"]));
    let asked = asked_with(&["AWS_USE_DUALSTACK_ENDPOINT"]).expect("openssl was there before");
    assert_eq!(asked, connects(["logs.eu-west-1.api.aws", "sts.eu-west-1.api.aws"]));
    let asked = asked_with(&["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"]).expect("as before");
    assert_eq!(asked, connects(["logs-fips.eu-west-1.api.aws", "sts-fips.eu-west-1.api.aws"]));
}

#[test]
fn what_no_proxy_names_is_asked_directly() {
    let Some((mut host, emulator, front, authority)) = https() else { return };
    trust(&mut host, &authority);
    host.set("AWS_ENDPOINT_URL", &format!("https://{}", front.server));
    host.set("HTTPS_PROXY", &format!("http://{}", front.proxy));
    let agent = host.start();
    agent.wait_until_delivered(100);
    let asked = front.asked();
    assert!(asked.iter().all(|line| *line == format!("CONNECT {} HTTP/1.1", front.server)), "{asked:?}");
    assert!(!asked.is_empty(), "without NO_PROXY it goes through the proxy");
    agent.stop_in_order();
    host.set("NO_PROXY", "127.0.0.1");
    append(&host.log("app.log"), &numbered(100, 100, 100));
    let agent = host.start();
    agent.wait_until_delivered(200);
    assert_eq!(front.asked(), asked, "nothing more came through the proxy");
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 200, 100));
}
