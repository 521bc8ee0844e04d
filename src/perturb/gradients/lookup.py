"""Losses of many sign networks at once on a CPU, with tables in place of products.

What a layer of sign units sees is 1 and -1, so eight of its inputs bring one of 256 sums to each
unit. With those in a table, a layer of d units takes d / 8 additions of rows where a product takes
d^2 multiplications, and its activations are bits that never leave a core's cache.

numba compiles the loops. Left to itself it makes no vectors of these and packs no signs into bits,
so vectors are a type here, of sixteen numbers on every CPU, with the few operations that it takes.
All in one file: numba keeps what it has compiled until this file changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from torch import Tensor

LANES = 16  # numbers of a vector, and bits of a word of signs
BITS = 8  # inputs of a table
ROWS = 2**BITS
AT_ONCE = 256  # samples; a multiple of TOGETHER
TOGETHER = 8  # samples that share a load of weights

_FLOAT, _INDEX = ir.FloatType(), ir.IntType(32)
_LANES = ir.VectorType(_FLOAT, LANES)


class Lanes(types.Type):
    """A vector of LANES numbers in float32."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, _LANES)


lanes = Lanes()


def _at(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, index: Any) -> Any:
    """Return the address of an array's element: no check, no counting from the end."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _vector_at(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, index: Any) -> Any:
    return builder.bitcast(_at(context, builder, kind, array, index), _LANES.as_pointer())


@intrinsic
def zeros(_: Any) -> tuple[Any, Callable]:
    """Return zeros."""
    return lanes(), lambda context, builder, signature, arguments: ir.Constant(_LANES, None)


@intrinsic
def load(_: Any, array: Any, index: Any) -> tuple[Any, Callable]:
    """Return array[index : index + LANES]."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        address = _vector_at(context, builder, signature.args[0], *arguments)
        return builder.load(address, align=4)

    return lanes(array, types.intp), make


@intrinsic
def store(_: Any, array: Any, index: Any, value: Any) -> tuple[Any, Callable]:
    """Set array[index : index + LANES]."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        address = _vector_at(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], address, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), make


@intrinsic
def add(_: Any, first: Any, second: Any) -> tuple[Any, Callable]:
    """Return first + second."""
    return lanes(first, second), lambda context, builder, signature, pair: builder.fadd(*pair)


@intrinsic
def subtract(_: Any, first: Any, second: Any) -> tuple[Any, Callable]:
    """Return first - second."""
    return lanes(first, second), lambda context, builder, signature, pair: builder.fsub(*pair)


@intrinsic
def add_product(_: Any, total: Any, vector: Any, array: Any, index: Any) -> tuple[Any, Callable]:
    """Return total + vector * array[index], rounded once."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        number = builder.load(_at(context, builder, signature.args[2], *arguments[2:]))
        undefined = ir.Constant(_LANES, ir.Undefined)
        one = builder.insert_element(undefined, number, _INDEX(0))
        all_lanes = ir.Constant(ir.VectorType(_INDEX, LANES), None)
        many = builder.shuffle_vector(one, undefined, all_lanes)
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_LANES, [_LANES] * 3), f"llvm.fma.v{LANES}f32"
        )
        return builder.call(fma, [arguments[1], many, arguments[0]])

    return lanes(total, vector, array, types.intp), make


@intrinsic
def store_signs(_: Any, words: Any, index: Any, value: Any) -> tuple[Any, Callable]:
    """Set words[index]: bit i is 1 where number i is negative or -0, as copysign has it."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        whole = ir.VectorType(ir.IntType(32), LANES)
        bits = builder.bitcast(arguments[2], whole)
        negative = builder.icmp_signed("<", bits, ir.Constant(whole, None))
        word = builder.bitcast(negative, ir.IntType(LANES))
        builder.store(word, _at(context, builder, signature.args[0], *arguments[:2]))
        return context.get_dummy_value()

    return types.void(words, types.intp, value), make


@intrinsic
def word_at(_: Any, words: Any, index: Any) -> tuple[Any, Callable]:
    """Return words[index] as an index."""

    def make(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        word = builder.load(_at(context, builder, signature.args[0], *arguments))
        return builder.zext(word, ir.IntType(types.intp.bitwidth))

    return types.intp(words, types.intp), make


def _compiled(function: Callable) -> Callable:
    """Compile a function when it is first called, once for all processes.

    In each process anew where numba can write neither beside this file nor in the user's folder, as
    in a read-only container of nobody's.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(**options, cache=True)(function)
    except RuntimeError as error:
        if "no locator" not in str(error):
            raise
        return njit(**options)(function)


@_compiled
def _aligned(rows: int, numbers: int) -> np.ndarray:
    """Return zeros [rows, numbers], vectors of which lie in one cache line each."""
    line = 4 * LANES
    raw = np.zeros(rows * numbers + LANES, np.float32)
    start = (-raw.ctypes.data % line) // 4
    return raw[start : start + rows * numbers].reshape(rows, numbers)


@_compiled
def _transpose(weight: np.ndarray, dimension: int, width: int, found: np.ndarray) -> None:
    """Write a weight [out, in] as [in, width]."""
    for j in range(dimension):
        for i in range(dimension):
            found[i * width + j] = weight[j * dimension + i]


@_compiled
def _fill(columns: np.ndarray, tables: int, width: int, table: np.ndarray) -> None:
    """Write what every pattern of BITS inputs brings to the units: [tables, ROWS, width].

    A bit that is 1 is an input of -1; `columns` are the weights by input, [in, width].
    """
    for g in range(tables):
        for u in range(0, width, LANES):
            start = g * ROWS * width + u
            total = zeros()
            for i in range(BITS):
                total = add(total, load(columns, (g * BITS + i) * width + u))
            store(table, start, total)
            for i in range(BITS):
                column = load(columns, (g * BITS + i) * width + u)
                twice = add(column, column)
                for row in range(1 << i):
                    without = load(table, start + row * width)
                    store(table, start + ((1 << i) + row) * width, subtract(without, twice))


@_compiled
def _of_numbers(
    columns: np.ndarray,
    inputs: np.ndarray,
    start: int,
    dimension: int,
    width: int,
    samples: int,
    words: np.ndarray,
) -> None:
    """Write the signs of the first layer's units, whose inputs are numbers."""
    units = width // LANES
    for u in range(units):
        for s in range(0, samples, TOGETHER):
            a = b = c = d = e = f = g = h = zeros()
            for i in range(dimension):
                weight = load(columns, i * width + u * LANES)
                at = (start + s) * dimension + i * TOGETHER
                a = add_product(a, weight, inputs, at)
                b = add_product(b, weight, inputs, at + 1)
                c = add_product(c, weight, inputs, at + 2)
                d = add_product(d, weight, inputs, at + 3)
                e = add_product(e, weight, inputs, at + 4)
                f = add_product(f, weight, inputs, at + 5)
                g = add_product(g, weight, inputs, at + 6)
                h = add_product(h, weight, inputs, at + 7)
            at = s * units + u
            store_signs(words, at, a)
            store_signs(words, at + units, b)
            store_signs(words, at + 2 * units, c)
            store_signs(words, at + 3 * units, d)
            store_signs(words, at + 4 * units, e)
            store_signs(words, at + 5 * units, f)
            store_signs(words, at + 6 * units, g)
            store_signs(words, at + 7 * units, h)


@_compiled
def _of_signs(
    table: np.ndarray, width: int, samples: int, patterns: np.ndarray, words: np.ndarray
) -> None:
    """Write the signs of a layer's units, whose inputs are the bits of `patterns`."""
    units, rows = width // LANES, ROWS * width
    for s in range(samples):
        for u in range(units):
            total, at = zeros(), u * LANES
            for q in range(units):
                pattern = word_at(patterns, s * units + q)
                low = load(table, at + (pattern & (ROWS - 1)) * width)
                high = load(table, at + rows + (pattern >> BITS) * width)
                total, at = add(total, add(low, high)), at + 2 * rows
            store_signs(words, s * units + u, total)


@_compiled
def _fill_output(weight: np.ndarray, table: np.ndarray) -> None:
    """Write what every pattern of BITS inputs brings to the output: [tables, ROWS]."""
    for g in range(len(table) // ROWS):
        given = weight[g * BITS : (g + 1) * BITS]
        table[g * ROWS] = given.sum()
        for i in range(BITS):
            twice = 2 * given[i] if i < len(given) else np.float32(0)
            for row in range(g * ROWS, g * ROWS + (1 << i)):
                table[row + (1 << i)] = table[row] - twice


@_compiled
def _squared_error(
    table: np.ndarray,
    width: int,
    patterns: np.ndarray,
    targets: np.ndarray,
    start: int,
    samples: int,
) -> float:
    """Return the sum of squared errors of the linear output."""
    units, total = width // LANES, 0.0
    for s in range(samples):
        error = -targets[start + s]
        for q in range(units):
            pattern = word_at(patterns, s * units + q)
            low, high = pattern & (ROWS - 1), ROWS + (pattern >> BITS)
            error += table[2 * q * ROWS + low] + table[2 * q * ROWS + high]
        total += error * error
    return total


@_compiled
def _losses(
    points: np.ndarray,
    hidden: int,
    inputs: np.ndarray,
    targets: np.ndarray,
    dimension: int,
    found: np.ndarray,
) -> None:
    """Write the mean squared error of each point.

    Args:
        points: [P, n], the weights of the `hidden` layers and the output, one after another.
        inputs: [B / TOGETHER, d, TOGETHER] in one axis, the last with zeros; `targets` [B].
        found: [P], written.
    """
    width, layer_size = -(-dimension // LANES) * LANES, dimension * dimension
    tables = width // BITS
    columns = _aligned(hidden, width * width)
    table = _aligned(hidden, tables * ROWS * width)  # of the first layer there is none
    of_output = _aligned(1, tables * ROWS)[0]
    words = np.empty((hidden, AT_ONCE * width // LANES), np.uint16)
    for p in range(len(points)):
        for layer in range(hidden):
            weight = points[p, layer * layer_size : (layer + 1) * layer_size]
            _transpose(weight, dimension, width, columns[layer])
            if layer:
                _fill(columns[layer], tables, width, table[layer])
        _fill_output(points[p, hidden * layer_size :], of_output)
        total = 0.0
        for start in range(0, len(targets), AT_ONCE):
            samples = min(AT_ONCE, len(targets) - start)
            _of_numbers(columns[0], inputs, start, dimension, width, samples, words[0])
            for layer in range(1, hidden):
                _of_signs(table[layer], width, samples, words[layer - 1], words[layer])
            total += _squared_error(of_output, width, words[-1], targets, start, samples)
        found[p] = total / len(targets)


def losses(points: Tensor, hidden: int, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error [P], in float64, of each of P networks.

    It has one thread, and lets go of the interpreter: call it from several.

    Args:
        points: [P, n], the weights [d, d] of the `hidden` layers and [1, d] of the output, one
            after another, in float32 on the CPU.
        inputs: [B, d]; `targets` [B].
    """
    dimension = inputs.shape[1]
    padded = np.zeros((-(-len(inputs) // TOGETHER), TOGETHER, dimension), np.float32)
    padded.reshape(-1, dimension)[: len(inputs)] = inputs
    together = padded.transpose(0, 2, 1).ravel()
    found = np.empty(len(points))
    arrays = points.contiguous().numpy(), hidden, together, targets.contiguous().numpy()
    _losses(*arrays, dimension, found)
    return torch.from_numpy(found)
