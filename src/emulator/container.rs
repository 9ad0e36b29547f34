//! The endpoint that serves a container its task's credentials, as ECS's agent and others do: `GET` of a path with the
//! token in `Authorization`. Pure: a request and a time in, an answer out. Others are issued at each request.

use hyper::body::Bytes;
use hyper::{Method, Request};
use serde_json::json;

use super::answer::{Answer, Refusal};
use super::clock::{Millis, iso};
use super::keyring::Holder;
use super::metadata::partition;
use super::operation::header;
use super::shared::State;

/// What the paths of ECS's agent begin with.
pub(super) const PREFIX: &str = "/v2/credentials/";

/// The one path behind it that is served.
pub(super) const NAME: &str = "emulated";

/// Answers a request below [`PREFIX`].
pub(super) fn answer(request: &Request<Bytes>, state: &mut State, now: Millis) -> Answer {
    credentials(request, state, now).unwrap_or_else(|refusal| {
        let body = json!({ "code": refusal.code, "message": refusal.message }).to_string();
        let mut answer = Answer::new(refusal.status, "application/json", body);
        answer.code = Some(refusal.code.into_owned());
        answer.note = refusal.message;
        answer
    })
}

fn credentials(request: &Request<Bytes>, state: &mut State, now: Millis) -> Result<Answer, Refusal> {
    if request.method() != Method::GET || request.uri().path() != format!("{PREFIX}{NAME}") {
        return Err(Refusal::new("InvalidIdInRequest", "no credentials for this id").status(404));
    }
    if let Some(token) = &state.container_token
        && header(request, "authorization") != Some(token)
    {
        return Err(Refusal::new("AccessDeniedException", "the Authorization header is not the token").status(403));
    }
    let role = state.container_role.clone();
    let (partition, _) = partition(&state.options.region);
    let account = state.options.account_id.clone();
    let holder = Holder { partition, account: &account, role: &role, session: "emulated-task" };
    let issued = state.keyring.issue(&holder, now, state.credentials_lifetime);
    let body = json!({
        "RoleArn": format!("arn:{partition}:iam::{account}:role/{role}"),
        "AccessKeyId": issued.key_id,
        "SecretAccessKey": issued.secret,
        "Token": issued.token,
        "Expiration": iso(issued.expires_at),
    });
    let mut answer = Answer::new(200, "application/json", body.to_string());
    answer.note.clone_from(&issued.arn);
    Ok(answer)
}
