// Session: the sequence and its cache. Text generation is in text_stream.cpp, steps in step.cpp.
#include <octet/session.h>

#include <algorithm>

#include "lib/core/error.h"
#include "lib/generate/session_impl.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

constexpr int64_t default_context = 4096;

int64_t context_of(const Model& model, const SessionOptions& options) {
  const int64_t limit = context_limit(model.config());
  require(options.context >= 0 && options.context <= limit, ErrorCode::InvalidArgument,
          "context: ", options.context, " positions, but this model was made for at most ", limit);
  return options.context > 0 ? options.context : std::min(limit, default_context);
}

}  // namespace

void retain(SessionImpl* impl) noexcept {
  retain_counted(impl);
}
void release(SessionImpl* impl) noexcept {
  release_counted(impl);
}

SessionImpl::SessionImpl(const Model& owner, int64_t positions)
    : model(owner),
      context(positions),
      rope(make_rope(owner.config(), positions)),
      cache(owner.config(), owner.kv_cache(), positions, owner.impl()->backend->kv_memory()) {
  tokens.reserve(static_cast<size_t>(positions));
}

Session::Session(const Model& model, const SessionOptions& options)
    : impl_(new SessionImpl(model, context_of(model, options))) {}

const std::vector<ChatMessage>& Session::messages() const {
  return impl_->messages;
}
void Session::set_messages(std::vector<ChatMessage> messages) {
  impl_->messages = std::move(messages);
}
const GenerateStats& Session::stats() const {
  return impl_->stats;
}
int64_t Session::size() const {
  return static_cast<int64_t>(impl_->tokens.size());
}
int64_t Session::context() const {
  return impl_->context;
}
const std::vector<int32_t>& Session::tokens() const {
  return impl_->tokens;
}
const Model& Session::model() const {
  return impl_->model;
}

void Session::truncate(int64_t length) {
  require(length >= 0 && length <= size(), ErrorCode::InvalidArgument, "truncate to ", length,
          " positions: the session has ", size());
  impl_->tokens.resize(static_cast<size_t>(length));
  impl_->cache.release_from(length);
  if (impl_->lookup) impl_->lookup->sequence_cut(length);
}

std::string render_chat(const Model& model, std::span<const ChatMessage> messages,
                        bool add_generation_prompt) {
  ModelImpl& impl = *model.impl();
  require(!impl.text.chat_template.empty(), ErrorCode::Unsupported,
          "this model has no chat template; use plain prompts (--raw)");
  // Parsed late: a model whose template octet does not know still continues plain text.
  std::call_once(impl.template_parsed,
                 [&] { impl.chat_template.emplace(impl.text.chat_template); });
  return impl.chat_template->render({messages.begin(), messages.end()}, add_generation_prompt,
                                    impl.text.bos_token, impl.text.eos_token);
}

}  // namespace octet
