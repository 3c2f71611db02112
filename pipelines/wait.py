"""Waiting for a run: a line per change of a step, and why a run failed."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from rich.console import Console

from bss.errors import BssError
from pipelines.endpoint import Endpoint
from pipelines.refusals import RefusedError
from pipelines.run_steps import Step, Workflow, find_failures, find_steps, read_workflow

POLL_SECONDS = 10.0
"""Between two looks at a run."""
PATIENCE = 30
"""Consecutive failed requests before waiting ends; the run itself continues."""
ENDED = {"SUCCEEDED": 0, "SKIPPED": 0, "FAILED": 1, "CANCELED": 1}
"""Final state of a run to the exit status of `bss submit --wait`."""
CONTACT_LOST = 3
"""Exit status if the run could no longer be looked at."""
INNER = re.compile(r"(root|executor|iteration-.*|exit-handler-\d+|for-loop-\d+|.*-driver|.*\.onExit)(\(.*\))?")
"""Names of nodes that are no steps."""
SHOWN_FAILURES = 5


class ContactLostError(BssError):
    """A run that can no longer be watched; it continues on its own."""


def wait(
    endpoint: Endpoint, run_id: str, console: Console, poll_seconds: float, names: Mapping[str, Sequence[str]]
) -> int:
    """Print each step's state as it changes until the run has ended; return 0 if it succeeded, else 1.

    `names` is what `run_steps.iterations` returned. Raises `ContactLostError` if the run cannot be looked at for
    `PATIENCE` looks in a row.
    """
    seen: dict[str, str] = {}
    failures, trouble, started = 0, "", time.monotonic()

    def report(text: str) -> None:
        console.print(f"{_minutes(started)}  {text}", highlight=False, markup=False, soft_wrap=True)

    while True:
        try:
            run = endpoint.get(f"/apis/v2beta1/runs/{run_id}")
            workflow = _workflow(endpoint, run_id)
            failures = 0
        except BssError as error:
            failures += 1
            if failures == PATIENCE:
                raise ContactLostError(
                    f"{error} The run {run_id} continues by itself: {endpoint.url}/#/runs/details/{run_id}"
                ) from error
            if str(error) != trouble:
                trouble = str(error)
                report(f"{trouble} Still trying.")
            time.sleep(poll_seconds)
            continue
        for step in _steps(run, workflow, names):
            if seen.get(step.path) != step.look:
                seen[step.path] = step.look
                report(f"{step.label}: {step.state}" + (f" ({step.reason})" if step.reason else ""))
        state = str(run.get("state", ""))
        if state not in (seen.get(""), *ENDED, "RUNNING"):
            report(f"run {run_id}: {state.lower()}")
        seen[""] = state
        if state in ENDED:
            report(f"run {run_id}: {state.lower()}")
            if state == "FAILED":
                _explain(run, workflow, names, report)
            return ENDED[state]
        time.sleep(poll_seconds)


def _workflow(endpoint: Endpoint, run_id: str) -> Workflow | None:
    """Return the workflow of a run, which only the older API gives away; None if there is no such API."""
    try:
        detail = endpoint.get(f"/apis/v1beta1/runs/{run_id}")
    except RefusedError as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED):
            raise
        return None
    return read_workflow((detail.get("pipeline_runtime") or {}).get("workflow_manifest") or "")


def _steps(run: Mapping[str, Any], workflow: Workflow | None, names: Mapping[str, Sequence[str]]) -> list[Step]:
    """Return the steps of a run; without a workflow those of a name are counted together."""
    if workflow is not None:
        return find_steps(workflow, names)
    found: dict[str, list[str]] = {}
    for task in (run.get("run_details") or {}).get("task_details") or []:
        name, state = task.get("display_name"), task.get("state")
        if name and state and not INNER.fullmatch(name):
            found.setdefault(name, []).append(str(state).lower())
    return [Step(name, name, _together(states)) for name, states in found.items()]


def _together(states: Sequence[str]) -> str:
    if len(set(states)) == 1:
        return states[0] if len(states) == 1 else f"{len(states)} {states[0]}"
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def _explain(
    run: Mapping[str, Any],
    workflow: Workflow | None,
    names: Mapping[str, Sequence[str]],
    report: Callable[[str], None],
) -> None:
    """Print which pods failed, why, and the commands that show their logs."""
    failures = [] if workflow is None else find_failures(workflow, names)
    for failure in failures[:SHOWN_FAILURES]:
        report(f"{failure.label} failed: {failure.error}. Its log: {failure.log}")
    if len(failures) > SHOWN_FAILURES:
        report(f"... and {len(failures) - SHOWN_FAILURES} more")
    message = (run.get("error") or {}).get("message")
    if not failures and message:
        report(str(message))


def _minutes(started: float) -> str:
    seconds = int(time.monotonic() - started)
    return f"{seconds // 60:3d}:{seconds % 60:02d}"
