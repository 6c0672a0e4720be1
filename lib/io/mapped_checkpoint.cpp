#include "lib/io/mapped_checkpoint.h"

#include <cstring>
#include <vector>

#include "lib/core/error.h"

namespace octet {
namespace {

size_t row_bytes(const MappedTensor& tensor) {
  if (tensor.scale) return static_cast<size_t>(tensor.cols);
  return static_cast<size_t>(tensor.cols / tensor.type->block_values * tensor.type->block_bytes);
}

/// Gives back the pages of bytes [begin, end) of the tensor, in pieces of 256 KiB: each piece goes
/// when its last byte has been read. A caller who reads a few rows at a time keeps one piece, not
/// one page for each call, and small tensors, whose pages are their neighbours' too, keep theirs.
void drop(const MappedTensor& tensor, size_t begin, size_t end) {
  constexpr size_t piece = size_t{256} << 10;
  const size_t first = begin / piece * piece;
  const size_t last = end == tensor.data.size() ? end : end / piece * piece;
  if (tensor.data.size() >= piece && first < last)
    tensor.file->drop(tensor.data.subspan(first, last - first));
}

/// Row of the file that holds row `row` of the Hugging Face tensor.
int64_t interleaved_row(const MappedTensor& tensor, int64_t row) {
  const int64_t head_dim = tensor.rows / tensor.interleaved_heads;
  const int64_t head = row / head_dim, in_head = row % head_dim;
  return head * head_dim + in_head % (head_dim / 2) * 2 + in_head / (head_dim / 2);
}

}  // namespace

const MappedFile& MappedCheckpoint::map(const std::string& path) {
  return files_.emplace_back(path);
}

void MappedCheckpoint::add(const std::string& name, std::string_view type,
                           std::span<const int64_t> shape, MappedTensor stored) {
  // Rank 0 is one value, rank 1 one row; above 2 every extent but the last counts rows. An empty
  // tensor has none: its extents may be anything beside the 0.
  if (!stored.data.empty()) {
    stored.cols = shape.empty() ? 1 : shape.back();
    stored.rows = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) stored.rows *= shape[i];
  }
  tensors_.push_back({name, std::string(type), {shape.begin(), shape.end()}, stored.data.size()});
  require(stored_.emplace(name, stored).second, ErrorCode::InvalidFile, path_, ": tensor ", name,
          " occurs twice");
}

void MappedCheckpoint::add_scale(const std::string& weight, const std::string& scale) {
  const CheckpointTensor* const q = find(weight);
  const CheckpointTensor* const s = find(scale);
  for (const auto& [name, found] : {std::pair(weight, q), std::pair(scale, s)})
    require(found != nullptr, ErrorCode::InvalidFile, path_, ": tensor ", name,
            " is missing, the config says that this linear is int8");
  require(q->type == "I8" && q->shape.size() == 2, ErrorCode::InvalidFile, path_, ": tensor ",
          weight, ": ", q->type, " of rank ", q->shape.size(), ", I8 of rank 2 expected");
  require(find_weight_type(s->type) != nullptr && s->shape.size() == 2 &&
              s->shape[0] == q->shape[0] && s->shape[1] == 1,
          ErrorCode::InvalidFile, path_, ": tensor ", scale, " is ", s->type, " of rank ",
          s->shape.size(), " and ", s->shape.empty() ? 0 : s->shape[0], " rows; F32, F16 or BF16 [",
          q->shape[0], ", 1] expected");
  stored_.find(weight)->second.scale = &stored_.find(scale)->second;
}

const MappedTensor& MappedCheckpoint::find_rows(std::string_view name, int64_t begin,
                                                int64_t end) const {
  const auto found = stored_.find(name);
  require(found != stored_.end(), ErrorCode::InvalidFile, path_, ": tensor ", name, " is missing");
  const MappedTensor& tensor = found->second;
  require(begin >= 0 && begin <= end && end <= tensor.rows, ErrorCode::Internal, path_, ": tensor ",
          name, ": rows ", begin, " to ", end, " of ", tensor.rows);
  return tensor;
}

bool MappedCheckpoint::is_quantized(std::string_view name) const {
  const auto found = stored_.find(name);
  return found != stored_.end() && found->second.scale;
}

void MappedCheckpoint::read_quantized_rows(std::string_view name, int64_t begin, int64_t end,
                                           int8_t* q, float* scale) const {
  const MappedTensor& tensor = find_rows(name, begin, end);
  require(tensor.scale != nullptr, ErrorCode::Internal, path_, ": tensor ", name, " is not int8");
  const size_t first = static_cast<size_t>(begin) * row_bytes(tensor);
  const size_t last = static_cast<size_t>(end) * row_bytes(tensor);
  std::memcpy(q, tensor.data.data() + first, last - first);
  drop(tensor, first, last);
  const MappedTensor& scales = *tensor.scale;
  scales.type->to_f32(scales.data.data() + static_cast<size_t>(begin) * row_bytes(scales),
                      end - begin, scale);
}

void MappedCheckpoint::read_rows(std::string_view name, int64_t begin, int64_t end,
                                 float* out) const {
  const MappedTensor& tensor = find_rows(name, begin, end);
  if (tensor.scale) {
    std::vector<int8_t> q(static_cast<size_t>((end - begin) * tensor.cols));
    std::vector<float> scale(static_cast<size_t>(end - begin));
    read_quantized_rows(name, begin, end, q.data(), scale.data());
    for (size_t i = 0; i < q.size(); ++i)
      out[i] = static_cast<float>(q[i]) * scale[i / static_cast<size_t>(tensor.cols)];
    return;
  }
  require(tensor.type != nullptr, ErrorCode::Unsupported, path_, ": tensor ", name,
          ": cannot be read as weights; known are ", known_weight_types());
  const size_t bytes = row_bytes(tensor);
  if (tensor.interleaved_heads == 0) {
    const size_t first = static_cast<size_t>(begin) * bytes;
    tensor.type->to_f32(tensor.data.data() + first, (end - begin) * tensor.cols, out);
    drop(tensor, first, static_cast<size_t>(end) * bytes);
    return;
  }
  for (int64_t row = begin; row < end; ++row) {
    const auto stored_row = static_cast<size_t>(interleaved_row(tensor, row));
    tensor.type->to_f32(tensor.data.data() + stored_row * bytes, tensor.cols,
                        out + (row - begin) * tensor.cols);
  }
  // Rows come from all over their heads: the tensor goes when its last row has been read.
  if (end == tensor.rows) drop(tensor, 0, tensor.data.size());
}

}  // namespace octet
