// One product of llama.cpp's (ggml's) processor backend, measured: TYPE m k n rounds -> seconds of the best round,
// and the kind of buffer that held the weights (CPU_REPACK: its own packed layout, which it prefers where it has one).
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

static ggml_type type_of(const char *name) {
    if (!strcmp(name, "Q4_0")) return GGML_TYPE_Q4_0;
    if (!strcmp(name, "Q8_0")) return GGML_TYPE_Q8_0;
    return GGML_TYPE_Q4_K;
}

int main(int count, char **args) {
    if (count != 6) {
        fprintf(stderr, "product TYPE m k n rounds\n");
        return 2;
    }
    const ggml_type type = type_of(args[1]);
    const int64_t m = atoll(args[2]), k = atoll(args[3]), n = atoll(args[4]);
    const int rounds = atoi(args[5]);

    ggml_backend_t backend = ggml_backend_cpu_init();
    ggml_backend_cpu_set_n_threads(backend, 1);
    const ggml_init_params params = {ggml_tensor_overhead() * 16 + ggml_graph_overhead(), nullptr, true};
    ggml_context *of_weights = ggml_init(params), *of_rest = ggml_init(params);
    ggml_tensor *weights = ggml_new_tensor_2d(of_weights, type, k, n);
    ggml_tensor *input = ggml_new_tensor_2d(of_rest, GGML_TYPE_F32, k, m);
    ggml_tensor *output = ggml_mul_mat(of_rest, weights, input);

    // The first of its special buffers that takes this product, as llama.cpp chooses.
    ggml_backend_buffer_type_t chosen = ggml_backend_cpu_buffer_type();
    ggml_backend_dev_t device = ggml_backend_get_device(backend);
    auto special = (ggml_backend_dev_get_extra_bufts_t)ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts");
    for (auto *buffer = special ? special(device) : nullptr; buffer && *buffer; buffer++) {
        weights->buffer = ggml_backend_buft_alloc_buffer(*buffer, 0);
        const bool takes = ggml_backend_dev_supports_op(device, output);
        ggml_backend_buffer_free(weights->buffer);
        weights->buffer = nullptr;
        if (takes) {
            chosen = *buffer;
            break;
        }
    }
    ggml_backend_alloc_ctx_tensors_from_buft(of_weights, chosen);
    ggml_backend_alloc_ctx_tensors(of_rest, backend);

    uint32_t state = 12345;
    const auto drawn = [&](size_t count) {
        std::vector<float> numbers(count);
        for (float &number : numbers) {
            state = state * 1664525u + 1013904223u;
            number = (float)(state >> 8) / 8388608.0f - 1.0f;
        }
        return numbers;
    };
    const std::vector<float> floats = drawn((size_t)(k * n)), x = drawn((size_t)(k * m));
    std::vector<char> quantized(ggml_row_size(type, k) * (size_t)n);
    ggml_quantize_chunk(type, floats.data(), quantized.data(), 0, n, k, nullptr);
    ggml_backend_tensor_set(weights, quantized.data(), 0, quantized.size());
    ggml_backend_tensor_set(input, x.data(), 0, x.size() * sizeof(float));

    ggml_cgraph *graph = ggml_new_graph(of_rest);
    ggml_build_forward_expand(graph, output);
    double best = 1e9;
    for (int round = 0; round <= rounds; round++) { // the first one warms up
        const auto began = std::chrono::steady_clock::now();
        ggml_backend_graph_compute(backend, graph);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        if (round > 0) best = std::min(best, took.count());
    }
    printf("%.9f %s\n", best, ggml_backend_buft_name(chosen));
    return 0;
}
