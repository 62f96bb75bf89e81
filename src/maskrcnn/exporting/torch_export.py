"""PyTorch's .pt2: the model as a program of PyTorch's own operators, which torch.export writes down."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskrcnn.engines.engine import describe, outputs_of
from maskrcnn.engines.pt2 import DESCRIPTION, GUARDS
from maskrcnn.ops.native import PORTABLE, Samples
from maskrcnn.ops.native.portable import pixels_of, rows_of, sum_samples

BACKEND = "torch"
SUFFIX = ".pt2"
CALIBRATED = False
PRECISIONS = ("float32", "float16")
STRIDE = 32  # of the coarsest level that halves exactly
# What is traced with: no side is as long as another, or so short that a level has a single row, for which tracing would make a
# case of its own.
BATCH, FRAME = 2, (160, 224)


def write(model: Any, out: Path, precision: str) -> None:
    import torch
    from torch.utils._sympy.value_ranges import ValueRanges

    program = _trace(model)
    _tidy(program.graph_module)
    if precision == "float16":
        _halve_weights(program)
    for name, numbers in program.constants.items():
        program.constants[name] = numbers.detach().cpu()
    # While it traces, PyTorch notes how the tensors of this frame lie in memory, and would hold others to it: a level of one
    # row is refused. Nothing in the program depends on that.
    program._guards_code = list(GUARDS)
    for symbol, limits in program.range_constraints.items():
        program.range_constraints[symbol] = ValueRanges(min(limits.lower, STRIDE), limits.upper)
    program.example_inputs = None  # they would be pickled
    torch.export.save(program, out, extra_files={DESCRIPTION: describe(model.config, precision)})


def _trace(model: Any) -> Any:
    """The model's inference as an exported program; any number of images, of any frame."""
    import torch

    names = outputs_of(model.config)
    kernels = PORTABLE._replace(pool_levels=_pool_levels, while_loop=_while_loop, as_scalar=_as_scalar)

    class Inference(torch.nn.Module):
        def forward(self, images: Any, sizes: Any) -> dict[str, Any]:
            # A frame's sides as multiples, so that the sides of all levels follow from them.
            height, width = (side // STRIDE * STRIDE for side in images.shape[1:3])
            images = images[:, :height, :width]
            found = model.infer(images, sizes, kernels)
            count = torch.sum(found.valid, dim=1, dtype=torch.int32)
            return {name: count if name == "count" else getattr(found, name).clone() for name in names}

    images = torch.zeros((BATCH, *FRAME, model.config.image.channels))
    sizes = torch.tensor([FRAME] * BATCH, dtype=torch.int32)
    batch, side = torch.export.Dim("batch", min=1, max=1024), torch.export.Dim.DYNAMIC(min=STRIDE)
    with torch.no_grad():
        return torch.export.export(
            Inference(),
            (images, sizes),
            dynamic_shapes={"images": {0: batch, 1: side, 2: side}, "sizes": {0: batch}},
            strict=False,
        )


def _pool_levels(features: Any, levels: Any, y: Samples, x: Samples) -> Any:
    """As PyTorch's own, of sides that are free; where boxes have different numbers of samples, one after the other."""
    from maskrcnn.ops.native.torch import sum_bins  # PyTorch may be absent where nothing is exported to it

    pixels = pixels_of(features, _as_scalar)
    rows = rows_of(pixels, levels, y, x)
    same = isinstance(y.count, int)
    pooled = sum_bins(pixels.table, rows) if same else sum_samples(pixels.table, rows, while_loop=_while_loop)
    return pooled.reshape(*levels.shape, *pooled.shape[1:])


def _while_loop(cond: Callable[..., Any], body: Callable[..., Any], state: Any) -> Any:
    """As Keras's, as an operator: a loop of Python would be traced with as many rounds as the example took."""
    from torch._higher_order_ops import while_loop

    fresh = lambda values: tuple(value.clone() for value in values)  # noqa: E731 (the operator allows no tensor to be two)
    return while_loop(cond, lambda *values: fresh(body(*values)), fresh(state))


def _as_scalar(side: Any, dtype: str) -> Any:
    """A side that is free becomes a tensor that is; Keras would make a constant of it."""
    import torch

    kind = getattr(torch, dtype)
    return side.to(kind) if isinstance(side, torch.Tensor) else torch.full((), side, dtype=kind)


def _tidy(traced: Any) -> None:
    """Leaves out what computes nothing, three nodes of five, and where in the source each node comes from."""
    import torch

    casts = (torch.ops.aten.to.dtype, torch.ops.aten.to.dtype_layout)
    for module in traced.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in list(module.graph.nodes):
            node.meta = {key: value for key, value in node.meta.items() if key == "val"}
            if node.target is torch.ops.aten._assert_tensor_metadata.default:
                module.graph.erase_node(node)
            elif node.target in casts and not any(user.op == "output" for user in node.users):
                source = node.args[0]
                if source.meta["val"].dtype == node.meta["val"].dtype:
                    node.replace_all_uses_with(source)
                    module.graph.erase_node(node)
            elif node.target is torch.ops.aten.lift_fresh_copy.default and node.args[0].op == "get_attr":
                _write_out(module, node)
        module.recompile()


def _write_out(module: Any, node: Any) -> None:
    """Makes a number of a loop's body a part of the program: PyTorch writes the constants of none but the outermost."""
    import torch

    constant = node.args[0]
    value = getattr(module, constant.target)
    with module.graph.inserting_before(node):
        number = module.graph.call_function(torch.ops.aten.full.default, ([], value.item()), {"dtype": value.dtype})
    number.meta = dict(node.meta)
    node.replace_all_uses_with(number)
    module.graph.erase_node(node)
    if not constant.users:
        module.graph.erase_node(constant)


def _halve_weights(program: Any) -> None:
    """Stores weights in half precision; the program's first nodes cast them back, and it computes in float32."""
    import torch

    graph = program.graph_module.graph
    names = program.graph_signature.inputs_to_lifted_tensor_constants
    weights = [node for node in graph.nodes if node.op == "placeholder" and node.name in names]
    first = next(node for node in graph.nodes if node.op != "placeholder")
    for node in weights:
        numbers, value = program.constants[names[node.name]], node.meta["val"]
        if numbers.dtype != torch.float32 or math.prod(numbers.shape) < 256:  # numbers of the arithmetic stay exact
            continue
        program.constants[names[node.name]] = numbers.half()
        with graph.inserting_before(first):
            whole = graph.call_function(torch.ops.aten.to.dtype, (node, torch.float32))
        whole.meta["val"] = value
        node.replace_all_uses_with(whole, delete_user_cb=lambda user, whole=whole: user is not whole)
        with value.fake_mode:
            node.meta["val"] = value.half()
    program.graph_module.recompile()
