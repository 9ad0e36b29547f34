//! What hosts read from under lock at their start: SSM's parameters, Secrets Manager's secrets, ECR's token. Pure, and no
//! more of these services than that; a fault on `kms:Decrypt` stands for a key that the caller may not use.

use hyper::Request;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::fault::{Effect, Target};
use super::metadata::partition;
use super::options::Options;
use super::shared::State;

/// What a call names.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Named {
    name: String,
    secret_id: String,
    with_decryption: bool,
}

impl Named {
    fn of(request: &Request<Bytes>) -> Self {
        serde_json::from_slice(request.body()).unwrap_or_default()
    }
}

/// Answers a call of `action` by the holder of `caller`.
pub(super) fn answer(
    service: &str,
    action: &str,
    request: &Request<Bytes>,
    state: &mut State,
    caller: &str,
) -> Result<Answer, Refusal> {
    let named = Named::of(request);
    match (service, action) {
        ("ssm", "GetParameter") => {
            let value = state.parameters.get(&named.name).cloned();
            let value = value.ok_or_else(|| Refusal::new("ParameterNotFound", ""))?;
            if named.with_decryption {
                decrypt(state, caller)?;
            }
            let arn = resource(service, request, &state.options);
            let value = if named.with_decryption { value } else { "AQICAHh…".to_owned() };
            Ok(reply(
                &json!({ "Parameter": { "Name": named.name, "ARN": arn, "Type": "SecureString", "Value": value } }),
            ))
        }
        ("ecr", "GetAuthorizationToken") => Ok(reply(&json!({ "authorizationData": [{
            "authorizationToken": "QVdTOmVtdWxhdGVk",
            "proxyEndpoint": format!("https://{}.dkr.ecr.{}.amazonaws.com", state.options.account_id, state.options.region),
        }] }))),
        ("secretsmanager", "DescribeSecret" | "GetSecretValue") => {
            let name = name_of_secret(&named.secret_id);
            let missing = "Secrets Manager can't find the specified secret.";
            let value = state.secrets.get(name).cloned();
            let value = value.ok_or_else(|| Refusal::new("ResourceNotFoundException", missing))?;
            let document = json!({ "Name": name, "ARN": resource(service, request, &state.options) });
            if action == "DescribeSecret" {
                return Ok(reply(&document));
            }
            decrypt(state, caller)?;
            let mut document = document;
            document["SecretString"] = value.into();
            Ok(reply(&document))
        }
        _ => Err(Refusal::new("UnknownOperationException", "")),
    }
}

/// What a denial names as the resource of a call.
pub(super) fn resource(service: &str, request: &Request<Bytes>, options: &Options) -> String {
    let named = Named::of(request);
    let (partition, _) = partition(&options.region);
    let stem = format!("arn:{partition}:{service}:{}:{}", options.region, options.account_id);
    match service {
        "ssm" if named.name.starts_with("arn:") => named.name,
        "ssm" => format!("{stem}:parameter/{}", named.name.trim_start_matches('/')),
        "secretsmanager" if named.secret_id.starts_with("arn:") => named.secret_id,
        "secretsmanager" => format!("{stem}:secret:{}-a1B2c3", named.secret_id),
        _ => "*".to_owned(),
    }
}

/// The name in a secret's ARN, without the six characters that stand behind it there.
fn name_of_secret(id: &str) -> &str {
    let Some((_, name)) = id.split_once(":secret:") else { return id };
    name.rsplit_once('-').filter(|(_, end)| end.len() == 6).map_or(name, |(name, _)| name)
}

/// The key that all of it is under.
fn decrypt(state: &mut State, caller: &str) -> Result<(), Refusal> {
    let target = Target { operation: "kms:Decrypt", path: "/", group: None, stream: None, role: None };
    let Some(Effect::Deny(denial)) = state.faults.judge(&target).effect else { return Ok(()) };
    let (partition, _) = partition(&state.options.region);
    let Options { region, account_id, .. } = &state.options;
    let key = format!("arn:{partition}:kms:{region}:{account_id}:key/0e000000-0000-4000-8000-00000000e001");
    let sentence = denial.sentence(caller, "kms:Decrypt", &key);
    Err(Refusal::new("AccessDeniedException", format!("{sentence} (Service: AWSKMS; Status Code: 400)")))
}

fn reply(document: &Value) -> Answer {
    Answer::new(200, "application/x-amz-json-1.1", document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "arn:aws:sts::123456789012:assumed-role/emulated-role/i-1";

    fn state() -> State {
        let mut state = State::new(Options::default());
        state.parameters.insert("/app/password".into(), "hunter2".into());
        state.secrets.insert("app/db".into(), "hunter2".into());
        state
    }

    fn ask(state: &mut State, service: &str, action: &str, body: &Value) -> Result<Value, String> {
        let request = Request::new(Bytes::from(body.to_string()));
        let answer = answer(service, action, &request, state, CALLER).map_err(|refusal| refusal.to_string())?;
        match answer.body {
            super::super::answer::ReplyBody::Whole(bytes) => Ok(serde_json::from_slice(&bytes).unwrap()),
            _ => panic!("whole answers"),
        }
    }

    #[test]
    fn a_parameter_is_decrypted_if_that_is_asked_for() {
        let mut state = state();
        let named = json!({ "Name": "/app/password" });
        let plain = json!({ "Name": "/app/password", "WithDecryption": true });
        assert_ne!(ask(&mut state, "ssm", "GetParameter", &named).unwrap()["Parameter"]["Value"], "hunter2");
        assert_eq!(ask(&mut state, "ssm", "GetParameter", &plain).unwrap()["Parameter"]["Value"], "hunter2");
        let missing = ask(&mut state, "ssm", "GetParameter", &json!({ "Name": "/x" })).unwrap_err();
        assert!(missing.starts_with("ParameterNotFound"), "{missing}");
    }

    #[test]
    fn a_fault_on_the_key_hits_what_is_decrypted_and_nothing_else() {
        let mut state = state();
        state.faults.add(super::super::Fault::on("kms:Decrypt", Effect::Deny(super::super::Denial::default())));
        let secret = json!({ "SecretId": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-a1B2c3" });
        assert_eq!(ask(&mut state, "secretsmanager", "DescribeSecret", &secret).unwrap()["Name"], "app/db");
        let denied = ask(&mut state, "secretsmanager", "GetSecretValue", &secret).unwrap_err();
        assert!(denied.contains("is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:"), "{denied}");
    }
}
