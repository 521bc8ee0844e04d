"""Times of a step, the suggested batch size, and a batch that does not fit."""

import subprocess
import time

import numpy as np
import pandas as pd
import pytest

from perturb.analysis import printers
from perturb.efficiency.measuring import OUT_OF_MEMORY, measure
from perturb.efficiency.parts import suggest, table
from perturb.efficiency.settings import Efficiency
from perturb.efficiency.timing import time_steps
from perturb.errors import PerturbError
from perturb.files import write_json

CELL = {
    "model": "cnn", "device": "cpu", "image_size": 8, "channels": 1, "classes": 10,
    "seconds": 0.05, "memory_mb": 0, "precision": "float32", "threads": 1, "batch_size": 4,
}  # fmt: skip
# Batch size and throughput of the lab log.
LOG = dict(zip((1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
               (125, 248, 509, 959, 1279, 1359, 1449, 1543, 1591, 1602), strict=True))  # fmt: skip


def test_the_harness_adds_less_than_1_percent_to_a_step_of_8_ms():
    """A step tells how long it took itself; what the harness measures is at most 80 us more."""
    own = []

    def step(_):
        start = time.perf_counter()
        while time.perf_counter() < start + 8e-3:
            pass
        own.append(time.perf_counter() - start)

    timing = time_steps(step, lambda: None, warm_up=1, seconds=0.2)
    added = timing.seconds - np.array(own[1:])
    assert 0 <= np.median(added) < 0.01 * 8e-3
    assert timing.total == pytest.approx(timing.seconds.sum())
    assert timing.quantile(0.5) <= timing.quantile(0.9) <= timing.quantile(0.99)


def test_what_is_timed_is_the_step_alone_with_the_device_waited_for():
    order = []
    timing = time_steps(
        lambda given: order.append(f"step {given}"),
        lambda: order.append("input") or len(order),
        lambda: order.append("wait"),
        warm_up=1,
        seconds=0,
    )
    assert len(timing.seconds) == 5
    assert order[:3] == ["input", "step 1", "wait"], "warm-up, then the device is idle"
    assert order[3:7] == ["input", "wait", "step 4", "wait"]


def rows(batches, **changes):
    shared = {"status": "ok", "device": "cpu", "device_name": "cpu (x)", "precision": "float32",
              "threads": 1, "macs": 1, "flops": 2, "parameters": 3}  # fmt: skip
    return [{**shared, "batch_size": b, "images_per_second": v, **changes} for b, v in
            batches.items()]  # fmt: skip


def test_the_logs_batch_size_is_the_smallest_within_2_percent():
    frame = suggest(pd.DataFrame(rows(LOG)))
    assert frame.loc[frame["suggested"], "batch_size"].tolist() == [256]
    assert frame.loc[frame["within_5_percent"], "batch_size"].tolist() == [128]
    named = frame[frame["scenario"] != ""].set_index("scenario")["batch_size"].to_dict()
    assert named == {"single stream": 1, "offline": 512}


def test_each_device_precision_and_thread_count_has_its_own_suggestion():
    both = rows({1: 10, 8: 100}) + rows({1: 99, 8: 100}, threads=2)
    both[1] |= {"status": OUT_OF_MEMORY, "images_per_second": None}
    frame = suggest(pd.DataFrame(both))
    chosen = frame.loc[frame["suggested"], ["threads", "batch_size"]]
    assert chosen.to_numpy().tolist() == [[1, 1], [2, 1]]
    assert frame.loc[0, "scenario"] == "single stream, offline"


def test_a_batch_that_does_not_fit_is_a_row(tmp_path):
    """A limit of 300 MiB: 4 images fit, a million do not; the table has both."""
    limited = {**CELL, "memory_mb": 300}
    measured = [measure(limited), measure({**limited, "batch_size": 1_000_000})]
    assert [row["status"] for row in measured] == ["ok", OUT_OF_MEMORY]
    assert measured[0]["steps"] >= 5 and measured[0]["step_ms_median"] > 0
    assert measured[0]["flops"] == 2 * measured[0]["macs"]
    write_json(tmp_path / "cnn.json", {"rows": measured})
    made = table({"model": "cnn"}, {"measured": [tmp_path / "cnn.json"]}, tmp_path)
    text = printers.texts(made)
    assert OUT_OF_MEMORY in text["md"] and "suggested (2 %)" in text["md"]
    assert made.frame["status"].tolist() == ["ok", OUT_OF_MEMORY]
    write_json(tmp_path / "none.json", {"rows": [{**CELL, "status": OUT_OF_MEMORY}]})
    with pytest.raises(PerturbError, match="no batch fits"):
        table({"model": "cnn"}, {"measured": [tmp_path / "none.json"]}, tmp_path)


def test_how_the_process_ended_is_told_apart(monkeypatch):
    def ended(code, said):
        done = subprocess.CompletedProcess([], code, "", said)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
        return measure(CELL)

    assert ended(-9, "")["status"] == OUT_OF_MEMORY, "by the kernel, for its memory"
    assert ended(1, "DefaultCPUAllocator: can't allocate memory")["status"] == OUT_OF_MEMORY
    with pytest.raises(PerturbError, match=r"efficiency of cnn, batch 4, float32: KeyError: 'a'"):
        ended(1, "Traceback\nKeyError: 'a'")


def test_settings_of_a_model_stand_over_the_shared_ones():
    values = {"image_size": 224, "seconds": 1, "models": {"cnn": {"image_size": 8}}}
    assert Efficiency.of("cnn", values).image_size == 8
    assert Efficiency.of("vit", values).image_size == 224
