// The chat template of a file, without its weights.
#include <octet/session.h>

#include "lib/core/counted.h"
#include "lib/core/error.h"
#include "lib/io/checkpoint.h"
#include "lib/model/octet_file.h"
#include "lib/text/chat_template.h"

namespace octet {
namespace {

CheckpointText read_text(const std::string& path) {
  if (const std::unique_ptr<OctetFile> file = OctetFile::open(path)) {
    const OctetHeader& header = file->header();
    return {std::nullopt, header.chat_template, header.bos_token, header.eos_token};
  }
  return read_checkpoint_text(path);
}

}  // namespace

struct ChatFormatImpl : Counted {
  explicit ChatFormatImpl(const CheckpointText& source)
      : text(source), chat_template(text.chat_template) {}
  CheckpointText text;
  ChatTemplate chat_template;
};

void retain(ChatFormatImpl* impl) noexcept {
  retain_counted(impl);
}
void release(ChatFormatImpl* impl) noexcept {
  release_counted(impl);
}

ChatFormat ChatFormat::open(const std::string& path) {
  const CheckpointText text = read_text(path);
  require(!text.chat_template.empty(), ErrorCode::Unsupported, path, ": no chat template in it");
  return ChatFormat(Handle<ChatFormatImpl>(new ChatFormatImpl(text)));
}

std::string ChatFormat::render(std::span<const ChatMessage> messages,
                               bool add_generation_prompt) const {
  return impl_->chat_template.render({messages.begin(), messages.end()}, add_generation_prompt,
                                     impl_->text.bos_token, impl_->text.eos_token);
}

}  // namespace octet
