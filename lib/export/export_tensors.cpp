#include "lib/export/export_tensors.h"

#include <algorithm>

#include "lib/convert/finite.h"
#include "lib/core/error.h"
#include "lib/core/thread_pool.h"
#include "lib/model/tensor_store.h"

namespace octet {
namespace {

/// Weights that are read at a time.
constexpr int64_t slab_weights = 1 << 19;

using Write = FunctionRef<void(size_t, uint64_t, std::span<const std::byte>)>;

struct Slab {
  const ExportedTensor* tensor;
  int64_t begin, end, k;  ///< rows of k values
};

std::vector<Slab> cut(const std::vector<ExportedTensor>& tensors) {
  std::vector<Slab> slabs;
  for (const ExportedTensor& exported : tensors) {
    const std::vector<int64_t>& shape = exported.tensor.shape;
    const int64_t rows = shape.size() == 2 ? shape[0] : 1, k = shape.back();
    const int64_t step = std::max<int64_t>(1, slab_weights / k);
    for (int64_t begin = 0; begin < rows; begin += step)
      slabs.push_back({&exported, begin, std::min(begin + step, rows), k});
  }
  return slabs;
}

/// The Hugging Face row that a GGUF llama has as its row `row`: in a head, rows i and
/// i + head_dim / 2 lie beside each other.
int64_t source_row(const ExportedTensor& exported, int64_t row) {
  const int64_t head_dim = exported.tensor.shape[0] / exported.interleaved_heads;
  const int64_t head = row / head_dim, in_head = row % head_dim;
  return head * head_dim + in_head % 2 * (head_dim / 2) + in_head / 2;
}

void write_float(const Checkpoint& checkpoint, const Slab& slab, Write write) {
  const ExportedTensor& exported = *slab.tensor;
  const std::string& name = exported.tensor.name;
  std::vector<float> values(static_cast<size_t>((slab.end - slab.begin) * slab.k));
  if (exported.interleaved_heads == 0) {
    checkpoint.read_rows(name, slab.begin, slab.end, values.data());
  } else {
    for (int64_t row = slab.begin; row < slab.end; ++row) {
      const int64_t from = source_row(exported, row);
      checkpoint.read_rows(name, from, from + 1, values.data() + (row - slab.begin) * slab.k);
    }
  }
  require_finite(checkpoint, name, slab.begin, slab.k, values);
  const Encoding& encoding = *exported.encoding;
  const auto count = static_cast<int64_t>(values.size());
  std::vector<std::byte> bytes(static_cast<size_t>(encoding.bytes(count)));
  require(encoding.encode(values.data(), count, bytes.data()), ErrorCode::Unsupported,
          checkpoint.path(), ": tensor '", name,
          "' holds a value that the type to be written cannot hold; another type expected");
  write(exported.index, static_cast<uint64_t>(encoding.bytes(slab.begin * slab.k)), bytes);
}

void write_int8(const Checkpoint& checkpoint, const Slab& slab, Write write) {
  const ExportedTensor& exported = *slab.tensor;
  const int64_t rows = slab.end - slab.begin;
  std::vector<int8_t> q(static_cast<size_t>(rows * slab.k));
  std::vector<float> scale(static_cast<size_t>(rows));
  checkpoint.read_quantized_rows(exported.tensor.name, slab.begin, slab.end, q.data(),
                                 scale.data());
  require_finite(checkpoint, scale_name(exported.tensor.name), slab.begin, 1, scale);
  write(exported.index, static_cast<uint64_t>(slab.begin * slab.k), std::as_bytes(std::span(q)));
  write(exported.scale_index, static_cast<uint64_t>(slab.begin) * sizeof(float),
        std::as_bytes(std::span(scale)));
}

}  // namespace

void export_tensors(const Checkpoint& checkpoint, const std::vector<ExportedTensor>& tensors,
                    Write write, ThreadPool& pool, Progress progress) {
  std::vector<ModelTensor> counted;
  for (const ExportedTensor& exported : tensors) counted.push_back(exported.tensor);
  WeightCounter counter(progress, counted);
  const std::vector<Slab> slabs = cut(tensors);
  pool.for_each(static_cast<int64_t>(slabs.size()), [&](int64_t i, int) {
    const Slab& slab = slabs[static_cast<size_t>(i)];
    (slab.tensor->encoding ? write_float : write_int8)(checkpoint, slab, write);
    counter.add((slab.end - slab.begin) * slab.k);
  });
}

}  // namespace octet
