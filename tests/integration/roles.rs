//! Where base credentials come from, and roles, as the daemon shows them: scenario B's sources and scenario E's matrix of
//! environments. Not who is given them, and not each failure: those are tested beside the code.

use rustix::process::Signal;

use crate::harness::{Change, Denial, Effect, Emulator, Fault, Host, Moto, Report, free_address};

fn arn(role: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{role}")
}

/// Scenario E: roles for an environment.
fn matrix(environment: &str) -> String {
    let role = |name: &str| {
        format!(
            "[[role]]\nname = \"{name}\"\nrole_arn = \"{}\"\nsession_name = \"{name}-{{instance_id}}\"\n\
             source_identity = \"{{environment}}\"\ntags = {{ environment = \"{{environment}}\" }}\n\
             allow = [{{ user = \"llm\" }}]\n",
            arn(&format!("{name}-{{environment}}-task-role"))
        )
    };
    format!("[variables]\nenvironment = \"{environment}\"\n{}{}", role("chat"), role("batch"))
}

/// The state of the role called `name`.
fn state<'a>(report: &'a Report, name: &str) -> &'a str {
    let role = report.list("/credentials").iter().find(|role| role["role"] == name);
    role.and_then(|role| role["state"].as_str()).unwrap_or_default()
}

fn host() -> (Host, Emulator) {
    let emulator = Emulator::start();
    (Host::new(&emulator.url()), emulator)
}

#[test]
fn auto_finds_the_instance_the_container_and_the_web_identity_and_says_why() {
    let (mut host, emulator) = host();
    host.configure("");
    let shows = |host: &Host, role: &str, source: &str| {
        let agent = host.start();
        let report = agent.wait_until("the base is fresh", |report| report.text("/credentials/0/state") == "fresh");
        assert_eq!(report.text("/credentials/0/role"), role, "{report:#}");
        assert!(report.text("/credentials/0/source").starts_with(source), "{report:#}");
        agent.stop_in_order();
    };
    shows(&host, "emulated-role", "instance (");
    host.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v2/credentials/emulated", emulator.url()));
    host.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hunter2");
    emulator.change(&Change { container_token: Some("hunter2".to_owned()), ..Change::default() });
    shows(&host, "emulated-task-role", "container (AWS_CONTAINER_CREDENTIALS_FULL_URI is set)");
    std::fs::write(host.path("token"), "jwt\n").expect("a file can be written");
    host.set("AWS_WEB_IDENTITY_TOKEN_FILE", &host.path("token").display().to_string());
    host.set("AWS_ROLE_ARN", &arn("runner"));
    host.set("AWS_REGION", "eu-west-1");
    emulator.change(&Change { web_identity_token: Some("jwt".to_owned()), ..Change::default() });
    shows(&host, "runner", "web_identity (AWS_WEB_IDENTITY_TOKEN_FILE is set)");
    host.configure("[credentials]\nsource = \"container\"\n");
    shows(&host, "emulated-task-role", "container (AWS_CONTAINER_CREDENTIALS_FULL_URI is set)");
}

#[test]
fn a_source_that_can_not_be_used_is_a_state_with_its_cure_and_no_secret() {
    let (mut host, _emulator) = host();
    host.configure("[credentials]\nsource = \"environment\"\n");
    host.set("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE");
    let agent = host.start();
    let report =
        agent.wait_until("the fault is shown", |report| !report.text("/credentials/0/last_error/hint").is_empty());
    assert!(report.text("/credentials/0/last_error/message").starts_with("AWS_SECRET_ACCESS_KEY"), "{report:#}");
    agent.stop_in_order();
    host.set("AWS_SECRET_ACCESS_KEY", "hunter2");
    let agent = host.start();
    let report = agent.wait_until("they are fresh", |report| report.text("/credentials/0/state") == "fresh");
    assert!(report.at("/credentials/0/expiration").is_null() && !report.to_string().contains("hunter2"), "{report:#}");
}

#[test]
fn a_matrix_of_roles_is_assumed_for_the_environment_and_changes_with_it() {
    let (host, emulator) = host();
    host.configure(&matrix("dev"));
    let agent = host.start();
    agent.wait_until("both are fresh", |report| ["chat", "batch"].iter().all(|role| state(report, role) == "fresh"));
    for role in ["chat", "batch"] {
        let asked = emulator.counts().role(&arn(&format!("{role}-dev-task-role")));
        assert_eq!((asked.calls, asked.last.duration_seconds), (1, 3600));
        assert!(asked.last.session_name.starts_with(&format!("{role}-i-")), "{asked:?}");
        assert_eq!(asked.last.source_identity.as_deref(), Some("dev"));
        assert_eq!(asked.last.tags["environment"], "dev");
    }
    host.configure(&matrix("prod"));
    agent.signal(Signal::HUP);
    let prod = |report: &Report| {
        report.text("/credentials/1/source").contains("chat-prod-task-role") && state(report, "chat") == "fresh"
    };
    let report = agent.wait_until("prod's are there", prod);
    assert!(report.text("/credentials/1/arn").contains(":assumed-role/chat-prod-task-role/"), "{report:#}");
    host.configure(&matrix("prod").replace("\"batch\"", "\"other\""));
    agent.signal(Signal::HUP);
    agent.wait_until("the role is gone", |report| {
        state(report, "batch").is_empty() && state(report, "other") == "fresh"
    });
    assert_eq!(emulator.counts().role(&arn("chat-prod-task-role")).calls, 1, "what did not change goes on");
}

#[test]
fn a_role_that_was_deleted_is_shown_with_the_missing_statement_and_logs_flow_on() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("sts:AssumeRole", Effect::Deny(Denial::default())).role(&arn("chat-dev-task-role")));
    host.configure(&(matrix("dev") + &host.one_source("")));
    crate::harness::append(&host.log("app.log"), &crate::harness::numbered(0, 100, 100));
    let agent = host.start();
    let report =
        agent.wait_until("the denial is shown", |report| !report.text("/credentials/1/last_error/hint").is_empty());
    let hint = report.text("/credentials/1/last_error/hint");
    let statement = format!(
        "\"Action\": [\"sts:AssumeRole\", \"sts:TagSession\", \"sts:SetSourceIdentity\"], \"Resource\": \"{}\"",
        arn("chat-dev-task-role")
    );
    assert!(hint.contains(&statement), "{hint}");
    agent.wait_until("the other role is fresh", |report| state(report, "batch") == "fresh");
    agent.wait_until_delivered(100);
    let screen = String::from_utf8(host.run(&["status"]).stdout).expect("text");
    assert!(screen.contains("degraded: role chat absent"), "{screen}");
    assert!(screen.contains("role         absent, chat") && screen.contains("role         fresh, batch"), "{screen}");
    assert_eq!(emulator.counts().role(&arn("chat-dev-task-role")).calls, 1);
}

#[test]
fn with_no_metadata_service_roles_wait_and_say_for_what() {
    let host = Host::new(&format!("http://{}", free_address()));
    host.configure(&matrix("dev"));
    let agent = host.start();
    let report =
        agent.wait_until("the reason is shown", |report| !report.text("/credentials/1/last_error/message").is_empty());
    assert!(report.text("/credentials/1/last_error/message").contains("{instance_id}"), "{report:#}");
}

#[test]
fn an_independent_sts_gives_sessions_too() {
    let moto = Moto::start();
    let mut host = Host::new(&moto.url());
    host.set("AWS_REGION", crate::harness::MOTO_REGION);
    host.configure(&matrix("dev"));
    let agent = host.start();
    let report = agent
        .wait_until("both are fresh", |report| ["chat", "batch"].iter().all(|role| state(report, role) == "fresh"));
    assert!(report.text("/credentials/1/arn").contains(":assumed-role/chat-dev-task-role/chat-i-"), "{report:#}");
}
