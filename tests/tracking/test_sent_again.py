"""Where a trial appears that is sent after the run of its row was made."""

import mlflow
import pytest

from bss.tracking.execution import Execution
from bss.tracking.journal import Journal
from bss.tracking.sender import require_sent
from bss.tracking.summary_run import Summary, log_summaries
from bss.tracking.trial_run import TrialRun

DATASET = {"name": "pets", "digest": "0" * 8, "source_type": "dvc", "source": "{}", "profile": "{}"}


@pytest.fixture
def place(database, tmp_path):
    """An execution with a summary run of `uniform`, its spool, a stopped trial below that, and who is above a run."""
    spool = tmp_path / "spool"
    execution = Execution(database, "pets", "f" * 32, "pipeline")
    parent = Journal.create(spool)
    lines = {"record": execution.record, "experiment": "pets", "uri": database, "name": "pipeline"}
    parent.append("run", **lines, tags={}, params={}, parent=None, replaces=None)
    parent.append("end", status="FINISHED")
    stopped = TrialRun.start(spool, execution, "uniform seed=0", {}, {"scheduler": "uniform", "seed": "0"})
    stopped.fail("KILLED")
    require_sent(spool, database)

    def above(name):
        client = mlflow.MlflowClient(database)
        runs = client.search_runs([client.get_experiment_by_name("pets").experiment_id])
        (found,) = [run for run in runs if run.info.run_name == name]
        return client.get_run(found.data.tags["mlflow.parentRunId"]).info.run_name

    assert above("uniform seed=0") == "pipeline"
    log_summaries(spool, execution, [Summary("uniform", {"test_acc": 0.5}, None, [stopped.record])], DATASET)
    require_sent(spool, database)
    assert above("uniform seed=0") == "uniform"
    return execution, spool, stopped, above


def test_a_trial_that_resumes_stays_below_its_row(place):
    execution, spool, stopped, above = place
    resumed = TrialRun.resume(spool, execution, stopped.journal.folder.name)
    resumed.journal.append("end", status="FINISHED")
    require_sent(spool, execution.tracking_uri)
    assert above("uniform seed=0") == "uniform"


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "right"), [({}, "uniform"), ({"strategy": "ogm"}, "pipeline")])
def test_a_new_trial_is_below_its_row_once_that_has_a_run(strategy, right, place):
    execution, spool, _, above = place
    new = TrialRun.start(spool, execution, "new", {}, {"scheduler": "uniform", "seed": "1", **strategy})
    new.journal.append("end", status="FINISHED")
    require_sent(spool, execution.tracking_uri)
    assert above("new") == right
