//! What a process's cgroup says of where it belongs. Pure: takes the text of /proc/PID/cgroup (cgroups(7)).

/// How the scopes and groups are called in which container engines put theirs.
const CONTAINERS: [&str; 10] = [
    "docker-",
    "libpod-",
    "crio-",
    "cri-containerd-",
    "nerdctl-",
    "machine-",
    "docker",
    "kubepods",
    "lxc",
    "machine.slice",
];

/// Where systemd keeps users' sessions and their managers: what they call a service is none of the system's.
const USERS: &str = "user.slice";

/// The system's unit in which the process runs: the outermost service, none below a user's slice.
pub(super) fn unit_of(cgroups: &str) -> Option<String> {
    let path = path_of(cgroups)?;
    for name in components(path) {
        if name == USERS || !has_ending(name, "slice") && !has_ending(name, "service") {
            return None;
        }
        if has_ending(name, "service") {
            // systemd puts an underscore before what could be taken for a file of the kernel's.
            return Some(name.strip_prefix('_').unwrap_or(name).to_owned());
        }
    }
    None
}

/// The container in which the process runs: its cgroup, up to and with what makes it one.
pub(super) fn container_of(cgroups: &str) -> Option<&str> {
    let path = path_of(cgroups)?;
    let is_container =
        |name: &&str| !has_ending(name, "service") && CONTAINERS.iter().any(|prefix| name.starts_with(prefix));
    let container = components(path).find(is_container)?;
    // Engines that nest give the container below: the whole path tells one from the other.
    Some(if has_ending(container, "scope") { &path[..path.find(container)? + container.len()] } else { path })
}

/// The path that systemd gave: of its own hierarchy where there is one, else of the unified one.
fn path_of(cgroups: &str) -> Option<&str> {
    let of = |prefix: &str| {
        cgroups.lines().find_map(|line| line.split_once(':').and_then(|(_, rest)| rest.strip_prefix(prefix)))
    };
    of("name=systemd:").filter(|path| *path != "/").or_else(|| of(":"))
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

fn has_ending(name: &str, ending: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_outermost_service_of_the_system() {
        let unit = |path: &str| unit_of(&format!("0::{path}\n"));
        assert_eq!(unit("/system.slice/web.service").as_deref(), Some("web.service"));
        assert_eq!(unit("/system.slice/web.service/sub/x.service").as_deref(), Some("web.service"));
        assert_eq!(unit("/system.slice/system-getty.slice/getty@tty1.service").as_deref(), Some("getty@tty1.service"));
        assert_eq!(unit("/system.slice/_cpu.service").as_deref(), Some("cpu.service"));
        for path in [
            "/",
            "/init.scope",
            "/user.slice/user-1000.slice/session-1.scope",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
            "/whatever/web.service",
            "/docker/abc/system.slice/web.service",
        ] {
            assert_eq!(unit(path), None, "{path}");
        }
    }

    #[test]
    fn the_older_hierarchies_are_read_too() {
        let hybrid = "12:pids:/x\n1:name=systemd:/system.slice/web.service\n0::/system.slice/other.service\n";
        assert_eq!(unit_of(hybrid).as_deref(), Some("web.service"));
        assert_eq!(unit_of("4:memory:/a/web.service\n9:name=systemd:/\n0::/\n"), None);
        assert_eq!(unit_of("4:memory:/a\n"), None);
        assert_eq!(unit_of(""), None);
    }

    #[test]
    fn a_container_is_known_by_its_cgroup() {
        for (path, container) in [
            ("/system.slice/docker-0123.scope", Some("/system.slice/docker-0123.scope")),
            ("/system.slice/docker-0123.scope/init", Some("/system.slice/docker-0123.scope")),
            ("/docker/0123", Some("/docker/0123")),
            (
                "/kubepods.slice/kubepods-pod1.slice/cri-containerd-9.scope",
                Some("/kubepods.slice/kubepods-pod1.slice/cri-containerd-9.scope"),
            ),
            ("/machine.slice/libpod-7.scope/container", Some("/machine.slice/libpod-7.scope/container")),
            ("/system.slice/docker.service", None),
            ("/system.slice/web.service", None),
            ("/", None),
        ] {
            let found = container_of(&format!("0::{path}")).map(str::to_owned);
            assert_eq!(found.is_some(), container.is_some(), "{path}: {found:?}");
        }
        assert_ne!(container_of("0::/docker/a"), container_of("0::/docker/b"));
    }

    #[test]
    fn nothing_hostile_makes_the_hierarchies_panic() {
        let samples: [&[u8]; 3] = [
            b"0::/system.slice/app.service\n",
            b"12:pids:/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n0::/\n",
            b"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app.service\n",
        ];
        crate::fuzz::hostile(&samples, |input| {
            let text = String::from_utf8_lossy(input);
            let _ = (unit_of(&text), container_of(&text));
        });
    }
}
