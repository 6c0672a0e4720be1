#include "lib/export/octet_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "kernels/types.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/io/float_formats.h"
#include "quant/dequantize.h"
#include "quant/pack.h"

namespace octet {
namespace {

class OctetCheckpoint final : public Checkpoint {
 public:
  explicit OctetCheckpoint(std::unique_ptr<OctetFile> file) : file_(std::move(file)) {
    const OctetHeader& header = file_->header();
    path_ = file_->path();
    format_ = "octet";
    config_ = header.config;
    text_ = {file_->tokenizer_source(), header.chat_template, header.bos_token, header.eos_token};
    for (const ModelTensor& tensor : model_tensors(config_)) {
      const std::vector<StoredTensor> parts = stored_tensors({&tensor, 1}, header.schemes);
      Parts& stored = parts_[tensor.name];
      stored.scheme = tensor.shape.size() == 2 ? header.schemes.of(tensor.name) : Scheme::f32;
      stored.k = tensor.shape.back();
      stored.rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
      stored.data = file_->data(parts[0]);
      if (is_int8(stored.scheme)) stored.scale = file_->data(parts[1]);
      tensors_.push_back({tensor.name, parts[0].dtype, tensor.shape, parts[0].bytes()});
    }
  }

  void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const Parts& tensor = rows_of(name, begin, end);
    std::vector<int8_t> scratch(static_cast<size_t>(tensor.k));
    for (int64_t row = begin; row < end; ++row)
      read_row(tensor, row, scratch.data(), out + (row - begin) * tensor.k);
    const int64_t block = rotation_of_input(name);
    if (block > 1) active_kernels().hadamard_f32(out, (end - begin) * tensor.k, block);
  }

  bool is_quantized(std::string_view name) const override {
    const auto found = parts_.find(name);
    return found != parts_.end() && found->second.scheme == Scheme::w8a8;
  }

  void read_quantized_rows(std::string_view name, int64_t begin, int64_t end, int8_t* q,
                           float* scale) const override {
    const Parts& tensor = rows_of(name, begin, end);
    require(tensor.scheme == Scheme::w8a8, ErrorCode::Internal, path_, ": tensor ", name,
            " is not w8a8");
    for (int64_t row = begin; row < end; ++row)
      quant::unpack_row(reinterpret_cast<const int8_t*>(tensor.data), tensor.k, row,
                        q + (row - begin) * tensor.k);
    std::memcpy(scale, tensor.scale + begin * int64_t{sizeof(float)},
                static_cast<size_t>(end - begin) * sizeof(float));
  }

 private:
  struct Parts {
    Scheme scheme;
    int64_t rows, k;
    const std::byte* data;
    const std::byte* scale = nullptr;
  };

  /// The Hadamard blocks by which a linear's input is to be multiplied.
  int64_t rotation_of_input(std::string_view name) const {
    const RotationSizes& rotation = file_->header().rotation;
    if (!is_linear(name) || name.ends_with("o_proj.weight")) return 1;
    return name.ends_with("down_proj.weight") ? rotation.down : rotation.norm;
  }

  const Parts& rows_of(std::string_view name, int64_t begin, int64_t end) const {
    const auto found = parts_.find(name);
    require(found != parts_.end() && begin >= 0 && begin <= end && end <= found->second.rows,
            ErrorCode::Internal, path_, ": tensor ", name, ": no rows ", begin, " to ", end);
    return found->second;
  }

  static void read_row(const Parts& tensor, int64_t row, int8_t* scratch, float* out) {
    const auto* packed = reinterpret_cast<const int8_t*>(tensor.data);
    switch (tensor.scheme) {
      case Scheme::f32:
        std::copy_n(reinterpret_cast<const float*>(tensor.data) + row * tensor.k, tensor.k, out);
        break;
      case Scheme::f16:
        std::transform(reinterpret_cast<const uint16_t*>(tensor.data) + row * tensor.k,
                       reinterpret_cast<const uint16_t*>(tensor.data) + (row + 1) * tensor.k, out,
                       f16_to_f32);
        break;
      case Scheme::w8a8:
        quant::dequantize_row(packed, tensor.k, row,
                              reinterpret_cast<const float*>(tensor.scale)[row], scratch, out);
        break;
      case Scheme::w8a8_g128:
        quant::dequantize_row_grouped(
            packed, tensor.k, row, reinterpret_cast<const uint16_t*>(tensor.scale), scratch, out);
        break;
    }
  }

  std::unique_ptr<OctetFile> file_;
  std::map<std::string, Parts, std::less<>> parts_;
};

}  // namespace

std::unique_ptr<Checkpoint> octet_checkpoint(std::unique_ptr<OctetFile> file) {
  return std::make_unique<OctetCheckpoint>(std::move(file));
}

}  // namespace octet
