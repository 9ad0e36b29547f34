//! STS's query protocol: `GetCallerIdentity` and `AssumeRole`, answered in XML. Pure: a request and a time in, an answer
//! out. Not who may assume what: every well-formed role may be, unless an external id is demanded for it or a fault denies.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Bytes;

use super::answer::{Answer, Refusal, escape_xml};
use super::clock::{Millis, iso};
use super::keyring::{Holder, Issued};
use super::metadata::partition;
use super::operation::form;
use super::shared::State;

/// The one version of STS's API.
const VERSION: &str = "2011-06-15";

/// A session lives 15 minutes at least (STS API, `DurationSeconds`)…
const SHORTEST_SESSION: i64 = 900;

/// …an hour unless asked for…
const DEFAULT_SESSION: i64 = 3600;

/// …and never longer when role credentials ask, which all of the emulator's are (role chaining).
const LONGEST_CHAINED_SESSION: i64 = 3600;

/// Answers a call of `action` by `caller`.
pub(super) fn answer(
    action: &str,
    request: &Request<Bytes>,
    caller: &Issued,
    state: &mut State,
    now: Millis,
    request_id: &str,
) -> Result<Answer, Refusal> {
    let field = |name: &str| form(request.body(), name).map(std::borrow::Cow::into_owned);
    if field("Version").as_deref() != Some(VERSION) {
        let version = field("Version").unwrap_or_default();
        return Err(invalid_action(action, &version));
    }
    let (result, note) = match action {
        "GetCallerIdentity" => (caller_identity(caller), caller.arn.clone()),
        "AssumeRole" => assume_role(field, caller, state, now)?,
        other => return Err(invalid_action(other, VERSION)),
    };
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/{VERSION}/\">\n  <{action}Result>\n{result}  \
         </{action}Result>\n  <ResponseMetadata>\n    <RequestId>{request_id}</RequestId>\n  </ResponseMetadata>\n\
         </{action}Response>\n"
    );
    let mut answer = Answer::new(200, "text/xml", body);
    answer.note = note;
    Ok(answer)
}

fn invalid_action(action: &str, version: &str) -> Refusal {
    Refusal::new("InvalidAction", format!("Could not find operation {action} for version {version}"))
}

/// What a denial names as the resource of `action`.
pub(super) fn resource(request: &Request<Bytes>) -> String {
    form(request.body(), "RoleArn").map_or_else(|| "*".into(), std::borrow::Cow::into_owned)
}

fn caller_identity(caller: &Issued) -> String {
    element("Arn", &caller.arn) + &element("UserId", &caller.user_id) + &element("Account", &caller.account)
}

fn element(name: &str, text: &str) -> String {
    format!("    <{name}>{}</{name}>\n", escape_xml(text))
}

fn assume_role(
    field: impl Fn(&str) -> Option<String>,
    caller: &Issued,
    state: &mut State,
    now: Millis,
) -> Result<(String, String), Refusal> {
    let arn = field("RoleArn").unwrap_or_default();
    let (partition, _) = partition(&state.options.region);
    let (account, role) = role_of(&arn, partition)
        .ok_or_else(|| invalid(format!("{arn} is invalid: a role's ARN is arn:{partition}:iam::ACCOUNT:role/NAME")))?;
    let session = field("RoleSessionName").unwrap_or_default();
    if !is_session_name(&session) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{session}' at 'roleSessionName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [\\w+=,.@-]*, with a length of 2 to 64"
        )));
    }
    let seconds = duration(field("DurationSeconds").as_deref())?;
    if let Some(external_id) = state.options.external_ids.get(&arn)
        && field("ExternalId").as_ref() != Some(external_id)
    {
        let text = format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}", caller.arn);
        return Err(Refusal::new("AccessDenied", text).status(403));
    }
    let holder = Holder { partition, account, role, session: &session };
    let lifetime = state.session_lifetime.unwrap_or(seconds * 1000);
    let issued = state.keyring.issue(&holder, now, lifetime);
    Ok((assumed(&issued), issued.arn.clone()))
}

fn invalid(message: String) -> Refusal {
    Refusal::new("ValidationError", message)
}

/// The account and the name of a role's ARN; of a role in a path, the name is what is behind the last slash.
fn role_of<'a>(arn: &'a str, partition: &str) -> Option<(&'a str, &'a str)> {
    let rest = arn.strip_prefix("arn:")?.strip_prefix(partition)?.strip_prefix(":iam::")?;
    let (account, path) = rest.split_once(":role/")?;
    let role = path.rsplit('/').next()?;
    let twelve_digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (twelve_digits && !role.is_empty()).then_some((account, role))
}

fn is_session_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    (2..=64).contains(&name.len()) && name.bytes().all(allowed)
}

fn duration(text: Option<&str>) -> Result<i64, Refusal> {
    let Some(text) = text else { return Ok(DEFAULT_SESSION) };
    let seconds: i64 = text.parse().map_err(|_| invalid(format!("DurationSeconds '{text}' is not a number")))?;
    if seconds < SHORTEST_SESSION {
        return Err(invalid(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: \
             Member must have value greater than or equal to {SHORTEST_SESSION}"
        )));
    }
    if seconds > LONGEST_CHAINED_SESSION {
        return Err(invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining".into(),
        ));
    }
    Ok(seconds)
}

fn assumed(issued: &Arc<Issued>) -> String {
    format!(
        "    <AssumedRoleUser>\n  {}  {}    </AssumedRoleUser>\n    <Credentials>\n  {}  {}  {}  {}    </Credentials>\n",
        element("AssumedRoleId", &issued.user_id),
        element("Arn", &issued.arn),
        element("AccessKeyId", &issued.key_id),
        element("SecretAccessKey", &issued.secret),
        element("SessionToken", &issued.token),
        element("Expiration", &iso(issued.expires_at)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::answer::ReplyBody;
    use super::super::options::Options;
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/team/app";

    fn call(state: &mut State, action: &str, fields: &str) -> Result<String, Refusal> {
        let body = format!("Action={action}&Version={VERSION}&{fields}");
        let request = Request::new(Bytes::from(body));
        let caller = state.role_credentials(0).unwrap();
        let answer = answer(action, &request, &caller, state, 0, "id")?;
        let ReplyBody::Whole(body) = answer.body else { panic!("a whole body") };
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn the_caller_learns_who_it_is() {
        let text = call(&mut State::new(Options::default()), "GetCallerIdentity", "").unwrap();
        assert!(text.contains("<Arn>arn:aws:sts::123456789012:assumed-role/emulated-role/i-0e00000000000e001</Arn>"));
        assert!(text.contains("<Account>123456789012</Account>"));
    }

    #[test]
    fn an_assumed_role_gets_credentials_that_the_emulator_knows() {
        let mut state = State::new(Options::default());
        let text = call(&mut state, "AssumeRole", &format!("RoleArn={ROLE}&RoleSessionName=me")).unwrap();
        assert!(text.contains("<Arn>arn:aws:sts::123456789012:assumed-role/app/me</Arn>"));
        assert!(text.contains("<Expiration>1970-01-01T01:00:00Z</Expiration>"));
        let key_id = text.split("<AccessKeyId>").nth(1).unwrap().split('<').next().unwrap();
        assert!(state.keyring.find(key_id).is_some());
    }

    #[test]
    fn what_sts_refuses_is_refused() {
        let mut state = State::new(Options::default());
        for fields in [
            "RoleSessionName=me".to_string(),
            format!("RoleArn={ROLE}"),
            format!("RoleArn={ROLE}&RoleSessionName=a b"),
            format!("RoleArn={ROLE}&RoleSessionName=me&DurationSeconds=899"),
            format!("RoleArn={ROLE}&RoleSessionName=me&DurationSeconds=3601"),
            "RoleArn=arn:aws:iam::1:role/app&RoleSessionName=me".to_string(),
        ] {
            assert_eq!(call(&mut state, "AssumeRole", &fields).unwrap_err().code, "ValidationError", "{fields}");
        }
        assert_eq!(call(&mut state, "GetFederationToken", "").unwrap_err().code, "InvalidAction");
    }

    #[test]
    fn an_external_id_is_demanded_where_one_is_set() {
        let external_ids = [(ROLE.to_string(), "secret".to_string())].into();
        let mut state = State::new(Options { external_ids, ..Options::default() });
        let fields = format!("RoleArn={ROLE}&RoleSessionName=me");
        assert_eq!(call(&mut state, "AssumeRole", &fields).unwrap_err().code, "AccessDenied");
        assert!(call(&mut state, "AssumeRole", &format!("{fields}&ExternalId=secret")).is_ok());
    }
}
