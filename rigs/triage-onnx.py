#!/usr/bin/env python3
"""The triage model beside onnxruntime with int8 weights: the same weights, the same patients, one thread, in turn.

    rigs/triage-onnx.py target/release/kijiti-bench models/triage-reference.gguf

Needs onnx, onnxruntime, gguf and numpy (PyPI). Exits with 0 if ours is as many times as fast as is wanted (it is not yet) and
both say the same; prints what was measured in any case.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from gguf import GGUFReader  # noqa: E402
from gguf.quants import dequantize  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: E402

WANTED = 1.5


def weights(path):
    reader = GGUFReader(path)
    shape = next(f for f in reader.fields.values() if f.name == "kijiti.shape")
    shape = json.loads(bytes(shape.parts[shape.data[0]]).decode())
    tensors = {}
    for tensor in reader.tensors:
        dims = [int(d) for d in reversed(tensor.shape)]
        tensors[tensor.name] = dequantize(tensor.data, tensor.tensor_type).reshape(dims).astype(np.float32)
    return shape, tensors


def graph(shape, tensors):
    """Sums of rows in, logits out: what comes after the tables."""
    nodes, inits, count = [], [], [0]
    slots, width, heads = shape["slots"], shape["width"], shape["heads"]
    size = width // heads

    def const(array, name=None):
        count[0] += 1
        name = name or f"c{count[0]}"
        inits.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def node(kind, *inputs, **attributes):
        count[0] += 1
        out = f"t{count[0]}"
        nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def linear(x, name):
        product = node("MatMul", x, const(tensors[name + ".weight"].T, name + ".w"))
        return node("Add", product, const(tensors[name + ".bias"]))

    def norm(x, name):
        return node("LayerNormalization", x, const(tensors[name + ".weight"]), const(tensors[name + ".bias"]), axis=-1, epsilon=1e-5)

    def gelu(x):
        cube = node("Mul", node("Mul", x, x), x)
        inner = node("Add", x, node("Mul", cube, const(np.float32(0.044715))))
        return node("Mul", x, node("Sigmoid", node("Mul", inner, const(np.float32(1.5957691)))))

    x = node("Add", "sums", const(tensors["slots.weight"]))
    for layer in range(shape["layers"]):
        of = f"layers.{layer}."
        last = layer + 1 == shape["layers"]
        qkv = linear(norm(x, of + "norm1"), of + "qkv")
        qkv = node("Reshape", qkv, const(np.array([slots, 3, heads, size], np.int64)))
        qkv = node("Transpose", qkv, perm=[1, 2, 0, 3])
        parts = [node("Gather", qkv, const(np.int64(i)), axis=0) for i in range(3)]
        scores = node("MatMul", parts[0], node("Transpose", parts[1], perm=[0, 2, 1]))
        shares = node("Softmax", node("Mul", scores, const(np.float32(size**-0.5))), axis=-1)
        seen = node("Transpose", node("MatMul", shares, parts[2]), perm=[1, 0, 2])
        seen = node("Reshape", seen, const(np.array([slots, width], np.int64)))
        if last:
            first = const(np.array([0], np.int64))
            seen, x = node("Gather", seen, first, axis=0), node("Gather", x, first, axis=0)
        x = node("Add", x, linear(seen, of + "out"))
        x = node("Add", x, linear(gelu(linear(norm(x, of + "norm2"), of + "up")), of + "down"))
    x = norm(x, "norm")
    outs = [linear(x, "differential"), linear(x, "urgency")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "triage", [value("sums", TensorProto.FLOAT, [slots, width])],
        [value(out, TensorProto.FLOAT, None) for out in outs], inits,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def main():
    bench, path = sys.argv[1:3]
    shape, tensors = weights(path)
    with tempfile.TemporaryDirectory() as folder:
        plain, quantized, encoded = (os.path.join(folder, name) for name in ("plain.onnx", "int8.onnx", "encoded.json"))
        onnx.save(graph(shape, tensors), plain)
        quantize_dynamic(plain, quantized, weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT})
        ours = json.loads(subprocess.check_output([bench, "--json", "triage", "--model", path, "--cases", "600", "--encoded", encoded]))
        patients = json.load(open(encoded))
        tables = [tensors[name] for name in ("features.weight", "grams.weight", "pieces.weight")]

        def sums(patient):
            x = np.zeros((shape["slots"], shape["width"]), np.float32)
            for table, rows in zip(tables, (patient["features"], patient["grams"], patient["pieces"])):
                for slot, row, weight in rows:
                    x[slot] += np.float32(weight) * table[row]
            return x

        inputs = [sums(patient) for patient in patients]
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        results = {}
        for name, file in (("f32", plain), ("int8", quantized)):
            began = time.perf_counter()
            session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
            ready = (time.perf_counter() - began) * 1e3
            times, far = [], 0.0
            for x, patient in zip(inputs, patients):
                began = time.perf_counter()
                differential, _ = session.run(None, {"sums": x})
                times.append((time.perf_counter() - began) * 1e3)
                far = max(far, float(np.abs(differential[0] - np.array(patient["differential"])).max()))
            times = np.array(times[20:])
            results[name] = dict(ready=ready, p50=float(np.percentile(times, 50)), p95=float(np.percentile(times, 95)), far=far)
        again = json.loads(subprocess.check_output([bench, "--json", "triage", "--model", path, "--cases", "600"]))
    network = {share: min(ours["network_ms"][share], again["network_ms"][share]) for share in ("p50", "p95")}
    print(f"ours (4 bits): network {network['p50']:.3f} ms of half, {network['p95']:.3f} of 95 in a hundred, tables among them; ready in "
          f"{min(ours['ready_ms'], again['ready_ms']):.0f} ms, {ours['kept_mb']:.0f} MB kept; path {ours['path']}")
    for name, r in results.items():
        print(f"onnxruntime {name}: {r['p50']:.3f} and {r['p95']:.3f} ms without the tables, ready in {r['ready']:.0f} ms; "
              f"furthest logit from ours {r['far']:.3f}; ours is {r['p50'] / network['p50']:.2f} and {r['p95'] / network['p95']:.2f} times as fast")
    same = results["f32"]["far"] < 1.0
    fast = results["int8"]["p50"] >= WANTED * network["p50"] and results["int8"]["p95"] >= WANTED * network["p95"]
    print("the same answers" if same else "OTHER ANSWERS", "and as fast as wanted" if fast else "and SLOWER than wanted")
    sys.exit(0 if same and fast else 1)


main()
