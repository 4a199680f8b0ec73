"""Processes of the node: whatever is neither its init nor the harness was left behind by a call."""
import os
import signal
import time

INIT = 1


def _table():
    """{pid: (parent, state, command)} of this pid namespace."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    line = file.read()
            except OSError:
                continue
            rest = line[line.rindex(")") + 2 :].split()
            found[int(entry)] = (int(rest[1]), rest[0], line[line.index("(") + 1 : line.rindex(")")])
    return found


def strays():
    """(commands, pids) of every process that is neither init, nor this one, nor dead."""
    found = sorted((command, pid) for pid, (_, state, command) in _table().items() if pid not in (INIT, os.getpid()) and state not in "ZX")
    return [command for command, _ in found], [pid for _, pid in found]


def quiet(limit):
    """Wait until no stray runs; False when `limit` seconds did not suffice."""
    end = time.monotonic() + limit
    while strays()[0]:
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def end_strays():
    """Kill what was left behind: everything in this pid namespace is ours."""
    for pid in strays()[1]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    quiet(2)
