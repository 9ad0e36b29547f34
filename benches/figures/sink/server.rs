//! The sink's process: a thread a connection, bodies scanned for line numbers and forgotten. Not the answers' texts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use memchr::memmem;

use super::{Tally, answers};

/// What each event of a `PutLogEvents` body has once: inside a message, its quotes would be escaped.
const MESSAGE: &[u8] = b"\"message\":";

/// What each line begins with; eight digits follow.
const NUMBER: &[u8] = b"\"line ";

/// As long as STS takes: whoever asks meanwhile could ask it again.
const ASSUME: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Received {
    tally: Tally,
    /// Which lines have come.
    seen: Vec<bool>,
}

/// Listens on a free port, says on stdout which, and serves until it is killed.
pub(crate) fn serve(delay_ms: u64) -> ! {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("{}", listener.local_addr().expect("a bound socket has an address"));
    let received = Arc::new(Mutex::new(Received::default()));
    loop {
        let (stream, _) = listener.accept().expect("loopback accepts");
        let received = Arc::clone(&received);
        std::thread::spawn(move || {
            // A peer that was killed is no fault of ours.
            let _ = converse(stream, &received, Duration::from_millis(delay_ms));
        });
    }
}

struct Head {
    method: String,
    path: String,
    target: String,
    length: usize,
    close: bool,
}

fn converse(stream: TcpStream, received: &Mutex<Received>, delay: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut body = Vec::new();
    while let Some(head) = read_head(&mut reader)? {
        body.resize(head.length, 0);
        reader.read_exact(&mut body)?;
        let (status, answer) = answer(&head, &body, received, delay);
        let connection = if head.close { "close" } else { "keep-alive" };
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\
             x-amzn-RequestId: 00000000-0000-0000-0000-000000000000\r\n\
             x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n{answer}",
            answer.len()
        );
        writer.write_all(text.as_bytes())?;
        if head.close {
            return Ok(());
        }
    }
    Ok(())
}

/// `None` when the peer has closed.
fn read_head(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Head>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut head = Head { method, path, target: String::new(), length: 0, close: false };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Ok(Some(head));
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.parse().map_err(std::io::Error::other)?,
            "x-amz-target" => value.clone_into(&mut head.target),
            "connection" => head.close = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

fn answer(head: &Head, body: &[u8], received: &Mutex<Received>, delay: Duration) -> (&'static str, String) {
    let lock = || received.lock().expect("nobody panics here");
    if head.path == "/tally" {
        let tally = lock().tally;
        return ("200 OK", serde_json::to_string(&tally).expect("numbers are JSON"));
    }
    if head.method != "POST" {
        lock().tally.imds_requests += 1;
        return answers::metadata(&head.path).map_or(("404 Not Found", String::new()), |text| ("200 OK", text));
    }
    if head.target.ends_with(".PutLogEvents") {
        let numbers = line_numbers(body);
        std::thread::sleep(delay);
        lock().count(&numbers);
    } else if head.target.is_empty() {
        return ("200 OK", security_token(body, received));
    }
    ("200 OK", "{}".to_owned())
}

/// STS's answer.
fn security_token(body: &[u8], received: &Mutex<Received>) -> String {
    if memmem::find(body, b"Action=AssumeRole&").is_none() {
        return answers::CALLER_IDENTITY.to_owned();
    }
    received.lock().expect("nobody panics here").tally.assumed += 1;
    std::thread::sleep(ASSUME);
    answers::assumed_role()
}

/// The number of each event's line; a line without one is a fault of the benchmark.
fn line_numbers(body: &[u8]) -> Vec<usize> {
    memmem::find_iter(body, MESSAGE)
        .map(|at| {
            let message = body[at + MESSAGE.len()..].trim_ascii_start();
            let digits = message.strip_prefix(NUMBER).and_then(|rest| rest.get(..8)).expect("a numbered line");
            digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
        })
        .collect()
}

impl Received {
    fn count(&mut self, numbers: &[usize]) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.tally.last_put_at = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.tally.puts += 1;
        self.tally.events += numbers.len() as u64;
        for &number in numbers {
            if self.seen.len() <= number {
                self.seen.resize(number + 1, false);
            }
            self.tally.distinct += u64::from(!std::mem::replace(&mut self.seen[number], true));
        }
    }
}
