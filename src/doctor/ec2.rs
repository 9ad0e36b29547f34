//! Whether this machine is an EC2 instance, by what its firmware says (EC2 User Guide, "Detect whether a host is an EC2
//! instance"). Not whether the metadata service answers.

use std::path::Path;

use super::visit::{Check, Finding, Found, Host, look};

pub(super) const CHECK: Check = Check {
    name: "ec2",
    title: "this machine is an EC2 instance",
    needs: &[],
    after: &[],
    look: |host| look(async move { check(&host) }),
};

/// Where the kernel tells what the firmware says, below `/sys`, and what it begins with on EC2, in any case.
const SIGNS: [(&str, &str); 5] = [
    ("class/dmi/id/sys_vendor", "amazon ec2"),
    ("class/dmi/id/bios_vendor", "amazon ec2"),
    // Only root reads it.
    ("class/dmi/id/product_uuid", "ec2"),
    // Xen.
    ("hypervisor/uuid", "ec2"),
    // Nitro: the instance's id.
    (ASSET_TAG, "i-"),
];

const ASSET_TAG: &str = "class/dmi/id/board_asset_tag";

/// What the firmware says.
#[derive(Debug, PartialEq, Eq)]
struct Firmware {
    /// What shows that this is EC2: the file and what it says.
    sign: Option<(&'static str, String)>,
    instance_id: Option<String>,
    vendor: Option<String>,
}

fn check(host: &Host) -> Found {
    let firmware = Firmware::read(Path::new("/sys"));
    let _ = host.facts.is_ec2.set(firmware.sign.is_some());
    if let Some(id) = firmware.instance_id.clone() {
        let _ = host.facts.firmware_id.set(id);
    }
    firmware.finding().into()
}

impl Firmware {
    fn read(sys: &Path) -> Self {
        let text = |path: &str| {
            let text = std::fs::read_to_string(sys.join(path)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let sign = SIGNS.into_iter().find_map(|(path, start)| {
            let said = text(path).filter(|said| said.to_ascii_lowercase().starts_with(start))?;
            Some((path, said))
        });
        let instance_id = text(ASSET_TAG).filter(|tag| is_instance_id(tag)).filter(|_| sign.is_some());
        Self { sign, instance_id, vendor: text("class/dmi/id/sys_vendor") }
    }

    fn finding(&self) -> Finding {
        if let Some((path, said)) = &self.sign {
            let id = self.instance_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
            return Finding::ok(format!("this is EC2 instance{id}")).evidence(format!("/sys/{path} says {said:?}"));
        }
        let said = match &self.vendor {
            Some(vendor) => format!("/sys/class/dmi/id/sys_vendor says {vendor:?}"),
            None => "the kernel tells no vendor in /sys/class/dmi/id".to_owned(),
        };
        Finding::note("nothing in the firmware says that this is an EC2 instance").evidence(said)
    }
}

/// `i-` and 8 or 17 hexadecimal digits.
fn is_instance_id(text: &str) -> bool {
    let digits = text.strip_prefix("i-").unwrap_or_default();
    [8, 17].contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    fn firmware(files: &[(&str, &str)]) -> Firmware {
        let sys = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = sys.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Firmware::read(sys.path())
    }

    #[test]
    fn nitro_says_so_with_the_instances_id() {
        let nitro = firmware(&[
            ("class/dmi/id/sys_vendor", "Amazon EC2\n"),
            ("class/dmi/id/board_asset_tag", "i-0123456789abcdef0\n"),
        ]);
        assert_eq!(nitro.instance_id.as_deref(), Some("i-0123456789abcdef0"));
        assert_eq!(nitro.finding().summary, "this is EC2 instance i-0123456789abcdef0");
    }

    #[test]
    fn xen_says_so_by_its_uuid() {
        let xen = firmware(&[("class/dmi/id/sys_vendor", "Xen"), ("hypervisor/uuid", "ec2d9f3e-0000\n")]);
        assert_eq!((xen.finding().outcome, xen.instance_id), (Outcome::Ok, None));
    }

    #[test]
    fn another_vendor_and_none_are_notes() {
        let other = firmware(&[("class/dmi/id/sys_vendor", "QEMU\n"), ("class/dmi/id/board_asset_tag", "none")]);
        assert_eq!(other.finding().outcome, Outcome::Note);
        assert!(other.finding().evidence.unwrap().contains("QEMU"));
        assert_eq!(firmware(&[]).finding().outcome, Outcome::Note);
    }
}
