"""A screen in a few numbers, from its annotation alone."""

from dataclasses import dataclass

from sparseshift.screens.columns import Columns, canonical, gene_symbols, targets
from sparseshift.screens.doctor.settings import Annotation


@dataclass(frozen=True)
class Facts:
    """A screen before the filters.

    Attributes:
        n_cells: Cells.
        n_genes: Genes.
        n_perturbations: Labels without the control.
        n_combinations: Those of several genes.
        n_control_cells: Cells of the control.
        n_batches: Batches; 1 without a column.
        cells: Fewest, median and most cells of a perturbation.
        n_targets: Perturbed genes.
        n_measured: Those among them that are measured.
    """

    n_cells: int
    n_genes: int
    n_perturbations: int
    n_combinations: int
    n_control_cells: int
    n_batches: int
    cells: tuple[int, float, int]
    n_targets: int
    n_measured: int

    @classmethod
    def of(cls, given: Annotation, columns: Columns) -> "Facts":
        """Of columns without a fault."""
        sizes = canonical(given.obs[columns.perturbation], columns.control).value_counts()
        perturbed = sizes[sizes.index != columns.control]
        genes = targets(perturbed.index, columns.control)
        return cls(
            n_cells=len(given.obs),
            n_genes=len(given.var),
            n_perturbations=len(perturbed),
            n_combinations=int(perturbed.index.str.contains("+", regex=False).sum()),
            n_control_cells=int(sizes.get(columns.control or "", 0)),
            n_batches=given.obs[columns.batch].nunique() if columns.batch else 1,
            cells=(int(perturbed.min()), float(perturbed.median()), int(perturbed.max())),
            n_targets=len(genes),
            n_measured=len(genes & set(gene_symbols(given.var, columns))),
        )
