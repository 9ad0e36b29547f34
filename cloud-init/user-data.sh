#!/bin/sh
# User data, as a shell script: at an instance's first boot it installs imds-agent, configures it and starts it, on apt
# and on dnf systems. It may be run again, by hand or at every boot: what is as it should be is left alone. Not the
# instance's role (terraform/, cloudformation/), and no place for secrets: whoever is on the instance can read it.

# --- What to set ---

# Where the package is, one line for each kind of system that is to start with this: an address, and the SHA-256 of what
# is there; or a path in the image, where the sum may be left out. The line that ends with the system's own architecture
# and kind of package is taken (`amd64.deb`, `aarch64.rpm`). With no line at all, the image has the agent installed.
packages='
/opt/imds-agent_*_amd64.deb
/opt/imds-agent_*_arm64.deb
/opt/imds-agent-*.x86_64.rpm
/opt/imds-agent-*.aarch64.rpm
'
# https://example.com/imds-agent_0.1.0-1_amd64.deb  0123…cdef

environment=prod
# The instance's tag LogGroup, if it has one that its metadata shows.
log_group="{tag:LogGroup|/aws/ec2/$environment}"
retention_in_days=14
files='"/var/log/app/*.log"'

configuration() {
    cat <<TOML
[variables]
environment = "$environment"

[logs]
log_group = "$log_group"
log_stream = "{instance_id}/{file_name}"
retention_in_days = $retention_in_days

[[logs.file]]
include = [$files]

# What cloud-init did before the agent was there, too.
[[logs.file]]
include = ["/var/log/cloud-init.log", "/var/log/cloud-init-output.log"]
start_at = "beginning"
TOML
}

# --- Nothing to set from here on ---

set -eu
umask 022
drop_in=/etc/imds-agent/conf.d/50-user-data.toml
doing='begin' reason='' changes='' unchecked=''
work=$(mktemp -d)
chmod 755 "$work" # apt reads the package as a user of its own

say() { echo "imds-agent user-data: $*"; }

# However it ends, a configuration that was not accepted is gone again, and what was there before is back.
finish() {
    code=$?
    rm -f "$drop_in.new"
    if [ "$unchecked" ] && [ -e "$work/before" ]; then
        mv "$work/before" "$drop_in"
    elif [ "$unchecked" ]; then
        rm -f "$drop_in"
    fi
    if [ "$code" -ne 0 ]; then
        [ ! -s "$work/output" ] || cat "$work/output" >&2
        say "FAILED to $doing${reason:+: $reason}" >&2
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

fail() {
    reason=$*
    exit 1
}

# Runs a command; what it prints is of interest only if it fails, and nothing else succeeds in its place.
try() {
    "$@" >>"$work/output" 2>&1 || return
    : >"$work/output"
}

doing='find out which packages this system takes'
if command -v apt-get >/dev/null; then
    kind=deb arch=$(dpkg --print-architecture)
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Version}' imds-agent 2>/dev/null) || installed=''
    case $installed in "installed "*) installed=${installed#* } ;; *) installed='' ;; esac
    installed_name=imds-agent_${installed}_$arch.deb
    version_in() { dpkg-deb -f "$1" Version; }
    at_least() { dpkg --compare-versions "$1" ge "$2"; }
    # Other programs hold dpkg's lock at a first boot; and nobody is there to be asked about configuration files.
    install() {
        try env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
            -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$1"
    }
elif command -v rpm >/dev/null; then
    kind=rpm arch=$(uname -m)
    installed=$(rpm -q --qf '%{VERSION}-%{RELEASE}' imds-agent 2>/dev/null) || installed=''
    installed_name=imds-agent-$installed.$arch.rpm
    version_in() { rpm -qp --qf '%{VERSION}-%{RELEASE}' "$1" 2>/dev/null; }
    at_least() { [ "$(rpm --eval "%{lua:print(rpm.vercmp('$1', '$2'))}")" -ge 0 ]; }
    # dnf wants to read its repositories, which a private subnet may not reach; the package needs nothing of them.
    install() { try dnf install -y -q "$1" || try rpm -U "$1"; }
else
    fail 'neither apt-get nor rpm is here'
fi

# The address or path for this system and its sum; of several, the one whose name has the highest version.
choose() {
    echo "$packages" | while read -r pattern sum; do
        for place in $pattern; do # a path may hold wildcards
            case $place in *"$arch.$kind") echo "$place $sum" ;; esac
        done
    done | sort -V | tail -n 1
}

# Ends with 22 (curl) or 8 (wget) when the server answered that it will not give it.
fetch() {
    if command -v curl >/dev/null; then
        try curl -fsSL --retry 5 --connect-timeout 10 --max-time 300 -o "$2" "$1"
    else
        try wget -nv --tries=5 --waitretry=10 --retry-on-http-error=429,500,502,503,504 --timeout=30 -O "$2" "$1"
    fi
}

# The network may come late: it gets five minutes, and what the attempts themselves take.
download() {
    attempt=1
    until fetch "$1" "$2"; do
        case $? in 8 | 22) fail "$1 is not to be had" ;; esac
        [ "$attempt" -lt 60 ] || fail "$1 can't be reached"
        attempt=$((attempt + 1))
        : >"$work/output"
        sleep 5
    done
}

# put_in PLACE SUM
put_in() {
    package=$1
    case $1 in
    http://* | https://*)
        [ "$2" ] || fail "$1 has no SHA-256 beside it"
        doing='download the package' package=$work/${1##*/}
        download "$1" "$package"
        ;;
    esac
    doing='check the package'
    [ -f "$package" ] || fail "there is no file $package"
    if [ "$2" ]; then
        sum=$(sha256sum <"$package")
        [ "${sum%% *}" = "$2" ] || fail "the SHA-256 of $1 is ${sum%% *}, not $2"
    fi
    offered=$(version_in "$package") || fail "$1 is no $kind package"
    # A newer one, put there by hand, stays.
    if [ "$installed" ] && at_least "$installed" "$offered"; then return; fi
    doing='install the package'
    install "$package" || fail "the package manager refused $1"
    changes=installed
}

doing='find the package'
chosen=$(choose)
place=${chosen%% *}
if [ "$place" ]; then
    # The version is in the name: what is installed already need not be fetched to know that.
    case $place in */"$installed_name") ;; *) put_in "$place" "${chosen#"$place "}" ;; esac
elif ! command -v imds-agent >/dev/null; then
    fail "no line of \`packages\` names one that ends with $arch.$kind"
fi

doing='write the configuration'
mkdir -p "${drop_in%/*}"
configuration >"$work/configuration"
start=start
if ! cmp -s "$work/configuration" "$drop_in"; then
    [ ! -e "$drop_in" ] || cp -p "$drop_in" "$work/before"
    unchecked=yes start=reload-or-restart changes="${changes:+$changes, }configured"
    cp "$work/configuration" "$drop_in.new"
    mv "$drop_in.new" "$drop_in"
fi
doing='check the configuration'
try imds-agent config check || fail 'it was refused, and what was there before is back'
unchecked=''

doing='start the service'
if ! { try systemctl enable --quiet imds-agent.service && try systemctl "$start" imds-agent.service; }; then
    journalctl -u imds-agent.service -n 20 --no-pager >>"$work/output" 2>&1 || true
    fail "systemctl $start imds-agent.service failed"
fi
say "$(imds-agent --version) is running: ${changes:-nothing to change}"
