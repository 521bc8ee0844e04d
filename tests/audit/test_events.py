"""Event files, written here after TensorFlow's record and protocol-buffer formats.

`test_real_tools.py` has them from the tools themselves.
"""

import struct

import numpy as np
import pytest

from perturb.audit.events import _masked, scalars
from perturb.audit.text import Unreadable

from .test_sources import audit, holds
from .truth import runs


def varint(value):
    out = b""
    value &= (1 << 64) - 1
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number, value):
    """A field of a protocol buffer: an int, a float (as float32), or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def record(data):
    head = struct.pack("<Q", len(data))
    checks = [struct.pack("<I", _masked(part)) for part in (head, data)]
    return head + checks[0] + data + checks[1]


def event(step, *values):
    wall_time = varint(1 << 3 | 1) + struct.pack("<d", 1.7e9)
    summary = b"".join(field(1, field(1, tag.encode()) + value) for tag, value in values)
    return record(wall_time + field(2, step) + field(5, summary))


def simple(value):
    return field(2, float(value))


VERSION = record(varint(1 << 3 | 1) + struct.pack("<d", 1.7e9) + field(3, b"brain.Event:2"))


def test_the_checksum_is_castagnolis():
    """Of "123456789" it is e3069283 (RFC 3720, appendix B.4: 32 zeros give 8a9136aa)."""
    for data, crc in ((b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)):
        masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
        assert _masked(data) == masked


def test_scalars_of_both_kinds_and_all_formats():
    def tensor(kind, *fields):
        return field(8, field(1, kind) + field(2, b"") + b"".join(fields))

    metadata = field(9, field(1, field(1, b"scalars")))
    content = VERSION + event(
        3,
        ("plain", simple(0.5)),
        ("float", metadata + tensor(1, field(4, struct.pack("<f", 0.25)))),
        ("listed", tensor(1, field(5, struct.pack("<f", 0.75)))),
        ("double", tensor(2, field(6, struct.pack("<d", 0.1)))),
        ("integer", tensor(9, field(10, varint(-2)))),
        ("int32", tensor(3, field(7, 7))),
        ("half", tensor(19, field(4, np.float16(1.5).tobytes()))),
        ("bfloat16", tensor(14, field(4, struct.pack("<f", 2.5)[2:]))),
        ("text", tensor(7, field(8, b"words"))),
        ("histogram", tensor(2, field(4, struct.pack("<2d", 1, 2)))),
    )
    found, cut = scalars(content)
    assert not cut
    assert {tag: value for _, tag, value in found} == {
        **{"plain": 0.5, "float": 0.25, "listed": 0.75, "double": 0.1, "integer": -2.0},
        **{"int32": 7.0, "half": 1.5, "bfloat16": 2.5},
    }
    assert {step for step, _, _ in found} == {3.0}
    assert scalars(event(-1, ("a", simple(1))))[0] == [(-1.0, "a", 1.0)]
    assert scalars(event(2**40, ("a", simple(1))))[0] == [(2.0**40, "a", 1.0)]


def write(folder, change=lambda content, name: content):
    for name, rows in runs().items():
        content = VERSION
        for row in rows:
            values = [(tag, simple(row[tag])) for tag in ("val_acc", "loss")]
            content += event(row["epoch"], *values)
        (folder / name).mkdir()
        path = folder / name / "events.out.tfevents.1700000000.host.1.0"
        path.write_bytes(change(content, name))


def test_a_folder_of_event_files_is_audited_without_tensorboard(tmp_path):
    write(tmp_path)
    holds(audit(tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: b"\0\1", "ends in the middle"),
        (lambda content: b"epoch,val_acc\n0,0.5\n1,0.6\n", "is no event file: the checksum"),
        (lambda content: content[:60] + b"\xff" + content[61:], "is damaged at record"),
        (lambda content: record(b"\x7f\x00") + content, "a record does not parse"),
        (lambda content: VERSION, "without scalars"),
    ],
)
def test_what_is_damaged_is_said_and_never_read_otherwise(tmp_path, change, says):
    write(tmp_path, lambda content, name: change(content) if "sgd_20_seed0" in name else content)
    found = audit(tmp_path)
    texts = [finding.text for finding in found.findings if "sgd_20_seed0" in finding.path]
    assert any(says in text for text in texts) or says == "ends in the middle"
    assert sum(file.state == "read" for file in found.files) == 5


def test_a_file_cut_in_its_last_record_is_read_up_to_there_and_said(tmp_path):
    write(tmp_path, lambda content, name: content[:-9] if "sgd_20_seed0" in name else content)
    found = audit(tmp_path)
    (cut,) = [f for f in found.findings if "sgd_20_seed0" in f.path and f.kind == "truncated"]
    assert "record 21 ends in the middle" in cut.text


def test_each_single_flipped_byte_is_noticed():
    content = VERSION + event(0, ("val_acc", simple(0.5))) + event(1, ("val_acc", simple(0.6)))
    whole, _ = scalars(content)
    for at in range(len(content)):
        broken = content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :]
        with pytest.raises(Unreadable):
            scalars(broken)
    for end in range(len(content)):
        found, cut = scalars(content[:end])
        assert found == whole[: len(found)] and (cut or len(found) < 2)
    with pytest.raises(Unreadable):
        scalars(struct.pack("<f", 1.0) * 40)
