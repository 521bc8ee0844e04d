"""TensorBoard's event files, read without TensorBoard.

A file is a sequence of TFRecords: the length of a record (8 bytes, little endian), its masked
CRC-32C (4), the record, its masked CRC-32C (4) (tensorflow/core/lib/io/record_writer.h). Each is a
protocol buffer `Event` (tensorflow/core/util/event.proto), of which scalars need `step` and
`summary.value` with a `tag` and a `simple_value`, or a `tensor` of one number, as TensorFlow 2 and
Keras write them (tensorflow/core/framework/summary.proto, tensor.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from perturb.audit.text import Unreadable

Scalar = tuple[float, str, float]  # step, tag, value
# DataType of tensor.proto: the numbers that a scalar is kept as, and the field that lists them.
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 14: "bf16", 19: "<f2"}
_LISTS = {1: (5, "<f4"), 2: (6, "<f8")}
_INTEGERS = {3: 7, 9: 10}
_CHECKED = 2**16  # bytes: longer records hold images and graphs, no scalars


def scalars(content: bytes) -> tuple[list[Scalar], str]:
    """Return the scalars of an event file, and what is cut off at its end, if anything.

    Raises Unreadable where it is no event file or damaged before its end.
    """
    found: list[Scalar] = []
    try:
        for record in _records(content):
            found += _of_event(record)
    except _Cut as cut:
        return found, str(cut)
    except (ValueError, IndexError, struct.error) as error:
        raise Unreadable(f"is no event file: a record does not parse ({error})") from None
    return found, ""


class _Cut(Exception):
    """The file ends within a record: whoever wrote it was stopped."""


def _records(content: bytes) -> Iterator[bytes]:
    at, number = 0, 0
    while at < len(content):
        head = content[at : at + 12]
        if len(head) < 12:
            raise _Cut(f"record {number + 1} ends in the middle")
        length, check = struct.unpack("<QI", head)
        if check != _masked(head[:8]):
            what = "is no event file" if not number else f"is damaged at record {number + 1}"
            raise Unreadable(f"{what}: the checksum of a record's length is wrong (byte {at})")
        record, end = content[at + 12 : at + 12 + length], content[at + 12 + length :][:4]
        if len(record) < length or len(end) < 4:
            raise _Cut(f"record {number + 1} ends in the middle")
        if length <= _CHECKED and struct.unpack("<I", end)[0] != _masked(record):
            raise Unreadable(
                f"is damaged at record {number + 1}: its checksum is wrong (byte {at})"
            )
        yield record
        at, number = at + 16 + length, number + 1


def _masked(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes, rotated and offset as TFRecord does."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of a protocol buffer: an int, or the bytes of any other kind."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"field of kind {kind}")
        if at + length > len(data):
            raise ValueError("a field is longer than its record")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _of_event(record: bytes) -> Iterator[Scalar]:
    step, summaries = 0, []
    for number, value in _fields(record):
        if number == 2:
            step = _signed(value)
        elif number == 5:
            summaries.append(value)
    for summary in summaries:
        for number, value in _fields(summary):
            if number == 1:
                yield from _of_value(step, value)


def _of_value(step: int, data: bytes) -> Iterator[Scalar]:
    tag, found = "", None
    for number, value in _fields(data):
        if number == 1:
            tag = value.decode()
        elif number == 2:
            found = struct.unpack("<f", value)[0]
        elif number == 8:
            found = _of_tensor(value)
    if found is not None:
        yield float(step), tag, float(found)


def _of_tensor(data: bytes) -> float | None:
    """Return a tensor's one number; None where it is text, or holds several."""
    kind, content, listed = 0, b"", []
    for number, value in _fields(data):
        if number == 1:
            kind = value
        elif number == 4:
            content = value
        elif kind in _LISTS and number == _LISTS[kind][0]:
            listed += np.frombuffer(value, _LISTS[kind][1]).tolist()
        elif kind in _INTEGERS and number == _INTEGERS[kind]:
            listed += [value] if isinstance(value, int) else list(_varints(value))
    if kind not in _DTYPES:
        return None
    if content and kind == 14:  # bfloat16 is the upper half of a float32
        content, kind = b"".join(b"\0\0" + content[i : i + 2] for i in range(0, len(content), 2)), 1
    if content:
        listed = np.frombuffer(content, _DTYPES[kind]).tolist()
    elif kind in _INTEGERS:
        listed = list(map(_signed, listed))
    return float(listed[0]) if len(listed) == 1 else None


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value
