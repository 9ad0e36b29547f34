//! Signature Version 4, recomputed: who signed this request, and is it theirs? Written from AWS's description ("Create
//! a signed AWS API request", IAM User Guide), not from an SDK's code. Not what the caller may do.
//!
//! | found | JSON services say | STS says |
//! |---|---|---|
//! | no signature | `MissingAuthenticationTokenException` | `MissingAuthenticationToken` |
//! | one that can't be read, or is scoped elsewhere | `IncompleteSignatureException`, `InvalidSignatureException` | `IncompleteSignature`, `SignatureDoesNotMatch` |
//! | a key that was not issued, or not with this session token | `UnrecognizedClientException` | `InvalidClientTokenId` |
//! | a date more than five minutes off | `InvalidSignatureException` | `SignatureDoesNotMatch` |
//! | another signature than the key makes | `InvalidSignatureException` | `SignatureDoesNotMatch` |
//! | credentials past their end | `ExpiredTokenException` | `ExpiredToken` |

use std::fmt::Write as _;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use hyper::Request;
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::answer::Refusal;
use super::clock::{Millis, basic, parse_basic};
use super::keyring::Issued;
use super::operation::header;

/// How far a signature's date may be off (AWS: five minutes either way).
const TOLERANCE: i64 = 5 * 60 * 1000;

/// RFC 3986's unreserved characters stay as they are, as `SigV4`'s `UriEncode` demands.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a signature must be scoped to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    /// `sts` or `logs`.
    pub(super) service: &'a str,
}

impl Scope<'_> {
    /// The refusal in the service's own words.
    fn refuse(self, fault: &Fault) -> Refusal {
        let sts = self.service == "sts";
        let (json, query, text): (_, _, &str) = match fault {
            Fault::Missing => {
                ("MissingAuthenticationTokenException", "MissingAuthenticationToken", "Missing Authentication Token")
            }
            Fault::Unreadable(text) => ("IncompleteSignatureException", "IncompleteSignature", text),
            Fault::Unknown => (
                "UnrecognizedClientException",
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            ),
            Fault::Invalid(text) => ("InvalidSignatureException", "SignatureDoesNotMatch", text),
            Fault::Expired => {
                ("ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired")
            }
        };
        Refusal::new(if sts { query } else { json }, text).status(if sts { 403 } else { 400 })
    }

    /// The refusal of credentials that are past their end.
    pub(super) fn expired(self) -> Refusal {
        self.refuse(&Fault::Expired)
    }
}

enum Fault {
    Missing,
    Unreadable(String),
    Unknown,
    Invalid(String),
    Expired,
}

/// Finds out who signed `request`. `find` gives the credentials behind an access key id.
///
/// # Errors
/// As in the table above.
pub(super) fn verify(
    request: &Request<Bytes>,
    scope: Scope<'_>,
    now: Millis,
    find: impl FnOnce(&str) -> Option<Arc<Issued>>,
) -> Result<Arc<Issued>, Refusal> {
    check(request, scope, now, find).map_err(|fault| scope.refuse(&fault))
}

fn check(
    request: &Request<Bytes>,
    scope: Scope<'_>,
    now: Millis,
    find: impl FnOnce(&str) -> Option<Arc<Issued>>,
) -> Result<Arc<Issued>, Fault> {
    let authorization = header(request, "authorization").ok_or(Fault::Missing)?;
    let claim = Claim::parse(authorization)?;
    let amz_date = header(request, "x-amz-date")
        .ok_or_else(|| Fault::Unreadable("Authorization header requires existence of 'X-Amz-Date' header.".into()))?;
    for name in ["host", "x-amz-date"] {
        if !claim.signed_headers.split(';').any(|signed| signed == name) {
            return Err(Fault::Invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
    }
    claim.check_scope(scope, amz_date)?;
    let issued = find(claim.key_id).ok_or(Fault::Unknown)?;
    if header(request, "x-amz-security-token") != Some(issued.token.as_str()) {
        return Err(Fault::Unknown);
    }
    check_date(amz_date, now)?;
    if claim.signature != signature(request, &claim, amz_date, &issued.secret) {
        return Err(Fault::Invalid(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details."
                .into(),
        ));
    }
    if issued.revoked || now >= issued.expires_at {
        return Err(Fault::Expired);
    }
    Ok(issued)
}

fn check_date(amz_date: &str, now: Millis) -> Result<(), Fault> {
    let signed = parse_basic(amz_date)
        .ok_or_else(|| Fault::Unreadable(format!("Date must be in ISO-8601 'basic format'. Got '{amz_date}'.")))?;
    let server = basic(now);
    if signed < now - TOLERANCE {
        let limit = basic(now - TOLERANCE);
        return Err(Fault::Invalid(format!(
            "Signature expired: {amz_date} is now earlier than {limit} ({server} - 5 min.)"
        )));
    }
    if signed > now + TOLERANCE {
        let limit = basic(now + TOLERANCE);
        return Err(Fault::Invalid(format!(
            "Signature not yet current: {amz_date} is still later than {limit} ({server} + 5 min.)"
        )));
    }
    Ok(())
}

/// What the `Authorization` header claims.
struct Claim<'a> {
    key_id: &'a str,
    /// `20261122/eu-west-1/logs/aws4_request`
    scope: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(authorization: &'a str) -> Result<Self, Fault> {
        let unreadable = |part: &str| Fault::Unreadable(format!("Authorization header requires '{part}' parameter."));
        let parts = authorization.strip_prefix("AWS4-HMAC-SHA256").ok_or_else(|| unreadable("Credential"))?;
        let part = |name: &str| {
            let found = parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| unreadable(name))
        };
        let (key_id, scope) = part("Credential")?.split_once('/').ok_or_else(|| unreadable("Credential"))?;
        Ok(Self { key_id, scope, signed_headers: part("SignedHeaders")?, signature: part("Signature")? })
    }

    fn check_scope(&self, expected: Scope<'_>, amz_date: &str) -> Result<(), Fault> {
        let wrong = |text: String| Err(Fault::Invalid(text));
        let mut parts = self.scope.split('/');
        let mut next = || parts.next().unwrap_or_default();
        let (date, region, service, end) = (next(), next(), next(), next());
        if date != amz_date.split('T').next().unwrap_or_default() {
            return wrong("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.".into());
        }
        if region != expected.region {
            return wrong(format!("Credential should be scoped to a valid region, not '{region}'."));
        }
        if service != expected.service {
            return wrong(format!("Credential should be scoped to correct service: '{}'.", expected.service));
        }
        if end != "aws4_request" || parts.next().is_some() {
            return wrong("Credential should be scoped with a valid terminator: 'aws4_request'.".into());
        }
        Ok(())
    }
}

/// The signature that `secret` makes of this request, as hexadecimal digits.
fn signature(request: &Request<Bytes>, claim: &Claim<'_>, amz_date: &str, secret: &str) -> String {
    let canonical = canonical_request(request, claim.signed_headers);
    let to_sign = format!("AWS4-HMAC-SHA256\n{amz_date}\n{}\n{}", claim.scope, hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in claim.scope.split('/') {
        key = hmac(&key, part);
    }
    hex(&hmac(&key, &to_sign))
}

fn canonical_request(request: &Request<Bytes>, signed_headers: &str) -> String {
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method(),
        // Both services have the one path `/`; whatever else is asked for would not be theirs.
        request.uri().path(),
        canonical_query(request.uri().query().unwrap_or_default()),
    );
    for name in signed_headers.split(';') {
        let values: Vec<String> = request.headers().get_all(name).iter().map(canonical_value).collect();
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    let _ = write!(text, "\n{signed_headers}\n{}", hex(&Sha256::digest(request.body())));
    text
}

/// A header's value without the spaces round it, and one where there are several.
fn canonical_value(value: &hyper::header::HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(canonical_pair).collect();
    pairs.sort();
    pairs.join("&")
}

fn canonical_pair(pair: &str) -> String {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let [name, value] = [name, value].map(|part| percent_decode_str(part).decode_utf8_lossy());
    format!("{}={}", utf8_percent_encode(&name, RESERVED), utf8_percent_encode(&value, RESERVED))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
