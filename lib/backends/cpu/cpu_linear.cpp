// Matrix multiplications of the CPU backend, shared out by output columns.
#include <cblas.h>

#include <algorithm>
#include <atomic>

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
/// The same where that makes few items, or so long ones that threads would wait at the end: the
/// least that a kernel takes at once.
constexpr int64_t narrow_columns = 2 * tile_n;
constexpr int64_t long_item_bytes = 256 * 1024;
/// Items that need not be shorter even at the end, and the rows up to which one tile at a time
/// takes no longer than reading it.
constexpr int64_t short_item_bytes = 64 * 1024, single_tile_rows = 4;
/// The most columns that few rows take at once, and those that they take a multiple of if they can:
/// whole blocks of down's rotation.
constexpr int64_t max_large_columns = 768, rotated_columns = 256;
/// Up to this many rows reading its weights is much of a linear's time (8 and 16 threads of an
/// Emerald Rapids: 20 to 32 rows 5 to 11 % faster than with the items of more rows, 64 no
/// different).
constexpr int64_t memory_bound_rows = 32;
/// Bytes of the next linear's weights that a thread asks for while it waits: half of the
/// second-level cache.
constexpr int64_t bring_bytes = 512 * 1024;
/// Into how many slices of columns OpenBLAS's multiplications are cut.
constexpr int64_t float_slices = 16;
/// Columns of fp16 weights that are converted to fp32 at a time.
constexpr int64_t panel_columns = 128;
/// Up to this many rows, dot products over fp16 weights beat converting them.
constexpr int64_t max_dot_rows = 4;
/// Rows of activations that stay in the L1 cache while dot products pass over the columns.
constexpr int64_t dot_rows = 4;

int blas(int64_t value) {
  return static_cast<int>(value);
}

/// c [m, n] (=, +=) a [m, k] x w [n, k]^T
void blas_multiply(const float* a, int64_t lda, const float* w, float* c, int64_t ldc, int64_t m,
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

int64_t CpuBackend::columns_per_item(int64_t n, int64_t k) const {
  if (is_int8(scheme_)) {
    const bool few = n < int8_columns * items_per_thread * pool_.threads();
    const bool narrow = workspace_.x.rows <= memory_bound_rows
                            ? few || int8_columns * k > long_item_bytes
                            : few && workspace_.x.rows < 2 * int8_rows;
    return narrow ? narrow_columns : int8_columns;
  }
  // Large slices: OpenBLAS repacks several rows of activations in each call. For those their number
  // does not depend on that of threads: with its kernels for AVX2 the last bits depend on where a
  // slice begins and ends, and a calibrated file must not.
  const int64_t slices = workspace_.x.rows == 1 ? pool_.threads() : float_slices;
  const int64_t slice = (n + slices - 1) / slices;
  return (slice + tile_n - 1) / tile_n * tile_n;
}

/// Reading from memory is the faster the longer a thread reads in one place (two Zen 4 threads: 54
/// GB/s in place of 49), so few rows share most columns out in large pieces, some for each thread.
/// Those left are handed out as ever, so that threads of different speed end together (15/16 in
/// place of 3/4 in large pieces: 2 % of a layer). Where so many threads leave no large pieces, the
/// last ones are smaller (16 threads, 1 row: 3 %).
CpuBackend::ColumnItems CpuBackend::column_items(const Matrix& w) const {
  const int64_t small = columns_per_item(w.n, w.k);
  // Tiles are multiplied by many threads, which wait less where the last items are smaller.
  const bool tiles = workspace_.x.layout == kernels::ActivationLayout::tiles;
  if (is_int8(scheme_) && tiles && small > narrow_columns) {
    const int64_t items = w.n * 3 / 4 / small, rest = w.n - items * small;
    return {w.n,
            {{items, small}, {(rest + narrow_columns - 1) / narrow_columns, narrow_columns}, {}}};
  }
  if (!is_int8(scheme_) || workspace_.x.rows > memory_bound_rows)
    return {w.n, {{(w.n + small - 1) / small, small}, {}, {}}};
  const int64_t shared = w.n * 15 / 16;
  const int64_t most = shared / (items_per_thread * pool_.threads());
  const int64_t large = most >= rotated_columns
                            ? std::min(most, max_large_columns) / rotated_columns * rotated_columns
                            : most / int8_columns * int8_columns;
  const int64_t large_items = large > small ? shared / large : 0;
  const int64_t rest = w.n - large_items * large;
  const int64_t least = large_items > 0 ? small : last_columns(small, w.k);
  const int64_t small_items =
      least < small ? std::max<int64_t>(0, rest / small - pool_.threads()) : rest / small;
  const int64_t tail = rest - small_items * small;
  return {w.n, {{large_items, large}, {small_items, small}, {(tail + least - 1) / least, least}}};
}

/// Columns of the last items: half of the small ones, if those take long and a kernel is no slower
/// with half.
int64_t CpuBackend::last_columns(int64_t small, int64_t k) const {
  const bool fast = small > narrow_columns || workspace_.x.rows <= single_tile_rows;
  return fast && small * k > short_item_bytes ? small / 2 : small;
}

const int8_t* CpuBackend::item_weights(const Matrix& w, const ColumnItems& items, int64_t item) {
  const int64_t column = items.begin(item);
  if (column >= w.n || !is_int8(w.scheme)) return nullptr;
  return static_cast<const int8_t*>(w.data) + column * padded_k(w.k);
}

int64_t CpuBackend::count(std::span<const ColumnItems> linears) {
  int64_t items = 0;
  for (const ColumnItems& linear : linears) items += linear.count();
  return items;
}

CpuBackend::ItemPlace CpuBackend::place(std::span<const ColumnItems> linears, int64_t item) {
  size_t linear = 0;
  for (; linear < linears.size() && item >= linears[linear].count(); ++linear)
    item -= linears[linear].count();
  return {linear, item};
}

void CpuBackend::linear(std::span<const LinearTask> tasks, Store store, const Matrix* following) {
  plan_projections(tasks);
  items_.clear();
  for (const LinearTask& task : tasks) items_.push_back(column_items(*task.weight));
  const auto weights = [&](const ItemPlace& at) {
    return at.linear < tasks.size()
               ? item_weights(*tasks[at.linear].weight, items_[at.linear], at.item)
               : nullptr;
  };
  each_part(items_, [&](const PartItem& part, int thread) {
    const ItemPlace at = place(items_, part.item);
    const LinearTask& task = tasks[at.linear];
    const ColumnItems& all = items_[at.linear];
    const int64_t begin = all.begin(at.item);
    multiply({&task, part.first_row, part.rows, begin, all.begin(at.item + 1), store,
              task.out + part.first_row * all.n + begin, all.n, weights(place(items_, part.next))},
             thread);
    if (part.next >= count(items_)) bring_closer(following, thread);
  });
}

/// Of `items` items those before a thread's share.
int64_t CpuBackend::share(int64_t items, int64_t thread) const {
  return items * thread / pool_.threads();
}

/// dealt_ = the items that each thread begins with, thread after thread: of each run a contiguous
/// share, whose weights are one piece of memory. Returns how many places each thread has there;
/// those it does not need are -1.
int64_t CpuBackend::deal(std::span<const ColumnItems> linears) {
  const int64_t threads = pool_.threads();
  int64_t places = 0;
  for (const ColumnItems& linear : linears)
    for (const ColumnItems::Run& run : linear.runs) places += (run.items + threads - 1) / threads;
  dealt_.assign(static_cast<size_t>(places * threads), -1);
  for (int64_t thread = 0; thread < threads; ++thread) {
    int64_t* to = dealt_.data() + thread * places;
    int64_t first = 0;
    for (const ColumnItems& linear : linears)
      for (const ColumnItems::Run& run : linear.runs) {
        for (int64_t i = share(run.items, thread); i < share(run.items, thread + 1); ++i)
          *to++ = first + i;
        first += run.items;
      }
  }
  return places;
}

/// Calls work for each item of columns, with all of a few rows. Each thread begins with the items
/// that it is dealt, and so with weights that it has asked for before (bring_closer()), then takes
/// others'.
void CpuBackend::each_dealt_item(std::span<const ColumnItems> linears,
                                 FunctionRef<void(const PartItem&, int)> work) {
  const int64_t places = deal(linears), items = count(linears), rows = workspace_.x.rows;
  const auto one = [&](int64_t index, int thread) {
    const int64_t item = dealt_[static_cast<size_t>(index)];
    if (item < 0) return;
    const bool last = (index + 1) % places == 0;
    const int64_t next = last ? -1 : dealt_[static_cast<size_t>(index + 1)];
    work({item, next < 0 ? items : next, 0, rows}, thread);
  };
  pool_.for_each(places * pool_.threads(), one, pool_.threads());
}

/// Calls work for each item of columns and each part of the rows: each thread's own, or as many as
/// make enough items of them. Threads begin with the part that holds the rows which they norm and
/// quantize, so that these move between fewer cores (of a prefill with 16 threads 7 %).
void CpuBackend::each_part(std::span<const ColumnItems> linears,
                           FunctionRef<void(const PartItem&, int)> work) {
  const int64_t rows = workspace_.x.rows, own = linear_parts(rows), items = count(linears);
  if (rows <= memory_bound_rows) return each_dealt_item(linears, work);
  const bool few = is_int8(scheme_) && items < items_per_thread * pool_.threads();
  const int64_t parts =
      own > 1 || !few ? own : std::clamp<int64_t>(rows / int8_rows, 1, pool_.threads());
  // Tiles lie in groups of rows.
  constexpr int64_t group = kernels::activation_rows;
  const int64_t most = (rows + parts * group - 1) / (parts * group) * group;
  const int64_t step = pool_.threads() / parts;
  const auto one = [&](int64_t index, int thread) {
    const int64_t part = index / items, item = index % items;
    const int64_t first_row = std::min(part * most, rows);
    const int64_t count = std::min(most, rows - first_row);
    if (count > 0) work({item, item + step, first_row, count}, thread);
  };
  pool_.for_each(items * parts, one, parts);
}

/// When a thread has no more items: the memory would idle while threads wait for each other and one
/// of them norms and quantizes. So each asks meanwhile for the weights that it begins with next
/// (of a step of few rows 1 % on two Zen 4 threads, 8 % on 16 of an Emerald Rapids).
void CpuBackend::bring_closer(const Matrix* following, int thread) {
  if (workspace_.x.rows > memory_bound_rows) return;
  if (!following || !is_int8(following->scheme)) return pool_.prefetch_while_waiting(thread, {});
  const ColumnItems items = column_items(*following);
  const auto* data = static_cast<const std::byte*>(following->data);
  int64_t first = 0;
  for (const ColumnItems::Run& run : items.runs) {
    const int64_t begin = items.begin(first + share(run.items, thread)) * padded_k(following->k);
    const int64_t end = items.begin(first + share(run.items, thread + 1)) * padded_k(following->k);
    if (begin < end)
      return pool_.prefetch_while_waiting(
          thread, {data + begin, static_cast<size_t>(std::min(end - begin, bring_bytes))});
    first += run.items;
  }
}

float* CpuBackend::gate_up_scratch(Scratch& scratch, int64_t columns) {
  const auto size =
      static_cast<size_t>(2 * std::max(max_rows_ * int8_columns, workspace_.x.rows * columns));
  if (scratch.gate_up.size() < size) scratch.gate_up = AlignedBuffer<float>(size);
  return scratch.gate_up.data();
}

bool CpuBackend::gate_up(const LinearTask& gate, const LinearTask& up, int64_t rotation,
                         const InputForms& forms, const Matrix* following) {
  const int64_t rows = workspace_.x.rows, n = config_.intermediate_size;
  weights_ = gate.weight->data;
  const ColumnItems items = column_items(*gate.weight);
  const LinearTask tasks[] = {gate, up};
  plan_projections(tasks);
  const ColumnItems::Run& large = items.runs[0];
  const bool whole_blocks = rotation > 1 && large.columns % rotation == 0;
  const int64_t rotated = whole_blocks ? large.items * large.columns : 0;
  // Both products of the same columns, their combination and, where it has whole blocks, its
  // rotation, while they are in the cache.
  each_part({&items, 1}, [&](const PartItem& part, int thread) {
    const int64_t begin = items.begin(part.item), end = items.begin(part.item + 1);
    const int64_t columns = end - begin;
    // Rows of `columns` values: rows of n would fall on few sets of the cache.
    float* const gates = gate_up_scratch(scratch_[static_cast<size_t>(thread)], columns);
    float* const ups = gates + part.rows * columns;
    multiply({&tasks[0], part.first_row, part.rows, begin, end, Store::assign, gates, columns,
              item_weights(*up.weight, items, part.item)},
             thread);
    multiply({&tasks[1], part.first_row, part.rows, begin, end, Store::assign, ups, columns,
              item_weights(*gate.weight, items, part.next)},
             thread);
    for (int64_t row = 0; row < part.rows; ++row) {
      float* const out = gate_ + (part.first_row + row) * n + begin;
      table_.silu_mul_f32(gates + row * columns, ups + row * columns, out, columns);
      if (end <= rotated) table_.hadamard_f32(out, columns, rotation);
    }
    if (part.next >= items.count()) bring_closer(following, thread);
  });
  set_activations(rows, n, forms, gate_);
  std::atomic<bool> finite{true};
  each_row(rows, [&](int64_t row, int thread) {
    if (rotation > 1) table_.hadamard_f32(gate_ + row * n + rotated, n - rotated, rotation);
    if (!store_activation(gate_ + row * n, row, thread)) finite = false;
  });
  return finite;
}

void CpuBackend::multiply(const Columns& c, int thread) {
  help_project(static_cast<size_t>(thread));
  bring_projections(c);
  multiply_base(c, scratch_[static_cast<size_t>(thread)]);
  add_projections(c);
}

void CpuBackend::multiply_base(const Columns& c, Scratch& scratch) {
  const Scheme scheme = c.task->weight->scheme;
  if (is_int8(scheme))
    multiply_int8(c);
  else if (is_int8(scheme_) || (scheme == Scheme::f16 && c.rows <= max_dot_rows))
    multiply_dots(c);
  else if (scheme == Scheme::f32)
    multiply_f32(c);
  else
    multiply_f16(c, scratch);
}

void CpuBackend::multiply_int8(const Columns& c) {
  const Matrix& w = *c.task->weight;
  const Activations& x = workspace_.x;
  const Plane(&planes)[2] = w.scheme == Scheme::w8a8 ? x.s8 : x.s8_g128;
  if (w.planes == 1) return multiply_plane(c, planes[0], c.task->bias, c.store, c.next);
  // A few columns at a time, whose weights are in the cache for the second plane.
  for (int64_t begin = c.begin; begin < c.end; begin += int8_columns) {
    Columns part = c;
    part.begin = begin;
    part.end = std::min(begin + int8_columns, c.end);
    part.out += begin - c.begin;
    multiply_plane(part, planes[0], c.task->bias, c.store, nullptr);
    if (part.end < c.end) part.next = static_cast<const int8_t*>(w.data) + part.end * padded_k(w.k);
    multiply_plane(part, planes[1], nullptr, Store::add, part.next);
  }
}

void CpuBackend::multiply_plane(const Columns& c, const Plane& x, const float* bias, Store store,
                                const int8_t* next) {
  const Matrix& w = *c.task->weight;
  const int64_t stride = workspace_.x.stride, groups = num_groups(w.k), n = c.end - c.begin;
  const kernels::ActivationLayout layout = workspace_.x.layout;
  const bool single_stream = single_stream_.value_or(false);
  if (bias) bias += c.begin;
  const int8_t* a = x.s8 + c.first_row * stride;
  const int8_t* packed = static_cast<const int8_t*>(w.data) + c.begin * padded_k(w.k);
  if (w.scheme == Scheme::w8a8) {
    table_.gemm_s8s8_f32({c.rows, n, w.k, a, stride, x.scale + c.first_row, packed,
                          static_cast<const float*>(w.scale) + c.begin,
                          static_cast<const int32_t*>(w.sum) + c.begin, bias, c.out, c.ldc, store,
                          next, single_stream, layout});
  } else {
    const int64_t group_offset = c.begin * groups;  // [n / 16][groups][16]
    table_.gemm_s8s8_f32_g128({c.rows, n, w.k, a, stride, x.scale + c.first_row * groups, packed,
                               static_cast<const uint16_t*>(w.scale) + group_offset,
                               static_cast<const int16_t*>(w.sum) + group_offset, bias, c.out,
                               c.ldc, store, next, single_stream, layout});
  }
}

/// A dot product for each row and column.
void CpuBackend::multiply_dots(const Columns& c) {
  const Matrix& w = *c.task->weight;
  const float* x = workspace_.x.f32;
  const auto dot = [&](int64_t col, int64_t row) {
    return w.scheme == Scheme::f16
               ? table_.dot_f16_f32(static_cast<const uint16_t*>(w.data) + col * w.k, x + row * w.k,
                                    w.k)
               : table_.dot_f32(static_cast<const float*>(w.data) + col * w.k, x + row * w.k, w.k);
  };
  for (int64_t block = 0; block < c.rows; block += dot_rows)
    for (int64_t col = c.begin; col < c.end; ++col)
      for (int64_t row = block; row < std::min(block + dot_rows, c.rows); ++row) {
        float value = dot(col, c.first_row + row);
        if (c.task->bias) value += c.task->bias[col];
        float& out = c.out[row * c.ldc + col - c.begin];
        out = c.store == Store::add ? out + value : value;
      }
}

void CpuBackend::multiply_f32(const Columns& c) {
  const Matrix& w = *c.task->weight;
  const Activations& x = workspace_.x;
  blas_multiply(x.f32, w.k, static_cast<const float*>(w.data) + c.begin * w.k, c.out, c.ldc, x.rows,
                c.end - c.begin, w.k, c.store);
  if (c.task->bias) add_bias(c.task->bias + c.begin, c.out, c.ldc, x.rows, c.end - c.begin);
}

void CpuBackend::multiply_f16(const Columns& c, Scratch& scratch) {
  const Matrix& w = *c.task->weight;
  const Activations& x = workspace_.x;
  const auto* weights = static_cast<const uint16_t*>(w.data) + c.begin * w.k;
  const float* bias = c.task->bias ? c.task->bias + c.begin : nullptr;
  const int64_t columns = c.end - c.begin;
  const auto panel_size = static_cast<size_t>(panel_columns * w.k);
  if (scratch.panel.size() < panel_size) scratch.panel = AlignedBuffer<float>(panel_size);
  for (int64_t col = 0; col < columns; col += panel_columns) {
    const int64_t count = std::min(panel_columns, columns - col);
    table_.convert_f16_f32(weights + col * w.k, scratch.panel.data(), count * w.k);
    blas_multiply(x.f32, w.k, scratch.panel.data(), c.out + col, c.ldc, x.rows, count, w.k,
                  c.store);
  }
  if (bias) add_bias(bias, c.out, c.ldc, x.rows, columns);
}

}  // namespace octet
