//! The look-alike of the metadata service, version 2: what an SDK that knows nothing else asks for its credentials, and
//! one role's instead of the instance's. Strict, and nothing but this; nothing is ever passed on to the real one.
//!
//! | request | answer |
//! |---|---|
//! | from a user that the role's rules do not name | 403 |
//! | PUT of a token under another path | 403 (a dated one) or 404 |
//! | PUT of a token with a lifetime missing or outside 1..=21600 s | 400 |
//! | another method than GET | 405 |
//! | GET without a token, with an expired one, or with another user's | 401 |
//! | GET of what is not there | 404 |
//! | GET of what is not known yet, or of credentials that have expired | 503 |

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::audit::DoorKind;
use super::desk::{Desk, Visit};
use super::http::{Answer, Asked, answer, document, refusal};
use super::tokens;
use crate::caller::Caller;
use crate::clock::{Clock, boot_time};
use crate::credentials::Role;
use crate::fault::Warning;
use crate::template::Names;

/// Where a token is had.
const TOKEN_PATH: &str = "/latest/api/token";

/// How long a token may live, in seconds.
const TTL: std::ops::RangeInclusive<u64> = 1..=21_600;

/// The header that asks for a lifetime, and tells what is left.
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// The header that shows a token.
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// So many tokens of one user: an SDK holds one, and many short programs of one user share the host.
const MOST_OF_ONE: usize = 256;

/// So many in all; one takes 100 bytes.
const MOST: usize = 4096;

/// SDKs take credentials of the metadata service for valid for a while after their end, when no others can be had
/// (botocore up to 25 minutes): with less life left than this, that would matter.
const SHORT_LIFE: SignedDuration = SignedDuration::from_mins(30);

/// Where the credentials are, below which the role's name and the document stand.
const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials";

/// What the look-alike remembers.
pub(super) struct LookAlike {
    clock: Clock,
    sessions: Mutex<VecDeque<Session>>,
    /// What was left of the last credentials that were handed out with little life left.
    short_lived: Mutex<Option<(String, SignedDuration)>>,
}

/// A token that was given out.
struct Session {
    token: Zeroizing<String>,
    uid: u32,
    ends: Duration,
}

impl LookAlike {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, sessions: Mutex::default(), short_lived: Mutex::default() }
    }

    /// Answers who calls.
    pub(super) async fn respond(&self, desk: &Desk, caller: &Caller, asked: Asked) -> Answer {
        let visit = Visit { door: DoorKind::Metadata, caller: Some(caller), has_token: false };
        let Some(role) = desk.metadata_role.as_deref().and_then(|name| desk.roles.named(name)) else {
            return error(StatusCode::NOT_FOUND);
        };
        if !desk.admits(visit, role) {
            return *desk.refuse(visit, role);
        }
        if asked.query.is_some() {
            return error(StatusCode::NOT_FOUND);
        }
        if asked.method == Method::PUT {
            return self.give(caller.uid, &asked);
        }
        let shown = asked.header(TOKEN_HEADER).and_then(|token| self.left(token, caller.uid, boot_time()));
        let mut answer = match (&asked.method, shown) {
            (&Method::GET, None) => return error(StatusCode::UNAUTHORIZED),
            (&Method::GET, Some(_)) => self.get(desk, visit, role, &asked.path).await,
            _ => return error(StatusCode::METHOD_NOT_ALLOWED),
        };
        if let Some(left) = shown {
            answer.headers_mut().insert(TTL_HEADER, HeaderValue::from(left.as_secs()));
        }
        answer
    }

    /// What a person should know.
    pub(super) fn warning(&self) -> Option<Warning> {
        let (role, left) = self.short_lived.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Warning {
            code: "metadata_short_life".to_owned(),
            message: format!(
                "the look-alike handed out credentials of the role {role} with {} min left, and SDKs use what they have \
                 from there for a while after its end when no others can be had",
                left.as_mins()
            ),
            hint: Some("give the role a longer duration, or let its clients use [endpoints.container]".to_owned()),
        })
    }

    fn give(&self, uid: u32, asked: &Asked) -> Answer {
        if asked.path != TOKEN_PATH {
            let is_dated = asked.path.ends_with("/api/token");
            return error(if is_dated { StatusCode::FORBIDDEN } else { StatusCode::NOT_FOUND });
        }
        let ttl = asked.header(TTL_HEADER).and_then(|text| text.parse().ok()).filter(|ttl| TTL.contains(ttl));
        let (Some(ttl), Ok(token)) = (ttl, tokens::random()) else { return error(StatusCode::BAD_REQUEST) };
        let mut answer = answer(StatusCode::OK, "text/plain", token.as_str().to_owned());
        answer.headers_mut().insert(TTL_HEADER, HeaderValue::from(ttl));
        self.keep(Session { token, uid, ends: boot_time() + Duration::from_secs(ttl) });
        answer
    }

    /// The oldest goes where there is no room: the user's own, if it is the user that has many.
    fn keep(&self, session: Session) {
        let mut sessions = self.sessions();
        let now = boot_time();
        sessions.retain(|session| session.ends > now);
        let of_one = |other: &Session| other.uid == session.uid;
        if sessions.iter().filter(|other| of_one(other)).count() >= MOST_OF_ONE
            && let Some(oldest) = sessions.iter().position(of_one)
        {
            sessions.remove(oldest);
        } else if sessions.len() >= MOST {
            sessions.pop_front();
        }
        sessions.push_back(session);
    }

    /// How long the token that `uid` shows is good for.
    fn left(&self, token: &str, uid: u32, now: Duration) -> Option<Duration> {
        let sessions = self.sessions();
        let is_it = |session: &&Session| bool::from(session.token.as_bytes().ct_eq(token.as_bytes()));
        let session = sessions.iter().find(is_it).filter(|session| session.uid == uid)?;
        session.ends.checked_sub(now).filter(|left| !left.is_zero())
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, VecDeque<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self, desk: &Desk, visit: Visit<'_>, role: &Role, path: &str) -> Answer {
        let name = |name: &str| known(&desk.names.borrow(), name);
        match path {
            "/latest/meta-data/placement/region" => name("region"),
            "/latest/meta-data/placement/availability-zone" => name("availability_zone"),
            "/latest/meta-data/instance-id" => name("instance_id"),
            "/latest/dynamic/instance-identity/document" => identity(&desk.names.borrow()),
            "/latest/meta-data/iam/info" => info(role, &self.clock),
            path => match path.strip_prefix(CREDENTIALS) {
                Some("" | "/") => answer(StatusCode::OK, "text/plain", role.name.clone()),
                Some(rest) if rest.strip_prefix('/') == Some(role.name.as_str()) => {
                    self.document(desk, visit, role).await
                }
                _ => error(StatusCode::NOT_FOUND),
            },
        }
    }

    async fn document(&self, desk: &Desk, visit: Visit<'_>, role: &Role) -> Answer {
        let issued = match desk.hand_out(visit, role, None).await {
            Ok(issued) => issued,
            Err(answer) => return *answer,
        };
        let now = self.clock.now();
        if let Some(left) = issued.expiration.map(|end| end.duration_since(now)).filter(|left| *left < SHORT_LIFE) {
            *self.short_lived.lock().unwrap_or_else(PoisonError::into_inner) = Some((role.name.clone(), left));
        }
        let mut body = json!({
            "Code": "Success",
            "LastUpdated": format!("{now:.0}"),
            "Type": "AWS-HMAC",
            "AccessKeyId": issued.credentials.access_key_id(),
            "SecretAccessKey": issued.credentials.secret_access_key(),
            "Token": issued.credentials.session_token(),
        });
        if let Some(end) = issued.expiration {
            body["Expiration"] = format!("{end:.0}").into();
        }
        document(&body)
    }
}

/// As of an instance profile that is called like the role, in the role's account.
fn info(role: &Role, clock: &Clock) -> Answer {
    let Some(arn) = role.cache.snapshot().arn else { return not_known("the role's account") };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, _, _, account, session] = parts[..] else { return not_known("the role's account") };
    let profile = session.split('/').nth(1).unwrap_or(&role.name);
    let body = json!({
        "Code": "Success",
        "LastUpdated": format!("{:.0}", clock.now()),
        "InstanceProfileArn": format!("arn:{partition}:iam::{account}:instance-profile/{profile}"),
        "InstanceProfileId": role.name,
    });
    document(&body)
}

/// A value of the instance as text.
fn known(names: &Names, name: &str) -> Answer {
    match names.get(name) {
        Some(value) => answer(StatusCode::OK, "text/plain", value.to_owned()),
        None => not_known(name),
    }
}

/// What is known of the instance, by the names that the identity document has for it.
fn identity(names: &Names) -> Answer {
    const KEYS: [(&str, &str); 7] = [
        ("accountId", "account_id"),
        ("availabilityZone", "availability_zone"),
        ("imageId", "image_id"),
        ("instanceId", "instance_id"),
        ("instanceType", "instance_type"),
        ("privateIp", "private_ip"),
        ("region", "region"),
    ];
    if names.get("instance_id").is_none() {
        return not_known("instance_id");
    }
    let known = KEYS.into_iter().filter_map(|(key, name)| Some((key.to_owned(), Value::from(names.get(name)?))));
    let mut body: Map<String, Value> = known.collect();
    body.insert("version".to_owned(), "2017-09-30".into());
    document(&Value::Object(body))
}

fn not_known(name: &str) -> Answer {
    let message = format!("{name} is not known yet: the metadata service has not told it");
    refusal(StatusCode::SERVICE_UNAVAILABLE, "NotReady", &message, None)
}

/// As the metadata service puts it: the status says all.
fn error(status: StatusCode) -> Answer {
    answer(status, "text/plain", status.canonical_reason().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn put(path: &str, ttl: Option<&str>) -> Asked {
        let mut headers = HeaderMap::new();
        if let Some(ttl) = ttl {
            headers.insert(TTL_HEADER, ttl.parse().unwrap());
        }
        Asked { method: Method::PUT, path: path.to_owned(), query: None, headers }
    }

    fn session(token: &str, uid: u32, ends: Duration) -> Session {
        Session { token: Zeroizing::new(token.to_owned()), uid, ends }
    }

    #[test]
    fn a_token_lives_as_long_as_was_asked_for_and_belongs_to_one_user() {
        let look_alike = LookAlike::new(Clock::system());
        let now = boot_time();
        look_alike.keep(session("one", 1000, now + Duration::from_mins(1)));
        assert_eq!(look_alike.left("one", 1000, now), Some(Duration::from_mins(1)));
        assert_eq!(look_alike.left("one", 1001, now), None);
        assert_eq!(look_alike.left("on", 1000, now), None);
        assert_eq!(look_alike.left("one", 1000, now + Duration::from_mins(1)), None);
    }

    #[test]
    fn only_a_lifetime_that_may_be_asked_for_is_given() {
        let look_alike = LookAlike::new(Clock::system());
        let status = |path, ttl| look_alike.give(1, &put(path, ttl)).status().as_u16();
        for (ttl, expected) in [
            (Some("1"), 200),
            (Some("21600"), 200),
            (Some("0"), 400),
            (Some("21601"), 400),
            (Some("x"), 400),
            (None, 400),
        ] {
            assert_eq!(status(TOKEN_PATH, ttl), expected, "{ttl:?}");
        }
        assert_eq!(status("/2021-01-03/api/token", Some("60")), 403);
        assert_eq!(status("/latest/api/tokens", Some("60")), 404);
    }

    #[test]
    fn the_oldest_token_goes_and_a_user_with_many_loses_its_own() {
        let look_alike = LookAlike::new(Clock::system());
        let ends = boot_time() + Duration::from_mins(1);
        look_alike.keep(session("other", 7, ends));
        for n in 0..=MOST_OF_ONE {
            look_alike.keep(session(&format!("t{n}"), 1000, ends));
        }
        let is_there = |token: &str, uid| look_alike.left(token, uid, boot_time()).is_some();
        assert!(is_there("other", 7) && !is_there("t0", 1000) && is_there("t1", 1000));
        for uid in 0..u32::try_from(MOST).unwrap() {
            look_alike.keep(session("x", 10_000 + uid, ends));
        }
        assert!(!is_there("other", 7));
        assert!(look_alike.sessions().len() <= MOST);
    }
}
