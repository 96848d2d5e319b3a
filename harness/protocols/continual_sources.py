"""From what a suite says of a stream to the stream: groups of classes are only in the data."""

from __future__ import annotations

from harness.data.base import Loaded
from harness.data.streams import Halves, Stream, by_groups
from harness.errors import DataError
from harness.protocols.continual_settings import GroupsOf


def halves_words(tested: Halves) -> str:
    """Which images are learned and tested on, in words."""
    if tested.held_out is None:
        return f"{tested.splitting}/train, tested on {tested.splitting}/{tested.split}"
    return f"{tested.splitting}/{tested.split}, tested on {tested.held_out} images of each class"


def stream_of(source: Stream | GroupsOf, data: Loaded, tested: Halves) -> Stream:
    """The stream of one order.

    Raises:
        DataError: it is of groups, and the data have none, or only one.
    """
    if isinstance(source, Stream):
        return source
    groups = data.split_groups(tested.splitting, tested.learned)
    if groups is None:
        raise DataError(
            "its classes have no groups, which `tasks_by: groups` needs",
            hint="use tasks_by: classes",
        )
    names = _group_names(data, tested)
    return by_groups(groups.tolist(), names, source.scenario, source.order)


def _group_names(data: Loaded, tested: Halves) -> list[str]:
    """Names of the groups, in the order of their numbers in ``Loaded.split_groups``."""
    assert data.groups is not None
    classes = {*data.split_classes(tested.splitting, tested.learned)}
    pairs = zip(data.class_names, data.groups, strict=True)
    return sorted({group for name, group in pairs if name in classes})


def name_of(source: Stream | GroupsOf) -> str:
    """What stands for a stream in a setting: its hash, or its order if its groups are unknown."""
    if isinstance(source, Stream):
        return source.sha256[:16]
    return f"groups-{source.order}"
