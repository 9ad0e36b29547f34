//! IMDSv2 as EC2 runs it: tokens first, then the tree. Pure: a request and a time in, an answer out.
//!
//! | request | answer |
//! |---|---|
//! | anything while IMDS is off | 403 |
//! | PUT of a token under a dated path, or with `X-Forwarded-For` | 403 |
//! | PUT of a token with a lifetime missing or outside 1..=21600 s | 400 |
//! | another method than GET or HEAD | 405 |
//! | GET without a token (unless v1 is allowed), with an expired or an unknown one | 401 |
//! | GET of what is not there | 404 |
//!
//! Each answer closes its connection.

use hyper::body::Bytes;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;

use super::answer::Answer;
use super::clock::{Millis, http_date, iso};
use super::keyring::{Issued, imds_token, role_id};
use super::metadata::{self, Found};
use super::operation::{Operation, header};
use super::shared::State;

/// Six hours, the longest life of a token (EC2 User Guide, "Use IMDSv2").
const LONGEST_TTL: u32 = 21_600;

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// The API's versions that `GET /` lists: the first, one of today, and the newest.
const VERSIONS: &str = "1.0\n2021-03-23\nlatest";

/// Answers a request to the metadata service.
pub(super) fn answer(request: &Request<Bytes>, state: &mut State, now: Millis) -> Answer {
    let answered = if state.imds_off {
        Err(403)
    } else if Operation::of(request) == Operation::Token {
        put_token(request, state, now)
    } else {
        get(request, state, now)
    };
    let mut answer = answered.unwrap_or_else(refuse);
    answer.note = request.uri().path().to_string();
    answer.header("server", "EC2ws").header("connection", "close")
}

fn put_token(request: &Request<Bytes>, state: &mut State, now: Millis) -> Result<Answer, u16> {
    let asked = header(request, TTL).and_then(|text| text.parse::<u32>().ok());
    if let Some(seconds) = asked {
        *state.counts.token_ttls.entry(seconds).or_default() += 1;
    }
    if request.uri().path() != "/latest/api/token" || request.headers().contains_key("x-forwarded-for") {
        return Err(403);
    }
    let seconds = asked.filter(|seconds| (1..=LONGEST_TTL).contains(seconds)).ok_or(400_u16)?;
    state.tokens.retain(|_, expires_at| *expires_at > now);
    let token = imds_token();
    state.tokens.insert(token.clone(), now + i64::from(seconds) * 1000);
    Ok(Answer::new(200, "text/plain", token).header(TTL, seconds.to_string()))
}

fn get(request: &Request<Bytes>, state: &mut State, now: Millis) -> Result<Answer, u16> {
    let token = header(request, TOKEN);
    state.counts.metadata(request.uri().path(), token.is_some());
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return Err(405);
    }
    let expires_at = match token {
        Some(token) => Some(*state.tokens.get(token).filter(|expires_at| **expires_at > now).ok_or(401_u16)?),
        None if state.imds_v1 => None,
        None => return Err(401),
    };
    let mut answer = read(request.uri().path(), state, now).ok_or(404_u16)?;
    if let Some(expires_at) = expires_at {
        answer = answer.header(TTL, ((expires_at - now) / 1000).to_string());
    }
    Ok(answer.header("last-modified", http_date(now)).header("accept-ranges", "none"))
}

/// What is at `path`; `None`: nothing.
fn read(path: &str, state: &mut State, now: Millis) -> Option<Answer> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let below_root = path.trim_start_matches('/');
    if below_root.is_empty() {
        return Some(Answer::new(200, "text/plain", VERSIONS));
    }
    let (version, path) = below_root.split_once('/').unwrap_or((below_root, ""));
    if !is_version(version) {
        return None;
    }
    if let Some(role) = path.strip_prefix("meta-data/iam/security-credentials/")
        && state.role_name.as_deref() == Some(role)
    {
        let issued = state.role_credentials(now)?;
        let document = credentials_document(&issued);
        return Some(Answer::new(200, "text/plain", document));
    }
    let mut leaves = state.leaves.clone();
    if let Some(role) = &state.role_name {
        leaves.insert("meta-data/iam/info".into(), iam_info(state, role, now));
        // Only its name shows here; the document is made above, when it is asked for.
        leaves.insert(format!("meta-data/iam/security-credentials/{role}"), String::new());
    }
    let content_type = if path.starts_with("user-data") { "application/octet-stream" } else { "text/plain" };
    metadata::find(&leaves, path).map(|found| match found {
        Found::Leaf(text) | Found::Listing(text) => Answer::new(200, content_type, text),
    })
}

/// `latest`, `1.0`, or a date: `2021-03-23`.
fn is_version(text: &str) -> bool {
    let dated = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    dated || VERSIONS.split('\n').any(|version| version == text)
}

fn iam_info(state: &State, role: &str, now: Millis) -> String {
    let options = &state.options;
    let (partition, _) = metadata::partition(&options.region);
    let document = serde_json::json!({
        "Code": "Success",
        "LastUpdated": iso(state.keyring.served().map_or(now, |issued| issued.issued_at)),
        "InstanceProfileArn": format!("arn:{partition}:iam::{}:instance-profile/{role}", options.account_id),
        "InstanceProfileId": role_id(role).replacen("AROA", "AIPA", 1),
    });
    format!("{document:#}")
}

fn credentials_document(issued: &Issued) -> String {
    let document = serde_json::json!({
        "Code": "Success",
        "LastUpdated": iso(issued.issued_at),
        "Type": "AWS-HMAC",
        "AccessKeyId": issued.key_id,
        "SecretAccessKey": issued.secret,
        "Token": issued.token,
        "Expiration": iso(issued.expires_at),
    });
    format!("{document:#}")
}

/// An error as EC2 words it: a page of HTML.
fn refuse(status: u16) -> Answer {
    let reason = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        _ => "Method Not Allowed",
    };
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 \
         Transitional//EN\"\n\t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n <head>\n  \
         <title>{status} - {reason}</title>\n </head>\n <body>\n  <h1>{status} - {reason}</h1>\n </body>\n</html>\n"
    );
    let mut answer = Answer::new(status, "text/html", page);
    answer.code = Some(status.to_string());
    if status == 405 { answer.header("allow", "GET, HEAD, PUT") } else { answer }
}

#[cfg(test)]
mod tests {
    use super::super::answer::ReplyBody;
    use super::super::options::Options;
    use super::*;

    const NOON: Millis = 1_795_348_800_000;

    fn ask(state: &mut State, now: Millis, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(&request.body(Bytes::new()).unwrap(), state, now)
    }

    fn text(answer: &Answer) -> String {
        let ReplyBody::Whole(body) = &answer.body else { panic!("a whole body") };
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn token(state: &mut State, ttl: &str) -> String {
        text(&ask(state, NOON, "PUT", "/latest/api/token", &[(TTL, ttl)]))
    }

    fn state() -> State {
        State::new(Options::default())
    }

    #[test]
    fn a_token_lives_between_a_second_and_six_hours() {
        let mut state = state();
        for (ttl, status) in [("1", 200), ("21600", 200), ("0", 400), ("21601", 400), ("-1", 400), ("six", 400)] {
            assert_eq!(ask(&mut state, NOON, "PUT", "/latest/api/token", &[(TTL, ttl)]).status, status, "{ttl}");
        }
        assert_eq!(ask(&mut state, NOON, "PUT", "/latest/api/token", &[]).status, 400);
        let answer = ask(&mut state, NOON, "PUT", "/latest/api/token", &[(TTL, "60")]);
        assert!(answer.headers.contains(&(TTL, "60".into())));
        assert!(answer.headers.contains(&("connection", "close".into())));
        assert_eq!(state.counts.token_ttls[&60], 1);
    }

    #[test]
    fn a_dated_path_or_a_forwarded_request_gets_no_token() {
        let mut state = state();
        assert_eq!(ask(&mut state, NOON, "PUT", "/2021-03-23/api/token", &[(TTL, "60")]).status, 403);
        let forwarded = [(TTL, "60"), ("x-forwarded-for", "10.0.0.1")];
        assert_eq!(ask(&mut state, NOON, "PUT", "/latest/api/token", &forwarded).status, 403);
    }

    #[test]
    fn a_get_needs_a_token_that_is_known_and_not_expired() {
        let mut state = state();
        let path = "/latest/meta-data/instance-id";
        assert_eq!(ask(&mut state, NOON, "GET", path, &[]).status, 401);
        assert_eq!(state.counts.metadata_without_token, 1);
        assert_eq!(ask(&mut state, NOON, "GET", path, &[(TOKEN, "guessed")]).status, 401);
        let token = token(&mut state, "60");
        let answer = ask(&mut state, NOON + 59_000, "GET", path, &[(TOKEN, &token)]);
        assert_eq!((answer.status, text(&answer).as_str()), (200, "i-0e00000000000e001"));
        assert!(answer.headers.contains(&(TTL, "1".into())));
        assert_eq!(ask(&mut state, NOON + 60_000, "GET", path, &[(TOKEN, &token)]).status, 401);
    }

    #[test]
    fn the_role_leads_to_its_credentials() {
        let mut state = state();
        let token = token(&mut state, "60");
        let mut get = |path: &str| {
            let answer = ask(&mut state, NOON, "GET", path, &[(TOKEN, &token)]);
            (answer.status, text(&answer))
        };
        let directory = "/latest/meta-data/iam/security-credentials/";
        assert_eq!(get(directory), (200, "emulated-role".into()));
        assert_eq!(get("/latest/meta-data/iam/"), (200, "info\nsecurity-credentials/".into()));
        let (_, document) = get(&format!("{directory}emulated-role"));
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["Code"], "Success");
        assert_eq!(document["Expiration"], "2026-11-22T18:00:00Z");
        assert!(document["AccessKeyId"].as_str().unwrap().starts_with("ASIA"));
        assert_eq!(get(&format!("{directory}other")).0, 404);
    }

    #[test]
    fn without_a_profile_there_is_no_iam_subtree_and_off_is_off() {
        let mut state = state();
        let token = token(&mut state, "60");
        state.role_name = None;
        assert_eq!(ask(&mut state, NOON, "GET", "/latest/meta-data/iam/", &[(TOKEN, &token)]).status, 404);
        state.imds_off = true;
        assert_eq!(ask(&mut state, NOON, "PUT", "/latest/api/token", &[(TTL, "60")]).status, 403);
    }

    #[test]
    fn keys_of_tags_may_hold_what_urls_may_not() {
        let mut state = state();
        state.leaves.insert("meta-data/tags/instance/Cost Centre".into(), "42".into());
        let token = token(&mut state, "60");
        let path = "/latest/meta-data/tags/instance/Cost%20Centre";
        assert_eq!(text(&ask(&mut state, NOON, "GET", path, &[(TOKEN, &token)])), "42");
    }
}
