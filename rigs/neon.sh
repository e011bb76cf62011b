#!/usr/bin/env bash
# The kernels' NEON paths, for correctness only: their tests run under an emulator of ARM processors, once as a
# Cortex-A53 (nothing but NEON), once as a Cortex-A76 (dot products of bytes) and once with all there is (i8mm).
# Needs qemu-user-static and Rust's standard library for ARM; says SKIPPED where they cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-musl
if ! command -v qemu-aarch64-static >/dev/null; then
    (apt-get update -qq && apt-get install -y -qq qemu-user-static) >/dev/null 2>&1 || true
fi
if ! command -v qemu-aarch64-static >/dev/null; then
    echo "SKIPPED: no qemu-aarch64-static here"
    exit 0
fi
if ! rustup target add "$target" >/dev/null 2>&1; then
    echo "SKIPPED: no standard library for $target here"
    exit 0
fi
# Rust brings the linker and the C library.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-C link-self-contained=yes"
run() { # processor, the paths that it has
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER="qemu-aarch64-static -cpu $1"
    echo "$1: $2"
    KERNEL_PATHS="$2" cargo test --release -q --target "$target" -p kijiti-kernels
}
run cortex-a53 "Plain Neon"
run cortex-a76 "Plain Neon NeonDot"
run max "Plain Neon NeonDot NeonI8mm"
