//! The systems that must work on this: what their users do about credentials, from the configuration to the answer. Not
//! each promise by itself: those have suites of their own.

use std::process::Output;

use serde_json::Value;

use crate::harness::{Emulator, Host, append, assert_same_lines, numbered, python};

/// The user who runs this, as a rule names one, and another.
fn users() -> (String, String) {
    let uid = rustix::process::geteuid().as_raw();
    (uid.to_string(), (uid + 1).to_string())
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `credentials` prints for a role.
fn credentials(host: &Host, role: &str) -> Value {
    let output = host.run(&["credentials", "--role", role, "--format", "json", "--wait", "30s"]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// What `credentials who --json` shows of a role.
fn told(host: &Host, role: &str) -> Vec<Value> {
    let output = host.run(&["credentials", "who", "--json"]);
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).expect("it is a list");
    all.into_iter().filter(|entry| entry["role"] == role).collect()
}

/// Scenario B: the platform's own work and the application's are two identities that never mix.
#[test]
fn the_platform_ships_as_itself_and_the_application_has_its_role_alone() {
    let (host, emulator) = Host::with_emulator();
    let (us, others) = users();
    host.configure(&format!(
        "{}\n[[role]]\nname = \"app\"\nrole_arn = \"arn:aws:iam::123456789012:role/app-task-role\"\n\
         policy = '''{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\
         \"Resource\":\"arn:aws:s3:::one-bucket/*\"}}]}}'''\nallow = [{{ user = \"{us}\" }}]\n\n\
         [[role]]\nname = \"efs\"\nrole_arn = \"arn:aws:iam::123456789012:role/efs-task-role\"\n\
         allow = [{{ user = \"{others}\" }}]\n\n[credentials]\nallow = [{{ user = \"{others}\" }}]\n",
        host.one_source("")
    ));
    let lines = numbered(0, 50, 100);
    append(&host.log("app.log"), &lines);
    let agent = host.start();
    let handed = credentials(&host, "app");
    assert_eq!(handed["RoleArn"], "arn:aws:iam::123456789012:role/app-task-role");
    for arguments in [&["credentials", "--role", "efs"][..], &["credentials"]] {
        let output = host.run(arguments);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(77), &b""[..]), "{}", words(&output));
    }
    let report = agent.wait_until_delivered(50);
    assert_same_lines(&emulator.lines("/test/app", "app"), &lines);
    let key = handed["AccessKeyId"].as_str().expect("a key");
    assert!(!key.ends_with(report.text("/credentials/0/key_id_suffix")), "the platform's own key is another");
    for (place, served, denied) in [("/credentials/1", 1, 0), ("/credentials/2", 0, 1)] {
        assert_eq!(report.at(&format!("{place}/denied")), denied, "{report:#}");
        assert!(report.at(&format!("{place}/served")).as_u64() >= Some(served), "{report:#}");
    }
    let refused = told(&host, "efs");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!((&refused[0]["outcome"], &refused[0]["uid"]), (&"refused".into(), &us.parse::<u32>().unwrap().into()));
}

/// Scenario C: static keys in the environment, to be replaced by a role without a change to the code.
#[test]
fn an_application_that_was_configured_with_static_keys_gets_its_role_by_exec() {
    let emulator = Emulator::start();
    let mut host = Host::new(&emulator.url());
    let (us, _) = users();
    let listen = crate::harness::free_address();
    host.configure(&format!(
        "[[role]]\nname = \"workers\"\nrole_arn = \"arn:aws:iam::123456789012:role/worker-manager\"\n\
         session_name = \"{{instance_id}}\"\nallow = [{{ user = \"{us}\" }}]\n\n\
         [endpoints.container]\nlisten = \"{listen}\"\n"
    ));
    let _agent = host.start();
    // As they stand in the application's .env.
    host.set("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    host.set("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let script = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])";
    let python = python::program("python");
    let python = python.to_str().expect("paths here are text");
    for more in [&[][..], &["--static"]] {
        let exec = [&["exec", "--role", "workers", "--wait", "30s"], more, &["--", python, "-c", script]].concat();
        let output = host.run(&exec);
        assert_eq!(output.status.code(), Some(0), "{more:?}: {}", words(&output));
        let arn = "arn:aws:sts::123456789012:assumed-role/worker-manager/i-0e00000000000e001\n";
        assert_eq!(String::from_utf8_lossy(&output.stdout), arn, "{more:?}");
        assert_eq!(words(&output).contains("not refreshed"), !more.is_empty(), "{}", words(&output));
    }
}

/// Scenario E: roles declared once for every environment; one environment's processes can't get another's.
#[test]
fn a_matrix_of_roles_is_declared_once_and_each_environment_has_its_own() {
    let emulator = Emulator::start();
    let host = Host::new(&emulator.url());
    let (us, others) = users();
    let declare = |name: &str, environment: &str, user: &str| {
        format!(
            "[[role]]\nname = \"{environment}-{name}\"\n\
             role_arn = \"arn:aws:iam::123456789012:role/llm-{environment}-{name}-task-role\"\nduration = \"1h\"\n\
             session_name = \"{name}-{{instance_id}}\"\nsource_identity = \"llm-{{environment}}\"\n\
             allow = [{{ user = \"{user}\" }}]\n\n"
        )
    };
    let services = ["s3", "sqs", "bedrock"];
    let mut config = "[variables]\nenvironment = \"dev\"\n\n".to_owned();
    for name in services {
        config += &declare(name, "dev", &us).replace("role/llm-dev", "role/llm-{environment}");
        config += &declare(name, "prod", &others);
    }
    host.configure(&config);
    let agent = host.start();
    for name in services {
        let handed = credentials(&host, &format!("dev-{name}"));
        assert_eq!(handed["RoleArn"], format!("arn:aws:iam::123456789012:role/llm-dev-{name}-task-role"));
        let expiration: jiff::Timestamp = handed["Expiration"].as_str().unwrap().parse().unwrap();
        let life = expiration.duration_since(jiff::Timestamp::now()).as_secs();
        assert!((3500..=3600).contains(&life), "session_duration: {life} s");
        let denied = host.run(&["credentials", "--role", &format!("prod-{name}")]);
        assert_eq!((denied.status.code(), denied.stdout.as_slice()), (Some(77), &b""[..]), "{}", words(&denied));
        let given = told(&host, &format!("dev-{name}"));
        let key = handed["AccessKeyId"].as_str().unwrap();
        assert_eq!(given[0]["key_id_suffix"], key[key.len() - 4..], "{given:?}");
        assert!(given[0]["pid"].is_number() && given[0]["at"].is_string(), "{given:?}");
        assert_eq!(told(&host, &format!("prod-{name}"))[0]["outcome"], "refused");
    }
    let report = agent.report();
    assert_eq!(report.at("/credentials").as_array().map(Vec::len), Some(7), "the base role and six more: {report:#}");
}
