#include "lib/convert/lora_checkpoint.h"

namespace octet {
namespace {

class LoraCheckpoint final : public Checkpoint {
 public:
  LoraCheckpoint(std::unique_ptr<Checkpoint> source, std::vector<ScaledAdapter> adapters)
      : source_(std::move(source)), adapters_(std::move(adapters)) {
    path_ = source_->path();
    format_ = source_->format();
    config_ = source_->config();
    text_ = source_->text();
    tensors_ = source_->tensors();
  }

  void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    source_->read_rows(name, begin, end, out);
    for (const ScaledAdapter& part : adapters_)
      if (part.adapter.changes(name)) add(part, name, begin, end, out);
  }

 private:
  static void add(const ScaledAdapter& part, std::string_view name, int64_t begin, int64_t end,
                  float* out) {
    const LowRankDelta delta = part.adapter.delta(name);
    const auto k = static_cast<int64_t>(delta.down.size()) / delta.rank;
    const auto scale = static_cast<float>(delta.scale * part.scale);
    for (int64_t row = begin; row < end; ++row)
      for (int64_t j = 0; j < delta.rank; ++j) {
        const float factor = scale * delta.up[static_cast<size_t>(row * delta.rank + j)];
        const float* const down = delta.down.data() + j * k;
        float* const values = out + (row - begin) * k;
        for (int64_t i = 0; i < k; ++i) values[i] += factor * down[i];
      }
  }

  std::unique_ptr<Checkpoint> source_;
  std::vector<ScaledAdapter> adapters_;
};

}  // namespace

std::unique_ptr<Checkpoint> lora_checkpoint(std::unique_ptr<Checkpoint> source,
                                            std::vector<ScaledAdapter> adapters) {
  return std::make_unique<LoraCheckpoint>(std::move(source), std::move(adapters));
}

}  // namespace octet
