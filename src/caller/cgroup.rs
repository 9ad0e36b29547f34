//! What a process's cgroup says of where it belongs. Pure: takes the text of /proc/PID/cgroup (cgroups(7)), or a path.

/// How the scopes and groups are called in which container engines put theirs.
const ENGINES: [&str; 11] = [
    "docker-",
    "libpod-",
    "crio-",
    "cri-containerd-",
    "nerdctl-",
    "machine-",
    "docker",
    "kubepods",
    "lxc",
    "ecs",
    "machine.slice",
];

/// Where systemd keeps users' sessions and their managers: what they call a service is none of the system's.
const USERS: &str = "user.slice";

/// What every engine calls a container by: a SHA-256 in hexadecimal.
const ID_LENGTH: usize = 64;

/// The fewest digits of an id that a rule may give: as many as engines show.
const SHORTEST_ID: usize = 12;

/// A container that is not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The engine's id, or the machine's name, where there is one.
    pub name: Option<String>,
    /// Whether the name stands where only the system's own services make names. Below a service or in a user's slice
    /// anybody's name can be made.
    pub is_attested: bool,
    /// The cgroup, up to and with what makes it a container.
    path: String,
}

impl Container {
    /// One that is known by something else than its cgroup.
    pub(super) fn without_name() -> Self {
        Self::default()
    }

    /// Whether a rule's `wanted` means this one: `*`, the name, or the first digits of the id.
    pub(super) fn is_called(&self, wanted: &str) -> bool {
        let begins = |name: &String| wanted.len() >= SHORTEST_ID && is_id(name) && name.starts_with(wanted);
        wanted == "*" || self.name.as_ref().is_some_and(|name| name == wanted || begins(name))
    }
}

/// The path that systemd gave: of its own hierarchy where there is one, else of the unified one.
pub(super) fn path_of(cgroups: &str) -> Option<&str> {
    let of = |prefix: &str| {
        cgroups.lines().find_map(|line| line.split_once(':').and_then(|(_, rest)| rest.strip_prefix(prefix)))
    };
    of("name=systemd:").filter(|path| *path != "/").or_else(|| of(":"))
}

/// The system's unit in which the process runs: the outermost service, none below a user's slice.
pub(super) fn unit_of(path: &str) -> Option<String> {
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

/// The container in which the process runs.
pub(super) fn container_of(path: &str) -> Option<Container> {
    let is_engines =
        |name: &&str| !has_ending(name, "service") && ENGINES.iter().any(|prefix| name.starts_with(prefix));
    // What is above our own root is in another container than we are, whatever it is called there.
    let found = components(path).find(|name| *name == ".." || is_engines(name))?;
    // A name may stand twice, which is somebody's attempt; the outer one is the engine's.
    let begin = components(path).take_while(|name| *name != found).map(|name| name.len() + 1).sum::<usize>();
    let (above, below) = path.trim_start_matches('/').split_at(begin);
    // Engines that nest give the container below: the whole path tells one from the other.
    let path = if has_ending(found, "scope") { format!("/{above}{found}") } else { path.to_owned() };
    let is_anybodys = |name: &str| name == USERS || name == ".." || has_ending(name, "service");
    let is_attested = found != ".." && !components(above).any(is_anybodys);
    Some(Container { name: name_in(below), is_attested, path })
}

/// The id or the name that is told by the part of a path that begins with what makes it a container.
fn name_in(path: &str) -> Option<String> {
    // The outermost one: what is below belongs to whoever is inside.
    let id = components(path).find_map(|name| {
        let name = name.strip_suffix(".scope").unwrap_or(name);
        name.rsplit('-').next().filter(|id| is_id(id))
    });
    let machine = || components(path).find_map(machine_in);
    id.map(str::to_owned).or_else(machine)
}

/// `machine-NAME.scope`, `systemd-nspawn@NAME.service`, `lxc.payload.NAME`.
fn machine_in(component: &str) -> Option<String> {
    let between = |prefix, suffix| component.strip_prefix(prefix)?.strip_suffix(suffix);
    let escaped = between("machine-", ".scope").or_else(|| between("systemd-nspawn@", ".service"));
    // systemd-escape(1): a dash in a name would be taken for a slice's.
    escaped.map(|name| name.replace("\\x2d", "-")).or_else(|| component.strip_prefix("lxc.payload.").map(str::to_owned))
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_unit_is_the_outermost_service_of_the_system() {
        let unit = unit_of;
        assert_eq!(unit("/system.slice/web.service").as_deref(), Some("web.service"));
        assert_eq!(unit("/system.slice/web.service/sub/x.service").as_deref(), Some("web.service"));
        assert_eq!(unit("/system.slice/system-getty.slice/getty@tty1.service").as_deref(), Some("getty@tty1.service"));
        assert_eq!(unit("/system.slice/_cpu.service").as_deref(), Some("cpu.service"));
        for path in [
            "/",
            "/init.scope",
            "/user.slice/user-1000.slice/session-1.scope",
            // systemd-run --user --unit=web.service
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
            "/whatever/web.service",
            "/docker/abc/system.slice/web.service",
            "/../system.slice/web.service",
        ] {
            assert_eq!(unit(path), None, "{path}");
        }
    }

    #[test]
    fn the_older_hierarchies_are_read_too() {
        let unit = |text| path_of(text).and_then(unit_of);
        let hybrid = "12:pids:/x\n1:name=systemd:/system.slice/web.service\n0::/system.slice/other.service\n";
        assert_eq!(unit(hybrid).as_deref(), Some("web.service"));
        assert_eq!(unit("4:memory:/a/web.service\n9:name=systemd:/\n0::/\n"), None);
        assert_eq!(unit("4:memory:/a\n"), None);
        assert_eq!(unit(""), None);
    }

    #[test]
    fn a_container_is_known_by_its_cgroup_and_called_by_its_id() {
        for (path, name) in [
            (format!("/system.slice/docker-{ID}.scope"), ID),
            (format!("/system.slice/docker-{ID}.scope/init"), ID),
            (format!("/docker/{ID}"), ID),
            (format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"), ID),
            (format!("/kubepods/burstable/pod6ba7b810-9dad-11d1-80b4-00c04fd430c8/{ID}"), ID),
            (format!("/ecs/6ba7b8109dad11d180b400c04fd430c8/{ID}"), ID),
            (format!("/machine.slice/libpod-{ID}.scope/container"), ID),
            (r"/machine.slice/machine-my\x2dbox.scope/payload".to_owned(), "my-box"),
            ("/machine.slice/systemd-nspawn@box.service/payload".to_owned(), "box"),
            ("/lxc.payload.web/system.slice/x.service".to_owned(), "web"),
        ] {
            let container = container_of(&path).unwrap_or_else(|| panic!("{path}"));
            assert!(container.is_attested, "{path}");
            assert_eq!(container.name.as_deref(), Some(name), "{path}");
        }
        for path in ["/system.slice/docker.service", "/system.slice/web.service", "/", "/init.scope"] {
            assert_eq!(container_of(path), None, "{path}");
        }
        assert_ne!(container_of("/docker/a"), container_of("/docker/b"));
        let inside = |rest| container_of(&format!("/system.slice/docker-{ID}.scope/{rest}"));
        assert_eq!(inside("init"), inside("app"));
    }

    #[test]
    fn a_name_that_anybody_could_have_made_is_a_container_without_a_word_for_it() {
        for path in [
            format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
            format!("/system.slice/web.service/docker-{ID}.scope"),
            format!("/../{ID}"),
        ] {
            assert!(!container_of(&path).unwrap().is_attested, "{path}");
        }
        // Who is in one container calls a group of its own like another container's.
        let other = ID.replace('0', "f");
        let nested = container_of(&format!("/docker/{ID}/docker/{other}")).unwrap();
        assert_eq!(nested.name.as_deref(), Some(ID));
    }

    #[test]
    fn a_container_is_called_by_the_first_digits_of_its_id_or_by_its_whole_name() {
        let docker = container_of(&format!("/docker/{ID}")).unwrap();
        assert!(docker.is_called("*") && docker.is_called(ID) && docker.is_called(&ID[..12]));
        assert!(!docker.is_called(&ID[..11]) && !docker.is_called(&ID[1..20]) && !docker.is_called(""));
        let machine = container_of("/machine.slice/machine-a-long-long-name.scope").unwrap();
        assert!(machine.is_called("a-long-long-name") && !machine.is_called("a-long-long-n"));
        assert!(Container::without_name().is_called("*") && !Container::without_name().is_called(""));
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
