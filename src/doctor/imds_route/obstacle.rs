//! What keeps a connection from an address: by the error of `connect`, the routes, and the rules of the firewall. Pure.

use std::net::{IpAddr, Ipv4Addr};

use rustix::io::Errno;

/// What is in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) why: String,
    /// The rule or route, in its own words.
    pub(super) evidence: Option<String>,
    pub(super) cure: String,
    /// Whether somebody put it there; otherwise there may merely be nobody at that address.
    pub(super) is_certain: bool,
}

/// A rule that ends what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// As the firewall's own tool shows it.
    pub(super) text: String,
    /// The command that takes it away.
    pub(super) removal: String,
}

/// What is in the way of a connection to `ip` that ended with `errno` (`None`: without an answer).
pub(super) fn judge(errno: Option<Errno>, ip: Option<IpAddr>, routes: &str, rules: Vec<Rule>) -> Obstacle {
    if let Some(rule) = rules.into_iter().next() {
        return Obstacle {
            why: "a rule of the firewall rejects or drops what goes there".to_owned(),
            evidence: Some(rule.text),
            cure: rule.removal,
            is_certain: true,
        };
    }
    let Some(ip) = ip else { return nobody("that host", errno) };
    let route = rejecting_route(routes, ip);
    let kind = match errno {
        Some(Errno::ACCESS) => "prohibit",
        Some(Errno::INVAL) => "blackhole",
        Some(Errno::HOSTUNREACH) if route.is_some() => "unreachable",
        Some(Errno::PERM) => return forbidden(ip),
        Some(Errno::NETUNREACH) => return no_route(ip),
        errno => return nobody(&ip.to_string(), errno),
    };
    let family = if ip.is_ipv6() { "ip -6" } else { "ip" };
    let target = route.unwrap_or_else(|| ip.to_string());
    Obstacle {
        why: format!("a {kind} route forbids it"),
        evidence: Some(format!("route {kind} {target}")),
        cure: format!("sudo {family} route del {kind} {target}"),
        is_certain: true,
    }
}

fn forbidden(ip: IpAddr) -> Obstacle {
    Obstacle {
        why: "a filter of this control group (IPAddressDeny= of a unit or slice) or a security module forbids it"
            .to_owned(),
        evidence: None,
        cure: format!(
            "systemctl show --property=IPAddressDeny,IPAddressAllow -- '-.slice' user.slice system.slice; sudo ausearch -m avc -ts recent | grep {ip}"
        ),
        is_certain: true,
    }
}

fn no_route(ip: IpAddr) -> Obstacle {
    let family = if ip.is_ipv6() { "ip -6" } else { "ip" };
    Obstacle {
        why: "there is no route: the network is not up, or its default route is missing".to_owned(),
        evidence: None,
        cure: format!(
            "{family} route get {ip}; if that is an EC2 instance: sudo {family} route add {ip} dev INTERFACE"
        ),
        is_certain: false,
    }
}

fn nobody(host: &str, errno: Option<Errno>) -> Obstacle {
    let why = match errno {
        Some(Errno::CONNREFUSED) => "nobody listens there, or a firewall rejects the connection",
        Some(Errno::HOSTUNREACH) => "nobody has that address here, or a firewall rejects the connection",
        None => "nobody has that address here, or a firewall drops what goes there or comes from there",
        Some(_) => "the address can't be asked from here",
    };
    Obstacle {
        why: why.to_owned(),
        evidence: None,
        cure: format!("sudo nft list ruleset | grep -n {host}; sudo iptables -S | grep {host}; ip route get {host}"),
        is_certain: false,
    }
}

/// The narrowest route of the main table that refuses what goes to `ip`, as `PREFIX/LENGTH`.
fn rejecting_route(routes: &str, ip: IpAddr) -> Option<String> {
    let IpAddr::V4(ip) = ip else { return None };
    let covering = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, in the machine's byte order; a route that leads
        // nowhere has no interface.
        let [interface, destination, _, _, _, _, _, mask, ..] = fields[..] else { return None };
        let number =
            |text: &str| u32::from_str_radix(text, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()));
        let (destination, mask) = (number(destination)?, number(mask)?);
        (u32::from(ip) & mask == destination).then_some((mask.count_ones(), destination, interface == "*"))
    });
    let (length, destination, rejects) = covering.max_by_key(|(length, ..)| *length)?;
    rejects.then(|| format!("{}/{length}", Ipv4Addr::from(destination)))
}

/// The rules in what `nft -a list ruleset` prints that reject or drop what goes to `ip`.
pub(super) fn of_nft(ruleset: &str, ip: IpAddr) -> Vec<Rule> {
    let (mut table, mut chain) = ("", "");
    let mut rules = Vec::new();
    for line in ruleset.lines().map(str::trim) {
        let (text, handle) = line.rsplit_once(" # handle ").unwrap_or((line, ""));
        if let Some(name) = text.strip_prefix("table ") {
            table = name.trim_end_matches(" {");
        } else if let Some(name) = text.strip_prefix("chain ") {
            chain = name.trim_end_matches(" {");
        } else if ends_it(text) && names(text, "daddr", ip) {
            rules.push(Rule {
                text: format!("nftables, table {table}, chain {chain}: {text}"),
                removal: format!("sudo nft delete rule {table} {chain} handle {handle}"),
            });
        }
    }
    rules
}

/// The rules in what `iptables-save` prints that reject or drop what goes to `ip`.
pub(super) fn of_iptables(saved: &str, ip: IpAddr, program: &str) -> Vec<Rule> {
    let mut table = "filter";
    let mut rules = Vec::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(rule) = line.strip_prefix("-A ")
            && ends_it(rule)
            && names(rule, "-d", ip)
        {
            rules.push(Rule {
                text: format!("{program}, table {table}: {line}"),
                removal: format!("sudo {program} -t {table} -D {rule}"),
            });
        }
    }
    rules
}

fn ends_it(rule: &str) -> bool {
    rule.split_whitespace().any(|word| ["drop", "reject"].contains(&word.to_ascii_lowercase().as_str()))
}

/// Whether what stands behind `key` in a rule covers `ip`: an address, a prefix, or a set of them.
fn names(rule: &str, key: &str, ip: IpAddr) -> bool {
    let mut words = rule.split_whitespace().skip_while(|word| *word != key).skip(1).peekable();
    // What is merely excepted is another matter.
    if words.peek().is_some_and(|word| *word == "!=") {
        return false;
    }
    let is_set = words.peek().is_some_and(|word| word.starts_with('{'));
    let count = if is_set { usize::MAX } else { 1 };
    let set = words.take_while(|word| !is_set || *word != "}").take(count);
    set.map(|word| word.trim_matches(['{', '}', ','])).any(|word| covers(word, ip))
}

fn covers(text: &str, ip: IpAddr) -> bool {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, length.parse().ok()));
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let Ok(network) = address.parse::<IpAddr>() else { return false };
    let ((network_bits, all), (ip_bits, _)) = (bits(network), bits(ip));
    let length: u32 = length.unwrap_or(all).min(all);
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    network.is_ipv4() == ip.is_ipv4() && network_bits & mask == ip_bits & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imds() -> IpAddr {
        "169.254.169.254".parse().unwrap()
    }

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n*\tFEA9FEA9\t00000000\t0205\t0\t0\t0\tFFFFFFFF\n";

    #[test]
    fn a_prohibit_route_is_told_by_its_errno_and_deleted_by_the_cure() {
        let obstacle = judge(Some(Errno::ACCESS), Some(imds()), ROUTES, Vec::new());
        assert_eq!(obstacle.cure, "sudo ip route del prohibit 169.254.169.254/32");
        assert!(obstacle.is_certain);
        let six = judge(Some(Errno::ACCESS), Some("fd00:ec2::254".parse().unwrap()), ROUTES, Vec::new());
        assert_eq!(six.cure, "sudo ip -6 route del prohibit fd00:ec2::254");
        let hole = judge(Some(Errno::INVAL), Some(imds()), ROUTES, Vec::new());
        assert_eq!(hole.cure, "sudo ip route del blackhole 169.254.169.254/32");
    }

    #[test]
    fn the_narrowest_route_counts() {
        let wider = format!("{ROUTES}eth0\tFEA9FEA9\t00000000\t0005\t0\t0\t0\tFFFFFFFF\n");
        assert_eq!(rejecting_route(ROUTES, "169.254.169.253".parse().unwrap()), None);
        assert_eq!(rejecting_route(ROUTES, imds()).as_deref(), Some("169.254.169.254/32"));
        assert_eq!(rejecting_route(&wider, imds()), None);
    }

    #[test]
    fn nobody_there_is_no_certain_obstacle() {
        for errno in [None, Some(Errno::CONNREFUSED), Some(Errno::HOSTUNREACH), Some(Errno::NETUNREACH)] {
            assert!(!judge(errno, Some(imds()), "", Vec::new()).is_certain);
        }
    }

    const RULESET: &str = "table inet obstacle { # handle 1\n\tchain out { # handle 1\n\
        \t\ttype filter hook output priority 0; policy accept;\n\
        \t\tip daddr 169.254.169.254 meta skuid 1000 reject with icmp 3 # handle 2\n\
        \t\tip daddr { 10.0.0.1, 169.254.0.0/16 } tcp dport 80 drop # handle 3\n\
        \t\tip daddr != 169.254.169.254 drop # handle 4\n\t\tip daddr 169.254.169.254 accept # handle 5\n\
        \t\tip daddr 10.0.0.0/8 drop # handle 6\n\t}\n}\n";

    #[test]
    fn rules_of_nftables_that_end_what_goes_there_are_found_with_their_handles() {
        let removals: Vec<String> = of_nft(RULESET, imds()).into_iter().map(|rule| rule.removal).collect();
        let delete = |handle: u32| format!("sudo nft delete rule inet obstacle out handle {handle}");
        assert_eq!(removals, [delete(2), delete(3)]);
    }

    #[test]
    fn rules_of_iptables_are_deleted_as_they_were_added() {
        let saved = "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -d 169.254.169.254/32 -m owner ! --uid-owner 0 -j REJECT\n\
                     -A OUTPUT -d 10.0.0.0/8 -j DROP\nCOMMIT\n";
        let rules = of_iptables(saved, imds(), "iptables");
        assert_eq!(rules.len(), 1);
        let expected = "sudo iptables -t filter -D OUTPUT -d 169.254.169.254/32 -m owner ! --uid-owner 0 -j REJECT";
        assert_eq!(rules[0].removal, expected);
    }
}
