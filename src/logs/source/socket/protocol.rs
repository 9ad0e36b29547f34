//! What `imds-agent logs send` and the daemon say to each other at `logs.sock`: a line of JSON that says where to, then
//! lines of text; the daemon answers with lines of JSON. Not who may send, nor how it is sent.

use serde::{Deserialize, Serialize};

/// The socket's name in the runtime directory.
pub const SEND_SOCKET: &str = "logs.sock";

/// The longest line of JSON: two names of at most 512 characters, escaped.
pub(super) const LONGEST_LINE: usize = 16 * 1024;

/// What the sender begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The group.
    pub log_group: String,
    /// The stream, if it is not to be the one that the configuration names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_stream: Option<String>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// Lines may come.
    Accepted,
    /// No line is taken.
    Refused {
        /// Why.
        reason: String,
        /// What cures it.
        hint: String,
    },
    /// Not now, perhaps later: nobody knows yet, or there is no room.
    Wait {
        /// What is waited for.
        reason: String,
    },
    /// So many bytes, from the first of this connection on, are durable.
    Durable {
        /// How many.
        bytes: u64,
    },
}

impl Reply {
    pub(super) fn to_line(&self) -> Vec<u8> {
        // Plain data: serialising to memory can't fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
