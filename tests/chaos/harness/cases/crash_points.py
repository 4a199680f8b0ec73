"""Killed before every state-changing system call of ADD, and of DEL, in turn: alone, and with its children."""
import time

from .. import processes, tracer
from . import Skip, case

STRIDE = 0.6180339887  # golden section: any first part of the order covers the whole evenly


def _traced(node, command, pod, kill_at=0, only_caller=False):
    return tracer.run(node.plugin, node.environment(command, pod), node.conf(command, pod), kill_at, only_caller)


def _crash_points(case, command):
    node = case.node
    pod = node.pod()
    if command == "DEL":
        node.call("ADD", pod)
    whole = _traced(node, command, pod)
    if not whole.calls or whole.status:
        raise Skip(f"cannot trace: {whole.why()}")
    case.settle(pod, "uninterrupted under the tracer", node.call("DEL", pod))
    case.figures["calls"] = whole.calls
    modes = (False, True) if whole.programs > 1 else (False,)  # without children both are the same
    start, budget = time.monotonic(), case.end - time.monotonic()
    for only_caller in modes:
        share = 1.0 if only_caller == modes[-1] else 0.65
        hit = _one_mode(case, command, whole.calls, only_caller, start + budget * share)
        case.figures["points, caller" if only_caller else "points, all"] = f"{hit} of {whole.calls}"
    case.fresh_pod_works("at the end")
    case.figures["dirty"] = case.dirty
    case.nothing_reserved()


def _one_mode(case, command, total, only_caller, stop):
    """Every point of one mode until `stop`; how many of the `total` were reached. A run may make a few calls more than the first one."""
    node, beyond, hit, shift = case.node, 0, 0, case.random.random()
    spread = sorted(range(1, total + 1), key=lambda point: (point * STRIDE + shift) % 1)
    for point in spread + list(range(total + 1, total + 50)):
        if beyond >= 2 or time.monotonic() > stop:
            break
        pod = node.pod()
        if command == "DEL":
            node.call("ADD", pod)
        pod.alive = False
        trace = _traced(node, command, pod, point, only_caller)
        hit += point <= total
        beyond += point > total and not trace.at
        processes.quiet(5)
        where = f"{'the caller' if only_caller else 'all'} killed before call {point} of {total}, {trace.at or 'not reached'}"
        case.settle(pod, where, node.call("DEL", pod))
    return hit


@case("strace-kill", 40)
def strace_kill(case):
    """ADD, at every call."""
    _crash_points(case, "ADD")


@case("strace-kill-del", 30)
def strace_kill_del(case):
    """DEL, at every call."""
    _crash_points(case, "DEL")
