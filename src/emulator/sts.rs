//! STS's query protocol: `GetCallerIdentity`, `AssumeRole` and `AssumeRoleWithWebIdentity`, answered in XML. Pure: a
//! request and a time in, an answer out. Not who may assume what: every well-formed role may be, unless an external id is
//! demanded for it or a fault denies.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Bytes;

use super::answer::{Answer, Refusal, escape_xml};
use super::clock::{Millis, iso};
use super::keyring::{Holder, Issued};
use super::metadata::partition;
use super::operation::form;
use super::session::{LONGEST, LONGEST_CHAINED, SessionRequest};
use super::shared::State;

/// The one version of STS's API.
const VERSION: &str = "2011-06-15";

/// The action whose calls carry no signature.
pub(super) const WITH_WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

/// Answers a call of `action` by `caller`.
pub(super) fn answer(
    action: &str,
    request: &Request<Bytes>,
    caller: Option<&Issued>,
    state: &mut State,
    now: Millis,
    request_id: &str,
) -> Result<Answer, Refusal> {
    let field = |name: &str| form(request.body(), name).map(std::borrow::Cow::into_owned);
    if field("Version").as_deref() != Some(VERSION) {
        let version = field("Version").unwrap_or_default();
        return Err(invalid_action(action, &version));
    }
    let (result, note) = match (action, caller) {
        ("GetCallerIdentity", Some(caller)) => (caller_identity(caller), caller.arn.clone()),
        ("AssumeRole", Some(caller)) => assume_role(request.body(), caller, state, now)?,
        (WITH_WEB_IDENTITY, _) => with_web_identity(request.body(), state, now)?,
        (other, _) => return Err(invalid_action(other, VERSION)),
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

fn assume_role(body: &Bytes, caller: &Issued, state: &mut State, now: Millis) -> Result<(String, String), Refusal> {
    let (arn, target) = target(body, state)?;
    let asked = SessionRequest::read(body, LONGEST_CHAINED)?;
    if let Some(external_id) = state.options.external_ids.get(&arn)
        && asked.external_id.as_ref() != Some(external_id)
    {
        let text = format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}", caller.arn);
        return Err(Refusal::new("AccessDenied", text).status(403));
    }
    let lifetime = state.session_lifetime.unwrap_or(asked.duration_seconds * 1000);
    let issued = state.keyring.issue(&target.holder(&asked.session_name), now, lifetime);
    let identity = asked.source_identity.as_deref().map(|identity| element("SourceIdentity", identity));
    let result = assumed(&issued) + &identity.unwrap_or_default();
    state.counts.session(&arn, asked);
    Ok((result, issued.arn.clone()))
}

/// Not signed: the token is all that says who asks.
fn with_web_identity(body: &Bytes, state: &mut State, now: Millis) -> Result<(String, String), Refusal> {
    let (arn, target) = target(body, state)?;
    let asked = SessionRequest::read(body, LONGEST)?;
    let token = form(body, "WebIdentityToken").unwrap_or_default();
    if token.is_empty() || state.web_identity_token.as_deref().is_some_and(|known| known != token) {
        return Err(Refusal::new("InvalidIdentityToken", "The web identity token that was passed is not valid"));
    }
    let issued = state.keyring.issue(&target.holder(&asked.session_name), now, asked.duration_seconds * 1000);
    let result = assumed(&issued)
        + &element("SubjectFromWebIdentityToken", "emulated-subject")
        + &element("Audience", "sts.amazonaws.com")
        + &element("Provider", "arn:aws:iam::123456789012:oidc-provider/emulated");
    state.counts.session(&arn, asked);
    Ok((result, issued.arn.clone()))
}

/// The role that a call is for.
struct Target {
    partition: &'static str,
    account: String,
    role: String,
}

impl Target {
    fn holder<'a>(&'a self, session: &'a str) -> Holder<'a> {
        Holder { partition: self.partition, account: &self.account, role: &self.role, session }
    }
}

fn target(body: &Bytes, state: &State) -> Result<(String, Target), Refusal> {
    let arn = form(body, "RoleArn").unwrap_or_default().into_owned();
    let (partition, _) = partition(&state.options.region);
    let (account, role) = role_of(&arn, partition)
        .ok_or_else(|| invalid(format!("{arn} is invalid: a role's ARN is arn:{partition}:iam::ACCOUNT:role/NAME")))?;
    let target = Target { partition, account: account.to_owned(), role: role.to_owned() };
    Ok((arn, target))
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
        state.counts.role_call(ROLE);
        let caller = state.role_credentials(0).unwrap();
        let answer = answer(action, &request, Some(&caller), state, 0, "id")?;
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
    fn a_web_identity_needs_no_signature_and_the_right_token() {
        let mut state = State::new(Options::default());
        state.web_identity_token = Some("jwt".to_string());
        let fields = format!("RoleArn={ROLE}&RoleSessionName=me&WebIdentityToken=");
        let refused = call(&mut state, WITH_WEB_IDENTITY, &format!("{fields}other")).unwrap_err();
        assert_eq!(refused.code, "InvalidIdentityToken");
        let text = call(&mut state, WITH_WEB_IDENTITY, &format!("{fields}jwt")).unwrap();
        assert!(text.contains("<Arn>arn:aws:sts::123456789012:assumed-role/app/me</Arn>"), "{text}");
    }

    #[test]
    fn what_a_session_was_asked_for_with_is_kept() {
        let mut state = State::new(Options::default());
        let fields = format!("RoleArn={ROLE}&RoleSessionName=me&SourceIdentity=deployer");
        assert!(call(&mut state, "AssumeRole", &fields).unwrap().contains("<SourceIdentity>deployer</SourceIdentity>"));
        let role = &state.counts.roles[ROLE];
        assert_eq!((role.sessions, role.last.source_identity.as_deref()), (1, Some("deployer")));
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
