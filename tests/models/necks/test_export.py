"""What leaves training: the exported model is the plain detector's."""

import io

import onnx
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import digit_version


class BackboneAndNeck(torch.nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.backbone = MODELS.build(cfg.model.backbone)
        self.neck = MODELS.build(cfg.model.neck)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.neck(self.backbone(images)))


def export(model: torch.nn.Module) -> onnx.GraphProto:
    buffer = io.BytesIO()
    # The exporter that torch has had as its default since 2.9; before 2.6 it could not do batch norm.
    new = digit_version(torch.__version__) >= digit_version('2.6')
    torch.onnx.export(model, (torch.zeros(1, 3, 64, 64),), buffer, dynamo=new, verbose=False)
    return onnx.load_from_string(buffer.getvalue()).graph


def nodes(graph: onnx.GraphProto) -> list[tuple]:
    """Return each node's operator, attributes and wiring; names say which module a weight or result is of."""

    def plain(names) -> list[str]:
        return [name.replace('neck.neck.', 'neck.').replace('/neck/neck/', '/neck/') for name in names]

    return [
        (
            node.op_type,
            plain(node.input),
            plain(node.output),
            [attribute.SerializeToString() for attribute in node.attribute],
        )
        for node in graph.node
    ]


def test_onnx_in_evaluation_has_the_nodes_of_the_plain_detector(root):
    init_default_scope('mmdet')
    plain, noisy = (
        BackboneAndNeck(Config.fromfile(root / f'configs/demo_{name}.py')).eval() for name in ('baseline', 'fnoise')
    )
    noisy.load_state_dict(plain.state_dict(), strict=True)
    graphs = [export(model) for model in (plain, noisy)]
    assert nodes(graphs[0]) == nodes(graphs[1]) and len(graphs[0].node) > 50
    assert [len(one.raw_data) for one in graphs[0].initializer] == [len(one.raw_data) for one in graphs[1].initializer]
