"""Signals at random moments. They rarely find what crash_points.py finds, but they also hit waits and reads."""
import signal

from .. import processes
from . import case


def _rounds(case, command="ADD", signals=(signal.SIGKILL,), groups=(False, True), at_once=False, share=1.0):
    node, planned, done, cut = case.node, max(1, round(case.limits.rounds * share)), 0, 0
    typical = node.add_seconds if command == "ADD" else node.del_seconds
    for turn in range(planned):
        if case.time_over():
            break
        number, group = signals[turn % len(signals)], groups[turn // len(signals) % len(groups)]
        moment = case.random.uniform(0, 1.2 * typical)
        where = f"round {turn + 1}, {signal.Signals(number).name} to the {'group' if group else 'process'} after {moment * 1e3:.1f} ms"
        pod = node.pod()
        if command == "DEL":
            added = node.call("ADD", pod)
            if added.status:
                case.bad(f"{where}: ADD {added.why()}")
        pod.alive = False
        call = node.start(command, pod)
        ended = call.wait(moment)
        if not ended:
            cut += 1
            call.kill(number, group)
            if not call.wait(10):
                case.bad(f"{where}: lives on for 10 s")
                call.finish(0)
        typical += 0.2 * ((call.seconds if ended else max(moment, typical)) - typical)  # the machine's pace changes: so does the window
        if command == "ADD" and call.status == 0:
            node.note("ADD", pod, call.status, call.answer())
            pod.alive = False
        if not at_once and not processes.quiet(5):
            case.bad(f"{where}: children still run after 5 s: {processes.strays()[0]}")
            processes.end_strays()
        case.settle(pod, where, node.call("DEL", pod), at_once)
        done += 1
        if done % 25 == 0:
            case.fresh_pod_works(f"after round {done}")
    case.fresh_pod_works("at the end")
    case.figures.update(rounds=f"{done}/{planned}", killed=cut, dirty=case.dirty)
    case.nothing_reserved()


@case("kill9", 14)
def kill9(case):
    """SIGKILL in the middle of ADD, to the process or its group; children end; one DEL leaves nothing."""
    _rounds(case)


@case("kill9-at-once", 8)
def kill9_at_once(case):
    """The same, but DEL does not wait for what the killed call left running."""
    _rounds(case, groups=(False,), at_once=True, share=0.5)


@case("kill9-del", 12)
def kill9_del(case):
    """SIGKILL in the middle of DEL; the next DEL leaves nothing."""
    _rounds(case, "DEL", share=0.5)


@case("term", 8)
def term(case):
    """SIGTERM and SIGINT in the middle of ADD; one DEL leaves nothing."""
    _rounds(case, signals=(signal.SIGTERM, signal.SIGINT), share=0.5)
