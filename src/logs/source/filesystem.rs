//! Which file systems do not tell of changes that other machines, or other programs, make. Not the polling itself.

use std::path::Path;

use rustix::fs::statfs;

/// File systems whose files change without this kernel's doing, by their magic numbers (`statfs(2)`, and the kernel's
/// own sources for those that the page leaves out): inotify is silent there.
const SILENT: [(i128, &str); 10] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "afs"),
    (0x00c3_6400, "ceph"),
    (0x0bd0_0bd0, "lustre"),
    (0x0116_1970, "gfs2"),
];

/// Whether the directory at `path` has to be polled, since its file system tells of nothing.
pub(crate) fn is_silent(path: &Path) -> bool {
    // A magic number has 32 bits; some platforms' type is wider and extends its sign.
    statfs(path).is_ok_and(|stat| is_silent_kind(i128::from(stat.f_type) & 0xffff_ffff))
}

fn is_silent_kind(magic: i128) -> bool {
    SILENT.iter().any(|(silent, _)| *silent == magic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_user_space_file_systems_are_polled_and_local_ones_are_not() {
        for magic in [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0102_1997] {
            assert!(is_silent_kind(magic), "{magic:x}");
        }
        for (magic, name) in [(0xef53, "ext4"), (0x5846_5342, "xfs"), (0x9123_683e, "btrfs"), (0x0102_1994, "tmpfs")] {
            assert!(!is_silent_kind(magic), "{name}");
        }
    }

    #[test]
    fn the_directory_of_processes_is_not_taken_for_a_network_file_system() {
        assert!(!is_silent(Path::new("/proc")));
        assert!(!is_silent(Path::new("/nowhere/at/all")));
    }
}
