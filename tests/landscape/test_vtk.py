import base64
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from perturb.errors import PerturbError
from perturb.landscape.vtk import write_vti
from tests.landscape.planes import make_plane

KINDS = {"Float64": "<f8", "UInt8": "u1"}


def read_arrays(root):
    found = {}
    for array in root.iter("DataArray"):
        raw = base64.b64decode(array.text)
        assert int.from_bytes(raw[:8], "little") == len(raw) - 8
        found[array.get("Name")] = np.frombuffer(raw[8:], KINDS[array.get("type")])
    return found


@pytest.fixture
def plane():
    plane = make_plane(
        lambda x, y: (x - 2 * y) ** 2 + 0.1 * x,
        alpha=np.linspace(-1, 1, 5),
        beta=np.linspace(-2, 1, 7),
        method='sgd <1> & "ü"',
    )
    plane = make_plane(plane.loss[:7, :5], alpha=plane.alpha, beta=plane.beta, **plane.attributes)
    plane.loss[2, 3], plane.loss[4, 0] = np.inf, np.nan
    return plane


def test_arrays_come_back_with_alpha_fastest(plane, tmp_path):
    write_vti(plane, tmp_path / "plane.vti")
    root = ElementTree.parse(tmp_path / "plane.vti").getroot()
    arrays = read_arrays(root)
    finite = np.isfinite(plane.loss)
    assert np.array_equal(arrays["finite"].reshape(7, 5), finite)
    assert np.array_equal(
        arrays["loss"].reshape(7, 5), np.where(finite, plane.loss, np.nan), equal_nan=True
    )
    assert np.array_equal(arrays["accuracy"].reshape(7, 5), plane.accuracy)
    assert not np.isinf(arrays["loss"]).any()


def test_origin_spacing_and_extent_give_the_axes(plane, tmp_path):
    write_vti(plane, tmp_path / "plane.vti")
    image = ElementTree.parse(tmp_path / "plane.vti").getroot().find("ImageData")
    assert image.get("WholeExtent") == "0 4 0 6 0 0"
    assert image.find("Piece").get("Extent") == image.get("WholeExtent")
    origin = np.array(image.get("Origin").split(), dtype=float)
    spacing = np.array(image.get("Spacing").split(), dtype=float)
    assert origin[0] + spacing[0] * np.arange(5) == pytest.approx(plane.alpha)
    assert origin[1] + spacing[1] * np.arange(7) == pytest.approx(plane.beta)
    assert image.find("Piece/PointData").get("Scalars") == "loss"


def test_the_attributes_travel_along(plane, tmp_path):
    write_vti(plane, tmp_path / "plane.vti")
    field = ElementTree.parse(tmp_path / "plane.vti").getroot().find("ImageData/FieldData/Array")
    characters = [int(text) for text in field.text.split()]
    assert characters[-1] == 0
    assert json.loads(bytes(characters[:-1])) == plane.attributes


def test_the_same_plane_is_the_same_bytes(plane, tmp_path):
    for name in ("a", "b"):
        write_vti(plane, tmp_path / f"{name}.vti")
    assert (tmp_path / "a.vti").read_bytes() == (tmp_path / "b.vti").read_bytes()


def test_an_uneven_grid_is_one_message(tmp_path):
    plane = make_plane(np.ones((3, 3)), alpha=np.array([-1, 0, 0.5]))
    with pytest.raises(PerturbError, match="alpha is not evenly spaced"):
        write_vti(plane, tmp_path / "plane.vti")
    assert not list(tmp_path.iterdir())
