//! An answer before it is sent: status, headers, body; and how each service words a refusal. Not the sending.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Sleep;

/// What is sent back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: ReplyBody,
    /// The error's name, for the counters.
    pub(super) code: Option<String>,
    /// What it was about, for a person who watches.
    pub(super) note: String,
}

impl Answer {
    /// An answer with a content type and a body.
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_string())],
            body: ReplyBody::Whole(body.into()),
            code: None,
            note: String::new(),
        }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The response as hyper sends it. A status that is none becomes 500.
    pub(super) fn into_response(self) -> hyper::Response<ReplyBody> {
        let mut response = hyper::Response::new(self.body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let Ok(value) = hyper::header::HeaderValue::try_from(value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// Why a service refuses, before it is worded in the service's protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
    pub(super) retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal as 400, which is what the JSON protocol answers to everything that is the caller's doing.
    pub(super) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.into(), message: message.into(), retry_after_ms: None }
    }

    /// With another status.
    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// As `awsJson1_1` has it.
    pub(super) fn into_json(self) -> Answer {
        let body = serde_json::json!({ "__type": self.code, "message": self.message }).to_string();
        self.finish(Answer::new(0, "application/x-amz-json-1.1", body))
    }

    /// As the query protocol has it.
    pub(super) fn into_xml(self, request_id: &str) -> Answer {
        let kind = if self.status < 500 { "Sender" } else { "Receiver" };
        let (code, message) = (escape_xml(&self.code), escape_xml(&self.message));
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    \
             <Type>{kind}</Type>\n    <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  \
             <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n"
        );
        self.finish(Answer::new(0, "text/xml", body))
    }

    fn finish(self, mut answer: Answer) -> Answer {
        answer.status = self.status;
        if let Some(millis) = self.retry_after_ms {
            answer = answer.header("x-amz-retry-after", millis.to_string());
        }
        answer.note = self.message;
        answer.code = Some(self.code.into_owned());
        answer
    }
}

/// Text as it may stand in an XML element.
pub(super) fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A body as it goes out: at once, piece by piece as it is read from the store, or slowly on purpose.
pub(super) enum ReplyBody {
    /// All there is.
    Whole(Bytes),
    /// Pieces that are made when they are sent.
    Pieces(Box<dyn Iterator<Item = Bytes> + Send + Sync>),
    /// A few bytes at a time.
    Slow { rest: Bytes, bytes: usize, every: Duration, pause: Pin<Box<Sleep>> },
}

impl ReplyBody {
    /// The same body, so many bytes at a time with a pause before each. Pieces from the store stay as they are.
    pub(super) fn slowly(self, bytes: usize, every: Duration) -> Self {
        match self {
            Self::Whole(rest) => {
                Self::Slow { rest, bytes: bytes.max(1), every, pause: Box::pin(tokio::time::sleep(every)) }
            }
            other => other,
        }
    }
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Self::Pieces(_) => f.write_str("Pieces"),
            Self::Slow { rest, .. } => f.debug_tuple("Slow").field(rest).finish(),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = match self.get_mut() {
            Self::Whole(rest) => (!rest.is_empty()).then(|| std::mem::take(rest)),
            Self::Pieces(pieces) => pieces.next(),
            Self::Slow { rest, .. } if rest.is_empty() => None,
            Self::Slow { rest, bytes, every, pause } => {
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                pause.set(tokio::time::sleep(*every));
                Some(rest.split_to((*bytes).min(rest.len())))
            }
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(rest) | Self::Slow { rest, .. } => rest.is_empty(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(rest) | Self::Slow { rest, .. } => SizeHint::with_exact(rest.len() as u64),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_the_same_body_in_pieces() {
        let mut body = ReplyBody::Whole(Bytes::from("abcde")).slowly(2, Duration::from_secs(1));
        assert_eq!(body.size_hint().exact(), Some(5));
        let begun = tokio::time::Instant::now();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(pieces, ["ab", "cd", "e"]);
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }

    #[test]
    fn an_xml_error_escapes_what_the_caller_sent() {
        let answer = Refusal::new("AccessDenied", "<a> & b").status(403).into_xml("id");
        let ReplyBody::Whole(body) = answer.body else { panic!("a whole body") };
        assert!(String::from_utf8_lossy(&body).contains("<Message>&lt;a&gt; &amp; b</Message>"));
        assert_eq!((answer.status, answer.code.as_deref()), (403, Some("AccessDenied")));
    }
}
