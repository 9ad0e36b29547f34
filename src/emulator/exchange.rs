//! One request from arrival to answer, as a pipeline: read, judge by the fault plan, wait, serve, count, send. Not what
//! a service answers, nor the sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};

use super::answer::{Answer, Refusal, ReplyBody};
use super::clock::http_date;
use super::fault::{Effect, Target, Verdict};
use super::keyring::{Issued, request_id};
use super::operation::{Operation, form};
use super::options::Door;
use super::shared::Shared;
use super::sigv4::{Scope, verify};
use super::{container, control, imds, logs, sts, vault};

/// The most a request's body may be as it arrives: what CloudWatch Logs may unpack to, and nobody else sends as much.
const LARGEST_BODY: usize = 8 << 20;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed on purpose")]
pub(super) struct Closed;

/// How a connection sends what follows.
#[derive(Debug, Default)]
pub(super) struct Manner {
    /// Noise goes out instead.
    pub(super) noise: AtomicBool,
    /// How many hops its packets may go, to be set on the socket before the next byte is sent; nought: as they do now.
    pub(super) hops: AtomicU8,
}

/// Answers one request, or does not.
///
/// # Errors
/// When the connection is to be closed without an answer.
pub(super) async fn exchange(
    shared: Arc<Shared>,
    manner: Arc<Manner>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Closed> {
    let request = receive(request).await?;
    let operation = Operation::of(&request);
    if operation == Operation::Control {
        let answer = control::answer(&request, &shared);
        return Ok(answer.header("date", http_date(shared.clock.now())).into_response());
    }
    // An error would mean that the emulator is gone, and this task with it.
    let _ = shared.door.subscribe().wait_for(|door| *door != Door::Hang).await;
    let call = Call { shared: &shared, request: &request, name: operation.name(), operation, id: request_id() };
    let _under_way = UnderWay::begin(&call);
    let Verdict { delay, effect } = call.judge();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if call.operation == Operation::Token {
        manner.hops.store(shared.state().hop_limit.get(), Ordering::Relaxed);
    }
    match call.outcome(effect).await {
        Outcome::Answer(answer) => Ok(call.finish(answer)),
        Outcome::Noise(answer) => {
            manner.noise.store(true, Ordering::Relaxed);
            Ok(call.finish(answer.header("connection", "close")))
        }
        Outcome::Close(reason) => {
            shared.tell(call.name.clone(), None, reason.into());
            Err(Closed)
        }
    }
}

async fn receive(request: Request<Incoming>) -> Result<Request<Bytes>, Closed> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|_| Closed)?;
    Ok(Request::from_parts(head, body.to_bytes()))
}

/// What becomes of a request.
enum Outcome {
    Answer(Answer),
    /// The answer's bytes are replaced by noise.
    Noise(Answer),
    Close(&'static str),
}

/// A request under way.
struct Call<'a> {
    shared: &'a Shared,
    request: &'a Request<Bytes>,
    operation: Operation,
    name: String,
    id: String,
}

impl Call<'_> {
    /// Counts the request and asks the fault plan.
    fn judge(&self) -> Verdict {
        let mut state = self.shared.state();
        state.counts.operation(&self.name);
        let place = if state.faults.asks_for_place() && matches!(self.operation, Operation::Logs(_)) {
            logs::Place::of(self.request)
        } else {
            logs::Place::default()
        };
        let role = matches!(self.operation, Operation::Sts(_)).then(|| form(self.request.body(), "RoleArn")).flatten();
        if let Some(arn) = &role {
            state.counts.role_call(arn);
        }
        let mut verdict = state.faults.judge(&Target {
            operation: &self.name,
            path: self.request.uri().path(),
            group: place.log_group_name.as_deref(),
            stream: place.log_stream_name.as_deref(),
            role: role.as_deref(),
        });
        if self.is_put() {
            verdict.delay += state.put_latency;
        }
        verdict
    }

    fn is_metadata(&self) -> bool {
        matches!(self.operation, Operation::Token | Operation::Metadata | Operation::Container)
    }

    /// Whether it says who asks by something else than a signature.
    fn is_unsigned(&self) -> bool {
        self.operation == Operation::Sts(sts::WITH_WEB_IDENTITY.into())
    }

    fn is_put(&self) -> bool {
        self.operation == Operation::Logs("PutLogEvents".into())
    }

    async fn outcome(&self, effect: Option<Effect>) -> Outcome {
        let answer = match effect {
            None | Some(Effect::Delay { .. }) => self.serve(),
            Some(Effect::Status { code, body }) => Answer::new(code, "text/plain", body),
            Some(Effect::Error { status, code, message }) => self.word(Refusal::new(code, message).status(status)),
            Some(Effect::Throttle { retry_after_ms }) => self.word(self.throttled(retry_after_ms)),
            Some(Effect::Deny(_)) if self.is_metadata() => self.word(Refusal::new("403", "Forbidden").status(403)),
            Some(Effect::Deny(_)) if self.is_unsigned() => {
                let text = format!("Not authorized to perform {}", self.name);
                self.word(Refusal::new("AccessDenied", text).status(403))
            }
            Some(Effect::Deny(denial)) => {
                self.word(self.caller().map_or_else(|refusal| refusal, |caller| self.denied(&denial, &caller)))
            }
            Some(Effect::Expired) if self.is_metadata() => self.word(Refusal::new("401", "Unauthorized").status(401)),
            Some(Effect::Expired) => self.word(self.scope(&self.region()).expired()),
            Some(Effect::Redirect { to }) => Answer::new(302, "text/plain", "").header("location", to),
            Some(Effect::Close) => return Outcome::Close("closed before anything was done"),
            Some(Effect::Hang) => {
                self.shared.tell(self.name.clone(), None, "never answered".into());
                std::future::pending().await
            }
            Some(Effect::LostReply) => {
                self.serve();
                return Outcome::Close("done, and closed without an answer");
            }
            Some(Effect::Garbage) => return Outcome::Noise(self.serve()),
            Some(Effect::SlowBody { bytes, every_ms }) => {
                let mut answer = self.serve();
                answer.body = answer.body.slowly(bytes, Duration::from_millis(every_ms));
                answer
            }
        };
        Outcome::Answer(answer)
    }

    /// What the service itself answers.
    fn serve(&self) -> Answer {
        let now = self.shared.clock.now();
        let answered = match &self.operation {
            Operation::Sts(action) => self.signer().and_then(|caller| {
                sts::answer(action, self.request, caller.as_deref(), &mut self.shared.state(), now, &self.id)
            }),
            Operation::Container => Ok(container::answer(self.request, &mut self.shared.state(), now)),
            Operation::Vault(service, action) => self
                .caller()
                .and_then(|caller| vault::answer(service, action, self.request, &mut self.shared.state(), &caller.arn)),
            Operation::Logs(action) => self.caller().and_then(|_| logs::answer(action, self.request, self.shared, now)),
            Operation::Token | Operation::Metadata | Operation::Control => {
                Ok(imds::answer(self.request, &mut self.shared.state(), now))
            }
        };
        answered.unwrap_or_else(|refusal| self.word(refusal))
    }

    fn region(&self) -> String {
        self.shared.state().options.region.clone()
    }

    fn scope<'a>(&self, region: &'a str) -> Scope<'a> {
        let service = match &self.operation {
            Operation::Sts(_) => "sts",
            Operation::Vault(service, _) => service,
            _ => "logs",
        };
        Scope { region, service }
    }

    /// Who signed the request.
    fn caller(&self) -> Result<Arc<Issued>, Refusal> {
        let find = |key_id: &str| self.shared.state().keyring.find(key_id);
        verify(self.request, self.scope(&self.region()), self.shared.clock.now(), find)
    }

    /// The same, where a signature is asked for.
    fn signer(&self) -> Result<Option<Arc<Issued>>, Refusal> {
        if self.is_unsigned() { Ok(None) } else { self.caller().map(Some) }
    }

    fn throttled(&self, retry_after_ms: Option<u64>) -> Refusal {
        let refusal = match self.operation {
            Operation::Sts(_) => Refusal::new("Throttling", "Rate exceeded"),
            Operation::Logs(_) | Operation::Vault(..) => Refusal::new("ThrottlingException", "Rate exceeded"),
            _ => Refusal::new("429", "Too Many Requests").status(429),
        };
        Refusal { retry_after_ms, ..refusal }
    }

    fn denied(&self, denial: &super::Denial, caller: &Issued) -> Refusal {
        let sentence = |resource: &str| denial.sentence(&caller.arn, &self.name, resource);
        if matches!(self.operation, Operation::Sts(_)) {
            return Refusal::new("AccessDenied", sentence(&sts::resource(self.request))).status(403);
        }
        let options = &self.shared.state().options;
        let resource = match &self.operation {
            Operation::Vault(service, _) => vault::resource(service, self.request, options),
            _ => logs::Place::of(self.request).arn(options),
        };
        Refusal::new("AccessDeniedException", sentence(&resource))
    }

    /// A refusal in the service's protocol; the metadata service has none, and answers a status and text.
    fn word(&self, refusal: Refusal) -> Answer {
        match self.operation {
            Operation::Sts(_) => refusal.into_xml(&self.id),
            Operation::Logs(_) | Operation::Vault(..) => refusal.into_json(),
            _ => Answer::new(refusal.status, "text/plain", refusal.message),
        }
    }

    /// Counts the answer, tells whoever watches, and adds what every answer carries.
    fn finish(&self, mut answer: Answer) -> Response<ReplyBody> {
        let status = answer.status;
        let code = answer.code.clone().or_else(|| (status >= 300).then(|| status.to_string()));
        if let Some(code) = &code {
            self.shared.state().counts.error(&self.name, code);
        }
        let named = answer.code.as_deref().filter(|code| code.parse::<u16>().is_err());
        let detail = named.map(|code| format!("{code}: ")).unwrap_or_default() + &answer.note;
        self.shared.tell(self.name.clone(), Some(status), detail);
        if self.is_metadata() {
            // IMDS never keeps a connection.
            answer = answer.header("connection", "close");
        }
        answer
            .header("date", http_date(self.shared.clock.now()))
            .header("x-amzn-requestid", self.id.clone())
            .into_response()
    }
}

/// Counts a `PutLogEvents` as under way until it is dropped, however it ends.
struct UnderWay<'a>(Option<&'a Shared>);

impl<'a> UnderWay<'a> {
    fn begin(call: &Call<'a>) -> Self {
        let shared = call.is_put().then_some(call.shared);
        if let Some(shared) = shared {
            shared.state().counts.put_begins();
        }
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.state().counts.put_ends();
        }
    }
}
