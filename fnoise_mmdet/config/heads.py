"""Class-dependent settings of a detector: numbers of classes and class weights."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import InputError
from .types import type_name

# Modules whose classes are not those of the objects: foreground, pixels, persons, or ImageNet classes.
OTHER_CLASSES = {'rpn_head', 'semantic_head', 'reid', 'backbone', 'neck', 'language_model'}
PER_CLASS = re.compile(r'(^|_)(class|cls|pos)_weights?$')


def class_counts(
    node: Any, place: str = 'model', count: int | None = None
) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield the modules of a detector that depend on its number of classes.

    Args:
        node: Config of the detector, or a part of it.
        place: Dotted key of ``node``.
        count: Number of classes of the enclosing module.

    Yields:
        Dotted key of a module, its config, and its number of classes (things and stuff together).
    """
    if isinstance(node, dict):
        if isinstance(node.get('num_things_classes'), int):
            count = node['num_things_classes'] + (node.get('num_stuff_classes') or 0)
        elif isinstance(node.get('num_classes'), int):
            count = node['num_classes']
        if count is not None:
            yield place, node, count
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(child, dict | list | tuple) and (key not in OTHER_CLASSES or 'num_things_classes' in child):
            yield from class_counts(child, f'{place}.{key}', count)


def set_classes(model: dict[str, Any], old: Sequence[str], new: Sequence[str]) -> None:
    """Set the classes of a detector, in place.

    A list of class weights is converted if all weights except that of the
    background are equal, or if the new classes are a subset of the old ones.

    Args:
        model: Config of the detector.
        old: Names of its classes.
        new: Names of the new classes.

    Raises:
        InputError: If a list of class weights cannot be converted.
    """
    for place, part, count in list(class_counts(model)):
        for key, value in part.items():
            if key in ('num_classes', 'num_things_classes') and isinstance(value, int):
                part[key] = len(new)
            elif key == 'num_stuff_classes':
                part[key] = 0  # the instance format has no stuff classes
            elif isinstance(value, list | tuple) and PER_CLASS.search(key):
                part[key] = _carry_over(f'{place}.{key}', part, value, count, old, new)
            elif isinstance(value, list | tuple) and old and list(value) == list(old):
                part[key] = list(new) if isinstance(value, list) else tuple(new)


def _carry_over(
    place: str, loss: dict[str, Any], weights: Sequence[float], count: int, old: Sequence[str], new: Sequence[str]
) -> Sequence[float]:
    background = _backgrounds(loss)
    extra = next((one for one in background if len(weights) == count + one), None)
    if extra is None:  # already of the new classes, or wrong, which check_heads reports
        return weights
    per_class, rest = list(weights[:count]), list(weights[count:])
    if len(old) == count and set(new) <= set(old):
        chosen = [per_class[list(old).index(name)] for name in new]
    elif len(set(per_class)) == 1:
        chosen = per_class[:1] * len(new)
    elif any(len(weights) == len(new) + one for one in background):
        return weights
    else:
        example = '[' + ','.join(['W'] * (len(new) + extra)) + ']'
        raise InputError(
            f"{place} has weights for the config's {count} classes, which cannot be converted to the {len(new)} of "
            f'the data ({", ".join(new[:5])}{", ..." if len(new) > 5 else ""}): set {len(new) + extra} weights'
            f'{", the last one for the background," if extra else ""} with --cfg-options {place}={example}'
        )
    return chosen + rest if isinstance(weights, list) else tuple(chosen + rest)


def _backgrounds(loss: dict[str, Any]) -> tuple[int, ...]:
    """Return the possible numbers of additional weights of a loss (background), the most likely first."""
    if type_name(loss) != 'CrossEntropyLoss':
        return (1, 0)
    return (0,) if loss.get('use_sigmoid') or loss.get('use_mask') else (1,)


def head_findings(model: dict[str, Any], classes: Sequence[str]) -> Iterator[str]:
    """Yield an error for each module with too few classes for the data, or with another number of class weights."""
    for place, part, count in class_counts(model):
        kind = type_name(part) or place
        key = next((key for key in ('num_classes', 'num_things_classes') if isinstance(part.get(key), int)), None)
        if key and count < len(classes):
            yield (
                f'{kind} of the model has {key}={part[key]}, but the data have {len(classes)} classes '
                f'({", ".join(classes[:5])}...): set {key}={len(classes)}'
            )
        for name, value in part.items():
            extras = _backgrounds(part)
            if PER_CLASS.search(name) and isinstance(value, list | tuple) and len(value) - count not in extras:
                wanted = ' or '.join(str(count + one) for one in extras)
                yield f'{place}.{name} must have {wanted} weights for {count} classes, but has {len(value)}'
