#pragma once
// A model's linears in each form that a search may choose, side by side in memory.
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lib/convert/write_tensors.h"
#include "lib/model/memory_store.h"

namespace octet {

/// Where a model's tensors lie, and in which schemes.
struct StoredModel {
  Schemes schemes;
  const TensorStore* store;
};

class Variants {
 public:
  /// tensors: all of the model. schemes: those of the plain variant. grouped: whether the linears
  /// that have an input of their own are kept in w8a8-g128 as well.
  Variants(const Checkpoint& checkpoint, std::vector<ModelTensor> tensors, Schemes schemes,
           bool grouped, ThreadPool& pool);
  ~Variants();

  /// Tensors of the model, into every variant that has them. Errors: as TensorWriter::write().
  void write(std::span<const ModelTensor> tensors, const Feedbacks& feedbacks,
             WeightCounter* counter);

  /// Every tensor in its plain form.
  StoredModel plain() const;
  /// The same with those linears in w8a8-g128; none if that variant is not kept.
  std::optional<StoredModel> grouped() const;
  /// schemes: of each matrix the plain one, w8a8-g128 where that is kept, or f16, which is made
  /// here from the checkpoint. Valid as long as this object.
  std::unique_ptr<TensorStore> chosen(const Schemes& schemes);

 private:
  class Chosen;

  const Checkpoint& checkpoint_;
  std::vector<ModelTensor> tensors_;
  Schemes schemes_, with_groups_;
  ThreadPool& pool_;
  MemoryStore plain_;
  std::unique_ptr<MemoryStore> groups_;
  std::unique_ptr<TensorStore> all_grouped_;
  TensorWriter write_plain_;
  std::optional<TensorWriter> write_groups_;
};

}  // namespace octet
