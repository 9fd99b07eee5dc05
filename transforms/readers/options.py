"""Options common to all readers."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, SkipValidation

from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.storage import LocalStorage, Storage
from hlmat.transforms.masks.mask_values import MaskValues, checked_mask_values
from hlmat.transforms.readers.column_names import check_columns
from hlmat.transforms.readers.shapes.options import ShapesOptions


@options
class ReaderOptions:
    """Options of a reader. Generated data needs no `data_root`."""

    data_root: str | None = setting(
        default=None,
        metavar="DIR",
        in_fingerprint=False,
        help="folder of the data set, a path or URL",
    )
    split: str | None = setting(
        default=None, metavar="S", help="a split by the data set's own name for it (the first)"
    )
    storage: SkipValidation[Storage] = setting(
        default_factory=LocalStorage, in_fingerprint=False, help="reaches `data_root`"
    )
    split_by: str | None = setting(
        default=None,
        metavar="BY",
        help="RefCOCO family: who made the split (unc, umd, google, ...)",
    )
    annotations: str | None = setting(
        default=None, metavar="FILE", help="the JSON file, relative to --data-root"
    )
    mask_values: Annotated[str | None, AfterValidator(checked_mask_values)] = setting(
        default=None,
        metavar="V",
        help="what the levels of mask images mean, as object=15,void=255; or classes, instances",
    )
    columns: Annotated[str | None, AfterValidator(check_columns)] = setting(
        default=None,
        metavar="C",
        help="parquet: the table's columns, as image=A,mask=B,text=C, or segmentation=B",
    )
    follow_links: bool = setting(
        default=False,
        in_fingerprint=False,
        help="read files that a link in the data root leads to elsewhere",
    )
    shapes: ShapesOptions = setting(
        default_factory=ShapesOptions, in_fingerprint=False, help="shapes: what to generate"
    )

    @property
    def levels(self) -> MaskValues | None:
        """What the levels of mask images mean; None without `mask_values`."""
        return None if self.mask_values is None else MaskValues.parse(self.mask_values)
