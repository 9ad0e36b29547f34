//! The container protocol over HTTP, which every SDK speaks: `GET /role/NAME` with the role's token, from a user of this
//! host that the role's rules name. Not the base role, and not the address that only a token guards: whether there is
//! a caller to be asked about is the listener's.

use hyper::{Method, StatusCode};

use super::audit::DoorKind;
use super::desk::{Desk, Visit};
use super::http::{Answer, Asked, document, refusal};
use super::unix::keys;
use crate::caller::Caller;

/// Answers who calls, who is `None` where the token alone decides.
pub(super) async fn respond(desk: &Desk, caller: Option<&Caller>, asked: Asked) -> Answer {
    let visit = Visit { door: DoorKind::Container, caller, has_token: false };
    let Some(name) = asked.path.strip_prefix("/role/").filter(|_| asked.query.is_none()) else {
        let message = "there is nothing of that name here; a role is at /role/NAME";
        return refusal(StatusCode::NOT_FOUND, "NotFound", message, None);
    };
    if asked.method != Method::GET {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "only GET is answered here", None);
    }
    let shown = asked.header("authorization").unwrap_or_default();
    match desk.roles.named(name) {
        Some(role) if desk.tokens.opens(&role.name, shown) => {
            match desk.hand_out(Visit { has_token: true, ..visit }, role, None).await {
                Ok(issued) => document(&keys(&issued)),
                Err(answer) => *answer,
            }
        }
        Some(role) => {
            let reason = if shown.is_empty() { "no token was shown" } else { "the token shown is not the role's" };
            desk.count_refusal(visit, role, reason.to_owned());
            no_token(desk, name)
        }
        // Who has a token of another role may hear that this one is not there; others can't tell it from one that is.
        None => match desk.tokens.role_of(shown).filter(|_| !shown.is_empty()) {
            Some(other) => {
                let message = format!("there is no role of that name; the token shown is that of {other}");
                refusal(StatusCode::NOT_FOUND, "RoleNotFound", &message, None)
            }
            None => no_token(desk, name),
        },
    }
}

/// The same for every name, whether there is such a role or not.
fn no_token(desk: &Desk, name: &str) -> Answer {
    let plain = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let path = desk.tokens.path(if plain { name } else { "NAME" });
    let message = "the Authorization header does not hold the token of this role";
    let hint = format!("set AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={}", path.display());
    refusal(StatusCode::FORBIDDEN, "AccessDenied", message, Some(&hint))
}
