#include <octet/model.h>

#include "lib/core/error.h"
#include "lib/model/kv_cache.h"
#include "lib/model/model_impl.h"

namespace octet {

void retain(ModelImpl* impl) noexcept {
  retain_counted(impl);
}
void release(ModelImpl* impl) noexcept {
  release_counted(impl);
}

const std::shared_ptr<const TokenTrie>& token_trie(ModelImpl& model) {
  std::call_once(model.trie_made, [&] {
    require(model.text.tokenizer.has_value(), ErrorCode::Unsupported,
            "constraints: this model has no tokenizer");
    const Tokenizer& tokenizer = *model.text.tokenizer;
    const std::vector<int32_t> tags = {tokenizer.find("<think>"), tokenizer.find("</think>")};
    model.trie = std::make_shared<const TokenTrie>(tokenizer, tags);
  });
  return model.trie;
}

const ModelConfig& Model::config() const {
  return impl_->config;
}
Scheme Model::scheme() const {
  return impl_->schemes.model;
}
bool Model::has_tokenizer() const {
  return impl_->text.tokenizer.has_value();
}

const Tokenizer& Model::tokenizer() const {
  require(has_tokenizer(), ErrorCode::Unsupported,
          "this model has no tokenizer: its directory held neither tokenizer.json nor "
          "tokenizer.model");
  return *impl_->text.tokenizer;
}

const std::string& Model::chat_template() const {
  return impl_->text.chat_template;
}
int Model::threads() const {
  return impl_->backend->threads();
}
const char* Model::device() const {
  return impl_->backend->device();
}
const std::string& Model::device_note() const {
  return impl_->device_note;
}
const char* Model::instruction_set() const {
  return impl_->backend->instruction_set();
}
int64_t Model::weight_bytes() const {
  return impl_->weights.bytes;
}
int64_t Model::decode_weight_bytes() const {
  return impl_->weights.decode_bytes;
}

KvCacheType Model::kv_cache() const {
  return impl_->kv_cache;
}

int64_t Model::kv_bytes_per_token() const {
  return octet::kv_bytes_per_token(impl_->config, impl_->kv_cache);
}

}  // namespace octet
