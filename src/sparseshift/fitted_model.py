"""A trained model and all that can be asked of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sparseshift.data.cell_store import CellStore
from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.errors import OptionError, require_whole
from sparseshift.evaluation.latent_genes import log2_fold_changes
from sparseshift.evaluation.likelihood import cell_iwelbo
from sparseshift.model_files import write_model
from sparseshift.models.adaptation import (
    adapted_prior,
    has_closed_form,
    has_sparse_form,
    with_new_rows,
)
from sparseshift.models.cell_posteriors import refined_means
from sparseshift.models.vae import PerturbationVAE
from sparseshift.presets import get_preset
from sparseshift.screens.cells import read_perturbations, to_cells
from sparseshift.specification import Specification
from sparseshift.training.gradient_adaptation import adapted_by_gradient
from sparseshift.training.history import HISTORY_COLUMNS, History, Record

if TYPE_CHECKING:
    from anndata import AnnData

FORMAT = 5
_REFINEMENTS = 100  # gradient steps of a cell


@dataclass(frozen=True)
class FittedModel:
    """A trained model and the names of what it was trained on.

    Attributes:
        spec: what it is.
        module: the network, in eval mode.
        records: evaluations during training.
    """

    spec: Specification
    module: PerturbationVAE
    records: History
    _index: pd.Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = pd.Index(self.spec.design.perturbations, name="perturbation", dtype=object)
        object.__setattr__(self, "_index", index)

    @property
    def history(self) -> pd.DataFrame:
        """One row an evaluation during training (`training.history.Record`), nats a cell.

        Besides, total_epoch and total_step count over all phases, and best is true of the record
        that the weights belong to.
        """
        return pd.DataFrame(self.records.rows(), columns=list(HISTORY_COLUMNS))

    def latents(self, adata: AnnData, *, refine: int | None = None) -> np.ndarray:
        """Posterior means of z, (cells, latents) float32.

        Perturbation labels are needed only where the encoder sees the perturbation (sams_vae,
        cpa_vae, conditional_vae).

        Args:
            adata: cells.
            refine: gradient steps that fit a posterior of its own to each cell, from where the encoder
                puts it (`models.cell_posteriors`); None: 100 for a model that was trained so
                (svae_plus_cellwise), else 0.

        Raises:
            ScreenError: genes of the model are missing, or cells have no counts in them.
            OptionError: an impossible refine, or an encoder that sees more than cells.
        """
        sees_labels = self.module.posterior_kind != "cells"
        cells, _ = self._cells(adata, with_labels=sees_labels)
        return self._means(cells, refine).cpu().numpy()

    def inclusion_probability(self) -> pd.DataFrame:
        """How probably each perturbation shifts each latent, (perturbations, latents), in [0, 1].

        All 1 where shifts are dense (ivae), all 0 where there are none (vae). Rows are genes where
        shifts are additive, labels where they are a table; adapted perturbations come last.
        """
        return self._table(self.module.prior.inclusion_probability())

    def effects(self) -> pd.DataFrame:
        """Shift of each latent if the perturbation hits it, (perturbations, latents).

        In units of the standard deviation of z within a perturbation. The expected shift is
        `inclusion_probability() * effects()`.
        """
        return self._table(self.module.prior.effect())

    def adapt(self, adata: AnnData, *, sparse: bool = False) -> FittedModel:
        """Places perturbations the model was not trained on, from some of their cells.

        Everything but their shift stays frozen, normalisation too; their shift is the closed-form
        optimum (`models.adaptation`) or, where there is none, found by gradient
        (`training.gradient_adaptation`). A combination of known perturbations needs no adapting
        where shifts are additive; where there is a closed form, cells of perturbations the model
        knows change nothing.

        Args:
            adata: support cells, labelled in the same obs column.
            sparse: whether a new perturbation shifts only what its cells speak for, under the prior of masks
                that training learnt; else every latent.

        Raises:
            ScreenError: missing genes or columns, cells without counts.
            OptionError: sparse, of a model without a learnt mask, that is adapted already, or that adapts by
                gradient.
        """
        if sparse:
            self.require_sparse_form()
        labels = read_perturbations(adata, self.spec.columns)
        new = self.spec.design.unknown(sorted(set(labels.tolist())))
        if not new:
            return self
        design = self.spec.design.extend(new)
        support, _ = self._cells(adata, design=design)
        module = self._adapted(support, sparse)
        spec = replace(self.spec, design=design, adapted=True)
        return FittedModel(spec, module.eval(), self.records)

    def require_sparse_form(self) -> None:
        """Stops where `adapt` cannot be sparse.

        Raises:
            OptionError: there is no learnt mask, or no closed form.
        """
        if not (self.adapts_in_closed_form and has_sparse_form(self.module)):
            why = (
                "is adapted already" if self.spec.adapted else "has no learnt mask and closed form"
            )
            raise OptionError(
                f"{self.spec.preset!r} {why}, so that new perturbations cannot be placed sparsely. Leave "
                "sparse out, or take svae or svae_plus as trained."
            )

    @property
    def adapts_in_closed_form(self) -> bool:
        """Whether `adapt` solves for new shifts, and leaves all but the prior as it is."""
        is_default = get_preset(self.spec.preset).adaptation == "closed_form"
        return is_default and has_closed_form(self.module)

    def without_support(self, labels: Iterable[str]) -> FittedModel:
        """The model as it is for labels of which no cell is shown: what was never trained shifts nothing.

        A combination of trained perturbations is the sum of their shifts where shifts are additive; of one with a
        perturbation that was never trained only the others count.

        Args:
            labels: as in the obs column.
        """
        new = self.spec.design.unknown(labels)
        if not new:
            return self
        rows = torch.zeros(len(new), self.spec.n_latents, device=self.module.device)
        embedding = None
        if self.module.embedding is not None:
            embedding = torch.cat([self.module.embedding.detach(), rows])
        module = with_new_rows(self.module, self.module.prior.extended(rows, rows), embedding)
        spec = replace(self.spec, design=self.spec.design.extend(new), adapted=True)
        return FittedModel(spec, module.eval(), self.records)

    def _adapted(self, support: CellStore, sparse: bool) -> PerturbationVAE:
        n_known = len(self.spec.design.perturbations)
        how = get_preset(self.spec.preset).adaptation
        if self.adapts_in_closed_form:
            mean = self._means(support, refine=0)
            prior = adapted_prior(self.module.prior, mean, support, n_known, sparse=sparse)
            return with_new_rows(self.module, prior)
        published = how == "paper"
        return adapted_by_gradient(
            self.module,
            support.whole(),
            n_known,
            seed=self.spec.seed,
            learning_rate=0.005 if published else 0.05,
            training_mode=published,
        )

    def cell_iwelbo(self, adata: AnnData, n_particles: int, *, seed: int = 0) -> pd.Series:
        """Importance-weighted bound on log p(x | perturbation, total) of each cell, in nats.

        Args:
            adata: cells of perturbations the model knows.
            n_particles: draws a cell; more are tighter.
            seed: of the draws.

        Returns:
            Series over cells.

        Raises:
            ScreenError: unknown perturbations (call `adapt` first), batches or genes.
            OptionError: n_particles is less than 1.
        """
        cells, _ = self._cells(adata)
        values = cell_iwelbo(self.module, cells, n_particles, seed)
        return pd.Series(
            values.cpu().numpy(), index=adata.obs_names, name=f"iwelbo_k{n_particles}"
        )

    def iwelbo(self, adata: AnnData, n_particles: int = 100, *, seed: int = 0) -> pd.Series:
        """Mean `cell_iwelbo` of each perturbation's cells: nats per cell, by perturbation label.

        The bound of Burda et al. (2016, eq. 8) with the masks summed out of p(z | a) in density.
        Its negative is the paper's interventional NLL (I-NLL).
        """
        values = self.cell_iwelbo(adata, n_particles, seed=seed)
        labels = read_perturbations(adata, self.spec.columns)
        by_label = values.groupby(pd.Index(labels, name="perturbation")).mean()
        by_label.name = values.name
        return by_label

    def sample(self, adata: AnnData, *, seed: int = 0) -> np.ndarray:
        """Counts the model expects of such cells, (cells, genes) float32, in the model's genes.

        Labels, batches and totals are those of adata; z is drawn from the prior of the label.
        """
        cells, _ = self._cells(adata)
        generator = torch.Generator(device=cells.device).manual_seed(seed)
        drawn = torch.empty(cells.n_cells, cells.n_genes)
        with torch.no_grad():
            for place, part in _chunks(drawn, cells):
                place.copy_(self.module.sample(part, generator))
        return drawn.numpy()

    def top_genes(self, adata: AnnData, n_genes: int = 8) -> pd.DataFrame:
        """The genes that each latent moves most, as the decoder has it.

        Each latent is moved up by one unit (a standard deviation of z within a perturbation) from
        where the control cells are, or from all cells where there is no control.

        Args:
            adata: cells to start from; at most 1,000 are used.
            n_genes: genes a latent.

        Returns:
            Columns latent, gene, log2_fold_change (mean over cells), edges (perturbations whose
            inclusion probability for the latent exceeds 1/2); largest absolute change first.
        """
        labels = read_perturbations(adata, self.spec.columns)
        start = np.flatnonzero(labels == self.spec.columns.control)
        start = start if len(start) else np.arange(adata.n_obs)
        chosen = start[np.unique(np.linspace(0, len(start) - 1, 1000).astype(int))]
        change = log2_fold_changes(self.module, self.latents(adata[chosen]))
        edges = (self.inclusion_probability() > 0.5).sum()
        genes = np.asarray(self.spec.genes)
        top = np.argsort(-np.abs(change), axis=1)[:, :n_genes]
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "latent": latent,
                        "gene": genes[top[j]],
                        "log2_fold_change": change[j, top[j]],
                        "edges": int(edges[latent]),
                    }
                )
                for j, latent in enumerate(edges.index)
            ],
            ignore_index=True,
        )

    def save(self, path: str | Path) -> None:
        """Writes model.json and weights.safetensors into a directory (made if needed).

        A model that is there is replaced once both files are written whole.
        """
        from safetensors.torch import save_file

        content = {
            "format": FORMAT,
            "specification": asdict(self.spec),
            "best": self.records.best,
            "cpu_seconds": self.records.cpu_seconds,
            "history": [_to_json_numbers(r._asdict()) for r in self.records.records],
        }
        state = {k: v.detach().cpu().clone() for k, v in self.module.state_dict().items()}
        write_model(path, content, lambda file: save_file(state, file))

    @classmethod
    def read(cls, path: str | Path) -> FittedModel:
        """Reads what `save` wrote; see `sparseshift.load`."""
        from safetensors.torch import load_file

        path = Path(path)
        if not (path / "model.json").is_file():
            raise FileNotFoundError(f"{path} holds no model: there is no model.json in it.")
        content = json.loads((path / "model.json").read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise OptionError(
                f"{path} has model format {content.get('format')!r}; this version reads {FORMAT}. "
                f"It was written by sparseshift {content.get('sparseshift', 'of unknown version')}: "
                "read it with that, or fit it again."
            )
        spec = Specification.from_json(content["specification"])
        module = spec.build()
        module.load_state_dict(load_file(path / "weights.safetensors"))
        records = tuple(Record(**_from_json_numbers(record)) for record in content["history"])
        return cls(spec, module.eval(), History(records, content["best"], content["cpu_seconds"]))

    def _cells(
        self, adata: AnnData, *, design: Design | None = None, with_labels: bool = True
    ) -> tuple[CellStore, tuple[str, ...]]:
        spec = self.spec
        cells, labels = to_cells(
            adata,
            spec.columns,
            spec.genes,
            design or spec.design,
            spec.batches,
            with_labels=with_labels,
        )
        return cells.streamed_to(self.module.device), labels

    def _means(self, cells: CellStore, refine: int | None = None) -> Tensor:
        if refine is None:
            refine = _REFINEMENTS if self.spec.recipe == "cellwise" else 0
        refine = require_whole("refine", refine, 0)
        if refine and self.module.posterior_kind != "cells":
            raise OptionError(
                f"refine={refine} needs an encoder that sees cells alone, which {self.spec.preset!r} has "
                "not. Leave it out."
            )
        spread = self._prior_variance() if refine else None
        means = torch.empty(cells.n_cells, self.spec.n_latents, device=cells.device)
        for place, part in _chunks(means, cells):
            if spread is not None:
                place.copy_(refined_means(self.module, part, spread, n_steps=refine))
            else:
                with torch.no_grad():
                    place.copy_(self.module.posterior(part)[0])
        return means

    @torch.no_grad()
    def _prior_variance(self) -> Tensor:
        """Of z over the trained perturbations, about the control, (latents,)."""
        rows = self.module.prior.effect().new_zeros(len(self.spec.trained), len(self._index))
        rows.fill_diagonal_(1.0)  # the trained ones come first
        return 1.0 + self.module.prior.expected_shift(rows).square().mean(0)

    def _table(self, values: Tensor) -> pd.DataFrame:
        columns = [f"z{j}" for j in range(self.spec.n_latents)]
        return pd.DataFrame(values.detach().cpu().numpy(), index=self._index, columns=columns)


def _chunks(results: Tensor, cells: CellStore, size: int = 4096) -> Iterator[tuple[Tensor, Cells]]:
    """Some cells at a time, and where their results go (in a list these would fragment memory)."""
    return zip(results.split(size), cells.chunks(size), strict=True)


def _to_json_numbers(record: dict[str, Any]) -> dict[str, Any]:
    # JSON has no NaN; a validation score without validation cells becomes null
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in record.items()}


def _from_json_numbers(record: dict[str, Any]) -> dict[str, Any]:
    return {k: float("nan") if v is None else v for k, v in record.items()}
