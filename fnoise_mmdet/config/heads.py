"""Where a detector counts or lists the classes of its data."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import InputError
from .types import type_name

# Parts of a detector whose classes are not those of its objects: foreground, pixels, persons, or ImageNet's.
OTHER_CLASSES = {'rpn_head', 'semantic_head', 'reid', 'backbone', 'neck', 'language_model'}
PER_CLASS = re.compile(r'(^|_)(class|cls|pos)_weights?$')


def class_counts(
    node: Any, place: str = 'model', count: int | None = None
) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield what counts the classes of the objects in the config of a detector, and what lies within it.

    Args:
        node: The config, or a part of it.
        place: Its dotted key.
        count: The number of classes of what it lies within.

    Yields:
        The dotted key of a part, the part, and its number of classes, those of things and stuff together.
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
    """Make a detector one of other classes, in place.

    A list of weights per class is carried over where all of them are equal,
    but for the background's at the end, or where the new classes are among
    the old ones.

    Args:
        model: The config of the detector.
        old: The names of its classes.
        new: The names of those that it shall have.

    Raises:
        InputError: A list of weights per class cannot be carried over.
    """
    for place, part, count in list(class_counts(model)):
        for key, value in part.items():
            if key in ('num_classes', 'num_things_classes') and isinstance(value, int):
                part[key] = len(new)
            elif key == 'num_stuff_classes':
                part[key] = 0  # the instance format has none
            elif isinstance(value, list | tuple) and PER_CLASS.search(key):
                part[key] = _carry_over(f'{place}.{key}', part, value, count, old, new)
            elif isinstance(value, list | tuple) and old and list(value) == list(old):
                part[key] = list(new) if isinstance(value, list) else tuple(new)


def _carry_over(
    place: str, loss: dict[str, Any], weights: Sequence[float], count: int, old: Sequence[str], new: Sequence[str]
) -> Sequence[float]:
    background = _backgrounds(loss)
    extra = next((one for one in background if len(weights) == count + one), None)
    if extra is None:  # given for the new classes already, or wrong, which check_heads will say
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
            f"{place} has weights for the config's {count} classes, which cannot be carried over to the {len(new)} of "
            f'the data ({", ".join(new[:5])}{", ..." if len(new) > 5 else ""}): give {len(new) + extra} weights'
            f'{", the last one for the background," if extra else ""} with --cfg-options {place}={example}'
        )
    return chosen + rest if isinstance(weights, list) else tuple(chosen + rest)


def _backgrounds(loss: dict[str, Any]) -> tuple[int, ...]:
    """Return how many weights a loss may have besides those of the classes, the likeliest first."""
    if type_name(loss) != 'CrossEntropyLoss':
        return (1, 0)
    return (0,) if loss.get('use_sigmoid') or loss.get('use_mask') else (1,)


def head_findings(model: dict[str, Any], classes: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each part of a detector that is too small for the classes of the data, or weighs others."""
    for place, part, count in class_counts(model):
        kind = type_name(part) or place
        key = next((key for key in ('num_classes', 'num_things_classes') if isinstance(part.get(key), int)), None)
        if key and count < len(classes):
            yield (
                f'{kind} of the model has {key}={part[key]}, but the data have {len(classes)} classes '
                f'({", ".join(classes[:5])}...): give it {key}={len(classes)}'
            )
        for name, value in part.items():
            extras = _backgrounds(part)
            if PER_CLASS.search(name) and isinstance(value, list | tuple) and len(value) - count not in extras:
                wanted = ' or '.join(str(count + one) for one in extras)
                yield f'{place}.{name} must have {wanted} weights for {count} classes, but has {len(value)}'
