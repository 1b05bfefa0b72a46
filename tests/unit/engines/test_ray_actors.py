"""Who minds an actor: it ends with its run, whatever the session's head did meanwhile."""

from __future__ import annotations

import subprocess
import sys

PATIENCE_S = 120

MINDED = """
import sys, time
from flip_lab.engines import ray_actors

answers = iter([None, {"job"}, set()])

def living_jobs():
    found = next(answers)
    if found is None:
        raise RuntimeError("the head does not answer")
    return found

ray_actors._LOOK_EVERY_S = 0.01
ray_actors.living_jobs = living_jobs
minder = ray_actors._Minder(None)
minder.serve("job")
time.sleep(float(sys.argv[1]))
sys.exit("it was left alone")
"""


def test_an_actor_ends_with_its_run_though_the_head_was_silent_for_a_while() -> None:
    """Its minder asks again: else it would keep a processor of the cluster for ever."""
    ended = subprocess.run(
        [sys.executable, "-c", MINDED, str(PATIENCE_S)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
