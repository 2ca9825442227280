"""The service that people write first, written well: a message an aggregate, a River model a series.

It loses nothing (a message is acknowledged once its alert is stored and published), alerts as often on normal
values as Detector does by default, and does not learn what it alerted on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import nats
import nats.errors
import sqlalchemy as sa
from nats.js import JetStreamContext
from river import anomaly, preprocessing, stats

from detector.pipeline.state import Levels
from tests.bench.answers import answer
from tests.bench.feed import Feed, fleet

STREAM, SUBJECT = "NAIVE", "naive.metrics"
FETCH = 200
NORMAL = 1 - 10 ** -Levels().on
"""Share of normal values that raise no alert."""

tables = sa.MetaData()
alerts = sa.Table(
    "alerts",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("service", sa.String),
    sa.Column("metric", sa.String),
    sa.Column("labels", sa.JSON),
    sa.Column("window_start", sa.BigInteger),
    sa.Column("value", sa.Float),
    sa.Column("score", sa.Float),
)


class Model(Protocol):
    def judge(self, value: float) -> tuple[float, bool]:
        """Score a value, say whether it is an anomaly, and learn it if not."""
        ...


class Gaussian:
    """A normal distribution; its score is a probability, so a fixed threshold will do."""

    def __init__(self) -> None:
        self._scorer = anomaly.GaussianScorer()

    def judge(self, value: float) -> tuple[float, bool]:
        score = self._scorer.score_one(None, value)
        strange = score > NORMAL
        if not strange:
            self._scorer.learn_one(None, value)
        return score, strange


class Trees:
    """Half-space trees with room for outliers; the threshold is a quantile of their own scores."""

    def __init__(self) -> None:
        limits = {"value": (-10.0, 10.0)}
        trees = anomaly.HalfSpaceTrees(n_trees=10, window_size=100, limits=limits, seed=1)
        self._model = preprocessing.StandardScaler() | trees
        self._usual = stats.Quantile(q=NORMAL)

    def judge(self, value: float) -> tuple[float, bool]:
        x = {"value": value}
        score = self._model.score_one(x)
        strange = score > (self._usual.get() or math.inf)
        if score > 0:  # it is 0 until the first window is full
            self._usual.update(score)
        if not strange:
            self._model.learn_one(x)
        return score, strange


MODELS: dict[str, Callable[[], Model]] = {"gaussian": Gaussian, "trees": Trees}


class NaiveService:
    def __init__(self, js: JetStreamContext, engine: sa.Engine, make: Callable[[], Model]) -> None:
        self.applied = 0
        self.models: dict[tuple[str, str, str], Model] = {}
        self._js = js
        self._engine = engine
        self._make = make

    def learn_history(self, feeds: Sequence[Feed], windows: int) -> None:
        """Learn what was there before the service, without raising alerts."""
        for feed in feeds:
            for window in range(windows):
                for aggregate in feed.aggregates(window):
                    self._model(feed.service, aggregate).judge(aggregate["sum"] / aggregate["count"])

    async def run(self) -> None:
        subscription = await self._js.pull_subscribe(SUBJECT, durable="naive", stream=STREAM)
        while True:
            try:
                messages = await subscription.fetch(FETCH, timeout=1)
            except nats.errors.TimeoutError:
                continue
            for message in messages:
                await self._take(json.loads(message.data))
                await message.ack()
                self.applied += 1

    async def _take(self, message: dict[str, Any]) -> None:
        value = message["sum"] / message["count"]
        score, strange = self._model(message["service"], message).judge(value)
        if strange:
            self._store(message, value, score)
            await self._publish(message, value, score)

    def _model(self, service: str, aggregate: dict[str, Any]) -> Model:
        key = (service, aggregate["metric"], json.dumps(aggregate["labels"], sort_keys=True))
        model = self.models.get(key)
        if model is None:
            model = self.models[key] = self._make()
        return model

    def _store(self, message: dict[str, Any], value: float, score: float) -> None:
        row = {name: message[name] for name in ("service", "metric", "labels")}
        with self._engine.begin() as connection:
            connection.execute(
                alerts.insert(), {**row, "window_start": message["start"], "value": value, "score": score}
            )

    async def _publish(self, message: dict[str, Any], value: float, score: float) -> None:
        alert = {
            "service": message["service"],
            "series": {"metric": message["metric"], "labels": message["labels"]},
            "revision": 0,
            "state": "firing",
            "window_start": message["start"],
            "observed": value,
            "score": score,
        }
        subject = f"alerts.{message['tenant']}.{message['service']}.warning"
        await self._js.publish(subject, json.dumps(alert).encode())


def database(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    tables.create_all(engine)
    return engine


async def serve(nats_url: str, folder: Path, model: str, feeds: Sequence[Feed], history: int) -> None:
    client = await nats.connect(nats_url)
    js = client.jetstream()
    await js.add_stream(name=STREAM, subjects=[SUBJECT])
    await js.add_stream(name="ALERTS", subjects=["alerts.>"])
    service = NaiveService(js, database(folder / "naive.db"), MODELS[model])
    service.learn_history(feeds, history)
    working = asyncio.create_task(service.run())
    await answer(
        {
            "ready": lambda: not working.done(),
            "applied": lambda: working.result() if working.done() else service.applied,
            "state": lambda: len(pickle.dumps(next(iter(service.models.values())))),
        }
    )
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("nats_url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("series", type=int)
    parser.add_argument("history", type=int)
    chosen = parser.parse_args()
    known = fleet(chosen.series, range(0), 0.0)
    asyncio.run(serve(chosen.nats_url, chosen.folder, chosen.model, known, chosen.history))
