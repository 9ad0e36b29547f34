//! The state directory: whose it is, how much room there is, and the dead letters in it. Not what else it holds.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};

use super::plain_file::{Unread, read_at};
use super::service::Service;
use super::visit::{Check, Finding, Found, Host, look};
use crate::fault::shell_word;
use crate::logs::dead_letters::Letter;
use crate::status::duration;

pub(super) const CHECK: Check = Check {
    name: "state-directory",
    title: "the state directory can be used, and has room",
    needs: &[],
    after: &["daemon"],
    look: |host| look(check(host)),
};

/// The checkpoint of ten thousand files, twice over while it is compacted, and the dead letters.
const LEAST_ROOM: u64 = 64 << 20;

/// CloudWatch takes nothing older (CloudWatch Logs API reference, `PutLogEvents`).
const OLDEST_EVENT: SignedDuration = SignedDuration::from_hours(14 * 24);

async fn check(host: Arc<Host>) -> Found {
    let service = Service::installed().await;
    let looked = tokio::task::spawn_blocking(move || examine(&host, service.as_ref())).await;
    looked.unwrap_or_else(|_| Finding::unseen("the state directory could not be looked at").into())
}

fn examine(host: &Host, service: Option<&Service>) -> Found {
    let path = &host.ground.state_dir;
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::note(format!("{} is not there yet: the service makes it", path.display())).into();
        }
        Err(error) => {
            let finding = Finding::unseen(format!("{} can't be looked at", path.display())).evidence(error.to_string());
            return finding.cure("sudo imds-agent doctor --only state-directory").into();
        }
    };
    let mut findings: Vec<Finding> = owner(path, &metadata, service).into_iter().collect();
    let logs = host.config().logs;
    // Only what sockets receive is kept on disk before it is sent.
    let spool = if logs.sockets.is_empty() { 0 } else { logs.spool_limit };
    findings.extend(statvfs(path).ok().and_then(|disk| room(path, &disk, spool)));
    findings.extend(dead_letters(host));
    if findings.is_empty() {
        return Finding::ok(format!("{} can be used", path.display())).into();
    }
    Found::all(findings)
}

fn owner(path: &Path, metadata: &Metadata, service: Option<&Service>) -> Option<Finding> {
    let word = shell_word(&path.display().to_string());
    if !metadata.is_dir() {
        let finding = Finding::fault(format!("{} is no directory", path.display()));
        return Some(finding.cure(format!("sudo rm {word} && sudo systemctl restart imds-agent")));
    }
    // A unit has systemd make its own directory; another one is for who set it up.
    let uid = service.and_then(Service::uid).filter(|_| path == Path::new("/var/lib/imds-agent"));
    if let (Some(uid), Some(service)) = (uid.filter(|uid| *uid != metadata.uid()), service) {
        let user = &service.user;
        return Some(
            Finding::fault(format!("{} is not the service's own", path.display()))
                .evidence(format!("its owner is user {}, and the service runs as {user} ({uid})", metadata.uid()))
                .why("the daemon can't keep its positions there: after a restart it would send lines twice, or not at all")
                .cure(format!("sudo chown -R {user}: {word} && sudo systemctl restart imds-agent")),
        );
    }
    (metadata.mode() & 0o022 != 0).then(|| {
        Finding::warning(format!("others than its owner may write into {}", path.display()))
            .evidence(format!("mode {:04o}", metadata.mode() & 0o7777))
            .why("who writes there decides what is sent again, and what is skipped")
            .cure(format!("sudo chmod 0700 {word}"))
    })
}

/// `spool` is how much the spool may come to hold.
fn room(path: &Path, disk: &StatVfs, spool: u64) -> Option<Finding> {
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let mib = |bytes: u64| bytes >> 20;
    let evidence = format!("{} MiB free, {} files may be made", mib(free), disk.f_favail);
    let show = format!("df -h {0}; df -i {0}", shell_word(&path.display().to_string()));
    let why = "positions can't be kept then: what is sent after a restart is sent twice, or not at all";
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let finding = Finding::fault(format!("the file system of {} is read-only", path.display()));
        return Some(finding.why(why).cure("sudo dmesg | grep -i 'remount'; sudo mount -o remount,rw MOUNTPOINT"));
    }
    if disk.f_files > 0 && disk.f_favail == 0 || free < LEAST_ROOM / 16 {
        let finding = Finding::fault(format!("the disk of {} is full", path.display()));
        return Some(finding.evidence(evidence).why(why).cure(show));
    }
    (free < LEAST_ROOM || free < spool).then(|| {
        let finding = Finding::warning(format!("the disk of {} has little room", path.display()));
        let why =
            format!("positions and dead letters need {} MiB, and the spool may take {}", mib(LEAST_ROOM), mib(spool));
        finding.evidence(evidence).why(why).cure(format!("{show}; or lower spool_limit under [logs]"))
    })
}

fn dead_letters(host: &Host) -> Option<Finding> {
    let path = host.ground.state_dir.join("dead-letters.jsonl");
    let told = host.facts.report.get().map(|report| report.logs.dead_letters.events);
    let text = match read_at(&path) {
        Ok(text) => text,
        Err(Unread::NotAllowed) if told.unwrap_or(0) > 0 => String::new(),
        Err(_) => return None,
    };
    let oldest = text.lines().next().and_then(|line| serde_json::from_str::<Letter>(line).ok());
    let count = told.unwrap_or_else(|| text.lines().count() as u64);
    if count == 0 {
        return None;
    }
    let records = if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") };
    let finding = Finding::warning(format!("there are {records}")).about(path.display().to_string());
    let finding = match oldest
        .and_then(|letter| Some((letter.reason, Timestamp::from_millisecond(letter.event.timestamp).ok()?)))
    {
        Some((reason, at)) => {
            let left = OLDEST_EVENT - host.ground.clock.now().duration_since(at);
            let left = if left.is_positive() { duration(left) } else { "no time".to_owned() };
            finding.evidence(format!(
                "the oldest is of {at}, given up as {reason}; CloudWatch would take it for another {left}"
            ))
        }
        None => finding,
    };
    Some(finding.why("CloudWatch would not take them; they are kept until there are too many").cure(
        "sudo imds-agent logs dead-letters shows them, sudo imds-agent logs dead-letters resend sends them again",
    ))
}
