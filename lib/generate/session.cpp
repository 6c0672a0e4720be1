// Session: the sequence and its cache. Text generation is in text_stream.cpp, steps in step.cpp.
#include <octet/session.h>

#include <algorithm>

#include "lib/core/error.h"
#include "lib/generate/session_impl.h"
#include "lib/model/adapter_impl.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

constexpr int64_t default_context = 4096;

}  // namespace

int64_t context_of(const Model& model, int64_t asked) {
  const int64_t limit = context_limit(model.config());
  require(asked >= 0 && asked <= limit, ErrorCode::InvalidArgument, "context: ", asked,
          " positions, but this model was made for at most ", limit);
  return asked > 0 ? asked : std::min(limit, default_context);
}

void retain(SessionImpl* impl) noexcept {
  retain_counted(impl);
}
void release(SessionImpl* impl) noexcept {
  release_counted(impl);
}

SessionImpl::SessionImpl(const Model& owner, int64_t positions, Overflow policy)
    : model(owner),
      rope(make_rope(owner.config(), positions)),
      reservation(*owner.impl()->kv_pool, kv_blocks(positions)),
      sequence(*owner.impl()->kv_pool, rope, positions),
      overflow(policy) {}

Session::Session(const Model& model, const SessionOptions& options)
    : impl_(new SessionImpl(model, context_of(model, options.context), options.overflow)) {
  set_adapters(options.adapters);
}

Session Session::fork() const {
  Session copy(model(),
               {.context = context(), .overflow = impl_->overflow, .adapters = impl_->adapters});
  SessionImpl& to = *copy.impl_;
  const auto blocks = static_cast<size_t>(kv_blocks(size()));
  for (KvBlock* block : impl_->sequence.cache.blocks().first(blocks))
    to.sequence.cache.append_shared(block);
  to.sequence.tokens.assign(tokens().begin(), tokens().end());
  to.messages = impl_->messages;
  return copy;
}

const std::vector<ChatMessage>& Session::messages() const {
  return impl_->messages;
}
void Session::set_messages(std::vector<ChatMessage> messages) {
  impl_->messages = std::move(messages);
}
const std::vector<GeneratedToken>& Session::generated() const {
  return impl_->generated;
}
const std::string& Session::reasoning() const {
  return impl_->reasoning;
}
const GenerateStats& Session::stats() const {
  return impl_->stats;
}
int64_t Session::size() const {
  return static_cast<int64_t>(impl_->sequence.tokens.size());
}
int64_t Session::context() const {
  return impl_->sequence.context;
}
const std::vector<int32_t>& Session::tokens() const {
  return impl_->sequence.tokens;
}
const Model& Session::model() const {
  return impl_->model;
}

void Session::set_adapters(std::vector<Adapter> adapters) {
  std::vector<const AdapterImpl*> impls;
  for (const Adapter& adapter : adapters) {
    require(&*adapter.model().impl() == &*impl_->model.impl(), ErrorCode::InvalidArgument,
            "adapter ", adapter.path(), ": loaded for another model than the session's");
    impls.push_back(&*adapter.impl());
  }
  truncate(0);  // what is in the cache was computed with others
  impl_->adapters = std::move(adapters);
  impl_->sequence.adapters = std::move(impls);
}

void Session::truncate(int64_t length) {
  require(length >= 0 && length <= size(), ErrorCode::InvalidArgument, "truncate to ", length,
          " positions: the session has ", size());
  impl_->sequence.truncate(length);
  if (impl_->lookup) impl_->lookup->sequence_cut(length);
}

}  // namespace octet
