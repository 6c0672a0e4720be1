#pragma once
// Chat templates: the subset of Jinja that models' chat_template strings use.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

struct ChatMessage;  // octet/session.h

/// A parsed template; rendering is const and thread-safe.
class ChatTemplate {
 public:
  /// Errors: Unsupported naming the construct and its line, InvalidFile for a syntax error.
  explicit ChatTemplate(std::string_view source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  /// Errors: InvalidArgument with the template's own text where it calls raise_exception;
  /// Unsupported for a filter, test, function or method that octet does not know.
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                     std::string_view bos_token, std::string_view eos_token) const;

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace octet
