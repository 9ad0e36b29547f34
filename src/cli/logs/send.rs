//! `logs send`: lines from stdin into a log group that the configuration declares, through the daemon. Not the sending
//! itself.

use std::io::BufRead as _;
use std::process::ExitCode;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::agent::Directories;
use crate::cli::exit::{FAILED, NOT_ALLOWED, UNREACHABLE, complain, failed};
use crate::logs::{Destination, SendError, send};
use crate::status::SOCKET_NAME;

/// Pieces of stdin that are read ahead, each of 64 KiB at most: what is on its way is kept by the sender.
pub(in crate::cli) const AHEAD: usize = 4;

/// How much of stdin is read at once.
const PIECE: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The log group, by its name or as the configuration writes it
    #[arg(long, value_name = "GROUP")]
    log_group: String,
    /// The log stream, instead of the one that the configuration names
    #[arg(long, value_name = "STREAM")]
    log_stream: Option<String>,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let Args { log_group, log_stream } = args;
    let event_loop = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(event_loop) => event_loop,
        Err(error) => return failed(FAILED, &error, None),
    };
    let (pieces, input) = mpsc::channel(AHEAD);
    // It ends with the process: nobody can wake it from its waiting for stdin.
    let reader = std::thread::spawn(move || read_stdin(&pieces));
    let runtime = Directories::of_client().runtime;
    let destination = Destination { log_group, log_stream };
    let mut said = String::new();
    let mut progress = |what: &str| {
        if said != what {
            complain(&format!("imds-agent: {what}"));
            what.clone_into(&mut said);
        }
    };
    if let Err(error) =
        event_loop.block_on(send(&runtime, Some(runtime.join(SOCKET_NAME)), &destination, input, &mut progress))
    {
        return failed(code(&error), &error, Some(&hint(&error)));
    }
    match reader.join() {
        Ok(Err(error)) => failed(FAILED, &error, Some("what was read of stdin before is sent")),
        _ => ExitCode::SUCCESS,
    }
}

/// Stdin in pieces; the last one ends with a line end.
pub(in crate::cli) fn read_stdin(pieces: &mpsc::Sender<Bytes>) -> std::io::Result<()> {
    let mut stdin = std::io::BufReader::with_capacity(PIECE, std::io::stdin().lock());
    let mut ends_line = true;
    loop {
        let piece = Bytes::copy_from_slice(stdin.fill_buf()?);
        if piece.is_empty() {
            break;
        }
        stdin.consume(piece.len());
        ends_line = piece.ends_with(b"\n");
        if pieces.blocking_send(piece).is_err() {
            return Ok(());
        }
    }
    if !ends_line {
        let _ = pieces.blocking_send(Bytes::from_static(b"\n"));
    }
    Ok(())
}

fn code(error: &SendError) -> u8 {
    match error {
        SendError::Unreachable { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => NOT_ALLOWED,
        SendError::Unreachable { .. } | SendError::Gone { .. } => UNREACHABLE,
        SendError::Refused { .. } => NOT_ALLOWED,
        SendError::Garbage { .. } => FAILED,
    }
}

fn hint(error: &SendError) -> String {
    match error {
        SendError::Unreachable { .. } => {
            "start it: systemctl start imds-agent; or name its directory in IMDS_AGENT_RUNTIME_DIR".to_owned()
        }
        SendError::Gone { .. } => "see: systemctl status imds-agent; then send the rest again".to_owned(),
        SendError::Refused { hint, .. } => hint.clone(),
        SendError::Garbage { .. } => "systemctl restart imds-agent starts this version".to_owned(),
    }
}
