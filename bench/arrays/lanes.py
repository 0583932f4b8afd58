# ruff: noqa: ARG001  the signatures are those of numba
"""Eight double-precision numbers in one register, for kernels that add up several quantities of a pixel at once.

Compilers find such loops only where they can prove that arrays do not overlap; here the kernel says so. Each lane is
computed by itself in the order that the kernel gives, so results are to the bit those of eight plain loops.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

LANES = 8
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)


class _LanesType(types.Type):
    """The type of eight numbers within a kernel."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_LANES_TYPE = _LanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    """How eight numbers are kept: as a vector of LLVM."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _DOUBLES)


@intrinsic
def make_zero_lanes(context: Any) -> Any:
    """Return eight zeros."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_DOUBLES, [0.0] * LANES)

    return _LANES_TYPE(), generate


@intrinsic
def load_lanes(context: Any, values: Any, row: Any) -> Any:
    """Return the eight numbers of a row of an array, each in double precision.

    A kernel calls it as `load_lanes(values, row)`.

    Args:
        context: Typing context, which numba passes.
        values: Array (rows, 8) float32, C-contiguous; here its type in numba.
        row: Index of the row in 0..rows - 1, which is not checked; here its type in numba.

    Returns:
        The signature of the call and the function that generates its instructions; None for an array of another type or
        layout, so that numba refuses the call.
    """
    if not (isinstance(values, types.Array) and values.layout == "C" and values.dtype == types.float32):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _point_to_row(context, builder, signature.args[0], arguments)
        return builder.fpext(builder.load(builder.bitcast(place, _FLOATS.as_pointer()), align=4), _DOUBLES)

    return _LANES_TYPE(values, types.intp), generate


def _make_operation(name: str) -> Any:
    """Return an intrinsic that applies an instruction of LLVM to two times eight numbers."""

    def operate(context: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments)

        return _LANES_TYPE(_LANES_TYPE, _LANES_TYPE), generate

    return intrinsic(operate)


add_lanes, subtract_lanes, multiply_lanes = map(_make_operation, ("fadd", "fsub", "fmul"))


@intrinsic
def scale_lanes(context: Any, factor: Any, lanes: Any) -> Any:
    """Return the products of eight numbers with one factor.

    A kernel calls it as `scale_lanes(factor, lanes)`.

    Args:
        context: Typing context, which numba passes.
        factor: The factor, a float64; here its type in numba.
        lanes: The eight numbers; here their type in numba.

    Returns:
        The signature of the call and the function that generates its instructions.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factor, lanes = arguments
        return builder.fmul(_repeat(builder, factor), lanes)

    return _LANES_TYPE(types.float64, _LANES_TYPE), generate


@intrinsic
def increase_row(context: Any, values: Any, row: Any, lanes: Any) -> Any:
    """Add eight numbers to a row of an array, in place.

    A kernel calls it as `increase_row(values, row, lanes)`.

    Args:
        context: Typing context, which numba passes.
        values: Array (rows, 8) float64, C-contiguous; here its type in numba.
        row: Index of the row in 0..rows - 1, which is not checked; here its type in numba.
        lanes: The eight numbers; here their type in numba.

    Returns:
        The signature of the call and the function that generates its instructions; None for an array of another type or
        layout, so that numba refuses the call.
    """
    if not (isinstance(values, types.Array) and values.layout == "C" and values.dtype == types.float64):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *where, lanes = arguments
        place = builder.bitcast(_point_to_row(context, builder, signature.args[0], where), _DOUBLES.as_pointer())
        builder.store(builder.fadd(builder.load(place, align=8), lanes), place, align=8)
        return context.get_dummy_value()

    return types.void(values, types.intp, _LANES_TYPE), generate


def _point_to_row(context: Any, builder: Any, kind: Any, arguments: Any) -> Any:
    """Return the address of a row of an array (rows, 8), given the values of array and row."""
    values, row = arguments
    array = context.make_array(kind)(context, builder, values)
    return builder.gep(array.data, [builder.mul(row, ir.Constant(row.type, LANES))])


def _repeat(builder: Any, value: Any) -> Any:
    """Return a vector of eight times a number."""
    lanes = ir.Constant(_DOUBLES, ir.Undefined)
    for lane in range(LANES):
        lanes = builder.insert_element(lanes, value, ir.Constant(ir.IntType(32), lane))
    return lanes
