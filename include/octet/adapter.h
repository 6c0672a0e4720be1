#pragma once
#include <octet/model.h>

#include <cstdint>
#include <string>

namespace OCTET_EXPORT octet {

struct AdapterImpl;
void retain(AdapterImpl*) noexcept;
void release(AdapterImpl*) noexcept;

/// A LoRA adapter beside a model's own weights: y = W x + scale * up (down x) in the linears that
/// it changes (Hu et al. 2021, arXiv:2106.09685). It is computed in fp32 from fp16 matrices, also
/// where W is int8; no weight of the model changes. Sessions of one model may use different
/// adapters, or several at once, in the same step. Copies are cheap and share the matrices.
class Adapter {
 public:
  /// directory: as Hugging Face's PEFT saves it, adapter_config.json and adapter_model.safetensors.
  /// scale: how much of it, on top of the adapter's own lora_alpha / r.
  /// If the model's weights are rotated, the adapter is rotated along.
  /// Errors: Io; InvalidFile if the files are damaged or do not fit the model; InvalidArgument for
  /// a scale that is not finite; Unsupported for another method than plain LoRA of linears, and for
  /// a rotated file that an older octet converted (which did not keep what an adapter needs);
  /// OutOfMemory of a device.
  static Adapter load(const Model& model, const std::string& directory, double scale = 1);

  const Model& model() const;
  const std::string& path() const;
  int64_t bytes() const;  ///< of the matrices; all are read for each decoded token

  explicit Adapter(Handle<AdapterImpl> impl) : impl_(std::move(impl)) {}
  const Handle<AdapterImpl>& impl() const { return impl_; }

 private:
  Handle<AdapterImpl> impl_;
};

}  // namespace octet
