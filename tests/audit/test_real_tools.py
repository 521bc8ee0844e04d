"""Result files that the real tools write, here and now: `envs/install.sh bench` installs them.

Each test is skipped where its tool is not there; `test_sources.py` has the same formats written
after their documentation.
"""

import importlib
import logging
import sys
import types
import warnings

import pytest
import torch

from .test_sources import audit, holds
from .truth import runs


def needs(name):
    """The module of a tool; skipped where it is not installed."""
    reason = f"{name} is not installed: bash envs/install.sh bench"
    return pytest.importorskip(name, reason=reason, exc_type=ImportError)


def test_tensorboards_writer_through_torch(tmp_path):
    needs("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    for name, rows in runs().items():
        with SummaryWriter(str(tmp_path / name)) as writer:
            writer.add_text("about", "words")
            writer.add_histogram("weights", torch.arange(10.0), 0)
            writer.add_image("image", torch.zeros(3, 64, 64), 0)
            for row in rows:
                writer.add_scalar("accuracy/val_acc", row["val_acc"], row["epoch"])
                writer.add_scalar("loss/train", row["loss"], row["epoch"], new_style=True)
    holds(audit(tmp_path))


def test_our_reader_and_tensorboards_read_the_same(tmp_path):
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util
    from torch.utils.tensorboard import SummaryWriter

    from perturb.audit.events import scalars

    draws = torch.Generator().manual_seed(1)
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(50):
            value = torch.randn((), generator=draws).item() * 10 ** (step % 7 - 3)
            writer.add_scalar("old", value, step)
            writer.add_scalar("new", value, step, new_style=True)
            writer.add_scalar("doubles", value, 10 * step, new_style=True, double_precision=True)
            writer.add_scalars("several", {"a": value, "b": -value}, step)
    for path in sorted(tmp_path.rglob("events.out.tfevents.*")):
        theirs = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
        theirs.Reload()
        expected = {
            (e.step, t, e.value) for t in theirs.Tags()["scalars"] for e in theirs.Scalars(t)
        }
        for tag in theirs.Tags()["tensors"]:
            for e in theirs.Tensors(tag):
                expected.add((e.step, tag, float(tensor_util.make_ndarray(e.tensor_proto))))
        ours, cut = scalars(path.read_bytes())
        assert not cut and set(ours) == expected and len(ours) >= 50


@pytest.mark.parametrize("logger", ["CSVLogger", "TensorBoardLogger"])
def test_lightnings_loggers(tmp_path, logger):
    lightning = needs("lightning.pytorch")
    if logger == "TensorBoardLogger":
        needs("tensorboard")
    loggers = importlib.import_module("lightning.pytorch.loggers")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    numbers = runs()

    class Replayed(lightning.LightningModule):
        """Logs what a run is to say, where Lightning calls it."""

        def __init__(self, rows):
            super().__init__()
            self.rows, self.layer = rows, torch.nn.Linear(1, 1)

        def training_step(self, batch, _):
            self.log("train_loss", self.rows[self.current_epoch]["loss"], on_epoch=True)
            return self.layer(batch[0]).sum()

        def validation_step(self, batch, _):
            row = self.rows[self.current_epoch]
            self.log_dict({"val_acc": row["val_acc"], "val_loss": row["val_loss"]})

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 1)), 2)
    for name, rows in numbers.items():
        method, _, seed = name.rpartition("_seed")
        own = getattr(loggers, logger)(tmp_path, name=method, version=int(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = lightning.Trainer(
                max_epochs=len(rows),
                logger=own,
                accelerator="cpu",
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
                log_every_n_steps=1,
            )
            trainer.fit(Replayed(rows), data, data)
    holds(audit(tmp_path))


def test_transformers_trainer_state(tmp_path):
    needs("transformers")
    from transformers.trainer_callback import TrainerState

    for name, rows in runs().items():
        state = TrainerState(max_steps=20, num_train_epochs=20, global_step=20, epoch=20.0)
        for row in rows:
            step = row["epoch"] + 1
            common = {"epoch": float(step), "step": step}
            state.log_history.append({"loss": row["loss"], "learning_rate": 1e-4, **common})
            found = {"eval_accuracy": row["val_acc"], "eval_loss": row["val_loss"]}
            state.log_history.append({**found, "eval_runtime": 1.5, **common})
        (tmp_path / name).mkdir()
        state.save_to_json(str(tmp_path / name / "trainer_state.json"))
    holds(audit(tmp_path))


@pytest.mark.parametrize("batched", [False, True])
def test_mlflows_file_store(tmp_path, batched, monkeypatch):
    needs("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # it would rather have a database
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
        experiment = client.create_experiment("toy")
        for name, rows in runs().items():
            run = client.create_run(experiment, run_name=name).info.run_id
            client.log_param(run, "lr", 0.1)
            for row in rows:
                values = {"val_acc": row["val_acc"], "train/loss": row["loss"]}
                step = row["epoch"]
                if batched:
                    metrics = [Metric(k, v, 1000 + step, step) for k, v in values.items()]
                    client.log_batch(run, metrics)
                else:
                    for key, value in values.items():
                        client.log_metric(run, key, value, step=step)
            client.set_terminated(run)
    holds(audit(tmp_path))


def test_what_is_skipped_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "no_such_tool", None)
    with pytest.raises(pytest.skip.Exception, match=r"envs/install\.sh bench"):
        needs("no_such_tool")
    assert isinstance(needs("json"), types.ModuleType)
