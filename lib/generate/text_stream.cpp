// Text from a session: prompts, turns, and the stream of an answer.
#include <octet/session.h>

#include <algorithm>
#include <chrono>

#include "lib/core/error.h"
#include "lib/generate/answer.h"
#include "lib/generate/row_copies.h"
#include "lib/generate/session_impl.h"
#include "lib/generate/step.h"

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The tokens that `ids` shares with the session's cache, at least one short of all of `ids`: its
/// last token must be evaluated for its logits.
int64_t shared_prefix(const Session& session, std::span<const int32_t> ids) {
  const std::vector<int32_t>& cached = session.tokens();
  const size_t most = std::min(cached.size(), ids.size() - 1);
  size_t n = 0;
  while (n < most && cached[n] == ids[n]) ++n;
  return static_cast<int64_t>(n);
}

}  // namespace

struct TextStreamImpl : Counted {
  TextStreamImpl(Session owner, const GenerateOptions& wanted, std::span<const int32_t> prompt)
      : session(std::move(owner)), options(wanted), answer(session.model(), wanted, prompt) {}
  ~TextStreamImpl() override { finish_turn(); }

  /// Evaluates the prompt and takes its logits.
  void start(std::span<const int32_t> prompt);
  /// Moves to the next piece of text that is not empty; false at the end.
  bool next();
  void stop();

  Session session;
  GenerateOptions options;
  bool turn = false;  // the answer becomes the assistant's turn
  Answer answer;
  RowCopies last_row;  // of a step without lookup
  RowLogits logits;    // of the next token
  std::string text;    // of the answer so far, without reasoning that is given out apart
  GenerationPiece piece;
  Clock::time_point begin = Clock::now();
  bool flushed = false;

 private:
  void evaluate(std::span<const int32_t> ids);
  void advance(int32_t id);
  void make_token();
  void finish_turn();
};

void retain(TextStreamImpl* impl) noexcept {
  retain_counted(impl);
}
void release(TextStreamImpl* impl) noexcept {
  release_counted(impl);
}

void TextStreamImpl::evaluate(std::span<const int32_t> ids) {
  octet::evaluate(session, ids, Session::Rows::last, answer.wanted(), options.cancel,
                  [&](int64_t, const RowLogits& row) { last_row.keep(0, answer.sufficient(row)); });
  logits = last_row.row(0);
}

/// Appends a token that was made.
void TextStreamImpl::advance(int32_t id) {
  if (options.lookup)
    logits = session.impl()->lookup->advance(
        session, id, options.max_tokens - answer.stats.generated_tokens, answer, options.cancel);
  else
    evaluate(std::span(&id, 1));
}

void TextStreamImpl::start(std::span<const int32_t> prompt) {
  require(!prompt.empty(), ErrorCode::InvalidArgument, "the prompt is empty");
  require(static_cast<int64_t>(prompt.size()) < session.context(), ErrorCode::InvalidArgument,
          "the prompt has ", prompt.size(), " tokens, the context holds ", session.context(),
          " and one more is needed for an answer");
  const int64_t shared = shared_prefix(session, prompt);
  session.truncate(shared);
  evaluate(prompt.subspan(static_cast<size_t>(shared)));
  SessionImpl& impl = *session.impl();
  impl.generated.clear();
  impl.reasoning.clear();
  impl.stats = {};
  impl.stats.cached_tokens = shared;
  impl.stats.prompt_tokens = static_cast<int64_t>(prompt.size()) - shared;
  impl.stats.prefill_seconds = seconds_since(begin);
  impl.stats.stop = answer.stats.stop;
  options.lookup = options.lookup && is_int8(session.model().scheme());
  if (options.lookup && !impl.lookup)
    impl.lookup = std::make_unique<Lookup>(session.model(), session.context());
}

void TextStreamImpl::make_token() {
  SessionImpl& impl = *session.impl();
  const Clock::time_point start = Clock::now();
  const bool first = answer.stats.generated_tokens == 0;
  if (!first) advance(impl.pending);
  piece = answer.next(logits, session.context() - session.size());
  impl.pending = piece.token.id;
  if (options.logprobs >= 0) impl.generated.push_back(piece.token);
  if (first)
    impl.stats.first_token_seconds = seconds_since(begin);
  else
    impl.stats.decode_seconds += seconds_since(start);
  impl.stats.generated_tokens = answer.stats.generated_tokens;
  impl.stats.reasoning_tokens = answer.stats.reasoning_tokens;
}

bool TextStreamImpl::next() {
  do {
    piece = {};
    if (!answer.ended()) {
      try {
        make_token();
      } catch (const Error& error) {
        if (error.code() != ErrorCode::Cancelled) throw;
        answer.end(StopReason::cancelled);
      }
    } else if (!flushed) {
      flushed = true;
      piece = answer.finish();
    } else {
      finish_turn();
      return false;
    }
    session.impl()->stats.stop = answer.stats.stop;
  } while (piece.text.empty());
  (piece.reasoning ? session.impl()->reasoning : text) += piece.text;
  return true;
}

void TextStreamImpl::stop() {
  answer.end(StopReason::callback);
  session.impl()->stats.stop = answer.stats.stop;
  flushed = true;
}

void TextStreamImpl::finish_turn() {
  if (!turn) return;
  turn = false;
  session.impl()->messages.push_back({"assistant", text});
}

namespace {

/// Begins to answer `prompt`; the text goes into the conversation if it is a turn of it.
Handle<TextStreamImpl> begin_stream(const Session& session, std::span<const int32_t> prompt,
                                    const GenerateOptions& options) {
  auto impl = Handle<TextStreamImpl>(new TextStreamImpl(session, options, prompt));
  impl->start(prompt);
  return impl;
}

/// Removes the oldest message that is not the system's, with what follows it up to the next user's
/// message. False if only the last message would be left to remove.
bool drop_oldest_turn(std::vector<ChatMessage>& turns) {
  const auto begin = std::find_if(turns.begin(), turns.end(),
                                  [](const ChatMessage& m) { return m.role != "system"; });
  if (turns.end() - begin <= 1) return false;
  const auto end =
      std::find_if(begin + 1, turns.end(), [](const ChatMessage& m) { return m.role == "user"; });
  if (end == turns.end()) return false;
  turns.erase(begin, end);
  return true;
}

}  // namespace

TextStream Session::stream(std::string_view user) {
  return stream(user, default_options(model()));
}

TextStream Session::stream(std::string_view user, const GenerateOptions& options) {
  std::vector<ChatMessage> turns = impl_->messages;
  turns.push_back({"user", std::string(user)});
  std::vector<ChatMessage> sent = turns;
  std::vector<int32_t> prompt = encode_chat(model(), sent);
  int64_t dropped = 0;
  if (impl_->overflow == Overflow::drop_oldest) {
    const int64_t answer = std::clamp<int64_t>(options.max_tokens, 1, context() / 4);
    for (; std::ssize(prompt) + answer > context() && drop_oldest_turn(sent); ++dropped)
      prompt = encode_chat(model(), sent);
  }
  Handle<TextStreamImpl> stream = begin_stream(*this, prompt, options);
  impl_->stats.dropped_turns = dropped;
  impl_->messages = std::move(turns);
  stream->turn = true;
  return TextStream(std::move(stream));
}

TextStream Session::complete(std::string_view prompt, const GenerateOptions& options) {
  const Tokenizer& tokenizer = model().tokenizer();
  TextStream stream(
      begin_stream(*this, tokenizer.encode(prompt, {.add_bos = tokenizer.adds_bos()}), options));
  impl_->messages.clear();
  return stream;
}

bool Session::drop_last_turn() {
  std::vector<ChatMessage>& messages = impl_->messages;
  const auto last = std::find_if(messages.rbegin(), messages.rend(),
                                 [](const ChatMessage& m) { return m.role == "user"; });
  if (last == messages.rend()) return false;
  messages.erase(last.base() - 1, messages.end());
  return true;
}

TextStream Session::edit_last_turn(std::string_view user, const GenerateOptions& options) {
  require(drop_last_turn(), ErrorCode::InvalidArgument,
          "edit_last_turn: the conversation has no user's message");
  return stream(user, options);
}

std::string Session::generate(std::string_view user, const GenerateOptions& options,
                              FunctionRef<bool(std::string_view)> on_text) {
  std::string answer;
  TextStream text = stream(user, options);
  for (std::string_view piece : text) {
    answer += piece;
    if (on_text(piece)) continue;
    text.stop();
    break;
  }
  return answer;
}

std::string Session::generate(std::string_view user) {
  return generate(user, default_options(model()), [](std::string_view) { return true; });
}

TextStream::iterator TextStream::begin() {
  advance();
  return iterator(this);
}

void TextStream::advance() {
  done_ = !impl_->next();
  piece_ = impl_->piece.text;
}

bool TextStream::reasoning() const {
  return impl_->piece.reasoning;
}

void TextStream::stop() {
  impl_->stop();
}

}  // namespace octet
