//! Whether STS can be reached. How that is found out is `reach`'s.

use super::reach::{self, Api};
use super::visit::{Check, look};

pub(super) const CHECK: Check = Check {
    name: "sts-reach",
    title: "STS can be reached",
    needs: &["region"],
    after: &["imds-token", "configuration"],
    look: |host| look(reach::check(host, Api::Sts)),
};
