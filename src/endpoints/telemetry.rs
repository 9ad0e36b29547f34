//! How the agent is, for whoever can reach the door: no credentials are had here, and nothing is changed. Not what is
//! said: that is the report's.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` | 200 if all is well, else 503; JSON that says what is wrong, why, and what helps |
//! | `GET /metrics` | all of the report, for Prometheus |
//! | another path | 404 |
//! | another method than GET and HEAD | 405 |

use std::sync::{Arc, PoisonError, RwLock};

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};

use super::http::{Answer, Asked, answer, not_open, refusal};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether all is well.
    Health,
    /// All numbers, in a form that this `Accept` header allows.
    Metrics {
        /// The header's text; empty if there is none.
        accept: String,
    },
}

/// What is answered; by default that nothing is well, and not why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Whether all is well, where that was asked.
    pub is_well: bool,
    /// The text's kind.
    pub content_type: &'static str,
    /// The text.
    pub text: String,
}

/// Who knows. May take its time, since it runs where that holds nobody up.
pub type Teller = Arc<dyn Fn(Question) -> Page + Send + Sync>;

/// The door's memory: who knows, as soon as that is known.
#[derive(Default)]
pub(super) struct Telemetry(RwLock<Option<Teller>>);

impl Telemetry {
    pub(super) fn tell(&self, teller: Teller) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(teller);
    }

    pub(super) async fn respond(&self, asked: Asked) -> Answer {
        let mut answer = match question(&asked) {
            Ok(question) => self.ask(question).await,
            Err(refused) => *refused,
        };
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    async fn ask(&self, question: Question) -> Answer {
        let teller = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(teller) = teller else { return not_open() };
        match tokio::task::spawn_blocking(move || teller(question)).await {
            Ok(page) => {
                let status = if page.is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                answer(status, page.content_type, page.text)
            }
            Err(error) => {
                let message = format!("the report could not be made: {error}; please report this");
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "Failed", &message, None)
            }
        }
    }
}

fn question(asked: &Asked) -> Result<Question, Box<Answer>> {
    let question = match asked.path.as_str() {
        "/health" => Question::Health,
        "/metrics" => {
            let values = asked.headers.get_all(header::ACCEPT).iter();
            let accept: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
            Question::Metrics { accept: accept.join(",") }
        }
        _ => {
            let message = "there are only /health and /metrics here";
            return Err(Box::new(refusal(StatusCode::NOT_FOUND, "NotFound", message, None)));
        }
    };
    if asked.method == Method::GET || asked.method == Method::HEAD {
        return Ok(question);
    }
    let message = "nothing can be changed here: GET and HEAD only";
    let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message, None);
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    Err(Box::new(refused))
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn asked(method: Method, path: &str, accept: &[&str]) -> Asked {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        Asked { method, path: path.to_owned(), query: None, headers }
    }

    #[test]
    fn two_things_can_be_asked_and_nothing_changed() {
        let status = |method, path| question(&asked(method, path, &[])).map_err(|answer| answer.status().as_u16());
        assert_eq!(status(Method::HEAD, "/health"), Ok(Question::Health));
        for path in ["/", "/healthz", "/metrics/", "/role/app"] {
            assert_eq!(status(Method::GET, path), Err(404), "{path}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert_eq!(status(method, "/metrics"), Err(405));
        }
        let metrics = question(&asked(Method::GET, "/metrics", &["a/b", "c/d;q=0.1"])).unwrap();
        assert_eq!(metrics, Question::Metrics { accept: "a/b,c/d;q=0.1".to_owned() });
    }

    #[tokio::test]
    async fn what_is_not_well_is_503_and_nobody_who_knows_is_503_too() {
        let telemetry = Telemetry::default();
        assert_eq!(telemetry.respond(asked(Method::GET, "/health", &[])).await.status(), 503);
        let page = |is_well| Page { is_well, content_type: "text/plain", text: "x".to_owned() };
        telemetry.tell(Arc::new(move |question| page(question != Question::Health)));
        assert_eq!(telemetry.respond(asked(Method::GET, "/health", &[])).await.status(), 503);
        let answer = telemetry.respond(asked(Method::GET, "/metrics", &[])).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[header::CONNECTION]),
            (200, &HeaderValue::from_static("close"))
        );
        telemetry.tell(Arc::new(|_| panic!("on purpose")));
        assert_eq!(telemetry.respond(asked(Method::GET, "/metrics", &[])).await.status(), 500);
    }
}
