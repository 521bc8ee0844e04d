"""The benchmarks' own logic, on sizes that take no time: the numbers are `make bench`."""

import csv
import importlib
import inspect
import math
import multiprocessing
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

import benchmarks.__main__ as command
from benchmarks import (
    _measuring,
    _results,
    _workers,
    epoch,
    gpu,
    planning,
    repulsion,
    retrieval,
    samplers,
    scale,
    stacked,
    store,
    threads,
)
from perturb import models, optim
from perturb.__main__ import main as check
from perturb.data.feeding import Feed

DIGITS = epoch.Case("cnn", "digits", 60, 20, 1, 2)
TINY = gpu.Plan(
    device="cpu",
    models=("cnn",),
    precisions=("float32", "bfloat16"),
    compiled=False,
    processes=(1, 2),
    batch_size=10,
    images=20,
    repeats=2,
    loader_workers=0,
)


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """A benchmark leaves PyTorch as it found it, but for what a run's process sets."""
    monkeypatch.delenv("PERTURB_TEST_DATA", raising=False)
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before


def test_an_epoch_has_a_row_for_each_comparison():
    rows = epoch.run((DIGITS,))
    against = [row["against"] for row in rows]
    plain = "plain PyTorch loop"
    assert against == ["twice forward and backward", plain, plain, "PyTorch's default"]
    # Two passes are a part of the step; starting workers takes longer than 60 digits.
    assert rows[0]["ratio"] > 0.5 and rows[1]["ratio"] < 1 and rows[2]["ratio"] < 1


def test_the_floor_runs_on_the_tensors_of_each_step():
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    feed = Feed(images, torch.arange(6), batch_size=4, mean=[0.0], std=[1 / 255])
    seen = []
    paired = epoch.PairedFeed(feed, lambda inputs, labels: seen.append((inputs, labels)))
    given = list(paired.epoch(0))
    assert len(paired.seconds) == len(seen) == 2
    for (x, y), (also_x, also_y) in zip(given, seen, strict=True):
        assert x is also_x and y is also_y


def test_a_worker_does_its_work_when_told_and_ends():
    with _workers.worker(threads.epochs_of, DIGITS, 1) as one:
        assert _workers.together([one]) > 0
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("way", stacked.WAYS)
def test_stacked_nets_learn_what_each_learns_alone(way):
    nets = []
    for seed in range(3):
        nets.append(models.build("cnn", 10, 8, 1))
        nets[-1].load_state_dict(models.initial_weights("cnn", 10, 8, 1, seed))
    together = stacked.StackedCNNs(nets)
    optimizer = stacked.StackedPUGD(together, way)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 3, 50, 1, 8, 8, generator=generator)
    labels = torch.randint(0, 10, (4, 3, 50), generator=generator)
    losses = torch.stack([optimizer.step(x, y) for x, y in zip(inputs, labels, strict=True)])
    for seed, net in enumerate(nets):
        alone = optim.build("pugd_1000", net.parameters())
        for step, (x, y) in enumerate(zip(inputs[:, seed], labels[:, seed], strict=True)):

            def closure(net=net, x=x, y=y):
                net.zero_grad()
                loss = torch.nn.functional.cross_entropy(net(x), y)
                loss.backward()
                return loss

            torch.testing.assert_close(losses[step, seed], alone.step(closure))
        weights = torch.nn.utils.parameters_to_vector(net.parameters())
        torch.testing.assert_close(together.weights[seed], weights, rtol=1e-3, atol=1e-5)
        for name, buffer in net.named_buffers():
            if "num_batches" not in name:  # the grouped way does not count them
                torch.testing.assert_close(together.buffers[name][seed], buffer)


def test_the_terms_plain_way_is_the_same_term():
    torch.manual_seed(0)
    model = models.build("mlp", 10, 4, 1)
    looped, term = repulsion.Looped(model, 3), optim.Repulsion(repulsion.STRENGTH, repulsion.WIDTH)
    for stored in looped.stored:
        term.store(torch.cat([part.reshape(-1) for part in stored.values()]))
    looped.value().backward()
    expected = torch.cat([parameter.grad.reshape(-1) for parameter in model.parameters()])
    found = torch.zeros_like(expected)
    term.add(found, torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    torch.testing.assert_close(found, expected)


def test_the_terms_benchmark_has_a_row_for_each_way():
    rows = repulsion.run((("mlp", 4, 1, 10, 1, 2, True),))
    assert len(rows) == 1 + 2 * len(repulsion.COUNTS)
    assert [row["expected"] for row in rows if row["expected"]] == [
        "at most 1.03",
        "at most 1.05",
        "at most 1.12",
    ]


def test_the_gpus_benchmark_on_a_cpu(monkeypatch):
    monkeypatch.setattr(gpu, "matrix_rate", lambda device, dtype: 1e15)
    rows = gpu.run(TINY)
    what = [row["what"] for row in rows]
    assert all("random images" in text and "batch 10" in text for text in what)
    trained = [row for row in rows if row["against"].startswith("matrix products")]
    assert len(trained) == 2 * 2 * 2  # precisions, layouts, methods
    assert all(0 < row["ratio"] < 1 for row in trained)
    differing = [row["value"] for row in rows if "differ" in row["what"]]
    assert differing == [0] * 4
    projected = [row["value"] for row in rows if "projected" in row["what"]]
    assert len(projected) == 4 and min(projected) > 0
    assert sum("runs at once" in text for text in what) == 2


def test_flops_are_those_of_the_layers():
    """The CNN on 32x32 images of 3 channels, by hand; backward costs twice, but for the images."""
    first, second, head = 16 * 16 * 24 * 27, 8 * 8 * 48 * 24 * 9, 48 * 64 * 10
    assert gpu.flops_an_image("cnn") == 2 * (2 * first + 3 * second + 3 * head)


def test_without_a_gpu_its_benchmark_is_left_out_and_the_table_says_so(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    row = {"benchmark": "other", "what": "a | b", "value": 1.5, "unit": "s", "spread": 0.25}
    modules = {"gpu": gpu, "other": SimpleNamespace(run=lambda: [row], SECONDS=1, QUICK={})}
    monkeypatch.setattr(command, "available", lambda: modules)
    assert command.main([]) == 0
    assert "gpu: left out, PyTorch sees no GPU" in capsys.readouterr().out
    page = (tmp_path / "bench.md").read_text()
    assert "Left out: gpu (PyTorch sees no GPU)." in page and "a \\| b" in page
    (written,) = csv.DictReader((tmp_path / "bench.csv").open())
    assert written["machine"] == command.machine() and written["quick"] == "False"
    cells = {key: written[key] for key in _results.COLUMNS}
    assert cells == dict.fromkeys(_results.COLUMNS, "") | {k: str(v) for k, v in row.items()}


def made_up(name, seconds=7200, fails=None):
    """A benchmark whose value counts its calls, and is negative where it is quick."""
    calls = []

    def run(sign=1):
        if fails:
            raise fails
        calls.append(sign)
        return [{"benchmark": name, "what": f"{name}'s", "value": sign * len(calls)}]

    return SimpleNamespace(run=run, SECONDS=seconds, QUICK={"sign": -1})


def values(folder):
    rows = csv.DictReader((folder / "bench.csv").open())
    return [(row["benchmark"], row["value"], row["quick"]) for row in rows]


def test_a_benchmark_that_fails_takes_no_other_with_it(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    modules = {"bad": made_up("bad", fails=RuntimeError("no luck")), "good": made_up("good")}
    monkeypatch.setattr(command, "available", lambda: modules)
    assert command.main([]) == 1
    assert "Failed, and not measured anew: bad." in (tmp_path / "bench.md").read_text()
    assert values(tmp_path) == [("good", "1", "False")]


def test_a_benchmark_that_leaves_gradients_off_fails_itself_and_no_other(monkeypatch, tmp_path):
    def leaves(**_):
        torch.set_grad_enabled(False)
        return []

    careless = made_up("careless")
    careless.run = leaves
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "available", lambda: {"careless": careless, "ok": made_up("ok")})
    assert command.main([]) == 1
    assert torch.is_grad_enabled()
    assert values(tmp_path) == [("ok", "1", "False")]


@pytest.mark.parametrize("study", [planning.study(), store.study(20, 2), scale.study(60)])
def test_the_studies_that_are_timed_are_valid(study, root, tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump(study))
    check(["check", "--root", str(root), str(path)])


def test_a_stop_loses_nothing_that_was_finished(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    modules = {"first": made_up("first"), "second": made_up("second", fails=KeyboardInterrupt())}
    monkeypatch.setattr(command, "available", lambda: modules)
    assert command.main([]) == 130
    assert values(tmp_path) == [("first", "1", "False")]
    said = capsys.readouterr().out
    assert "2 to run, about 240 min in all" in said
    assert "first ... about 120 min (estimated, never timed here)" in said
    assert "Stopped in second" in said
    # The next call has the first one's numbers beside its own, named, and knows how long it takes.
    modules["second"] = made_up("second")
    assert command.main(["second"]) == 0
    assert values(tmp_path) == [("first", "1", "False"), ("second", "1", "False")]
    assert "from earlier calls: first of 2" in capsys.readouterr().out
    assert command.main(["first"]) == 0
    assert "first ... about 0 s (as it took here before)" in capsys.readouterr().out
    assert values(tmp_path) == [("first", "2", "False"), ("second", "1", "False")]


def test_quick_numbers_and_other_machines_stand_apart(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "available", lambda: modules)
    modules = {"one": made_up("one")}
    assert command.main([]) == 0
    assert command.main([], quick=True) == 0
    assert "one ... about 12 min (estimated, never timed here)" in capsys.readouterr().out
    assert values(tmp_path) == [("one", "1", "False"), ("one", "-2", "True")]
    monkeypatch.setattr(command, "machine", lambda: "another machine")
    assert command.main([]) == 0
    assert sorted(values(tmp_path)) == [("one", "-2", "True"), ("one", "1", "False"),
                                        ("one", "3", "False")]  # fmt: skip
    page = (tmp_path / "bench.md").read_text()
    assert page.count("## another machine") == 1 and page.count("### Quick") == 1
    (tmp_path / "bench" / next((tmp_path / "bench").iterdir()).name).write_text("{")
    assert command.main([]) == 0  # a damaged file is no result


def test_every_benchmark_says_how_long_it_takes_and_has_a_quick_form():
    paths = [path for path in Path(command.__file__).parent.glob("[!_]*.py")]
    found = 0
    for path in paths:
        if "\ndef run(" not in path.read_text():
            continue
        found += 1
        try:
            module = importlib.import_module(f"benchmarks.{path.stem}")
        except ModuleNotFoundError as error:  # a peer that only `make bench` installs
            assert error.name in ("pytorch_optimizer", "loss_landscapes"), error
            assert re.search(r"^SECONDS = \d+ .*\nQUICK = \{", path.read_text(), re.M), path.stem
            continue
        assert module.SECONDS > 0 and module.QUICK, path.stem
        inspect.signature(module.run).bind(**module.QUICK)
    assert found == 17


def test_spread_is_the_interquartile_range():
    assert _measuring.spread([1]) is None
    assert _measuring.spread([1, 3]) == 2
    assert _measuring.spread(list(range(1, 12))) == 6


def test_samplers_are_judged_on_known_optima(monkeypatch, tmp_path):
    """Each finds the optimum of a function of one peak, and none is above it."""
    monkeypatch.setattr(samplers, "ROOT", tmp_path)
    monkeypatch.setattr(samplers, "real_problem", lambda: None)
    rows = samplers.run(samplers.PROBLEMS[:1], repeats=2)
    assert len(rows) == len(samplers.SAMPLERS) * len(samplers.AT)
    assert all(0 < row["value"] < 0.5 for row in rows)
    assert (tmp_path / "results" / "bench_samplers.png").exists()
    assert samplers.branin({"x": -math.pi, "y": 12.275}) == pytest.approx(1 - 0.397887 / 100)
    optimum = [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]
    at = {f"x{number}": value for number, value in enumerate(optimum)}
    assert samplers.hartmann(at) == pytest.approx(1, abs=1e-5)


def test_real_trials_are_a_table_to_be_searched(tmp_path):
    lines = ["stage,status,lr,depth,block,validation_accuracy"]
    for lr in (1e-4, 1e-3):
        for block in ("baseline", "cls"):
            lines.append(f"joint,ok,{lr},2,{block},{0.5 + 100 * lr + (block == 'cls') / 100}")
    lines.append("repeats,ok,1,2,cls,0.99")
    path = tmp_path / "trials.csv"
    path.write_text("\n".join(lines))
    problem = samplers.real_problem(path)
    assert problem.optimum == pytest.approx(0.61)
    assert problem.value({"lr": 9e-4, "depth": 2, "block": "baseline"}) == pytest.approx(0.6)
    assert samplers.real_problem(tmp_path / "none.csv") is None


def test_the_usual_loop_over_a_gallery_comes_to_the_same():
    arrays = retrieval.drawn(queries=40, gallery=3000, dimension=64)
    found = retrieval.evaluate(*arrays)
    assert retrieval.plain(*arrays) == pytest.approx((found.cmc[1], found.mAP), abs=1e-9)
    assert 0 < found.mAP < 1 and found.queries > 30
