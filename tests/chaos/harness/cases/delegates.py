"""Executed delegates that misbehave: the stand-ins crash, answer garbage or too much, hold their pipes, hang, or are slow."""
import os
import signal
import time

from .. import processes
from . import Skip, case, first_of


def _with(case, kind):
    conf = case.node.scenario.with_delegate(kind)
    if conf is None:
        raise Skip("no array of delegates in the configuration")
    return conf


@case("exec-delegate-hang", 45)
def exec_delegate_hang(case):
    """Each is an error within the bound, without a process left; DEL cleans."""
    node = case.node
    for kind in ("crash", "garbage", "flood", "hold", "hang"):
        pod = node.pod(_with(case, kind))
        call = node.call("ADD", pod, limit=case.limits.hang_bound)
        case.figures[kind] = f"{call.seconds:.1f} s, {call.why()[:100]}"
        if call.status == 0:
            case.bad(f"{kind}: ADD says success")
        elif not call.answer().get("msg"):
            case.bad(f"{kind}: no JSON error, {call.why()}")
        elif not processes.quiet(0.5):
            case.bad(f"{kind}: processes left after the error: {processes.strays()[0]}")
        left = [line for line in node.left_in_pod(pod) + node.changes() if not line.startswith("+ process")]
        if call.status and left:
            case.figures[f"{kind}, after the failed ADD"] = first_of(left)
        processes.end_strays()
        case.settle(pod, f"{kind}, DEL", node.call("DEL", pod))


@case("slow-orphan", 7)
def slow_orphan(case):
    """SIGKILL while an executed delegate works, DEL at once: what the delegate would still have done does not stay."""
    node = case.node
    os.makedirs("/var/lib/cni/networks/chaos-slow", exist_ok=True)
    pod = node.pod(_with(case, "slow"))
    call = node.call("ADD", pod)
    if call.status:
        return case.bad(f"ADD with a slow delegate: {call.why()}")
    node.call("DEL", pod)
    node.drop(pod)
    node.rebase()
    slowest = 0.0
    for turn in range(6):
        pod, group = node.pod(_with(case, "slow")), turn % 2 == 1
        call = node.start("ADD", pod)
        call.wait(node.add_seconds + 0.25)
        call.kill(signal.SIGKILL, group)
        call.wait(5)
        start = time.monotonic()
        done = node.call("DEL", pod)
        slowest = max(slowest, time.monotonic() - start)
        case.settle(pod, f"SIGKILL to the {'group' if group else 'process'} while the delegate works, DEL at once", done, at_once=True)
    case.figures.update(slowest_del_s=round(slowest, 2), dirty=case.dirty)
    return case.nothing_reserved()
