//! What AWS's sentence comes wrapped in: the lines of the AWS CLI and of each SDK, JSON and XML bodies, records of
//! `CloudTrail`. Out come the error's code, the operation and the message. Pure. Not what they mean.

use serde_json::Value;

use super::codes;

/// An error, unwrapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) code: Option<String>,
    /// As the SDK calls it: `CloudWatch Logs`, `AWSLogs`, `logs`.
    pub(super) service: Option<String>,
    pub(super) operation: Option<String>,
    /// Who called, where it stands beside the message.
    pub(super) caller: Option<String>,
    pub(super) message: String,
}

/// How many braces are tried as the beginning of JSON: bodies stand at a text's end, after an SDK's few words.
const MOST_BRACES: usize = 16;

/// How deep an error may stand in JSON: `{"Records": [{"Error": {"Code": …}}]}`.
const DEEPEST: usize = 3;

/// Unwraps `text`, whose whitespace is single spaces.
pub(super) fn read(text: &str) -> Said {
    let said = json(text).or_else(|| xml(text)).unwrap_or_else(|| plain(text));
    let code = said.code.or_else(|| codes::find(text).map(str::to_owned));
    let message = if said.message.is_empty() { text.to_owned() } else { said.message };
    Said { code, message, ..said }
}

/// A JSON body, or a record of `CloudTrail`.
fn json(text: &str) -> Option<Said> {
    let braces = text.match_indices('{').take(MOST_BRACES);
    braces.map(|(at, _)| &text[at..]).find_map(|text| {
        let value = serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok()?;
        error_in(&value, DEEPEST)
    })
}

fn error_in(value: &Value, depth: usize) -> Option<Said> {
    let text = |names: &[&str]| names.iter().find_map(|name| value.get(name)?.as_str().map(str::to_owned));
    let code = text(&["__type", "errorCode", "Code", "code", "error_code"]);
    let message = text(&["message", "Message", "errorMessage", "error_message"]);
    if code.is_none() && message.is_none() {
        let value = if let Value::Array(values) = value { values.first()? } else { value };
        let inner = ["Error", "error", "Errors", "Records", "detail"].iter().find_map(|name| value.get(name));
        let inner = inner.or_else(|| value.get("errorCode").map(|_| value))?;
        return error_in(inner, depth.checked_sub(1)?);
    }
    Some(Said {
        code: code.map(|code| name_of(&code)),
        // `logs.amazonaws.com`
        service: text(&["eventSource"]).map(|host| host.split('.').next().unwrap_or_default().to_owned()),
        operation: text(&["eventName"]),
        caller: value.pointer("/userIdentity/arn").and_then(Value::as_str).map(str::to_owned),
        message: message.unwrap_or_default(),
    })
}

/// `com.amazonaws.logs#AccessDeniedException:http://…` and `Client.UnauthorizedOperation` by their names.
fn name_of(code: &str) -> String {
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.split(':').next().unwrap_or(code);
    code.trim_start_matches("Client.").trim().to_owned()
}

fn xml(text: &str) -> Option<Said> {
    let element = |name: &str| {
        let inside = between(text, &format!("<{name}>"), &format!("</{name}>"))?;
        Some(inside.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"))
    };
    let code = element("Code")?;
    Some(Said { code: Some(name_of(&code)), message: element("Message").unwrap_or_default(), ..Said::default() })
}

/// The AWS CLI and botocore, Go, Java, Rust and JavaScript, each by what its lines always have.
fn plain(text: &str) -> Said {
    let word = |text: Option<&str>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Some((_, rest)) = text.split_once("An error occurred (")
        && let Some((code, rest)) = rest.split_once(')')
    {
        let operation = word(between(rest, "when calling the ", " operation"));
        // How often botocore tried may stand between them.
        let end = if rest.contains("(reached max retries") { "): " } else { ": " };
        let message = rest.split_once(end).map(|(_, message)| message.to_owned()).unwrap_or_default();
        return Said { code: Some(name_of(code)), operation, message, ..Said::default() };
    }
    if let Some((_, rest)) = text.split_once("operation error ") {
        let service = word(rest.split(':').next());
        let operation = word(rest.split_once(": ").and_then(|(_, rest)| rest.split(',').next()));
        let (code, message) = rest.split_once("api error ").and_then(|(_, rest)| rest.split_once(": ")).unzip();
        let message = message.unwrap_or_default().to_owned();
        return Said { code: code.map(name_of), service, operation, message, ..Said::default() };
    }
    if let Some(service) = between(text, "(Service: ", ";").or_else(|| between(text, "(Service: ", ",")) {
        let service = word(service.split([';', ',']).next());
        let code = between(text, "Error Code: ", ";").map(name_of);
        let message = text.split_once("(Service: ").map(|(before, _)| before.trim().to_owned()).unwrap_or_default();
        return Said { code, service, message, ..Said::default() };
    }
    let rust = |key: &str| between(text, &format!("{key}: Some(\""), "\")").map(str::to_owned);
    Said { code: rust("code"), message: rust("message").unwrap_or_default(), ..Said::default() }
}

fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code, service, operation, message.
    fn parts(text: &str) -> [String; 4] {
        let said = read(text);
        [said.code, said.service, said.operation, Some(said.message)].map(Option::unwrap_or_default)
    }

    #[test]
    fn each_wrapping_gives_the_same_error() {
        let cli = "An error occurred (AccessDeniedException) when calling the PutLogEvents operation (reached max \
                   retries: 2): User: me";
        assert_eq!(parts(cli), ["AccessDeniedException", "", "PutLogEvents", "User: me"]);
        let go = "operation error CloudWatch Logs: PutLogEvents, https response error StatusCode: 400, RequestID: x, \
                  api error AccessDeniedException: User: me";
        assert_eq!(parts(go), ["AccessDeniedException", "CloudWatch Logs", "PutLogEvents", "User: me"]);
        let java = "com.amazonaws.AmazonServiceException: User: me (Service: AWSLogs; Status Code: 400; Error Code: \
                    AccessDeniedException; Request ID: x)";
        assert_eq!(
            parts(java),
            ["AccessDeniedException", "AWSLogs", "", "com.amazonaws.AmazonServiceException: User: me"]
        );
        let java2 = "S3Exception: Access Denied (Service: S3, Status Code: 403, Request ID: x)";
        assert_eq!(parts(java2)[1..], ["S3", "", "S3Exception: Access Denied"]);
        let json = r#"400 {"__type":"com.amazonaws.logs#AccessDeniedException","Message":"User: me"} end"#;
        assert_eq!(parts(json), ["AccessDeniedException", "", "", "User: me"]);
        let xml = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: me &amp; you</Message></Error>";
        assert_eq!(parts(xml), ["AccessDenied", "", "", "User: me & you"]);
        let trail = r#"{"Records":[{"eventSource":"ec2.amazonaws.com","eventName":"RunInstances","errorCode":
            "Client.UnauthorizedOperation","errorMessage":"You are not","userIdentity":{"arn":"arn:x"}}]}"#;
        assert_eq!(parts(trail), ["UnauthorizedOperation", "ec2", "RunInstances", "You are not"]);
        let rust = r#"Error { meta: ErrorMetadata { code: Some("AccessDenied"), message: Some("User: me") } }"#;
        assert_eq!(parts(rust), ["AccessDenied", "", "", "User: me"]);
        let bare = "it failed: AccessDenied: no";
        assert_eq!(parts(bare), ["AccessDenied", "", "", bare]);
    }

    #[test]
    fn deep_and_broken_json_is_no_trouble() {
        for text in [&*"{\"a\":".repeat(2_000), "{\"Error\":{\"Error\":[]}}", "{"] {
            assert_eq!(read(text).code, None, "{text}");
        }
    }
}
