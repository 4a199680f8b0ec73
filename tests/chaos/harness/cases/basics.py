"""Ordinary life as runtimes lead it: pairs, repeated calls, calls for pods that are gone or never were."""
import time

from .. import kernel
from . import case, first_of


@case("baseline", 4)
def baseline(case):
    """Six pairs: interfaces, addresses, reachability, nothing left."""
    node = case.node
    faults = node.first_use_faults()
    if faults:
        case.bad(f"the first ADD and DEL leave {first_of(faults)}")
    for turn in range(5):
        pod, wrong = node.running_pod()
        if wrong:
            case.bad(f"pair {turn + 2}: {wrong}")
        case.settle(pod, f"pair {turn + 2}", node.call("DEL", pod))
    case.figures.update(add_ms=round(node.add_seconds * 1e3, 1), del_ms=round(node.del_seconds * 1e3, 1))


@case("double-add", 2)
def double_add(case):
    """A second ADD leaves the running pod as it is, whatever it answers."""
    node = case.node
    for _ in range(3):
        pod, wrong = node.running_pod()
        if wrong:
            return case.bad(f"ADD: {wrong}")
        links, before = node.links(pod), node.watcher.take()
        again = node.call("ADD", pod)
        case.figures["second ADD"] = "ok" if again.status == 0 else again.why()[:120]
        if node.links(pod) != links:
            case.bad(f"second ADD ({again.why()}): the running pod had {links}, has {node.links(pod)}")
        elif node.fault(pod):
            case.bad(f"second ADD ({again.why()}): {node.fault(pod)}")
        elif node.changes(before):
            case.bad(f"second ADD ({again.why()}): {first_of(node.changes(before))}")
        case.settle(pod, "then DEL", node.call("DEL", pod))
    return None


@case("double-del", 2)
def double_del(case):
    """DEL twice: both succeed."""
    node = case.node
    for _ in range(3):
        pod, wrong = node.running_pod()
        if wrong:
            return case.bad(wrong)
        first = node.call("DEL", pod)
        if first.status:
            case.bad(f"first DEL {first.why()}")
        case.settle(pod, "second DEL", node.call("DEL", pod))
    return None


@case("del-without-add", 1)
def del_without_add(case):
    """DEL of a pod that never was succeeds, with and without its namespace."""
    for netns, words in ((None, ""), ("", ", CNI_NETNS empty")):
        pod = case.node.pod()
        case.settle(pod, f"DEL of a pod never added{words}", case.node.call("DEL", pod, netns))


@case("del-netns-gone", 2)
def del_netns_gone(case):
    """DEL after the namespace is gone cleans all the same, and again."""
    node = case.node
    for netns, words in ((None, "the path of the namespace no longer exists"), ("", "CNI_NETNS empty")):
        pod, wrong = node.running_pod()
        if wrong:
            return case.bad(wrong)
        kernel.remove_namespace(pod.netns)
        time.sleep(0.1)
        first = node.call("DEL", pod, netns)
        if first.status:
            case.bad(f"{words}: DEL {first.why()}")
        case.settle(pod, f"{words}, DEL again", node.call("DEL", pod, netns))
    return None


@case("del-unknown", 2)
def del_unknown(case):
    """DEL of an id nobody knows leaves a running pod alone."""
    node = case.node
    pod, wrong = node.running_pod()
    if wrong:
        return case.bad(wrong)
    links, before = node.links(pod), node.watcher.take()
    unknown = node.pod()
    node.drop(unknown)
    call = node.call("DEL", unknown, "/run/netns/nowhere")
    if call.status:
        case.bad(f"DEL of an unknown id {call.why()}")
    changes = node.changes(before)
    if changes or node.links(pod) != links or node.fault(pod):
        case.bad(f"DEL of an unknown id changes the running pod: {changes or node.fault(pod) or node.links(pod)}")
    case.settle(pod, "then DEL of the pod", node.call("DEL", pod))
    return None
