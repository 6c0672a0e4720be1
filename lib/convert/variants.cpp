#include "lib/convert/variants.h"

#include <set>

#include "lib/model/linear_kinds.h"

namespace octet {
namespace {

/// "X.weight" of X.weight, X.weight_scale and X.weight_sum.
std::string_view owner_of(std::string_view stored) {
  for (const std::string_view part : {scale_name(""), sum_name("")})
    if (stored.ends_with(part)) return stored.substr(0, stored.size() - part.size());
  return stored;
}

std::vector<ModelTensor> linears_of(std::span<const ModelTensor> tensors) {
  std::vector<ModelTensor> linears;
  for (const ModelTensor& tensor : tensors)
    if (is_linear(tensor.name)) linears.push_back(tensor);
  return linears;
}

/// Those that have an input of their own.
std::vector<ModelTensor> groupable(std::span<const ModelTensor> tensors, int64_t num_layers) {
  std::set<std::string> names = {weight_name(LinearKind::head, 0)};
  for (int64_t layer = 0; layer < num_layers; ++layer)
    for (int kind = 0; kind < num_layer_kinds; ++kind)
      if (has_own_input(static_cast<LinearKind>(kind)))
        names.insert(weight_name(static_cast<LinearKind>(kind), layer));
  std::vector<ModelTensor> linears;
  for (const ModelTensor& tensor : tensors)
    if (names.contains(tensor.name)) linears.push_back(tensor);
  return linears;
}

}  // namespace

/// Each tensor from the store that has its matrix in the scheme asked for.
class Variants::Chosen : public TensorStore {
 public:
  Chosen(const Variants& variants, Schemes schemes, std::unique_ptr<MemoryStore> f16 = nullptr)
      : variants_(variants), schemes_(std::move(schemes)), f16_(std::move(f16)) {}

  bool has(const std::string& name) const override { return variants_.plain_.has(name); }
  const std::byte* data(const StoredTensor& tensor) const override {
    const std::string_view weight = owner_of(tensor.name);
    const Scheme scheme = schemes_.of(weight);
    if (scheme == variants_.schemes_.of(weight)) return variants_.plain_.data(tensor);
    return (scheme == Scheme::f16 ? *f16_ : *variants_.groups_).data(tensor);
  }

 private:
  const Variants& variants_;
  Schemes schemes_;
  std::unique_ptr<MemoryStore> f16_;
};

Variants::Variants(const Checkpoint& checkpoint, std::vector<ModelTensor> tensors, Schemes schemes,
                   bool grouped, ThreadPool& pool)
    : checkpoint_(checkpoint),
      tensors_(std::move(tensors)),
      schemes_(std::move(schemes)),
      with_groups_(schemes_),
      pool_(pool),
      plain_(stored_tensors(tensors_, schemes_)),
      write_plain_(checkpoint, tensors_, schemes_, plain_, pool) {
  if (!grouped) return;
  const std::vector<ModelTensor> linears = groupable(tensors_, checkpoint.config().num_layers);
  groups_ = std::make_unique<MemoryStore>(stored_tensors(linears, Scheme::w8a8_g128));
  write_groups_.emplace(checkpoint, linears, Scheme::w8a8_g128, *groups_, pool);
  for (const ModelTensor& linear : linears) with_groups_.others[linear.name] = Scheme::w8a8_g128;
  all_grouped_ = std::make_unique<Chosen>(*this, with_groups_);
}

Variants::~Variants() = default;

void Variants::write(std::span<const ModelTensor> tensors, const Feedbacks& feedbacks,
                     WeightCounter* counter) {
  write_plain_.write(tensors, feedbacks, counter);
  if (!groups_) return;
  std::vector<ModelTensor> grouped;
  for (const ModelTensor& tensor : tensors)
    if (with_groups_.of(tensor.name) != schemes_.of(tensor.name)) grouped.push_back(tensor);
  write_groups_->write(grouped, feedbacks, nullptr);
}

StoredModel Variants::plain() const {
  return {schemes_, &plain_};
}

std::optional<StoredModel> Variants::grouped() const {
  if (!groups_) return std::nullopt;
  return StoredModel{with_groups_, all_grouped_.get()};
}

std::unique_ptr<TensorStore> Variants::chosen(const Schemes& schemes) {
  std::vector<ModelTensor> floats;
  for (const ModelTensor& linear : linears_of(tensors_))
    if (schemes.of(linear.name) == Scheme::f16 && schemes_.of(linear.name) != Scheme::f16)
      floats.push_back(linear);
  auto f16 = std::make_unique<MemoryStore>(stored_tensors(floats, Scheme::f16));
  TensorWriter(checkpoint_, floats, Scheme::f16, *f16, pool_).write(floats, {}, nullptr);
  return std::make_unique<Chosen>(*this, schemes, std::move(f16));
}

}  // namespace octet
