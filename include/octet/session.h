#pragma once
#include <octet/export.h>
#include <octet/function_ref.h>
#include <octet/model.h>
#include <octet/sampler.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace OCTET_EXPORT octet {

/// One turn of a conversation.
struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// Fills a chat template: the model's own Jinja template, as the prompt's text.
/// Errors: InvalidArgument (the template refused the messages, with its words); Unsupported if
/// the model has no template.
std::string render_chat(const Model& model, std::span<const ChatMessage> messages,
                        bool add_generation_prompt = true);

/// A model's chat template without its weights: opens at once, from whatever holds one.
struct ChatFormatImpl;
void retain(ChatFormatImpl*) noexcept;
void release(ChatFormatImpl*) noexcept;
class ChatFormat {
 public:
  /// path: a converted file, a GGUF file, or a Hugging Face directory or a file in it.
  /// Errors: Io; InvalidFile; Unsupported if there is no template, or one that uses what octet
  /// does not know.
  static ChatFormat open(const std::string& path);
  /// As render_chat().
  std::string render(std::span<const ChatMessage> messages, bool add_generation_prompt) const;

 private:
  explicit ChatFormat(Handle<ChatFormatImpl> impl) : impl_(std::move(impl)) {}
  Handle<ChatFormatImpl> impl_;
};

struct SessionOptions {
  /// Positions that the KV cache may hold; 0: the model's own limit, at most 4096. More than the
  /// model was trained for is an error unless its RoPE scaling covers it.
  int64_t context = 0;
};

enum class StopReason { none, end_token, stop_string, limit, callback, context_full };
const char* to_string(StopReason reason) noexcept;

struct GenerateOptions {
  SamplerOptions sampler;
  int64_t max_tokens = 512;
  std::vector<std::string> stop;  ///< text that ends the generation and is not given out
  bool stop_at_end_tokens = true;
  /// Prompt lookup: where the text repeats itself, the next tokens are guessed from the earlier
  /// place and evaluated in one step, as many as were likely right so far. Changes the speed and
  /// nothing else. Without effect in the f16 and f32 schemes, whose logits depend on the step.
  bool lookup = true;
};

/// What the model's checkpoint recommends; where it is silent, top-k 5 at temperature 0.7.
GenerateOptions default_options(const Model& model);

/// What the last generation did. Seconds are wall time.
struct GenerateStats {
  int64_t prompt_tokens = 0;  ///< evaluated for this call
  int64_t cached_tokens = 0;  ///< taken from the KV cache
  int64_t generated_tokens = 0;
  int64_t drafted_tokens = 0;   ///< guesses by prompt lookup that were evaluated
  int64_t accepted_tokens = 0;  ///< of these, the ones that became generated tokens
  double prefill_seconds = 0;
  double decode_seconds = 0;
  double first_token_seconds = 0;  ///< call to first token, tokenizer included
  StopReason stop = StopReason::none;
};

struct SessionImpl;
void retain(SessionImpl*) noexcept;
void release(SessionImpl*) noexcept;
class TextStream;

/// One sequence: a KV cache and the conversation in it. A session is used by one thread at a
/// time; sessions of one model may run in different threads (their steps take turns on the
/// model's pool). Movable; copies refer to the same sequence.
class Session {
 public:
  /// Reserves the KV cache's address space; memory is taken as positions fill up.
  /// Errors: InvalidArgument, OutOfMemory naming both numbers.
  explicit Session(const Model& model, const SessionOptions& options = {});

  // --- conversation ---------------------------------------------------------------------------

  /// Adds a user turn (through the chat template, or as plain text where the model has none) and
  /// returns the answer as a range of pieces of text, made while it is iterated:
  ///   for (std::string_view piece : session.stream("Hello")) std::cout << piece;
  /// Iterating to the end, or destroying the stream, adds what was generated as the assistant's
  /// turn. The default options are default_options(model).
  TextStream stream(std::string_view user);
  TextStream stream(std::string_view user, const GenerateOptions& options);

  /// The same, blocking. on_text gets each piece and returns false to stop.
  std::string generate(std::string_view user, const GenerateOptions& options,
                       FunctionRef<bool(std::string_view)> on_text);
  std::string generate(std::string_view user);

  /// Continues `prompt` as it stands, without the chat template; the session starts over.
  TextStream complete(std::string_view prompt, const GenerateOptions& options);

  const std::vector<ChatMessage>& messages() const;
  /// Replaces the conversation. The cache keeps what the next prompt shares with it.
  void set_messages(std::vector<ChatMessage> messages);
  const GenerateStats& stats() const;

  // --- tokens ---------------------------------------------------------------------------------

  /// Appends ids to the sequence and evaluates them. on_logits, if given, is called for each row
  /// asked for, in order, with logits [vocab_size] valid during the call: every row, or the last.
  /// Errors: InvalidArgument for an id outside the vocabulary or a full context (both numbers).
  enum class Rows { none, last, all };
  void evaluate(std::span<const int32_t> ids, Rows rows,
                FunctionRef<void(int64_t row, std::span<const float> logits)> on_logits);

  /// Forgets every position from `length` on. Errors: InvalidArgument if length > size().
  void truncate(int64_t length);
  int64_t size() const;                        ///< positions in the cache
  int64_t context() const;                     ///< positions that fit
  const std::vector<int32_t>& tokens() const;  ///< the ids at those positions
  const Model& model() const;

  const Handle<SessionImpl>& impl() const { return impl_; }

 private:
  Handle<SessionImpl> impl_;
};

/// What one sequence contributes to a step.
struct StepInput {
  Session* session;
  std::span<const int32_t> ids;
  Session::Rows rows = Session::Rows::last;
};

/// One ragged step: any mix of prompt chunks and single tokens of different sessions of one
/// model. Each session's logits are bit for bit those of evaluating it alone (int8 schemes).
/// on_logits(input, row, logits): row counts within that input's ids.
void step(std::span<const StepInput> inputs,
          FunctionRef<void(size_t input, int64_t row, std::span<const float> logits)> on_logits);

struct TopLogit {
  float logit;
  int32_t id;
};
/// The same, but of each row only the `count` largest logits, best first (of equal ones the smaller
/// id first): a device then returns a few bytes a row. count: 1 to max_top_logits.
inline constexpr int64_t max_top_logits = 64;
void step_top(std::span<const StepInput> inputs, int64_t count,
              FunctionRef<void(size_t input, int64_t row, std::span<const TopLogit> best)> on_best);

struct TextStreamImpl;
void retain(TextStreamImpl*) noexcept;
void release(TextStreamImpl*) noexcept;

/// A single-pass range over an answer's pieces, each valid until the next is made.
class TextStream {
 public:
  class iterator {
   public:
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    std::string_view operator*() const { return stream_->piece_; }
    iterator& operator++() {
      stream_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(const iterator&) const { return stream_->done_; }

   private:
    friend class TextStream;
    explicit iterator(TextStream* stream) : stream_(stream) {}
    TextStream* stream_;
  };

  /// Makes the first piece. Errors while generating come out of here and of ++.
  iterator begin();
  iterator end() { return iterator(this); }
  /// Ends the answer here: no more tokens are made.
  void stop();

  explicit TextStream(Handle<TextStreamImpl> impl) : impl_(std::move(impl)) {}

 private:
  void advance();
  Handle<TextStreamImpl> impl_;
  std::string_view piece_;
  bool done_ = false;
};

}  // namespace octet
