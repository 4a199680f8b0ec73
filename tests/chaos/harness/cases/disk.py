"""State directories that are full or read-only."""
import os

from .. import kernel
from . import Skip, case, first_of

FREE = [(0, 100), (1, 100), (2, 100), (3, 100), (4, 100), (6, 100), (9, 100), (99, 0), (99, 1), (99, 2), (99, 3), (99, 4), (99, 5), (99, 7)]
PAGE = 4096


def _remount(root, options, flags=0):
    kernel.mount("chaos", root, "tmpfs", kernel.MS_REMOUNT | flags, options)


def _roots(case):
    if not case.node.touched:
        raise Skip("a running pod has no file below the state directories")
    return case.node.touched


@case("disk-full", 10)
def disk_full(case):
    """With 0.. free pages or inodes ADD either works or says so in JSON; with room again DEL leaves nothing."""
    node, failed, tried = case.node, 0, 0
    for root in _roots(case):
        for pages, inodes in FREE:
            pod = node.pod()
            seen = os.statvfs(root)
            used = (seen.f_blocks - seen.f_bfree) * seen.f_frsize // PAGE
            _remount(root, f"size={max(1, used + pages) * PAGE},nr_inodes={seen.f_files - seen.f_ffree + inodes}")
            call = node.call("ADD", pod)
            wrong = None if call.status else node.fault(pod)
            _remount(root, "size=64m,nr_inodes=100000")
            where, tried = f"{root} with {pages} pages and {inodes} inodes free", tried + 1
            if call.status:
                failed += 1
                if not call.answer().get("msg"):
                    case.bad(f"{where}: no JSON error, {call.why()}")
            elif wrong:
                case.bad(f"{where}: ADD says success, but {wrong}")
            case.settle(pod, f"{where} (ADD {call.why()[:100]})", node.call("DEL", pod))
        case.fresh_pod_works(f"after {root} was full")
    case.figures.update(tried=tried, add_failed=failed, dirty=case.dirty)
    if not failed:
        case.bad("no ADD failed on a full state directory")
    case.nothing_reserved()


@case("read-only", 3)
def read_only(case):
    """A read-only state directory is a JSON error that says so, and that ADD leaves nothing."""
    node = case.node
    for root in _roots(case):
        pod = node.pod()
        _remount(root, "", kernel.MS_RDONLY)
        call = node.call("ADD", pod)
        left = node.left_in_pod(pod) + node.changes()
        _remount(root, "")
        said = " ".join(str(call.answer().get(key, "")) for key in ("msg", "details")).lower()
        case.figures[root] = call.why()[:160]
        if call.status == 0:
            case.bad(f"{root} read-only: ADD says success")
        elif not any(word in said for word in ("read-only", "erofs", "permission")):
            case.bad(f"{root} read-only: unclear error: {call.why()}")
        elif left:
            case.bad(f"{root} read-only: the failed ADD leaves {first_of(left)}")
        case.settle(pod, f"{root} writable again", node.call("DEL", pod))
