"""The steps of a project of PyStack3D as operations, table by table of its params.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stack3d.runs._document import Source
from stack3d.runs._pystack3d_areas import EVERYTHING, Areas
from stack3d.runs._pystack3d_values import _number
from stack3d.runs._step import Step

STEPS = (
    "cropping",
    "bkg_removal",
    "intensity_rescaling",
    "intensity_rescaling_area",
    "registration_calculation",
    "registration_transformation",
    "destriping",
    "resampling",
    "cropping_final",
)
_MODELS = {
    "TRANSLATION": "translation",
    "RIGID_BODY": "rigid",
    "SCALED_ROTATION": "similarity",
    "AFFINE": "affine",
}
_WEIGHTS = {"HuberT": "huber", "Hampel": "hampel", "None": "none", "": "none"}
_FILLS = {"edge": "edge", "constant": "constant", "reflect": "reflect", "symmetric": "reflect"}


class Translation(Areas):
    """Steps, and what is wrong or differs, of one project.

    Attributes
    ----------
    apart : bool
        Whether every step is for the raw slices, not for what the one before it gives.
    places : list of str
        Where each step stands in the file.
    of_input : frozenset of int
        Steps (from 0) that choose the slices which are corrected.
    counted_from : dict
        Of a step with an area: those without which its frames, and so its area, would lie elsewhere.
    known_as : dict
        The step (from 0) of each name that PyStack3D has for it, None where it changes nothing.
    """

    def __init__(
        self, source: Source, sizes: dict[str, int], tables: Mapping[str, Any], channels: list[str], *, apart: bool
    ) -> None:
        super().__init__(source, tables, sizes)
        self.channels, self.apart = channels, apart
        self.places: list[str] = []
        self.of_input: frozenset[int] = frozenset()
        self.counted_from: dict[int, set[int]] = {}
        self.known_as: dict[str, int | None] = {}

    def steps(self, names: list[str]) -> list[Step]:
        """Return the steps of these names, in their order."""
        found = self._slices()
        cutting: set[int] = set()
        raw = dict(self.sizes)
        for name in names:
            if self.apart:
                self.sizes, self.cut = dict(raw), False
                cutting.clear()
            table = self._table(name)
            if name == "registration_calculation":
                continue  # one step with the transformation
            self.has_area = False
            step = getattr(self, f"_{name}")(table)
            self.known_as[name] = None
            if step is None:
                continue
            if self.has_area and cutting:
                self.counted_from[len(found)] = set(cutting)
            if step.operation == "crop" or step.parameters.get("crop") == "common":
                cutting.add(len(found))
            self.known_as[name] = len(found)
            found.append(step)
            self.places.append(self.where(name))
        if "registration_calculation" in names:
            self.known_as["registration_calculation"] = self.known_as.get("registration_transformation")
        self._registration(names)
        if self.apart:
            self.notes.append("serial = false: every step is done on the raw slices, and has a result of its own")
        if found:
            self.notes.append(
                "all steps: values are rounded once at the end; PyStack3D cuts fractions off after every step"
            )
        # What changes nothing, such as an area that is the whole frame, is a copy.
        return found or [Step("crop")]

    def _slices(self) -> list[Step]:
        """Return the step that chooses slices, if they are not all of them."""
        count = self.sizes["z"]
        first, last = (self._one("", self.tables, *end, 0) for end in (("ind_min", 0), ("ind_max", EVERYTHING)))
        self._one("", self.tables, "nproc", 1, 1)
        if last < first:
            self._problem("", "ind_max", f"ind_max = {last} is below ind_min = {first}")
        elif first >= count:
            self._problem("", "ind_min", f"ind_min = {first}: the slices are 0 to {count - 1}")
        elif first > 0 or last < count - 1:
            self.places.append(self.where("", "ind_min" if first > 0 else "ind_max"))
            self.of_input = frozenset({0})
            return [Step("crop", {"z": slice(first, min(last + 1, count)), "by": "index"})]
        return []

    def _registration(self, names: list[str]) -> None:
        """Say what becomes of one half of a registration without the other."""
        calculated, moved = (name in names for name in ("registration_calculation", "registration_transformation"))
        if calculated and not moved:
            self.notes.append(
                "registration_calculation alone changes no image; estimate_transforms gives what it measured"
            )
        elif moved and not calculated:
            self.notes.append(
                "registration_transformation alone: what it moves by is measured here, with [registration_calculation]; "
                "PyStack3D takes what was measured before"
            )
        elif moved and names.index("registration_transformation") < names.index("registration_calculation"):
            text = "process_steps has registration_transformation before registration_calculation, which it needs"
            self._problem("", "process_steps", text)

    def _cropping(self, table: dict[str, Any], name: str = "cropping") -> Step | None:
        self._unknown(name, table, {"area"})
        part = self._area(name, table.get("area"))
        if part is None:
            return None
        if not self.cut:
            self.sizes.update(y=part["y"].stop - part["y"].start, x=part["x"].stop - part["x"].start)
        return Step("crop", part)

    def _cropping_final(self, table: dict[str, Any]) -> Step | None:
        return self._cropping(table, "cropping_final")

    def _bkg_removal(self, table: dict[str, Any]) -> Step:
        known = {"dim", "poly_basis", "orders", "cross_terms", "skip_factors", "skip_averaging"}
        self._unknown("bkg_removal", table, known | {"threshold_min", "threshold_max", "weight_func", "preserve_avg"})
        basis = table.get("poly_basis")
        orders = self._several("bkg_removal", table, "orders", [1, 1, 1], 2, 0) if table.get("orders") else None
        dim = self._one("bkg_removal", table, "dim", 3)
        if dim not in (2, 3):
            self._problem("bkg_removal", "dim", f"dim = {dim!r} must be 2 or 3")
            dim = 3
        dim = len(orders) if orders and not basis else dim
        parameters: dict[str, Any] = {"per": "slice" if dim == 2 else "stack"}
        if basis:
            parameters["terms"] = str(basis)
        elif orders:
            parameters["degree"] = dict(zip(("x", "y", "z"), orders, strict=False))
            parameters["cross"] = self._flag("bkg_removal", table, "cross_terms", True)
        skips = self._several("bkg_removal", table, "skip_factors", [10] * max(2, dim), 2, 1)
        if dim == 3 or not self._flag("bkg_removal", table, "skip_averaging", False):
            parameters["subsample"] = (skips[2] if len(skips) > 2 else 1, skips[1], skips[0])
        parameters.update(self._limits("bkg_removal", table))
        weight = str(table.get("weight_func") or "HuberT" if "weight_func" not in table else table["weight_func"])
        if weight not in _WEIGHTS:
            text = f"weight_func = {weight!r} is not known; it is one of {', '.join(_WEIGHTS)}"
            self._problem("bkg_removal", "weight_func", text)
        parameters["weights"] = _WEIGHTS.get(weight, "huber")
        parameters["keep"] = "mean" if self._flag("bkg_removal", table, "preserve_avg", False) else "constant"
        if "low" in parameters or "high" in parameters:
            self.notes.append(
                "bkg_removal: pixels beyond the thresholds are corrected too; PyStack3D leaves steps at their edges"
            )
        if dim == 3:
            self.notes.append("bkg_removal: z is the true position; PyStack3D takes the number of the slice")
        return Step("remove_background", parameters)

    def _intensity_rescaling(self, table: dict[str, Any]) -> Step:
        name = "intensity_rescaling"
        self._unknown(name, table, {"nbins", "filter_size", "range_bins"})
        parameters: dict[str, Any] = {"nbins": self._one(name, table, "nbins", 256, 1)}
        if table.get("range_bins") not in (None, ""):
            self.notes.append(
                "intensity_rescaling: range_bins is not used, as in PyStack3D 2026; bins span the grey values"
            )
        width = self._one(name, table, "filter_size", 10)
        if width > 0:
            parameters["window"] = width
        elif width == 0:
            text = "filter_size = 0; it is -1 for the mean of all slices, or a number of slices"
            self._problem(name, "filter_size", text)
        self.notes.append(
            "intensity_rescaling: grey levels between the bins are kept; PyStack3D leaves as many as there are bins"
        )
        return Step("match_histograms", parameters)

    def _intensity_rescaling_area(self, table: dict[str, Any]) -> Step:
        name = "intensity_rescaling_area"
        self._unknown(name, table, {"area", "threshold_min", "threshold_max", "factors_range"})
        parameters: dict[str, Any] = {"model": "gain", "statistic": "mean"}
        region = self._area(name, table.get("area"))
        if region is not None:
            parameters["region"] = region
        parameters.update(self._limits(name, table))
        limits = self._several(name, table, "factors_range", [0.8, 1.2], 2, 0.0)
        if limits[0] > limits[1]:
            self._problem(name, "factors_range", f"factors_range = {table['factors_range']!r} must rise")
        parameters["limits"] = (limits[0], limits[1])
        return Step("level_slices", parameters)

    def _registration_transformation(self, table: dict[str, Any]) -> Step:
        measured = "registration_calculation"
        before = self._table(measured)
        self._unknown(measured, before, {"area", "threshold", "nb_blocks", "transformation"})
        known = {"constant_drift", "box_size_averaging", "subpixel", "mode", "cropping", "nb_blocks"}
        self._unknown("registration_transformation", table, known)
        kind = str(before.get("transformation", "TRANSLATION"))
        if kind not in _MODELS:
            self._problem(measured, "transformation", f"transformation = {kind!r} must be one of {', '.join(_MODELS)}")
        parameters: dict[str, Any] = {"model": _MODELS.get(kind, "translation"), "channel": self._first_channel()}
        region = self._area(measured, before.get("area"))
        if region is not None:
            parameters["region"] = region
        if before.get("threshold") not in (None, ""):
            parameters["threshold"] = self._one(measured, before, "threshold", 0.0)
        blocks = self._several(measured, before, "nb_blocks", [1, 1], 2, 1)
        if blocks != [1, 1]:
            parameters["blocks"] = (blocks[0], blocks[1])
        parameters.update(self._trend(table))
        parameters["order"] = 1
        if not self._flag("registration_transformation", table, "subpixel", True):
            parameters["least_step"] = "1 px"
            if parameters["model"] == "translation":
                parameters["integer"] = True
                self.notes.append(
                    "registration_transformation: with subpixel = false jumps are rounded to whole pixels; PyStack3D leaves their fractions"
                )
        mode = str(table.get("mode", "constant"))
        if mode not in _FILLS:
            text = f"mode = {mode!r} cannot be translated; it is one of {', '.join(_FILLS)}"
            self._problem("registration_transformation", "mode", text)
        parameters["fill"] = _FILLS.get(mode, "edge")
        if mode == "reflect":
            self.notes.append(
                'registration_transformation: mode = "reflect" is "symmetric" here: the pixels at the edge are repeated'
            )
        if self._flag("registration_transformation", table, "cropping", False):
            parameters["crop"] = "common"
            self.cut = True
        self.notes.append(
            "registration: all slices are placed at once, from pairs up to 3 apart; PyStack3D chains neighbours"
        )
        return Step("register", {key: value for key, value in parameters.items() if value is not None})

    def _trend(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of the displacement stays in the images."""
        name, drift, width = "registration_transformation", table.get("constant_drift"), 0
        if table.get("box_size_averaging") not in (None, ""):
            width = self._one(name, table, "box_size_averaging", 0, 0)
        slope: list[float] = []
        if drift not in (None, ""):
            slope = (
                [] if not isinstance(drift, list) else [v for v in (_number(d, float) for d in drift) if v is not None]
            )
            if len(slope) != 2 or len(drift) != 2:
                self._problem(name, "constant_drift", f"constant_drift = {drift!r} must be [dx, dy] in pixels a slice")
                return {}
        if width > 1:
            if any(slope):
                self.notes.append(
                    "registration_transformation: constant_drift is left out, since a running mean (box_size_averaging) holds any"
                )
            return {"trend": "mean", "trend_window": width}
        return {"trend": "linear", "trend_slope": [f"{slope[1]} px", f"{slope[0]} px"]} if slope else {}

    def _first_channel(self) -> str | None:
        return self.channels[0] if len(self.channels) > 1 else None

    def _destriping(self, table: dict[str, Any]) -> Step:
        self._unknown("destriping", table, {"maxit", "cvg_threshold", "filters", "wavelet_decomposition"})
        wavelet = table.get("wavelet_decomposition")
        if wavelet and not isinstance(wavelet, Mapping):
            text = f"wavelet_decomposition = {wavelet!r} must be a table with wavelet, level and sigma"
            self._problem("destriping", "wavelet_decomposition", text)
        elif wavelet:
            missing = [key for key in ("wavelet", "level", "sigma") if key not in wavelet]
            if missing:
                text = f"wavelet_decomposition lacks {', '.join(missing)}"
                self._problem("destriping", "wavelet_decomposition", text)
            options = {
                "wavelet": wavelet.get("wavelet"),
                "level": wavelet.get("level"),
                "damping": wavelet.get("sigma"),
            }
            return Step("destripe", {"method": "wavelet", "options": {**options, "shrink": False}})
        filters = []
        given = table.get("filters", [{"name": "Gabor", "noise_level": 20, "sigma": [0.5, 200], "theta": 0}])
        if not isinstance(given, list):
            self._problem("destriping", "filters", f"filters = {given!r} must be a list of tables with a name each")
            given = []
        for item in given:
            name = str(item.get("name", "")) if isinstance(item, Mapping) else ""
            if name not in ("Gabor", "Dirac"):
                self._problem("destriping", "filters", f"filters: name = {name!r} must be 'Gabor' or 'Dirac'")
                continue
            found: dict[str, Any] = {"kind": name.lower()}
            if name == "Gabor":
                found["sigma"] = tuple(
                    self._several("destriping", {"sigma": item.get("sigma")}, "sigma", [0.5, 200.0], 2)
                )
                found["angle"] = -self._one("destriping", item, "theta", 0.0)  # theirs leans the other way
            else:
                found["noise_level"] = self._one(
                    "destriping", {"noise_level": item.get("noise_level")}, "noise_level", 20.0
                )
            filters.append(found)
        if "maxit" in table or "cvg_threshold" in table:
            self.notes.append("destriping: maxit and cvg_threshold belong to PyStack3D's solver; ours needs neither")
        self.notes.append(
            "destriping: noise levels are measured from each frame; PyStack3D's numbers depend on its scaling. No wrap-around at the edges"
        )
        return Step("destripe", {"method": "vsnr", "filters": filters})

    def _resampling(self, table: dict[str, Any]) -> Step:
        self._unknown("resampling", table, {"policy", "dz", "zpos_out"})
        # Lengths are in the unit of the names.
        found = re.search(r"\{z_coord[^}]*\}\s*([^\W\d_]+)", str(table.get("policy", "")))
        unit = found[1] if found and found[1] in ("pm", "nm", "um", "µm", "mm") else "um"
        # Interpolated also where slices get fewer, as PyStack3D does.
        if table.get("zpos_out"):
            places = self._several("resampling", table, "zpos_out", [0.0], 1)
            return Step("resample", {"z": [f"{place} {unit}" for place in places], "antialias": False})
        step = self._one("resampling", table, "dz", 0.01)
        if step <= 0:
            self._problem("resampling", "dz", f"dz = {step} must be above 0")
        return Step("resample", {"dz": f"{step} {unit}", "antialias": False})
