#pragma once
#include <octet/adapter.h>
#include <octet/export.h>
#include <octet/function_ref.h>
#include <octet/generate.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace OCTET_EXPORT octet {

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

/// What happens when a conversation no longer fits into the context.
enum class Overflow {
  error,  ///< InvalidArgument naming both numbers
  /// The oldest turns are left out of the prompt until it fits, a user's message with the answer to
  /// it at a time; system messages and the last user's message stay. The turns stay in messages(),
  /// and GenerateStats::dropped_turns tells how many were left out.
  drop_oldest,
};

struct SessionOptions {
  /// Positions that the KV cache may hold; 0: the model's own limit, at most 4096. More than the
  /// model was trained for is an error unless its RoPE scaling covers it.
  int64_t context = 0;
  Overflow overflow = Overflow::error;
  std::vector<Adapter> adapters = {};  ///< their changes add up
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
  /// Reserves the KV cache for the whole context; on a CPU memory is taken as positions fill up.
  /// Errors: InvalidArgument (also for an adapter of another model), OutOfMemory naming both
  /// numbers.
  explicit Session(const Model& model, const SessionOptions& options = {});

  /// Another session that continues from here by itself. Both share the memory of what they have
  /// in common. Errors: OutOfMemory.
  Session fork() const;

  /// Writes messages, tokens, keys and values, all or nothing. Errors: Io; Unsupported for a
  /// session with adapters.
  void save(const std::string& path) const;
  /// A saved session, which continues without evaluating anything again.
  /// Errors: Io; InvalidFile (also for a damaged file); InvalidArgument if it was saved with
  /// another model or another type of KV cache, or holds more tokens than options.context;
  /// Unsupported for a newer version.
  static Session load(const Model& model, const std::string& path,
                      const SessionOptions& options = {});

  // --- conversation ---------------------------------------------------------------------------

  /// Adds a user turn (through the chat template, or as plain text where the model has none) and
  /// returns the answer as a range of pieces of text, made while it is iterated:
  ///   for (std::string_view piece : session.stream("Hello")) std::cout << piece;
  /// Iterating to the end, or destroying the stream, adds what was generated as the assistant's
  /// turn. The default options are default_options(model). The prompt is evaluated before the
  /// stream is returned. Errors: also Cancelled, if options.cancel ends that (within 50 ms at the
  /// size 1.5B); the conversation is then as before. Later it ends the stream
  /// (StopReason::cancelled), as stop() does.
  TextStream stream(std::string_view user);
  TextStream stream(std::string_view user, const GenerateOptions& options);

  /// The same, blocking. on_text gets each piece and returns false to stop.
  std::string generate(std::string_view user, const GenerateOptions& options,
                       FunctionRef<bool(std::string_view)> on_text);
  std::string generate(std::string_view user);

  /// Continues `prompt` as it stands, without the chat template; the session starts over.
  TextStream complete(std::string_view prompt, const GenerateOptions& options);

  /// Removes the last user's message and everything after it; false if there is none. What the
  /// cache holds of the turns before it stays.
  bool drop_last_turn();
  /// The last user's message in other words, and a new answer to it: drop_last_turn(), stream().
  TextStream edit_last_turn(std::string_view user, const GenerateOptions& options);

  const std::vector<ChatMessage>& messages() const;
  /// Replaces the conversation. The cache keeps what the next prompt shares with it.
  void set_messages(std::vector<ChatMessage> messages);
  const GenerateStats& stats() const;
  /// What was generated last: each token, if options.logprobs asked for them, and the reasoning, if
  /// options.think.separate did. (A stream gives out both in its own order.)
  const std::vector<GeneratedToken>& generated() const;
  const std::string& reasoning() const;

  /// Uses other adapters from now on: the sequence starts over, the conversation stays.
  /// Errors: InvalidArgument for an adapter of another model.
  void set_adapters(std::vector<Adapter> adapters);

  // --- tokens ---------------------------------------------------------------------------------

  /// Appends ids to the sequence and evaluates them. on_logits, if given, is called for each row
  /// asked for, in order, with logits [vocab_size] valid during the call: every row, or the last.
  /// Errors: InvalidArgument for an id outside the vocabulary or a full context (both numbers);
  /// Cancelled, with some of the ids appended.
  enum class Rows { none, last, all };
  void evaluate(std::span<const int32_t> ids, Rows rows,
                FunctionRef<void(int64_t row, std::span<const float> logits)> on_logits,
                const CancelToken& cancel = {});

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

/// The same, but of each row only the `count` largest logits, best first (of equal ones the smaller
/// id first): a device then returns a few bytes a row. Ids that stand for no text (padding of the
/// embedding) are left out; where there are fewer ids than count, the rest are -1 at -infinity.
/// count: 1 to max_top_logits; Sampler::best_needed() knows how many a draw takes.
void step_top(std::span<const StepInput> inputs, int64_t count,
              FunctionRef<void(size_t input, int64_t row, std::span<const TopLogit> best)> on_best);

struct TextStreamImpl;
void retain(TextStreamImpl*) noexcept;
void release(TextStreamImpl*) noexcept;

/// A single-pass range over an answer's pieces, each valid until the next is made. With
/// ThinkBudget::separate a piece is either reasoning or answer.
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
  /// Whether the current piece is reasoning.
  bool reasoning() const;
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
