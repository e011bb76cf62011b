#!/usr/bin/env bash
# Our products of quantized matrices beside llama.cpp's, on one thread, in turn: rigs/kernels-beside.sh KIJITI-BENCH [ROUNDS]
# llama.cpp's sources come inside a package of PyPI; SKIPPED where it cannot be had or built.
set -euo pipefail
bench=$(realpath "$1")
rounds=${2:-15}
cd "$(dirname "$0")/.."
work=$(realpath -m "${CARGO_TARGET_DIR:-target}")/rigs-ggml
mkdir -p "$work"
skip() {
    echo "SKIPPED: $1"
    exit 0
}
version=0.3.36
if [ ! -x "$work/build/product" ]; then
    command -v g++ >/dev/null || skip "no C++ compiler here"
    python3 -m venv "$work/python" >/dev/null 2>&1 || skip "no python3-venv here"
    "$work/python/bin/pip" install -q cmake ninja 2>/dev/null || skip "no cmake from PyPI"
    "$work/python/bin/pip" download -q --no-deps --no-binary llama-cpp-python "llama-cpp-python==$version" -d "$work" 2>/dev/null ||
        skip "no sources of llama.cpp from PyPI"
    tar xzf "$work/llama_cpp_python-$version.tar.gz" -C "$work"
    wide=OFF
    grep -qw avx512_vnni /proc/cpuinfo && wide=ON
    PATH="$work/python/bin:$PATH" cmake -G Ninja -S rigs/ggml -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DWITH_AVX512=$wide \
        -DGGML="$work/llama_cpp_python-$version/vendor/llama.cpp/ggml" >"$work/log" 2>&1 || skip "llama.cpp could not be set up: $work/log"
    PATH="$work/python/bin:$PATH" cmake --build "$work/build" --target product >>"$work/log" 2>&1 || skip "llama.cpp could not be built: $work/log"
fi
RAYON_NUM_THREADS=1 "$bench" kernels --rounds "$rounds" --ggml "$work/build/product"
