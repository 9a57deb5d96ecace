"""What an environment says of its screens, as `screens.doctor` takes it; nothing is run."""

import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseshift.errors import OptionError
from sparseshift.pipelines.parameters import ModelParameters, ProjectParameters, ScreenParameters
from sparseshift.screens.columns import Columns
from sparseshift.screens.doctor.estimates import Fit
from sparseshift.screens.doctor.settings import Settings
from sparseshift.screens.filters import Filters

NOTHING = {"{default}": {"type": "kedro.io.MemoryDataset"}}  # of what the catalog does not name


@dataclass(frozen=True)
class Examined:
    """A screen of a run.

    Attributes:
        name: Of the screen.
        path: Of its file; None where there is none to look at.
        why_not: Why there is none, in words.
        settings: What the configuration says; None without a file.
        fits: Of the run, on this screen.
    """

    name: str
    path: Path | None
    why_not: str
    settings: Settings | None
    fits: tuple[Fit, ...]


def screens_of(project: Path, env: str | None) -> Iterator[Examined]:
    """Every screen of `run.screens` of an environment.

    Args:
        project: Root of the project.
        env: Laid over conf/base; None: as `kedro run` without one.

    Raises:
        SparseshiftError: With every fault of the parameters.
    """
    loader = _loader(project, env)
    plan = ProjectParameters.check(loader["parameters"])
    catalog = _Catalog(project, dict(loader["catalog"]))
    for name in plan.run.screens:
        screen, fits = plan.screens[name], fits_of(plan)
        if screen.simulate is not None:
            yield Examined(name, None, "it is simulated: there is no file to look at", None, fits)
            continue
        source = (screen.cut.source or f"{name}.source") if screen.cut else f"{name}.raw"
        path, why_not = catalog.file(source)
        settings = _settings(screen, catalog) if path is not None else None
        yield Examined(name, path, why_not, settings, fits)


def fits_of(plan: ProjectParameters) -> tuple[Fit, ...]:
    """The fits of a run on one of its screens; linear baselines take no time to speak of."""
    models = [plan.models[name] for names in plan.run.fits.values() for name in names]
    fits = [_fit(model) for model in models if not model.is_linear]
    return tuple(fits) * len(plan.run.seeds)


def base_fits(project: Path) -> tuple[Fit, ...]:
    """Those of conf/base, which a new screen is given."""
    return fits_of(ProjectParameters.check(_loader(project, "base")["parameters"]))


def _loader(project: Path, env: str | None) -> Any:
    from kedro.config import OmegaConfigLoader
    from kedro.framework.project import settings

    source = project / settings.CONF_SOURCE
    if env is not None and not (source / env).is_dir():
        there = sorted(path.name for path in source.iterdir() if path.is_dir())
        raise OptionError(f"There is no environment conf/{env}. There are: {', '.join(there)}.")
    return OmegaConfigLoader(
        conf_source=str(source),
        env=env,
        **settings.CONFIG_LOADER_ARGS,
    )


def _fit(model: ModelParameters) -> Fit:
    from sparseshift.presets import get_preset

    training = get_preset(model.preset).training
    return Fit(
        steps=model.options.get("steps", training.steps),
        batch_size=model.batch_size or training.batch_size,
        max_epochs=model.max_epochs or training.max_epochs,
    )


class _Catalog:
    """The catalog's configuration; datasets are made only for tables that a cut names."""

    def __init__(self, project: Path, content: dict[str, Any]) -> None:
        from kedro.io import CatalogConfigResolver

        self.project = project
        self._resolver = CatalogConfigResolver(content, default_runtime_patterns=NOTHING)

    def file(self, name: str) -> tuple[Path | None, str]:
        """The local file of an entry, or why there is none to look at."""
        entry = self._entry(name)
        own = os.environ.get(entry.get("variable") or "", "")
        if own:
            return Path(own).expanduser(), ""
        where = entry.get("filepath")
        if where is None:
            return None, f"the catalog has no filepath for {name}"
        if "://" in str(where):
            return None, f"{where} is not on this machine"
        path = self.project / Path(where).expanduser()
        if not path.exists() and "url" in entry:
            return None, f"{path} is not there yet: the first run downloads it from {entry['url']}"
        return path, ""

    def table(self, name: str) -> Any:
        from kedro.io import AbstractDataset

        entry = self._entry(name)
        if "filepath" in entry and "://" not in str(entry["filepath"]):
            entry["filepath"] = str(self.project / entry["filepath"])
        return AbstractDataset.from_config(name, entry).load()

    def _entry(self, name: str) -> dict[str, Any]:
        return deepcopy(dict(self._resolver.resolve_pattern(name)))


def _settings(screen: ScreenParameters, catalog: _Catalog) -> Settings:
    from sparseshift.pipelines.data_engineering.nodes import cut_of

    splits = screen.splits.values()
    named = {
        label for split in splits if isinstance(split.held_out, list) for label in split.held_out
    }
    cut = None
    if screen.cut is not None:
        tables = (screen.cut.perturbations, screen.cut.genes)
        cut = cut_of(screen, *(None if name is None else catalog.table(name) for name in tables))
    return Settings(
        Columns(**screen.columns.model_dump()),
        cut,
        Filters(**screen.filters.model_dump()),
        n_top=screen.genes.n_top,
        held_out=tuple(sorted(named)),
        expected=tuple(screen.shared_mechanism),
    )
