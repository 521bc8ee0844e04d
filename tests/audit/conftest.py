"""The audit of the notebook's own result files, made once."""

from pathlib import Path

import pytest
import yaml

from perturb.audit.plan import plan
from perturb.audit.study import build
from perturb.config import Config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def notebook(real_data):
    """The audit `cv_rts` as the configuration has it."""
    if not (real_data / "cv_rts-results").is_dir():
        pytest.skip("PERTURB_TEST_DATA holds no cv_rts-results")
    files = ("config/studies/rts.yaml", "config/config.yaml")
    study, rest = (yaml.safe_load((ROOT / file).read_text(encoding="utf-8")) for file in files)
    config = Config(study | rest | {"data_root": str(real_data)}, ROOT / "config" / "schema.yaml")
    return build(plan(config, "cv_rts"))
