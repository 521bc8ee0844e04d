"""Did a path follow the valley, or did it jump and converge again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = {
    "jump": "on its way the error rose by the threshold or more above both ends, and came back",
    "same basin": "the error rises by less than the threshold along the line, and the path",
    "curved valley": "the line crosses a barrier, a Bezier curve with one bend and the path do not",
    "barrier": "no path was run, and the straight line crosses a barrier",
    "undecided": "none of these",
}


@dataclass(frozen=True)
class Evidence:
    """What a verdict follows from; errors and heights are shares of images.

    Args:
        start_error, end_error: at theta_c and theta_T.
        line, curve: barriers along the straight line and the trained Bezier curve.
        highest_error: the largest along the path; None where there is no path.
    """

    start_error: float
    end_error: float
    line: float
    curve: float
    highest_error: float | None = None

    @property
    def height(self) -> float | None:
        """P: how far the path's error rises above both of its ends; None where there is none."""
        if self.highest_error is None:
            return None
        return max(self.highest_error, self.start_error, self.end_error) - max(
            self.start_error, self.end_error
        )

    def verdict(self, threshold: float) -> str:
        """Return one of `KINDS`, for a threshold of Frankle et al.'s kind, .02.

        A path that left and came back is a jump whatever lies on the line between its ends: a
        random displacement that retraining takes back to the same basin did not follow a valley.
        """
        height = self.height
        if height is None:
            return "same basin" if self.line < threshold else "barrier"
        if height >= threshold:
            recovered = self.end_error <= self.start_error + threshold
            return "jump" if recovered else "undecided"
        if self.line < threshold:
            return "same basin"
        return "curved valley" if self.curve < threshold else "undecided"
