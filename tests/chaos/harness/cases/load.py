"""Many pods at once, and many calls for one pod at once."""
import concurrent.futures
import time

from .. import processes
from . import case, first_of


@case("parallel", 22)
def parallel(case):
    """200 pods with 8 workers: no error, no address twice, nothing left."""
    node, limits = case.node, case.limits
    pods = [node.pod() for _ in range(limits.pods)]
    with concurrent.futures.ThreadPoolExecutor(limits.workers) as pool:
        start = time.monotonic()
        adds = list(pool.map(lambda pod: node.call("ADD", pod, limit=120), pods))
        add_wall = time.monotonic() - start
        _note_errors(case, "ADD", adds)
        owners = {}
        for pod, links in zip(pods, pool.map(node.links, pods)):
            if pod.alive and set(links) != set(node.expect):
                case.bad(f"a pod has {sorted(links)}")
            for address in (address for addresses in links.values() for address in addresses):
                if owners.setdefault(address, pod.id) != pod.id:
                    case.bad(f"address {address} is given to two pods")
        for pod in [pod for pod in pods if pod.alive][:: max(1, len(pods) // 8)]:
            wrong = node.fault(pod)
            if wrong:
                case.bad(wrong)
        start = time.monotonic()
        dels = list(pool.map(lambda pod: node.call("DEL", pod, limit=120), pods))
        del_wall = time.monotonic() - start
    _note_errors(case, "DEL", dels)
    left = [fault for pod in pods for fault in node.left_in_pod(pod)] + node.changes()
    if left:
        case.bad(first_of(left))
    for pod in pods:
        node.drop(pod)
    case.figures.update(pods=limits.pods, workers=limits.workers, add_per_s=round(limits.pods / add_wall), del_per_s=round(limits.pods / del_wall))
    node.rebase()
    case.nothing_reserved()


def _note_errors(case, command, calls):
    wrong = [call.why() for call in calls if call.status]
    if wrong:
        case.bad(f"{len(wrong)} of {len(calls)} {command}s fail: {wrong[0]}")


@case("same-pod-race", 8)
def same_pod_race(case):
    """ADD and DEL of one pod at once: both end, and a last DEL leaves nothing."""
    node, both, done = case.node, 0, 0
    for turn in range(60):
        if case.time_over():
            break
        pod = node.pod()
        add = node.start("ADD", pod)
        time.sleep(case.random.uniform(0, node.add_seconds))
        delete = node.start("DEL", pod)
        for call in (add, delete):
            call.finish(60)
        both += add.status == 0 and delete.status == 0
        processes.quiet(5)
        case.settle(pod, f"round {turn + 1} (ADD {add.why()}; DEL {delete.why()})", node.call("DEL", pod))
        done += 1
    case.fresh_pod_works("at the end")
    case.figures.update(rounds=done, both_succeed=both, dirty=case.dirty)
    case.nothing_reserved()
