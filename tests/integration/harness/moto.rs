//! moto, AWS as others imagine it: a second opinion on how we speak. Not strict (it checks no signatures); the emulator is.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{free_address, http, look_until, python};

/// Python imports a lot before moto listens.
const START_WITHIN: Duration = Duration::from_mins(2);

/// The region that moto's metadata service is in.
pub(crate) const REGION: &str = "us-east-1";

/// A running moto server; killed when dropped.
pub(crate) struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Moto {
    /// Starts moto on a free port of loopback.
    pub(crate) fn start() -> Self {
        let address = free_address();
        let child = Command::new(python::program("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server can be started");
        let moto = Self { child, address };
        let is_up = || http::request(address, "GET", "/moto-api/", &[], "").ok();
        look_until(START_WITHIN, is_up).unwrap_or_else(|waited| panic!("moto does not answer after {waited:?}"));
        moto
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The messages of a stream, in the order in which moto shows them.
    pub(crate) fn lines(&self, group: &str, stream: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut token = Value::Null;
        loop {
            let mut ask = json!({ "logGroupName": group, "logStreamName": stream, "startFromHead": true });
            if !token.is_null() {
                ask["nextToken"] = token.clone();
            }
            let page = self.call("GetLogEvents", &ask);
            let events = page["events"].as_array().map_or(&[][..], Vec::as_slice);
            lines.extend(events.iter().map(|event| event["message"].as_str().unwrap_or_default().to_owned()));
            if events.is_empty() || page["nextForwardToken"] == token {
                return lines;
            }
            token = page["nextForwardToken"].clone();
        }
    }

    /// How long moto would keep the events of a group.
    pub(crate) fn retention_in_days(&self, group: &str) -> Value {
        self.call("DescribeLogGroups", &json!({ "logGroupNamePrefix": group }))["logGroups"][0]["retentionInDays"]
            .clone()
    }

    fn call(&self, operation: &str, ask: &Value) -> Value {
        // moto reads service and region from the credential scope and ignores the rest.
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/logs/aws4_request, SignedHeaders=host, Signature=0"
        );
        let headers = [
            ("X-Amz-Target", &*format!("Logs_20140328.{operation}")),
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Authorization", &scope),
        ];
        let answer = http::request(self.address, "POST", "/", &headers, &ask.to_string()).expect("moto answers");
        assert_eq!(answer.status, 200, "moto's {operation} says {}", answer.text());
        serde_json::from_slice(&answer.body).expect("moto answers in JSON")
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
