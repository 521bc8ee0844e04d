"""A plane for ParaView: VTK image data as XML (`.vti`), the numbers in the file in base64."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from perturb.errors import PerturbError
from perturb.files import write_text
from perturb.landscape.files import Plane


def write_vti(plane: Plane, path: str | Path) -> None:
    """Write a plane for ParaView; `render` says how."""
    write_text(path, render(plane))


def render(plane: Plane) -> str:
    """Return `loss`, `accuracy` and `finite` as point arrays, and the attributes as field data.

    Infinite losses become NaN, which ParaView leaves out of its ranges; `finite` (0 or 1) says
    where. Raises PerturbError where the grid is not evenly spaced: image data has to be.
    """
    (x, dx), (y, dy) = _even(plane.alpha, "alpha"), _even(plane.beta, "beta")
    extent = f"0 {len(plane.alpha) - 1} 0 {len(plane.beta) - 1} 0 0"
    finite = np.isfinite(plane.loss)
    arrays = {
        "loss": np.where(finite, plane.loss, np.nan).astype("<f8"),
        "accuracy": plane.accuracy.astype("<f8"),
        "finite": finite.astype("u1"),
    }
    text = json.dumps(plane.attributes, sort_keys=True, allow_nan=False)
    characters = " ".join(str(byte) for byte in [*text.encode(), 0])
    lines = [
        '<?xml version="1.0"?>',
        '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">',
        f'<ImageData WholeExtent="{extent}" Origin="{x!r} {y!r} 0.0" Spacing="{dx!r} {dy!r} 1.0">',
        "<FieldData>",
        '<Array type="String" Name="attributes" NumberOfTuples="1" format="ascii">',
        characters,
        "</Array>",
        "</FieldData>",
        f'<Piece Extent="{extent}">',
        '<PointData Scalars="loss">',
        *(_data_array(name, array) for name, array in arrays.items()),
        "</PointData>",
        "</Piece>",
        "</ImageData>",
        "</VTKFile>",
    ]
    return "\n".join(lines) + "\n"


def _even(axis: np.ndarray, name: str) -> tuple[float, float]:
    """Return origin and spacing of an evenly spaced axis; a single point has spacing 1."""
    steps = np.diff(axis)
    if not len(steps):
        return float(axis[0]), 1.0
    spacing = float((axis[-1] - axis[0]) / len(steps))
    if not np.allclose(steps, spacing, rtol=1e-6):
        raise PerturbError(
            f"{name} is not evenly spaced: VTK image data cannot hold it. "
            "Make the plane on an even grid."
        )
    return float(axis[0]), spacing


def _data_array(name: str, array: np.ndarray) -> str:
    """Return an array as VTK writes it inline: its length in bytes as UInt64, then its bytes."""
    kind = {"f8": "Float64", "u1": "UInt8"}[array.dtype.str[1:]]
    data = array.tobytes()
    encoded = base64.b64encode(len(data).to_bytes(8, "little") + data).decode("ascii")
    return f'<DataArray type="{kind}" Name="{name}" format="binary">\n{encoded}\n</DataArray>'
