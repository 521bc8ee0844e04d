import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from perturb.errors import PerturbError
from perturb.files import read_npz
from perturb.models.weights import load_weights
from perturb.studies.minima import law
from perturb.train import run as run_module

PUSHED = "repel_strength-100_width-0.01_every-2_5"


def epochs(record):
    return pd.read_csv(record.with_name("epochs.csv"))


def weights(path):
    return torch.cat([t.reshape(-1).double() for t in load_weights(path).values()])


def test_without_strength_it_is_plain_sgd(results):
    """Stored checkpoints alone change nothing: the weights are those of torch's own SGD."""
    plain, stored = results.make("repel_3"), results.make("repel_every-1_3")
    assert torch.equal(
        weights(plain.with_name("last.safetensors")), weights(stored.with_name("last.safetensors"))
    )
    assert results.read("repel_3")["escape_steps"] is None


def test_what_an_epoch_tells(results):
    record = results.make(PUSHED)
    frame, batches = epochs(record), read_npz(record.with_name("batches.npz"))
    assert frame["distance_1"].isna().tolist() == [True, True, False, False, False]
    assert frame["distance_2"].isna().tolist() == [True, True, True, True, False]
    assert (frame["kernel_gradient_squared"][:2] == 0).all()
    assert (frame["kernel_gradient_squared"][2:] > 0).all()
    np.testing.assert_allclose(
        frame["gradient_squared"], (batches["gradient_norm"] ** 2).mean(1), rtol=1e-6
    )
    cosine = frame["gradient_cosine"]
    assert cosine.isna().tolist() == [True, False, False, False, False]
    assert cosine[1:].between(-1, 1).all()
    assert not np.isfinite(batches["distance"][:2]).any()
    assert np.isfinite(batches["distance"][2:]).all()
    # D of the files that it left: from the checkpoint after epoch 2 to the last weights.
    first = record.parent / "checkpoints" / "epoch1.safetensors"
    moved = weights(record.with_name("last.safetensors")) - weights(first)
    assert frame["distance_1"].iloc[-1] == pytest.approx(moved.square().sum().item(), rel=1e-4)
    plain = epochs(results.make("repel_every-2_5"))
    assert frame["distance_1"].iloc[-1] > 10 * plain["distance_1"].iloc[-1]
    steps = law.escape_steps(100, 0.01, 1e-3, 0.01, 0.9)
    assert results.read(PUSHED)["escape_steps"] == pytest.approx(steps)


@pytest.mark.parametrize(
    ("method", "rates", "strengths"),
    [
        ("repel_every-2_schedule-step_period-1_4", [0.01, 0.001] * 2, [0] * 4),
        ("repel_schedule-cosine_period-2_4", [0.01, 0.005] * 2, [0] * 4),
        ("repel_strength-8_every-1_period-2_anneal-cosine_4", [0.01] * 4, [8, 4, 8, 4]),
        ("repel_strength-8_every-1_off-2_4", [0.01] * 4, [8, 8, 0, 0]),
    ],
)
def test_schedules_of_rate_and_strength(results, method, rates, strengths):
    frame = epochs(results.make(method))
    assert frame["learning_rate"].tolist() == pytest.approx(rates)
    assert frame["strength"].tolist() == pytest.approx(strengths)


def test_a_triangle_changes_the_rate_within_an_epoch(results):
    """FGE's cycle ends where it began; the row has the rate of the epoch's last step."""
    record = results.make("repel_lr-0.05_schedule-triangle_period-2_4")
    rates = epochs(record)["learning_rate"]
    assert rates[0] == pytest.approx(0.05, rel=0.05)
    assert rates[1] == pytest.approx(0.05 * 0.01, rel=3)
    assert rates.tolist()[:2] == pytest.approx(rates.tolist()[2:])
    assert sorted(p.name for p in (record.parent / "checkpoints").iterdir()) == [
        "epoch1.safetensors",
        "epoch3.safetensors",
    ]


def test_a_matched_boost_lengthens_the_gradient_and_does_not_turn_it(results):
    method = "repel_strength-100_width-0.01_every-1_boost-true_3"
    batches = read_npz(results.make(method).with_name("batches.npz"))
    longer = batches["gradient_norm"] / batches["cross_entropy_gradient_norm"]
    np.testing.assert_allclose(longer[0], 1, rtol=1e-5)
    assert (np.abs(longer[1:] - 1) > 1e-3).any()


def test_a_normalised_step_has_the_rates_length(results):
    method = "repel_every-1_lr-0.001_decay-0_momentum-0_normalised-true_2"
    record = results.make(method)
    moved = epochs(record)["distance_1"].iloc[-1]
    assert 0 < moved <= (45 * 0.001) ** 2 * 1.001  # 45 steps of length .001, at most in a line


def test_a_clone_begins_where_its_parent_ended(results):
    record = results.read("clone_start-true_2_of_repel_3")
    assert record["sha256"]["initial_weights"] == results.read("repel_3")["sha256"]["final_weights"]


def test_a_displaced_clone_begins_that_far_away(results):
    record = results.make("clone_start-true_displace-50_trace-10_2_of_repel_3")
    trace = read_npz(record.with_name("batches.npz"))
    assert trace["trace_distance"][0, 0] == pytest.approx(50, rel=1e-4)


def test_what_a_trace_looks_at(results):
    """Steps 0, 10, 20, ... of two epochs, then the first of each; errors as the network has."""
    method = "clone_strength-100_width-0.01_start-true_trace-10_4_of_repel_3"
    trace = read_npz(results.make(method).with_name("batches.npz"))
    looked = np.isfinite(trace["trace_error"])
    expected = np.zeros_like(looked)
    expected[:2, ::10] = True
    expected[2:, 0] = True
    assert (looked == expected).all()
    assert trace["trace_distance"][0, 0] == 0
    assert trace["trace_force_ratio"][0, 0] == 0
    start = epochs(results.make("repel_3"))["test_accuracy"].iloc[-1]
    assert trace["trace_error"][0, 0] == pytest.approx(1 - start)
    ends = epochs(results.make(method))["test_accuracy"]
    assert trace["trace_error"][2, 0] == pytest.approx(1 - ends[1])
    known = trace["trace_force_cosine"][np.isfinite(trace["trace_force_cosine"])]
    assert len(known) and (np.abs(known) <= 1.0001).all()


@pytest.mark.parametrize(
    ("method", "after"),
    [
        (PUSHED, 3),  # inside an interval between checkpoints
        ("repel_strength-100_width-0.01_every-1_keep-merge_period-2_anneal-cosine_4", 2),
        ("clone_strength-100_width-0.01_start-true_displace-5_trace-10_4_of_repel_3", 1),  # a trace
        ("clone_start-true_trace-10_4_of_repel_3", 3),
        ("wgd_members-2_3", 2),
    ],
)
def test_killed_on_its_way_it_goes_on_to_the_same_bits(results, monkeypatch, method, after):
    whole = results.read(method)["sha256"]
    folder = results.make(method).parent
    shutil.rmtree(folder)
    plain = run_module._print_progress

    def stopping(epoch, of, told):
        plain(epoch, of, told)
        if epoch + 1 == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "_print_progress", stopping)
    with pytest.raises(PerturbError, match="stopped"):
        results.make(method, save_seconds=0)
    monkeypatch.setattr(run_module, "_print_progress", plain)
    assert results.read(method)["sha256"] == whole


def test_too_narrow_a_kernel_is_one_message(results, capsys):
    results.make("repel_strength-0.1_every-1_2")
    said = capsys.readouterr().err
    assert said.count("never escapes") == 1
    assert "2 s w = 0.0002 is no more than the weight decay 0.001" in said


def test_a_clone_of_weights_that_were_deleted_is_one_message(results, tmp_path):
    from perturb.runs import RunFiles

    specification = results.specification("clone_start-true_2_of_repel_3")
    gone = tmp_path / "last.safetensors"
    data = results.folder / "data"
    files = RunFiles(
        tmp_path / "run", data / "digits.npz", data / "digits.manifest.json", initial=gone
    )
    with pytest.raises(PerturbError, match=r"last\.safetensors"):
        run_module.run(specification, files)


def test_networks_trained_together_are_pushed_apart(results):
    record = results.make("wgd_members-3_2")
    found = load_weights(record.with_name("last.safetensors"))
    assert {name.partition(".")[0] for name in found} == {"net0", "net1", "net2"}
    frame = epochs(record)
    assert frame["test_accuracy"].iloc[-1] > 0.5
    assert frame["gradient_evaluations"].tolist() == [3 * 36, 6 * 36]
