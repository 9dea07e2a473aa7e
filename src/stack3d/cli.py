"""The command line: ``stack3d demo``, ``info``, ``convert``, ``init``, ``run``, ``report``, ``clean``."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack3d._version import __version__
from stack3d._words import counted

if TYPE_CHECKING:
    import xarray as xr

    from stack3d.runs import Recipe

_OPTIONS = ("pattern", "pixel_size", "channel", "variable", "on_bad_frame", "on_gap", "on_z", "before", "out")
# `run` opens what its recipe says: there is no option for that, and what it has is called otherwise in Python.
_OF_RUN = ("out", "da", "scheduler", "steps", "from_step")
_RENAMED = {"da": "input", "from_step": "from"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = _parser().parse_args(argv)
    # Without a terminal, progress comes as lines of the log.
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    names = _OF_RUN if arguments.command == "run" else _OPTIONS
    try:
        with warnings.catch_warnings():
            warnings.showwarning = functools.partial(_show_warning, names)
            status: int = arguments.run(arguments)
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has had enough (`| head`); Python would complain once more at its end.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
        text = re.sub(r"^\[Errno \d+\] ", "", text)  # the number tells users nothing
        print(f"stack3d {arguments.command}: {_as_options(text, names)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stack3d {arguments.command}: interrupted", file=sys.stderr)
        return 130
    return status


def _show_warning(names: Sequence[str], message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"stack3d: warning: {' '.join(_as_options(str(message), names).split())}", file=sys.stderr)


def _as_options(message: str, names: Sequence[str]) -> str:
    """Return a message with arguments of Python written as options of the command line."""

    def option(found: re.Match[str]) -> str:
        name, value = _RENAMED.get(found["name"], found["name"]).replace("_", "-"), found["value"]
        return f"--{name}" + ("" if value is None else f" {shlex.quote(value)}")

    message = re.sub(r"\boverwrite=True", "--overwrite", message)
    return re.sub(rf"(?<![\w(])(?P<name>{'|'.join(names)})=('(?P<value>[^']*)'|(?=[\s,;:)]|$))", option, message)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stack3d", description="Correct FIB-SEM and other slice-by-slice volumes.")
    parser.add_argument("--version", action="version", version=f"stack3d {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="make a stack with known defects, correct it, and print the errors against the truth"
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("stack3d-demo"),
        metavar="DIR",
        help="where the results go (default: %(default)s)",
    )
    demo.add_argument("--seed", type=int, default=0, help="another stack (default: %(default)s)")
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="say what a stack is and what was done to it; no frame is read")
    info.add_argument("path", type=Path, metavar="PATH")
    _opening(info)
    info.set_defaults(run=_info)

    convert = commands.add_parser("convert", help="save a stack in another format")
    convert.add_argument("source", type=Path, metavar="SRC", help="a folder of frames, a TIFF, NetCDF or Zarr")
    convert.add_argument("target", type=Path, metavar="DST", help="ends with .zarr, .nc or .tif")
    convert.add_argument("--overwrite", action="store_true", help="replace what is there")
    _opening(convert)
    convert.set_defaults(run=_convert)

    init = commands.add_parser("init", help="write a commented recipe for a stack, from what its files say")
    init.add_argument(
        "path", type=Path, metavar="PATH", help="a folder of frames, a project of Atlas, or another stack"
    )
    init.add_argument("--preset", default="fibsem", help="fibsem or hifiem (default: %(default)s)")
    init.add_argument("--out", type=Path, metavar="FILE", help="the recipe (default: recipe.toml, never inside PATH)")
    init.add_argument("--overwrite", action="store_true", help="replace a recipe that is there")
    _opening(init)
    init.set_defaults(run=_init)

    recipe = commands.add_parser("run", help="run a recipe on a stack, with resume")
    recipe.add_argument("recipe", type=Path, nargs="?", metavar="RECIPE", help="a TOML file, or a project of PyStack3D")
    recipe.add_argument("--preset", help="instead of RECIPE: fibsem or hifiem, with --input and --out")
    recipe.add_argument("--input", type=Path, metavar="PATH", help="the raw stack (default: the recipe's [input])")
    recipe.add_argument("--out", type=Path, metavar="PATH", help="the result (default: the recipe's [output])")
    recipe.add_argument(
        "--steps",
        metavar="A,B",
        help="only these steps, by name or number; without --out the result is named after the last one",
    )
    recipe.add_argument("--from", dest="from_step", metavar="STEP", help="do this step and the later ones again")
    recipe.add_argument("--scheduler", metavar="S", help="threads, processes, synchronous, or tcp://HOST:PORT")
    recipe.add_argument(
        "--part", metavar="INDEX/WORKERS", help="one job's part, such as 0/16: for array jobs on one disk"
    )
    recipe.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what is there, unless it is the input; not needed for an earlier result of the same steps and input",
    )
    recipe.add_argument(
        "--plan", action="store_true", help="say what it takes in memory, disk and time, and do nothing"
    )
    recipe.add_argument("--check", action="store_true", help="list what is wrong with the recipe, and do nothing")
    recipe.add_argument("--no-report", action="store_true", help="write no report beside the result (OUT.html)")
    recipe.set_defaults(run=_run)

    report = commands.add_parser("report", help="write a page of HTML about a stack and what was done to it")
    report.add_argument("path", type=Path, metavar="STACK", help="the stack, such as the result of a run")
    report.add_argument(
        "--before",
        type=Path,
        metavar="RAW",
        help="the raw stack, opened as the options say (default: what the run that made STACK was given)",
    )
    report.add_argument("-o", "--out", type=Path, metavar="PAGE", help="the page (default: STACK.html)")
    report.add_argument("--slices", type=int, default=24, help="how many the slider has (default: %(default)s)")
    report.add_argument("--overwrite", action="store_true", help="replace a file that is no report")
    _opening(report)
    report.set_defaults(run=_report)

    clean = commands.add_parser("clean", help="delete the checkpoints of a run; its result and estimates stay")
    clean.add_argument("result", type=Path, metavar="RESULT", help="the result of a run, such as clean.zarr")
    clean.set_defaults(run=_clean)
    return parser


def _opening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pixel-size",
        metavar="SIZE",
        help="voxel size where the files do not say it: '10 nm', dy,dx such as '5 nm,5 nm', or dz,dy,dx such as '20 nm,5 nm,5 nm'",
    )
    parser.add_argument("--pattern", help="how file names are made, such as 'slice_{slice_nb}_z={z_coord}um.tif'")
    parser.add_argument("--channel", action="append", help="channel to open; several times for several")
    parser.add_argument("--variable", help="variable of a NetCDF or Zarr, or series of a TIFF, where there are several")
    parser.add_argument("--on-bad-frame", choices=("raise", "flag"), default="raise", help="default: %(default)s")
    parser.add_argument(
        "--on-gap", choices=("warn", "raise", "flag", "ignore"), default="warn", help="default: %(default)s"
    )
    parser.add_argument("--on-z", choices=("raise", "sort", "drop"), default="raise", help="default: %(default)s")


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says of how to open a stack, as arguments of `open_stack`."""
    given = arguments.pixel_size
    sizes = None if given is None else [part.strip() for part in given.split(",")]
    channel, variable = arguments.channel, arguments.variable
    return {
        "pixel_size": None if sizes is None else sizes[0] if len(sizes) == 1 else sizes,
        "pattern": arguments.pattern,
        "channel": channel[0] if channel and len(channel) == 1 else channel,
        "variable": int(variable) if variable and variable.isdecimal() else variable,
        "on_bad_frame": arguments.on_bad_frame,
        "on_gap": arguments.on_gap,
        "on_z": arguments.on_z,
    }


def _open(path: Path, arguments: argparse.Namespace) -> xr.DataArray:
    import stack3d

    return stack3d.open_stack(path, **_given(arguments))


def _demo(arguments: argparse.Namespace) -> int:
    from stack3d._demo import run

    return run(arguments.out, seed=arguments.seed)


def _info(arguments: argparse.Namespace) -> int:
    da = _open(arguments.path, arguments)
    print(da.stack3d)
    for name, value in da.stack3d.metadata.items():
        shown = str(value)
        print(f"{name}: {shown if len(shown) <= 200 else shown[:197] + '...'}")
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    da = _open(arguments.source, arguments)
    path = da.stack3d.save(arguments.target, overwrite=arguments.overwrite)
    print(path)
    return 0


def _init(arguments: argparse.Namespace) -> int:
    import stack3d
    from stack3d.runs._init import write_recipe

    usual = {"on_bad_frame": "raise", "on_gap": "warn", "on_z": "raise"}
    opening = {key: value for key, value in _given(arguments).items() if value != usual.get(key)}
    path = write_recipe(
        arguments.path, opening, preset=arguments.preset, out=arguments.out, overwrite=arguments.overwrite
    )
    print(path)
    for step in stack3d.Recipe.from_file(path).steps:
        print(f"  {step.operation}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    import stack3d

    if (arguments.recipe is None) == (arguments.preset is None):
        raise ValueError("give either RECIPE or --preset")
    recipe = _recipe(arguments.recipe) if arguments.preset is None else stack3d.Recipe.preset(arguments.preset)
    if arguments.input is not None:
        recipe.input["path"] = os.path.abspath(arguments.input)
    steps = None if arguments.steps is None else [part.strip() for part in arguments.steps.split(",")]
    if recipe._apart:
        return _run_apart(recipe, arguments, steps)
    return _run_steps(recipe, arguments, steps)


def _run_steps(recipe: Recipe, arguments: argparse.Namespace, steps: list[str] | None) -> int:
    import stack3d
    from stack3d.runs import run_part
    from stack3d.runs._choice import chosen
    from stack3d.runs._input import everything
    from stack3d.runs._output import target_of

    if arguments.check:
        wrong = everything(recipe, arguments.out, steps)
        if wrong:
            raise stack3d.RecipeError(wrong)
        chosen(recipe, steps)
        print(f"{arguments.recipe or arguments.preset}: {counted(len(recipe), 'step')}, nothing wrong")
        return 0
    if arguments.plan:
        print(recipe.plan())
        return 0
    given = {
        "out": arguments.out,
        "steps": steps,
        "scheduler": arguments.scheduler,
        "overwrite": arguments.overwrite,
        "report": False if arguments.no_report else None,
    }
    if None not in (arguments.from_step, arguments.part):
        raise ValueError("--from and --part: do the step again by a run without --part first")
    part, start = arguments.part, arguments.from_step
    clean = run_part(recipe, part, **given) if part else stack3d.run(recipe, from_step=start, **given)
    print(f"part {part} is written; others are not" if clean is None else clean.stack3d)
    if clean is not None:
        print(f"result     {target_of(recipe, arguments.out, steps)}")
    return 0


def _run_apart(recipe: Recipe, arguments: argparse.Namespace, steps: list[str] | None) -> int:
    """Run steps on the raw slices, each to a result of its own."""
    from stack3d.runs._choice import alone, chosen

    places = [place for place in chosen(recipe, steps) if place not in recipe._of_input or len(recipe) == 1]
    for name, option in (("plan", "--plan"), ("part", "--part"), ("from_step", "--from"), ("out", "--out")):
        if len(places) > 1 and getattr(arguments, name) not in (None, False):
            raise ValueError(f"serial = false: every step is a run of its own; give one with --steps beside {option}")
    for place in places:
        _run_steps(alone(recipe, place), arguments, None)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    import stack3d
    from stack3d.reporting._report import report_of
    from stack3d.runs import folder_of, page_of, raw_of

    names = {"after": str(arguments.path.absolute())}
    if arguments.before is None:
        da, before = _open(arguments.path, arguments), raw_of(arguments.path)
    else:
        da, before = stack3d.open_stack(arguments.path), _open(arguments.before, arguments)
        usual = {"on_bad_frame": "raise", "on_gap": "warn", "on_z": "raise"}
        given = {key: value for key, value in _given(arguments).items() if value not in (None, usual.get(key))}
        names["before"] = str(arguments.before.absolute())
        names["opening"] = "".join(f", {key}={value!r}" for key, value in given.items())
    page = report_of(
        da,
        page_of(arguments.path) if arguments.out is None else arguments.out,
        names,
        before=before,
        run=folder_of(arguments.path),
        slices=arguments.slices,
        title=arguments.path.stem,
        overwrite=arguments.overwrite,
    )
    print(page)
    return 0


def _recipe(path: Path) -> Recipe:
    """Return the recipe of a file, whatever is wrong with it, or of a project of PyStack3D."""
    import stack3d
    from stack3d.runs import pystack3d

    if not pystack3d.is_project(path):
        return stack3d.Recipe.with_faults(path)

    def sizes(opening: Mapping[str, Any]) -> dict[str, int]:
        return {str(dim): int(size) for dim, size in stack3d.open_stack(**opening).sizes.items()}

    project = pystack3d.read_project(path, shape=sizes)
    for note in project.notes:
        print(f"stack3d: {note}", file=sys.stderr)
    return project.recipe


def _clean(arguments: argparse.Namespace) -> int:
    from stack3d.runs import clean

    print(f"{clean(arguments.result) / 2**20:.1f} MiB given back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
