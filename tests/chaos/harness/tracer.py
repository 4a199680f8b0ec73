"""Kill a process tree at its n-th state-changing system call.

strace's `when=N` counts for each thread and call number by itself, so that in a program with threads or children most
crash points are never hit. Here one counter runs over all of them, and the kernel stops the program only at the calls
listed (seccomp and ptrace, see seccomp(2) SECCOMP_RET_TRACE), so that a traced run is nearly as fast as a plain one.
The n-th call itself is not executed. What io_uring does is not seen."""
import ctypes
import json
import os
import signal
import struct

from . import kernel
from .call import explain, parse_answer

# Calls after which somebody else sees something different: numbers from the kernel's syscall tables.
X86_64 = {
    "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "sendto": 44, "sendmsg": 46, "sendmmsg": 307, "rename": 82, "renameat": 264, "renameat2": 316,
    "fsync": 74, "fdatasync": 75, "open": 2, "creat": 85, "openat": 257, "openat2": 437, "unlink": 87, "unlinkat": 263, "mkdir": 83, "mkdirat": 258,
    "rmdir": 84, "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266, "truncate": 76, "ftruncate": 77, "fallocate": 285, "chmod": 90, "fchmod": 91,
    "fchmodat": 268, "mount": 165, "umount2": 166, "setns": 308, "unshare": 272, "execve": 59, "execveat": 322,
}
AARCH64 = {
    "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "sendto": 206, "sendmsg": 211, "sendmmsg": 269, "renameat": 38, "renameat2": 276, "fsync": 82,
    "fdatasync": 83, "openat": 56, "openat2": 437, "unlinkat": 35, "mkdirat": 34, "linkat": 37, "symlinkat": 36, "truncate": 45, "ftruncate": 46,
    "fallocate": 47, "fchmod": 52, "fchmodat": 53, "mount": 40, "umount2": 39, "setns": 268, "unshare": 97, "execve": 221, "execveat": 281,
}
MACHINES = {"x86_64": (0xC000003E, X86_64), "aarch64": (0xC00000B7, AARCH64)}
PATH_ARGUMENT = {
    "rename": 0, "renameat": 1, "renameat2": 1, "open": 0, "creat": 0, "openat": 1, "openat2": 1, "unlink": 0, "unlinkat": 1, "mkdir": 0, "mkdirat": 1,
    "rmdir": 0, "link": 0, "linkat": 3, "symlink": 1, "symlinkat": 2, "truncate": 0, "chmod": 0, "mount": 1, "umount2": 0, "execve": 0,
}
OPENING = {"open": 1, "openat": 2}  # position of the flags; of these calls only those that create or truncate count
CREATES = 0o1100 | 0o20000000  # O_CREAT, O_TRUNC, __O_TMPFILE

TRACEME, CONT, SETOPTIONS, SYSCALL_INFO = 0, 7, 0x4200, 0x420E
FOLLOW = 2 | 4 | 8 | 16 | 128 | 1 << 20  # fork, vfork, clone, exec, seccomp; and die with the tracer
EVENT_EXEC, EVENT_SECCOMP, WALL = 4, 7, 0x40000000
SET_SECCOMP, FILTER_MODE = 22, 2
NOT_STARTED = 127

kernel.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
kernel.libc.ptrace.restype = ctypes.c_long


class Trace:
    """How a traced call went: state-changing calls seen, what was about to happen at the kill, exit status and output."""

    def __init__(self, report):
        self.calls, self.at, self.status, self.programs = report["calls"], report["at"], report["status"], report["programs"]
        self.out, self.err = report["out"].encode(), report["err"].encode()

    def answer(self):
        """The JSON object printed on stdout, or an empty one."""
        return parse_answer(self.out)

    def why(self):
        """Exit status and message in one line."""
        return explain(self.status, self.out, self.err)


def run(program, environment, conf, kill_at=0, only_caller=False):
    """Run the plugin traced. `kill_at` 0 only counts; else before that call the whole tree dies, or only the process that
    was about to make it (its parents and children live on and are waited for)."""
    inputs, out, err = (os.memfd_create(name) for name in ("in", "out", "err"))
    os.write(inputs, json.dumps(conf).encode())
    os.lseek(inputs, 0, os.SEEK_SET)
    reading, writing = os.pipe()
    tracer = os.fork()
    if tracer == 0:  # a process of its own, so that it may wait for whatever there is
        try:
            report = _trace(lambda: _become(program, environment, inputs, out, err), kill_at, only_caller)
            os.write(writing, json.dumps(report).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        report = json.loads(pipe.read() or '{"calls": 0, "at": "", "status": 125, "programs": 0}')
    os.waitpid(tracer, 0)
    report["out"], report["err"] = (os.pread(fd, 1 << 20, 0).decode(errors="replace") for fd in (out, err))
    for fd in (inputs, out, err):
        os.close(fd)
    return Trace(report)


def _filter(audit, calls):
    """Classic BPF: stop at the calls listed (opening ones only when they create or truncate), allow the rest."""
    def instruction(code, if_true, if_false, value):
        return struct.pack("HBBI", code, if_true, if_false, value)

    load, equal, any_bit, answer, allow, stop = 0x20, 0x15, 0x45, 0x06, 0x7FFF0000, 0x7FF00000
    program = [instruction(load, 0, 0, 4), instruction(equal, 1, 0, audit), instruction(answer, 0, 0, allow), instruction(load, 0, 0, 0)]
    for name, number in calls.items():
        if name in OPENING:
            program += [instruction(equal, 0, 4, number), instruction(load, 0, 0, 16 + 8 * OPENING[name]), instruction(any_bit, 1, 0, CREATES),
                        instruction(answer, 0, 0, allow), instruction(answer, 0, 0, stop)]
        else:
            program += [instruction(equal, 0, 1, number), instruction(answer, 0, 0, stop)]
    return b"".join(program + [instruction(answer, 0, 0, allow)])


def _become(program, environment, inputs, out, err):
    """In the traced child: give the tracer a moment to attach, install the filter, and become the plugin."""
    for target, fd in enumerate((inputs, out, err)):
        os.dup2(fd, target)
    os.setsid()
    code = _filter(*MACHINES[os.uname().machine])
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)))
    kernel.libc.ptrace(TRACEME, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    if kernel.libc.prctl(SET_SECCOMP, FILTER_MODE, ctypes.byref(header), 0, 0) == 0:
        try:
            os.execve(program, [program], environment)
        except OSError:
            pass
    os._exit(NOT_STARTED)


def _trace(child, kill_at, only_caller):
    top = os.fork()
    if top == 0:
        child()
    os.waitpid(top, WALL)
    kernel.libc.ptrace(SETOPTIONS, top, None, FOLLOW)
    kernel.libc.ptrace(CONT, top, None, None)
    living, calls, at, status, programs = {top}, 0, "", 125, 0
    while living:
        try:
            task, state = os.waitpid(-1, WALL)
        except ChildProcessError:
            break
        if os.WIFEXITED(state) or os.WIFSIGNALED(state):
            living.discard(task)
            if task == top:
                status = os.waitstatus_to_exitcode(state)
            continue
        living.add(task)
        number, event, deliver = os.WSTOPSIG(state), state >> 16, 0
        if event == EVENT_SECCOMP:
            calls += 1
            if calls == kill_at:
                at = _describe(task)
                _kill([_process_of(task)] if only_caller else [_process_of(each) for each in living])
        elif event == EVENT_EXEC:
            programs += 1
        elif event == 0 and number not in (signal.SIGSTOP, signal.SIGTRAP):
            deliver = number
        kernel.libc.ptrace(CONT, task, None, deliver)
    return {"calls": calls, "at": at, "status": status, "programs": programs}


def _kill(pids):
    for pid in set(pids):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _describe(task):
    """The call a stopped task is about to make, for people."""
    info = ctypes.create_string_buffer(88)
    kernel.libc.ptrace(SYSCALL_INFO, task, 88, ctypes.addressof(info))
    number, *arguments = struct.unpack_from("Q6Q", info.raw, 24)
    names = {value: name for name, value in MACHINES[os.uname().machine][1].items()}
    name, path = names.get(number, str(number)), ""
    if name in PATH_ARGUMENT:
        try:
            with open(f"/proc/{task}/mem", "rb") as memory:
                memory.seek(arguments[PATH_ARGUMENT[name]])
                path = memory.read(160).split(b"\0")[0].decode(errors="replace")
        except (OSError, OverflowError, ValueError):
            pass
    return f"{name}({path}) in {_status(task, 'Name')}"


def _process_of(task):
    return int(_status(task, "Tgid") or task)


def _status(task, field):
    try:
        with open(f"/proc/{task}/status", encoding="utf-8") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(field + ":")), "")
    except OSError:
        return ""
