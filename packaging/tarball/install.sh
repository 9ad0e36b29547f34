#!/bin/sh
# Installs imds-agent from this directory, where there is no package manager to do it; run again, it upgrades.
#
#   install.sh [--root DIR]                        install, or upgrade: positions and configuration stay
#   install.sh --uninstall [--purge] [--root DIR]  remove; --purge also removes configuration, positions and the user
#
# --root DIR works on a system's image below DIR instead of on this system: nothing is started there. Not for systems
# with dpkg or rpm, which have packages of their own.
set -eu

name=imds-agent
unit=$name.service
purge='' root='' action=install

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --uninstall) action=uninstall ;;
    --purge) purge=1 ;;
    --root)
        [ $# -ge 2 ] || fail "--root needs a directory"
        root=$2
        shift
        ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) fail "unknown option $1; --help says which there are" ;;
    esac
    shift
done
[ -z "$purge" ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall"
[ -z "$root" ] || root=$(cd "$root" && pwd)
[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "only root can do this; sudo $0"
here=$(cd "$(dirname "$0")" && pwd)
[ -f "$here/root/usr/bin/$name" ] || fail "$here/root is missing; run it in the directory that the archive unpacks to"

# Whether there is a running systemd to be told.
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
have() { command -v "$1" >/dev/null 2>&1; }
files() { (cd "$here/root" && find . -type f | sed 's|^\./||'); }

# Puts a file at its place in one step, so that a running program or a reader never sees half of it.
put() {
    mkdir -p "$(dirname "$root/$1")"
    cp "$here/root/$1" "$root/$2.new"
    if [ -x "$here/root/$1" ]; then chmod 755 "$root/$2.new"; else chmod 644 "$root/$2.new"; fi
    mv -f "$root/$2.new" "$root/$2"
}

install_files() {
    files | while read -r file; do
        case $file in
        # What somebody may have changed stays; how the new one looks is written beside it.
        etc/*.toml)
            if [ ! -e "$root/$file" ]; then
                put "$file" "$file"
            elif ! cmp -s "$here/root/$file" "$root/$file"; then
                put "$file" "$file.dist"
            fi
            ;;
        *) put "$file" "$file" ;;
        esac
    done
}

do_install() {
    first=1
    [ ! -e "$root/usr/lib/systemd/system/$unit" ] || first=''
    install_files
    ! have systemd-sysusers || systemd-sysusers ${root:+--root="$root"} $name.conf
    if [ -z "$root" ]; then
        ! have systemd-tmpfiles || systemd-tmpfiles --create $name.conf
    fi
    if live; then systemctl daemon-reload; fi
    # Enabled once: an upgrade leaves it as the administrator did.
    if [ -n "$first" ]; then
        mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
        ln -sf "/usr/lib/systemd/system/$unit" "$root/etc/systemd/system/multi-user.target.wants/$unit"
    fi
    if live; then
        if [ -n "$first" ]; then systemctl start $unit; else systemctl try-restart $unit; fi
    fi
    echo "installed$([ -z "$root" ] || echo " below $root"); say in /etc/$name/conf.d/*.toml what to ship (man $name.toml)"
}

do_uninstall() {
    if live && [ -e "/usr/lib/systemd/system/$unit" ]; then systemctl disable --now $unit; fi
    rm -f "$root/etc/systemd/system/multi-user.target.wants/$unit"
    files | while read -r file; do
        case $file in
        etc/*) ;;
        *) remove "$file" ;;
        esac
    done
    if [ -n "$purge" ]; then
        rm -rf "$root/etc/imds-agent" "$root/var/lib/imds-agent" "$root/run/imds-agent"
        remove_user
    fi
    remove_empty etc/systemd/system/multi-user.target.wants
    if live; then systemctl daemon-reload; fi
    if [ -n "$purge" ]; then
        echo "removed, with configuration, positions and user"
    else
        echo "removed; /etc/$name and /var/lib/$name are left: --purge removes them"
    fi
}

remove() {
    rm -f "$root/$1"
    remove_empty "$(dirname "$1")"
}

# Directories that nothing is left in, upwards.
remove_empty() { (cd "$root/" && rmdir -p "$1" 2>/dev/null) || :; }

remove_user() {
    ! have userdel || userdel ${root:+--root "$root"} $name 2>/dev/null || :
    # Gone with the user, unless others were put into it.
    if grep -qs "^$name:" "$root/etc/group" && have groupdel; then groupdel ${root:+--root "$root"} $name; fi
}

do_$action
