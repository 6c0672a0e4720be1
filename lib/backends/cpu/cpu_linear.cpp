// Matrix multiplications of the CPU backend, shared out by output columns.
#include <cblas.h>

#include <algorithm>

#include "lib/backends/cpu/cpu_backend.h"

namespace octet {
namespace {

using kernels::num_groups;
using kernels::padded_k;
using kernels::Store;
using kernels::tile_n;

/// Columns that one item computes with the int8 kernels: four tiles, whose weights stay in the L2
/// cache while the rows of activations pass.
constexpr int64_t int8_columns = 4 * tile_n;
/// Columns of fp16 weights that are converted to fp32 at a time.
constexpr int64_t panel_columns = 128;
/// Up to this many rows, dot products over fp16 weights beat converting them.
constexpr int64_t max_dot_rows = 4;

int blas(int64_t value) {
  return static_cast<int>(value);
}

/// c [m, n] (=, +=) a [m, k] x w [n, k]^T
void multiply_f32(const float* a, int64_t lda, const float* w, float* c, int64_t ldc, int64_t m,
                  int64_t n, int64_t k, Store store) {
  const float beta = store == Store::add ? 1.0f : 0.0f;
  if (m == 1)
    cblas_sgemv(CblasRowMajor, CblasNoTrans, blas(n), blas(k), 1.0f, w, blas(k), a, 1, beta, c, 1);
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas(m), blas(n), blas(k), 1.0f, a,
                blas(lda), w, blas(k), beta, c, blas(ldc));
}

void add_bias(const float* bias, float* c, int64_t ldc, int64_t m, int64_t n) {
  for (int64_t row = 0; row < m; ++row)
    for (int64_t col = 0; col < n; ++col) c[row * ldc + col] += bias[col];
}

}  // namespace

int64_t CpuBackend::columns_per_item(int64_t n) const {
  if (is_int8(scheme_)) return int8_columns;
  // OpenBLAS repacks the activations in each call: one large slice a thread.
  const int64_t slice = (n + pool_.threads() - 1) / pool_.threads();
  return (slice + tile_n - 1) / tile_n * tile_n;
}

void CpuBackend::linear(std::span<const LinearTask> tasks, Store store) {
  int64_t items = 0;
  const auto items_of = [&](const LinearTask& task) {
    const int64_t columns = columns_per_item(task.weight->n);
    return (task.weight->n + columns - 1) / columns;
  };
  for (const LinearTask& task : tasks) items += items_of(task);
  pool_.for_each(items, [&](int64_t item, int thread) {
    size_t t = 0;
    for (; item >= items_of(tasks[t]); ++t) item -= items_of(tasks[t]);
    const LinearTask& task = tasks[t];
    const int64_t columns = columns_per_item(task.weight->n);
    const int64_t begin = item * columns, end = std::min(begin + columns, task.weight->n);
    if (scheme_ == Scheme::f32)
      linear_f32(task, begin, end, store);
    else if (scheme_ == Scheme::f16)
      linear_f16(task, begin, end, store, scratch_[static_cast<size_t>(thread)]);
    else
      linear_int8(task, begin, end, store);
  });
}

void CpuBackend::linear_int8(const LinearTask& task, int64_t begin, int64_t end, Store store) {
  const Matrix& w = *task.weight;
  const Activations& x = workspace_.x;
  const int8_t* packed = static_cast<const int8_t*>(w.data) + begin * padded_k(w.k);
  const float* bias = task.bias ? task.bias + begin : nullptr;
  if (scheme_ == Scheme::w8a8) {
    table_.gemm_s8s8_f32({x.rows, end - begin, w.k, x.s8, x.stride, x.scale, packed,
                          static_cast<const float*>(w.scale) + begin,
                          static_cast<const int32_t*>(w.sum) + begin, bias, task.out + begin, w.n,
                          store});
  } else {
    const int64_t group_offset = begin * num_groups(w.k);  // [n / 16][groups][16]
    table_.gemm_s8s8_f32_g128({x.rows, end - begin, w.k, x.s8, x.stride, x.scale, packed,
                               static_cast<const uint16_t*>(w.scale) + group_offset,
                               static_cast<const int16_t*>(w.sum) + group_offset, bias,
                               task.out + begin, w.n, store});
  }
}

void CpuBackend::linear_f32(const LinearTask& task, int64_t begin, int64_t end, Store store) {
  const Matrix& w = *task.weight;
  const Activations& x = workspace_.x;
  multiply_f32(x.f32, x.stride, static_cast<const float*>(w.data) + begin * w.k, task.out + begin,
               w.n, x.rows, end - begin, w.k, store);
  if (task.bias) add_bias(task.bias + begin, task.out + begin, w.n, x.rows, end - begin);
}

void CpuBackend::linear_f16(const LinearTask& task, int64_t begin, int64_t end, Store store,
                            Scratch& scratch) {
  const Matrix& w = *task.weight;
  const Activations& x = workspace_.x;
  const auto* weights = static_cast<const uint16_t*>(w.data);
  if (x.rows <= max_dot_rows) {
    for (int64_t col = begin; col < end; ++col)
      for (int64_t row = 0; row < x.rows; ++row) {
        float value = table_.dot_f16_f32(weights + col * w.k, x.f32 + row * x.stride, w.k);
        if (task.bias) value += task.bias[col];
        float& out = task.out[row * w.n + col];
        out = store == Store::add ? out + value : value;
      }
    return;
  }
  const auto panel_size = static_cast<size_t>(panel_columns * w.k);
  if (scratch.panel.size() < panel_size) scratch.panel = AlignedBuffer<float>(panel_size);
  for (int64_t col = begin; col < end; col += panel_columns) {
    const int64_t count = std::min(panel_columns, end - col);
    table_.convert_f16_f32(weights + col * w.k, scratch.panel.data(), count * w.k);
    multiply_f32(x.f32, x.stride, scratch.panel.data(), task.out + col, w.n, x.rows, count, w.k,
                 store);
  }
  if (task.bias) add_bias(task.bias + begin, task.out + begin, w.n, x.rows, end - begin);
}

}  // namespace octet
