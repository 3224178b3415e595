"""MLflow: a server, or a database on this machine, as ``MLFLOW_TRACKING_URI`` says."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.trackers import PROJECT, results_of

KEY = "relatum.key"
"""The tag by which a run is found again."""
LONGEST = 500
"""Characters of a parameter that every version of MLflow takes."""


class MLflow:
    """One run of MLflow for each run, in the experiment ``MLFLOW_EXPERIMENT_NAME`` or "relatum"."""

    def begin(self, recipe: Recipe, folder: Path, name: str, key: str, again: bool) -> str:
        """Begin a run, or go on with the one that bears this key."""
        self._client = MlflowClient()  # and not mlflow.log_…: that has one run for a process
        self._last = 0
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        found = self._client.search_runs([experiment], f"tags.`{KEY}` = '{key}'") if again else []
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            history = self._client.get_metric_history(self._id, "epoch")
            self._last = max((each.step for each in history), default=0)
            return ""
        tags = {KEY: key, "folder": str(folder)}
        self._id = self._client.create_run(experiment, tags=tags, run_name=name).info.run_id
        fields = recipe.model_dump(mode="json").items()
        parameters = [Param(name, str(value)[:LONGEST]) for name, value in fields]
        self._client.log_batch(self._id, params=parameters)
        return ""

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name))

    def row(self, number: int, values: Mapping[str, float]) -> None:
        """A step; one that is there already is left out, for it would be there twice."""
        if number > self._last:
            self._log(number, values)

    def _log(self, number: int, values: Mapping[str, float]) -> None:
        now = time.time_ns() // 1_000_000
        metrics = [Metric(name, float(value), now, number) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def end(self, record: Record | None) -> None:
        """The results, if there are any; a run that stopped may go on."""
        if record is not None:
            self._log(len(record.rows), results_of(record))
        self._client.set_terminated(self._id, "FINISHED" if record is not None else "KILLED")
