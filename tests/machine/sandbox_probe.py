"""Runs inside the agent's sandbox, in the agent's place, and writes down what it may do: a JSON object of probe to "ok"
or the error's name, and of facts. Not what is expected: test_sandbox.py knows that.

Where it can, a probe does what the same user may do outside of the sandbox, so that only the sandbox can refuse it.
"""

import ctypes
import errno
import grp
import json
import mmap
import os
import pwd
import resource
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial

STATE = "/var/lib/imds-agent"
LIBC = ctypes.CDLL(None, use_errno=True)
PR_GET_NO_NEW_PRIVS = 39
CLONE_NEWUSER = 0x10000000
ADDR_NO_RANDOMIZE = 0x0040000
SYSLOG_ACTION_SIZE_BUFFER = 10
IPC_PRIVATE = 0
PTRACE_TRACEME = 0


def outcome(probe: Callable[[], object]) -> str:
    """`ok`, or the name of the error."""
    try:
        probe()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "ok"


def call(name: str, *arguments: object) -> int:
    """A call of libc's; its error as an exception."""
    ctypes.set_errno(0)
    result = getattr(LIBC, name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def open_socket(family: str, kind: int) -> None:
    socket.socket(getattr(socket, family), kind).close()


def create(path: str) -> None:
    with open(path, "x"):
        pass
    os.unlink(path)


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def execute_written_memory() -> None:
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    call("mprotect", ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_EXEC)


def run(path: str) -> None:
    child = os.posix_spawn(path, [path, "--version"], os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, 1)])
    os.waitpid(child, 0)


def set_user_id_file() -> None:
    path = f"{STATE}/probe-suid"
    with open(path, "w") as file:
        try:
            os.fchmod(file.fileno(), 0o4700)
        finally:
            os.unlink(path)


def own_file_to_own_user() -> None:
    path = f"{STATE}/probe-chown"
    with open(path, "w"):
        try:
            os.chown(path, os.getuid(), os.getgid())
        finally:
            os.unlink(path)


def threads_until_refused() -> int:
    """How many threads there may be, this one included; 200 at most."""
    enough = threading.Event()
    started = []
    try:
        while len(started) < 200:
            thread = threading.Thread(target=enough.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:
        pass
    enough.set()
    for thread in started:
        thread.join()
    return len(started) + 1


def probes() -> dict[str, Callable[[], object]]:
    """Each by its name."""
    families = {
        "AF_UNIX": socket.SOCK_STREAM, "AF_INET": socket.SOCK_STREAM, "AF_INET6": socket.SOCK_STREAM,
        "AF_NETLINK": socket.SOCK_RAW, "AF_PACKET": socket.SOCK_RAW, "AF_ALG": socket.SOCK_SEQPACKET,
        "AF_VSOCK": socket.SOCK_STREAM,
    }
    places = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", STATE, "/run/imds-agent")
    return {
        **{f"socket {name}": partial(open_socket, name, kind) for name, kind in families.items()},
        **{f"create in {place}": partial(create, f"{place}/probe") for place in places},
        "read root's file": partial(read, "/var/log/root-only.log"),
        "see /proc/sys": partial(os.stat, "/proc/sys"),
        "open /dev/kmsg": partial(read, "/dev/kmsg"),
        "run imds-agent": partial(run, "/usr/bin/imds-agent"),
        "run /bin/true": partial(run, "/bin/true"),
        "execute what it wrote to memory": execute_written_memory,
        "map memory writable and executable": partial(
            mmap.mmap, -1, mmap.PAGESIZE, prot=mmap.PROT_WRITE | mmap.PROT_EXEC
        ),
        "make a user namespace": partial(call, "unshare", CLONE_NEWUSER),
        "change its personality": partial(call, "personality", ADDR_NO_RANDOMIZE),
        "trace": partial(call, "ptrace", PTRACE_TRACEME, 0, 0, 0),
        "make a set-user-id file": set_user_id_file,
        "change a file's owner": own_file_to_own_user,
        "choose its processors": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
        "run in real time": lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
        "set the host's name": partial(call, "sethostname", b"probe", 5),
        "read the kernel's log": partial(call, "klogctl", SYSLOG_ACTION_SIZE_BUFFER, None, 0),
        "mount": partial(call, "mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "leave shared memory behind": partial(call, "shmget", IPC_PRIVATE, mmap.PAGESIZE, 0o600),
    }


def facts() -> dict[str, object]:
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    places = ("/", "/etc", "/usr", "/var/log", "/home", "/root", "/tmp", "/run", "/sys", "/sys/fs/cgroup")
    return {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "groups": sorted(grp.getgrgid(group).gr_name for group in {os.getgid(), *os.getgroups()}),
        "capabilities": {key: status[key] for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")},
        "no_new_privileges": LIBC.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        "filters_system_calls": status["Seccomp"] == "2",
        "core_limit": resource.getrlimit(resource.RLIMIT_CORE),
        "umask": oct(os.umask(0o77)),
        "read_only": [place for place in places if os.statvfs(place).f_flag & os.ST_RDONLY],
        "devices": sorted(os.listdir("/dev")),
        "namespaces": {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "uts")},
        "threads": threads_until_refused(),
    }


if __name__ == "__main__":
    # First: a probe that is allowed changes what it is.
    found = {"facts": facts()}
    found["outcomes"] = {name: outcome(probe) for name, probe in probes().items()}
    json.dump(found, sys.stdout)
