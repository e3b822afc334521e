"""One whole run: the stage, the play, the verdict, and what is told of it."""

import json
import logging
import statistics
from pathlib import Path

from django.core.management import call_command

from panicboard import dispatch
from tests.chaos.judge import Verdict, judge, untrue_countdowns
from tests.chaos.plan import Plan
from tests.chaos.recovery import clear_after_fault_s
from tests.chaos.run import Played, play, say
from tests.chaos.stage import Stage
from tests.venue_calls import is_heartbeat


def run(plan: Plan, var: Path) -> bool:
    """Play a plan on an installation of its own in `var`, and print the verdict: whether all is well."""
    logging.getLogger().handlers = [logging.FileHandler(var / "run.log")]  # sweeps may run here as well
    say(f"seed {plan.seed}, {plan.seconds} s, {len(plan.events)} events, schedule {plan.digest()}")
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    try:
        with Stage() as stage:
            try:
                played = play(plan, stage)
            finally:
                stage.write_logs(var / "logs")
    finally:
        dispatch.stop_direct()
    _write_down(played, var)
    verdict, untrue = judge(played.evidence), list(untrue_countdowns(played.evidence))
    _explain(played, verdict)
    for finding in untrue:
        say(f"untrue_countdowns: {finding}")
    print(json.dumps(_figures(plan, played, verdict)), flush=True)
    return not untrue and not any(findings for _, findings in verdict.counted())


def _explain(played: Played, verdict: Verdict) -> None:
    for kind, findings in verdict.counted():
        for finding in findings:
            say(f"{kind}: {finding}")
    for press in played.evidence.presses:
        if press.refused:
            say(f"press {press.number} was refused, which a person would have seen: {press.refused}")
    for what in played.not_clear:
        say(f"not clear in the end: {what}")
    beats = sum(map(is_heartbeat, played.evidence.log))
    say(
        f"{len(played.evidence.clears)} clears and {len(played.evidence.countdowns)} countdowns judged, "
        f"{beats} heartbeats"
    )


def _figures(plan: Plan, played: Played, verdict: Verdict) -> dict[str, object]:
    evidence = played.evidence
    taken = clear_after_fault_s(evidence.clears, played.faults, evidence.log, played.holds)
    taken_s = [seconds for seconds, _ in taken]
    longest_s: dict[str, float] = {}
    for seconds, clear in taken:
        longest_s[clear.venue] = max(seconds, longest_s.get(clear.venue, 0))
    told = ", ".join(f"{venue} {seconds:.1f} s" for venue, seconds in longest_s.items())
    say(f"{len(taken)} clears after a fault; the longest: {told or 'none'}")
    return {
        "seed": plan.seed,
        "seconds": plan.seconds,
        "faults": len(played.faults),
        "panics": len(evidence.panics),
        "sweeps": sum(len(panic.states) for panic in evidence.panics.values()),
        **{kind: len(findings) for kind, findings in verdict.counted()},
        "clear_after_fault_s": {
            "median": round(statistics.median(taken_s), 2) if taken_s else None,
            "max": round(max(taken_s), 2) if taken_s else None,
        },
    }


def _write_down(played: Played, var: Path) -> None:
    """What the venue saw, for whoever has to look into it."""
    for name, rows in (("log", played.evidence.log), ("book", played.evidence.orders)):
        (var / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
