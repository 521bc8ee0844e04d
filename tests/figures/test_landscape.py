import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.contour import ContourSet
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from perturb.errors import PerturbError
from perturb.figures import landscape, style
from perturb.figures.catalogue import LANDSCAPES
from perturb.figures.contours import make_scale, number
from perturb.figures.landscape import material
from tests.analysis.study import make_plan
from tests.figures.test_figures import texts
from tests.landscape.planes import make_plane, make_trajectory

METHODS = ("pugd_30", "sgd_30", "pugdrs_isin2_0.01_isin2_0.1_400", "sam_0.05_30", "asam_0.5_30",
           "gsam_0.05_0.01_30", "pugdt_delta_100xi10mu3_t3", "looksam_0.05_400",
           "aesam_0.05_400", "ugd_400", "samx1_40", "pugdr_isin_2_0.01_400")  # fmt: skip


def bowl(width, height=0.0):
    return lambda x, y: 0.01 + (x * x + 0.6 * y * y + 0.3 * x * y) / width + height * x**4


def make_material(count=3, seeds=2, **attributes):
    planes, paths = [], []
    for index, method in enumerate(METHODS[:count]):
        named = {"method": method, "data": "whole"} | attributes
        for seed in range(seeds):
            surface = bowl(0.3 + 0.2 * index, 0.1 * seed)
            planes.append(make_plane(surface, 15, direction_seed=seed, **named))
        paths.append(make_plane(bowl(0.5), 15, trajectory=make_trajectory(), **named))
    return material(planes, paths, METHODS[0])


def damaged():
    """Return four methods: whole, with a hole, nothing finite, exploding; without the last path."""
    found = make_material(4)
    planes, paths = found.planes, list(found.trajectories.values())[:3]
    for plane in planes[METHODS[1]].values():
        plane.loss[:3, :4] = np.nan
        plane.loss[7, 2] = np.inf
    for plane in planes[METHODS[2]].values():
        plane.loss[:] = np.nan
    for plane in planes[METHODS[3]].values():
        plane.loss[0] *= 1e6
    paths[2].loss[:] = np.nan
    return material([p for by_seed in planes.values() for p in by_seed.values()], paths, METHODS[0])


def test_figures_draw_the_lowest_run_seed_of_each_method():
    planes = [
        make_plane(bowl(width), 5, method=method, seed=seed)
        for method in ("b", "a")
        for seed, width in ((1, 0.5), (0, 0.7))
    ]
    found = material(planes, [], "a")
    assert list(found.planes) == ["b", "a"]
    assert all(plane.attributes["seed"] == 0 for plane in found.first.values())


@pytest.mark.parametrize("name", list(landscape.FIGURES))
def test_each_network_of_a_method_is_drawn_apart(name):
    planes, paths = [], []
    for method, network, width in (("ce_8", {}, 0.4), ("core_8", {"network": "net0"}, 0.5),
                                   ("core_8", {"network": "net1"}, 0.9)):  # fmt: skip
        named = {"method": method, "data": "whole"} | network
        planes.append(make_plane(bowl(width), 15, **named))
        paths.append(make_plane(bowl(width), 15, trajectory=make_trajectory(), **named))
    found = material(planes, paths, "core_8, net0")
    names = ["ce_8", "core_8, net0", "core_8, net1"]
    assert list(found.planes) == list(found.trajectories) == names
    looks = landscape.looks(found)
    assert looks["core_8, net0"] is style.REFERENCE
    assert looks["ce_8"] != looks["core_8, net1"]
    figure = landscape.draw(name, found)
    said = [*titles(figure), *(axes.get_title() for axes in figure.axes), *texts(figure)]
    assert set(names) <= set(said)


def page(figure):
    """Return everything written on a figure, line ends as spaces."""
    return " ".join(texts(figure)).replace("\n", " ")


def titles(figure):
    """Return the titles of the panels, put together again where they are broken."""
    return [axes.get_title("left").replace("\n", "") for axes in figure.axes]


def filled(axes):
    return [one for one in axes.collections if isinstance(one, ContourSet) and one.filled]


def test_the_catalogue_has_the_words_of_every_figure():
    assert list(LANDSCAPES) == list(landscape.FIGURES)
    plan = make_plan(reference="sgd_30", protocol="holdout", scale="smoke", normalisation="filter")
    for entry in LANDSCAPES.values():
        assert entry.caption(plan).startswith("Smoke run") and "{" not in entry.caption(plan)


@pytest.mark.parametrize("name", list(landscape.FIGURES))
@pytest.mark.parametrize("given", [make_material(1, 1), make_material(12), damaged()])
def test_every_figure_is_drawn_inside_its_page(name, given):
    figure = landscape.draw(name, given)
    with style.style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        whole = figure.bbox.padded(1)
        for artist in [*figure.texts, *figure.legends, *figure.axes]:
            box = artist.get_tightbbox(renderer)
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1, artist
            assert whole.y0 <= box.y0 and box.y1 <= whole.y1, artist
        lowest = min(axes.get_tightbbox(renderer).y0 for axes in figure.axes)
        below = [*figure.legends, *figure.texts]
        assert all(artist.get_tightbbox(renderer).y1 <= lowest + 1 for artist in below)
    assert figure.get_size_inches()[0] == style.PAGE_WIDTH
    assert figure.get_size_inches()[1] < 9.7


@pytest.mark.parametrize("name", ["landscape_contours_linear", "landscape_contours_log"])
def test_panels_share_levels_and_colours(name):
    given = make_material(4)
    figure = landscape.draw(name, given)
    sets = [one for axes in figure.axes for one in filled(axes)]
    assert len(sets) == 4
    for one in sets:
        assert np.array_equal(one.levels, sets[0].levels)
        assert one.norm.boundaries.tolist() == sets[0].norm.boundaries.tolist()
        assert one.get_cmap().name == "viridis"
    assert titles(figure)[:4] == ["pugd_30", "sgd_30", METHODS[2], "sam_0.05_30"]
    assert f"{'logarithmic' if 'log' in name else 'linear'} scale" in page(figure)
    panels = figure.axes[:4]
    assert all(axes.get_aspect() == 1 for axes in panels)
    for axes in panels:
        star = [line for line in axes.lines if line.get_marker() == "*"]
        assert star and star[0].get_xydata().tolist() == [[0.0, 0.0]]


def test_one_colour_bar_for_all_panels():
    figure = landscape.draw("landscape_contours_log", make_material(3))
    bars = [axes for axes in figure.axes if any(isinstance(c, QuadMesh) for c in axes.collections)]
    assert len(figure.axes) == 4 and len(bars) == 1
    assert bars[0].get_ylabel() == "Loss (nats), logarithmic scale"


def test_level_labels_stand_on_their_level_and_do_not_overlap():
    given = make_material(1, 1)
    figure = landscape.draw("landscape_contours_log", given)
    axes, plane = figure.axes[0], given.first[METHODS[0]]
    assert len(axes.texts) > 3
    boxes = []
    with style.style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for text in axes.texts:
            x, y = text.get_position()
            exact = bowl(0.3)(x, y)
            assert exact == pytest.approx(float(text.get_text()), rel=0.2)
            boxes.append(text.get_window_extent(canvas.get_renderer()))
    assert plane.loss.max() > max(float(text.get_text()) for text in axes.texts)
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])


def test_a_scale_of_one_exploding_method_still_shows_the_others_and_says_so():
    calm = [make_plane(bowl(1.0)) for _ in range(3)]
    wild = make_plane(lambda x, y: 1e5 * (x * x + y * y) + 0.01)
    for logarithmic in (False, True):
        scale = make_scale([*calm, wild], logarithmic)
        assert scale.levels[-1] < 50 and scale.extend == "max"
        assert f"up to {wild.loss.max():.3g}" in scale.note
        assert scale.logarithmic is logarithmic
    assert make_scale(calm, True).extend == "neither"
    assert make_scale(calm, True).note == ""


def test_a_loss_of_zero_is_below_a_logarithmic_scale_and_said():
    scale = make_scale([make_plane(lambda x, y: 1e-3 * (x * x + y * y), 21)], True)
    assert scale.levels[0] > 0 and scale.extend == "min"
    assert "below" in scale.note and "down to 0" in scale.note
    assert not make_scale([make_plane(np.zeros((3, 3)))], True).logarithmic


@pytest.mark.parametrize(
    "range_", [(2.3, 2.31), (0.8, 2.2), (0.3, 2.9), (0.13, 5), (1e-3, 3), (1e-6, 3)]
)
def test_a_logarithmic_scale_of_any_width_has_levels_enough_to_show_a_shape(range_):
    low, high = range_
    bowl_between = make_plane(lambda x, y: low * (high / low) ** ((x * x + y * y) / 2))
    levels = make_scale([bowl_between], True).levels
    inside = levels[(levels > low) & (levels < high)]
    assert 3 <= len(inside) <= 12
    assert 0 < levels[0] and (np.diff(levels) > 0).all()


def test_numbers_are_short():
    found = [number(value) for value in (0.0, 0.001, 0.3, 20.0, 3e-5, 1e5)]
    assert found == ["0", "0.001", "0.3", "20", r"$3\times10^{-5}$", r"$10^{5}$"]


@pytest.mark.parametrize(
    ("name", "word"),
    [("landscape_contours_log", "hatched"), ("landscape_contours_linear", "hatched"),
     ("landscape_surfaces", "left open")],
)  # fmt: skip
def test_points_that_are_not_finite_stay_visible_and_are_counted(name, word):
    figure = landscape.draw(name, damaged())
    written = page(figure)
    assert f"{METHODS[1]} 13 of 225" in written and f"{METHODS[2]} 225 of 225" in written
    assert word in written and "no finite loss" in written
    assert f"{METHODS[0]} 0" not in written
    assert "drawn at the end of the scale" in written


def test_a_masked_point_opens_its_four_cells():
    given = damaged()
    figure = landscape.draw("landscape_contours_log", given)
    axes = figure.axes[1]
    assert axes.patch.get_hatch()
    x, y = given.first[METHODS[1]].alpha[2], 0.0  # the infinite point
    painted = filled(axes)[0]
    assert not any(path.contains_point((x + 0.02, y + 0.02)) for path in painted.get_paths())
    assert any(path.contains_point((x + 0.3, y)) for path in painted.get_paths())


def test_surfaces_share_height_and_colour():
    given = make_material(3)
    figure = landscape.draw("landscape_surfaces", given)
    panels = [axes for axes in figure.axes if axes.name == "3d"]
    assert len(panels) == 3
    assert len({axes.get_zlim() for axes in panels}) == 1
    for axes in panels:
        assert any(isinstance(one, Poly3DCollection) for one in axes.collections)
        values = axes.zaxis.get_majorticklocs()
        labels = [axes.zaxis.get_major_formatter()(value) for value in values]
        assert labels == [number(float(10.0**value)) for value in values] and "0.1" in labels


def test_cuts_are_means_with_bands_from_smallest_to_largest():
    given = make_material(3)
    figure = landscape.draw("landscape_cuts", given)
    upper = figure.axes[0]
    black = [line for line in upper.lines if line.get_color() == style.REFERENCE_COLOUR]
    assert len(black) == 1 and black[0].get_linewidth() == style.REFERENCE.width
    cuts = np.array([plane.cut("alpha")[1] for plane in given.planes[METHODS[0]].values()])
    assert black[0].get_ydata() == pytest.approx(cuts.mean(axis=0))
    band = upper.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(cuts.max())
    assert "n = 2" in page(figure) and set(METHODS[:3]) <= set(texts(figure))
    assert upper.get_yscale() == "log" and figure.axes[2].get_yscale() == "linear"
    assert upper.get_ylim() == figure.axes[1].get_ylim()


def test_a_seed_that_is_not_finite_leaves_a_gap_in_the_cut():
    given = damaged()
    figure = landscape.draw("landscape_cuts", given)
    line = next(line for line in figure.axes[0].lines if line.get_color() == style.COLOURS[0])
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [2]
    assert f"{METHODS[1]} 2 of 60" in page(figure)


def test_direction_seeds_on_different_grids_are_refused():
    planes = [make_plane(bowl(1.0), 5 + 2 * seed, direction_seed=seed) for seed in (0, 1)]
    with pytest.raises(PerturbError, match="sgd_30: its direction seeds have different grids"):
        landscape.draw("landscape_cuts", material(planes))


def test_trajectories_say_the_variance_and_draw_path_and_losses():
    given = make_material(2)
    figure = landscape.draw("landscape_trajectories", given)
    upper, lower = figure.axes[0], figure.axes[2]
    assert upper.get_xlabel() == "PC 1 (83.1 %)" and upper.get_ylabel() == "PC 2 (10.2 %)"
    trajectory = given.trajectories[METHODS[0]].trajectory
    assert any(np.array_equal(line.get_xydata(), trajectory.path) for line in upper.lines)
    drawn = [line.get_ydata().tolist() for line in lower.lines]
    assert drawn == [trajectory.true_loss.tolist(), trajectory.projected_loss.tolist()]
    assert {"0", "5"} <= {text.get_text() for text in upper.texts}
    assert figure.axes[2].get_ylim() == figure.axes[3].get_ylim()


def test_a_missing_trajectory_is_named():
    assert f"No trajectory: {METHODS[3]}" in page(
        landscape.draw("landscape_trajectories", damaged())
    )
    none = dataclasses.replace(make_material(2), trajectories={})
    assert "no trajectory" in texts(landscape.draw("landscape_trajectories", none))


@pytest.mark.parametrize("name", list(landscape.FIGURES))
def test_a_smoke_run_is_marked_on_every_figure(name):
    assert "SMOKE RUN" in texts(landscape.draw(name, make_material(2, scale="smoke")))
    assert "SMOKE RUN" not in texts(landscape.draw(name, make_material(2)))


@pytest.mark.parametrize("kind", ["pdf", "png"])
@pytest.mark.parametrize("name", list(landscape.FIGURES))
def test_the_same_figure_is_the_same_bytes(tmp_path, name, kind):
    for part in ("a", "b"):
        style.save(landscape.draw(name, make_material(2)), tmp_path / f"{part}.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_an_unknown_figure_is_one_message():
    with pytest.raises(PerturbError, match="Did you mean 'landscape_cuts'"):
        landscape.draw("landscape_cut", make_material(1))


@pytest.mark.parametrize("name", list(LANDSCAPES))
def test_a_landscape_without_any_loss_is_drawn(name):
    """As of one train image learned by heart: 0 has no logarithm."""
    found = make_material(2)
    planes = [plane for by_seed in found.planes.values() for plane in by_seed.values()]
    for plane in [*planes, *found.trajectories.values()]:
        plane.loss[:] = 0.0
    for plane in found.trajectories.values():
        plane.trajectory.true_loss[:] = plane.trajectory.projected_loss[:] = 0.0
    figure = landscape.draw(name, material(planes, found.trajectories.values(), METHODS[0]))
    with style.style():
        FigureCanvasAgg(figure).draw()
