"""Labels and image filtering of mmdet's data sets."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .coco import class_names


def label_fault(coco: dict[str, Any], classes: Sequence[str], complete: bool) -> str | None:
    """Return why the labels of a file would not match the classes of the config, None if they do.

    mmdet numbers labels in the order of the categories in the file, regardless of the order of the classes.

    Args:
        coco: Content of an annotation file.
        classes: Classes of the config, in the order of the model's labels.
        complete: Whether all classes are required, as in a file that a metric reads.
    """
    names = [str(name) for name in class_names(coco) if name in tuple(classes)]
    if not names:
        return f"it has none of the config's classes ({', '.join(classes[:5])}...), but {_listed(class_names(coco))}"
    label = next((i for i, (name, wanted) in enumerate(zip(names, classes)) if name != wanted), None)
    if label is None and (len(names) == len(classes) or not complete):
        return None
    if set(names) == set(classes):
        return (
            f"it lists the config's classes in another order, but mmdet numbers labels in this order: label {label} is "
            f'{names[label or 0]!r} in the file and {classes[label or 0]!r} in the config. Reorder the categories of '
            f'the file or the classes of the config; the order of the file is {_listed(names)}'
        )
    missing = [name for name in classes if name not in names]
    return (
        f"it has no category {missing[0]!r}, which is among the config's classes, so that the labels of those after it "
        'would be wrong: add the category to the file, in the order of the config, or remove it from the config'
    )


def _listed(names: Sequence[str]) -> str:
    return ', '.join(map(str, names[:10])) + (', ...' if len(names) > 10 else '')


def kept_images(
    coco: Mapping[str, Any], classes: Collection[str], filters: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], int, int]:
    """Return the images that mmdet keeps in training, and how many it drops as too small and as empty.

    Args:
        coco: Content of an annotation file.
        classes: Classes of the config.
        filters: ``filter_cfg`` of a data set: ``min_size`` and ``filter_empty_gt``.
    """
    known = {one['id'] for one in coco['categories'] if one['name'] in classes}
    shown = {one['image_id'] for one in coco['annotations'] if one['category_id'] in known}
    small = empty = 0
    kept = []
    for image in coco['images']:
        if filters.get('filter_empty_gt') and image['id'] not in shown:
            empty += 1
        elif min(image['width'], image['height']) < filters.get('min_size', 0):
            small += 1
        else:
            kept.append(image)
    return kept, small, empty
