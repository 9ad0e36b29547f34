//! The door `credentials.sock`: who may have the role gets it, by whom the kernel says it is. Not the commands that ask
//! here.
//!
//! | request | answer |
//! |---|---|
//! | `GET /base[?wait=SECONDS]`, `GET /role/NAME[?wait=SECONDS]` | 200 and the credentials |
//! | `POST /refresh[?role=NAME][&token=true]` | 200 once others were fetched, or the token is another one; for root, too |
//! | `GET /who` | 200 and who had what lately; others' for root and the group of the daemon only |
//! | not allowed | 403, whom the caller was taken for, and what it may have |
//! | a role that is not there | 404 and those that are, for who may have one of them; else 403 |
//! | nothing valid to be had | 503, the reason and the cure |

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::GROUP;
use super::audit::DoorKind;
use super::desk::{Desk, Visit, not_ready};
use super::http::{Answer, Asked, answer, document, refusal};
use crate::caller::Caller;
use crate::credentials::{Issued, Role};

/// The longest that one request waits; who has more patience asks again. A waiting one holds a connection.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// How long a refresh that was asked for may take: one fetch, with all that it may try.
const REFRESH: Duration = Duration::from_secs(25);

/// So much of what was asked for is repeated: more than the longest name of a role.
const LONGEST_NAME: usize = 64;

/// What a query says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    wait: Option<Duration>,
    role: Option<String>,
    token: bool,
}

/// Answers who calls.
pub(super) async fn respond(desk: &Desk, caller: &Caller, asked: Asked) -> Answer {
    let visit = Visit { door: DoorKind::Unix, caller: Some(caller), has_token: false };
    let query = match Query::of(asked.query.as_deref()) {
        Ok(query) => query,
        Err(word) => return bad_request(&format!("the query's {word:?} is not understood")),
    };
    let answer = match (&asked.method, asked.path.as_str()) {
        (&Method::GET, "/who") => return who(desk, caller),
        (&Method::GET, "/base") => hand_out(desk, visit, desk.roles.base(), query.wait).await,
        (&Method::GET, path) if path.starts_with("/role/") => {
            match find(desk, visit, path.trim_start_matches("/role/")) {
                Ok(role) => hand_out(desk, visit, role, query.wait).await,
                Err(answer) => Err(answer),
            }
        }
        (&Method::POST, "/refresh") => {
            match query.role.as_deref().map_or(Ok(desk.roles.base()), |name| find(desk, visit, name)) {
                Ok(role) => refresh(desk, visit, role, query.token).await,
                Err(answer) => Err(answer),
            }
        }
        _ => Err(Box::new(refusal(StatusCode::NOT_FOUND, "NotFound", "there is nothing of that name here", None))),
    };
    answer.unwrap_or_else(|answer| *answer)
}

impl Query {
    /// What `text` says, or the first word of it that says nothing here. Nothing in it needs an escape.
    fn of(text: Option<&str>) -> Result<Self, &str> {
        let mut query = Self::default();
        for word in text.into_iter().flat_map(|text| text.split('&')).filter(|word| !word.is_empty()) {
            match word.split_once('=').ok_or(word)? {
                ("wait", seconds) => {
                    let wait = Duration::from_secs(seconds.parse().map_err(|_| word)?);
                    query.wait = Some(wait.min(LONGEST_WAIT));
                }
                ("role", name) => query.role = Some(name.to_owned()),
                ("token", "true") => query.token = true,
                ("token", "false") => query.token = false,
                _ => return Err(word),
            }
        }
        Ok(query)
    }
}

/// The role called `name`. Only who may have something learns which there are.
fn find<'d>(desk: &'d Desk, visit: Visit<'_>, name: &str) -> Result<&'d Role, Box<Answer>> {
    if let Some(role) = desk.roles.named(name) {
        return Ok(role);
    }
    let name: String = name.chars().take(LONGEST_NAME).collect();
    if desk.allowed(visit).is_empty() {
        let who = visit.caller.map(ToString::to_string).unwrap_or_default();
        let message = format!("the role {name} is not for you, nor is any other: you are {who}");
        return Err(desk.turn_away(visit, &name, &message));
    }
    let names: Vec<&str> = desk.roles.all().map(|role| role.name.as_str()).collect();
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let message = format!("there is no role {name}; there is: {there}");
    Err(Box::new(refusal(StatusCode::NOT_FOUND, "RoleNotFound", &message, Some("a [[role]] table declares one"))))
}

async fn hand_out(desk: &Desk, visit: Visit<'_>, role: &Role, wait: Option<Duration>) -> Result<Answer, Box<Answer>> {
    let issued = desk.hand_out(visit, role, wait).await?;
    let mut body = keys(&issued);
    if let Some(region) = desk.names.borrow().get("region") {
        body["Region"] = region.into();
    }
    // The base credentials are for this door only.
    if let Some(address) = desk.container.filter(|_| desk.roles.named(&role.name).is_some()) {
        body["Endpoint"] = format!("http://{address}/role/{}", role.name).into();
        body["TokenFile"] = desk.tokens.path(&role.name).to_string_lossy().into();
    }
    Ok(document(&body))
}

/// The credentials by the names that the container protocol has for them. What is not known is left out.
pub(super) fn keys(issued: &Issued) -> Value {
    let credentials = &issued.credentials;
    let mut body = json!({
        "AccessKeyId": credentials.access_key_id(),
        "SecretAccessKey": credentials.secret_access_key(),
    });
    let others = [
        ("Token", credentials.session_token().map(str::to_owned)),
        ("Expiration", issued.expiration.map(|end| format!("{end:.0}"))),
        ("RoleArn", issued.role_arn.clone()),
        ("AccountId", issued.account_id.clone()),
    ];
    for (name, value) in others {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    body
}

async fn refresh(desk: &Desk, visit: Visit<'_>, role: &Role, token: bool) -> Result<Answer, Box<Answer>> {
    // Nothing is handed out by it, so whoever runs the machine may, too.
    if !visit.caller.is_some_and(is_root) && !desk.admits(visit, role) {
        return Err(desk.refuse(visit, role));
    }
    if token {
        if desk.roles.named(&role.name).is_none() {
            return Err(Box::new(bad_request("the base role has no token: only named roles have one")));
        }
        if let Err(error) = desk.tokens.rotate(role, &desk.directory.accounts()) {
            let message = crate::fault::chain(&error);
            return Err(Box::new(refusal(StatusCode::INTERNAL_SERVER_ERROR, "TokenNotRotated", &message, None)));
        }
        tracing::info!(role = role.name, uid = visit.caller.map(|caller| caller.uid), "a token was rotated");
        return Ok(document(&json!({ "Role": role.name, "TokenRotated": true })));
    }
    match tokio::time::timeout(REFRESH, role.cache.refresh_now()).await {
        Ok(Ok(issued)) => {
            let expiration = issued.expiration.map(|end| format!("{end:.0}"));
            Ok(document(&json!({ "Role": role.name, "Expiration": expiration })))
        }
        Ok(Err(error)) => Err(Box::new(not_ready(&error))),
        Err(_) => {
            let message = format!("no others came within {} s", REFRESH.as_secs());
            Err(Box::new(refusal(StatusCode::SERVICE_UNAVAILABLE, "NotReady", &message, None)))
        }
    }
}

/// Root and the group see everything, others what they had themselves.
fn who(desk: &Desk, caller: &Caller) -> Answer {
    let accounts = desk.directory.accounts();
    let in_group = accounts.group(GROUP).is_some_and(|gid| caller.gids.contains(&gid));
    let sees_all = is_root(caller) || in_group && caller.is_known && caller.container.is_none();
    let entries = desk.audit.recent((!sees_all).then_some(caller.uid));
    answer(StatusCode::OK, "application/json", serde_json::to_vec(&entries).unwrap_or_default())
}

/// Whether it is this machine's root who calls, not a container's.
fn is_root(caller: &Caller) -> bool {
    caller.uid == 0 && caller.is_known && caller.container.is_none()
}

fn bad_request(message: &str) -> Answer {
    refusal(StatusCode::BAD_REQUEST, "BadRequest", message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_long_which_and_whether_and_nothing_else() {
        assert_eq!(Query::of(None), Ok(Query::default()));
        let query = Query::of(Some("wait=30&role=app&token=true")).unwrap();
        assert_eq!(query, Query { wait: Some(Duration::from_secs(30)), role: Some("app".to_owned()), token: true });
        assert_eq!(Query::of(Some("wait=99999999999")).unwrap().wait, Some(LONGEST_WAIT));
        for text in ["wait=soon", "wait", "wait=-1", "token=yes", "other=1"] {
            assert_eq!(Query::of(Some(text)), Err(text));
        }
    }
}
