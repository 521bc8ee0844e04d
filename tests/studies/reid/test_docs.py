"""The page's two readings of cameras are what its command prints."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "reid.md"


def test_both_readings_of_cameras(capsys):
    text = PAGE.read_text()
    command = re.search(r"python - <<'END'\n(.*?)END\n", text, re.S)[1]
    said = re.search(r"```\n(cameras: .*?)```", text, re.S)[1]
    exec(command, {})
    assert capsys.readouterr().out == said
