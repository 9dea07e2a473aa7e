"""Which defects are planted, and how strong: defaults, presets and the checks of what the user gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Setting = bool | float | str | Mapping[str, Any] | None

STRIPE_KINDS = ("sparse", "ramp", "streaks", "gaussian")
BACKGROUND_KINDS = ("same", "slices", "volume")
BAD_KINDS = ("blank", "charged", "blurred", "duplicated", "noise")
PRESETS = ("typical", "all", "none")

# The first entry is what a bare number sets.
DEFAULTS: dict[str, dict[str, Any]] = {
    "drift": {"step": 0.6, "trend": (0.05, -0.03)},
    "jumps": {"size": 5.0, "count": 2},
    "rotation": {"step": 0.02},
    "bad_slices": {"fraction": 0.05, "kinds": BAD_KINDS, "slices": None},
    "gain": {"jitter": 0.03, "blocks": 2, "block_change": 0.15},
    "offset": {"jitter": 0.02},
    "background": {"amount": 0.3, "kind": "same", "degree": 2},
    "vignetting": {"amount": 0.2},
    "stripes": {
        "amount": 0.12, "kind": "sparse", "angle": 0.0, "density": 30.0, "width": 1.5, "length": None,
        "persistence": 3.0, "every": 1,
    },
    "curtains": {
        "amount": 0.12, "angle": 0.0, "scatter": 0.5, "density": 30.0, "width": (1.0, 12.0), "length": (0.3, 1.5),
        "persistence": 0.0,
    },
    "hot_pixels": {"fraction": 2e-4, "dark": 0.3},
    "noise": {"gaussian": 0.01, "electrons": "auto"},
    "uneven_z": {"jitter": 0.15, "missing": 0.03},
}  # fmt: skip
_TYPICAL = ("drift", "gain", "offset", "background", "stripes", "noise", "uneven_z")
_WHOLE = {"count", "blocks", "degree", "every"}
_SHARES = {"fraction", "dark", "missing"}
_BELOW_ONE = {("gain", "block_change"), ("vignetting", "amount")}


def resolve(defects: str | Mapping[str, Setting], overrides: Mapping[str, Setting]) -> dict[str, dict[str, Any]]:
    """Return the parameters of each defect that is on.

    Parameters
    ----------
    defects : str or mapping
        A preset, or the only defects wanted.
    overrides : mapping
        Added to that; None leaves the preset as it is, False (or 0) switches a defect off.
    """
    if isinstance(defects, str):
        if defects not in PRESETS:
            raise ValueError(
                f"defects={defects!r} is not a preset; allowed are {PRESETS}, or a mapping such as {{'drift': 0.8}}"
            )
        names = {"typical": _TYPICAL, "all": tuple(DEFAULTS), "none": ()}[defects]
        wanted: dict[str, Setting] = dict.fromkeys(names, True)
    elif isinstance(defects, Mapping):
        unknown = [name for name in defects if name not in DEFAULTS]
        if unknown:
            raise ValueError(
                f"defects has the unknown key {unknown[0]!r}; allowed are {', '.join(map(repr, DEFAULTS))}"
            )
        wanted = dict(defects)
    else:
        raise TypeError(f"defects={defects!r} must be one of {PRESETS}, or a mapping such as {{'drift': 0.8}}")
    wanted.update({name: value for name, value in overrides.items() if value is not None})
    settings = {}
    for name in DEFAULTS:
        parameters = _parameters(name, wanted.get(name))
        if parameters is not None:
            settings[name] = parameters
    return settings


def _parameters(name: str, value: Setting) -> dict[str, Any] | None:
    defaults = DEFAULTS[name]
    if value is None or value is False:
        return None
    if value is True:
        return dict(defaults)
    main = next(iter(defaults))
    if isinstance(value, str):
        if "kind" not in defaults:
            raise ValueError(
                f"{name}={value!r} is not allowed; give True, False, a number ({main!r}) "
                f"or a mapping of {tuple(defaults)}"
            )
        given: dict[str, Any] = {"kind": value}
    elif isinstance(value, Mapping):
        given = dict(value)
        unknown = [key for key in given if key not in defaults]
        if unknown:
            raise ValueError(f"{name} has the unknown key {unknown[0]!r}; allowed are {', '.join(map(repr, defaults))}")
    elif _is_number(value):
        if value == 0:
            return None
        given = {main: value}
    else:
        raise TypeError(f"{name}={value!r} must be True, False, a number ({main!r}) or a mapping of {tuple(defaults)}")
    for key, entry in given.items():
        _check(name, key, entry)
    return {**defaults, **given}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check(name: str, key: str, value: Any) -> None:
    label = f"{name}[{key!r}]={value!r}"
    if key == "kind":
        allowed = STRIPE_KINDS if name == "stripes" else BACKGROUND_KINDS
        if value not in allowed:
            raise ValueError(f"{label} is not a kind; allowed are {allowed}")
    elif key == "kinds":
        kinds = (value,) if isinstance(value, str) else tuple(value)
        if not kinds or any(kind not in BAD_KINDS for kind in kinds):
            raise ValueError(f"{label} must be among {BAD_KINDS}")
    elif key == "slices":
        if value is not None and not isinstance(value, Mapping):
            raise TypeError(f"{label} must map an index to a kind, such as {{12: 'blank'}}")
        for index, kind in (value or {}).items():
            if kind not in BAD_KINDS:
                raise ValueError(f"{name}['slices'][{index!r}]={kind!r} is not a kind; allowed are {BAD_KINDS}")
    elif key == "trend":
        if np.shape(value) != (2,) or not np.all(np.isfinite(value)):
            raise ValueError(f"{label} must be two numbers, pixels per slice along (y, x)")
    elif name == "curtains" and key in ("width", "length"):
        if np.shape(value) != (2,) or not np.all(np.isfinite(value)) or not 0 < value[0] <= value[1]:
            raise ValueError(f"{label} must be two positive numbers, the least and the greatest")
    elif (key == "electrons" and (value is None or value == "auto")) or (key == "length" and value is None):
        return
    elif not _is_number(value) or not np.isfinite(value):
        raise TypeError(f"{label} must be a finite number")
    elif key != "angle" and value < 0:
        raise ValueError(f"{label} must not be negative")
    elif key in _WHOLE and value != int(value):
        raise ValueError(f"{label} must be a whole number")
    elif (key in _SHARES or (name, key) == ("curtains", "persistence")) and value > 1:
        raise ValueError(f"{label} must be a share between 0 and 1")
    elif (name, key) == ("uneven_z", "jitter") and value >= 0.5:
        raise ValueError(f"{label} must be below 0.5, a share of the slice spacing")
    elif (name, key) in _BELOW_ONE and value >= 1:
        raise ValueError(f"{label} must be below 1")
    elif key in ("width", "length", "every", "electrons") and value == 0:
        raise ValueError(f"{label} must be positive")
