"""The few system calls Python 3.11 does not offer, and network namespaces entered on a thread of their own.

A thread that has changed its namespace is never used for anything else: it ends with the function it ran, so no other
code ever finds itself in the wrong place."""
import ctypes
import fcntl
import os
import socket
import struct
import threading

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def _checked(result, what):
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def unshare(flags):
    """Leave the namespaces named by `flags` for fresh ones."""
    _checked(libc.unshare(flags), "unshare")


def mount(source, target, kind="", flags=0, options=""):
    """mount(2)."""
    arguments = [text.encode() for text in (source, target, kind)]
    _checked(libc.mount(*arguments, flags, options.encode()), f"mount {target}")


def unmount(target):
    """Detach whatever is mounted at `target`."""
    _checked(libc.umount2(target.encode(), MNT_DETACH), f"unmount {target}")


def die_with_parent(signal):
    """Ask the kernel for `signal` when the parent dies."""
    _checked(libc.prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0), "prctl")


def _on_own_thread(function):
    outcome = {}

    def body():
        try:
            outcome["value"] = function()
        except BaseException as error:  # handed to the caller below
            outcome["error"] = error

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def in_namespace(path, function):
    """Run `function` on a thread inside the network namespace bound at `path`; sockets it returns stay in there."""
    def body():
        with open(path, "rb") as namespace:
            _checked(libc.setns(namespace.fileno(), CLONE_NEWNET), f"enter {path}")
        return function()

    return _on_own_thread(body)


def make_namespace(path):
    """A fresh network namespace with its loopback up, bound at `path`."""
    def body():
        unshare(CLONE_NEWNET)
        link_up("lo")
        open(path, "x").close()
        mount("/proc/thread-self/ns/net", path, "", MS_BIND)

    _on_own_thread(body)


def remove_namespace(path):
    """Undo make_namespace; gone already is fine."""
    try:
        unmount(path)
    except OSError:
        pass
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def link_up(name):
    """SIOCSIFFLAGS with IFF_UP for a link of the current namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", name.encode(), 0)
        flags = struct.unpack_from("H", fcntl.ioctl(control, 0x8913, request), 16)[0]
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", name.encode(), flags | 1))
