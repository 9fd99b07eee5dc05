"""The targets of mask images by the meaning of their levels: one object, classes or instances."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.images import decode_levels
from hlmat.transforms.masks.levels import Levels
from hlmat.transforms.masks.mask_values import MaskValues, TargetsOf
from hlmat.transforms.masks.valued_masks import is_black, list_levels
from hlmat.transforms.readers.class_names import ClassNames, read_class_names
from hlmat.transforms.readers.files.images import read_below
from hlmat.transforms.readers.options import ReaderOptions


@dataclass(frozen=True)
class LevelTargets:
    """What the levels of a data set's mask images mean.

    Attributes:
        values: of `--mask-values`.
        names: of the classes.
    """

    values: MaskValues
    names: ClassNames = field(default_factory=ClassNames)

    @classmethod
    def of(cls, options: ReaderOptions) -> LevelTargets | None:
        """Return the meaning that the options give; None without one.

        Raises:
            DataError: the names of classes cannot be read.
        """
        if options.levels is None:
            return None
        if options.levels.targets is not TargetsOf.CLASSES:
            return cls(options.levels)
        return cls(options.levels, read_class_names(options.storage, options.data_root or ""))

    def targets_of(
        self, ref: TargetRef, *, storage: Storage, root: str
    ) -> Iterator[TargetRef | Reject]:
        """Yield the targets of a mask image: one object, or one for each of its levels.

        The image is only opened for the latter; one that cannot be read gives a reject.

        Args:
            ref: names the image as `mask` in its `truth_ref`.
            storage: reaches `root`.
            root: the data root.
        """
        mask = json.loads(ref.truth_ref)["mask"]
        if self.values.targets is TargetsOf.OBJECT:
            yield _with_values(ref, mask, self.values)
            return
        is_classes = self.values.targets is TargetsOf.CLASSES
        try:
            levels = load_levels(storage, root, mask)
            is_background = self.names.is_background if is_classes else is_black
            found = list_levels(levels, self.values, name=mask, is_background=is_background)
        except TargetError as error:
            yield Reject(ref, error.reason, error.message)
            return
        for number, (label, code) in enumerate(found.items()):
            name = self.names.name_of(levels, code) or label
            yield replace(
                _with_values(ref, mask, self.values.of_level(label)),
                target_id=f"{ref.target_id}:{label}",
                object_id=ref.object_id + number,
                expressions=(name,) if is_classes else ref.expressions,
            )


def load_levels(storage: Storage, root: str, path: str) -> Levels:
    """Read the levels of a mask image below a root.

    Raises:
        TargetError: MISSING_MASK, UNREADABLE_MASK, TOO_LARGE or PATH_ESCAPES_ROOT.
    """
    data = read_below(
        storage,
        root,
        path,
        missing=RejectReason.MISSING_MASK,
        unreadable=RejectReason.UNREADABLE_MASK,
    )
    return decode_levels(data, name=path)


def _with_values(ref: TargetRef, mask: str, values: MaskValues) -> TargetRef:
    return replace(ref, truth_ref=json.dumps({"mask": mask, "values": str(values)}))
