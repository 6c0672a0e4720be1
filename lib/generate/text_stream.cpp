// Text from a session: prompt, sampling, end tokens, stop strings.
#include <octet/session.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "lib/core/error.h"
#include "lib/generate/session_impl.h"

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Holds back text that may be the beginning of a stop string.
class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
    std::erase(stops_, std::string());
  }

  /// Adds text; returns what can be given out. found(): a stop string stood in it.
  std::string push(const std::string& text) {
    held_ += text;
    size_t first = std::string::npos;
    for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
    if (first != std::string::npos) {
      found_ = true;
      return take(first);
    }
    size_t keep = 0;
    for (const std::string& stop : stops_) keep = std::max(keep, overlap(stop));
    return take(held_.size() - keep);
  }

  std::string finish() { return take(found_ ? 0 : held_.size()); }
  bool found() const { return found_; }

 private:
  /// The longest end of held_ that begins `stop`.
  size_t overlap(const std::string& stop) const {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > 0; --n)
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) return n;
    return 0;
  }
  std::string take(size_t count) {
    std::string text = held_.substr(0, count);
    held_.erase(0, count);
    return text;
  }

  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

/// The tokens that `ids` shares with the session's cache, at least one short of all of `ids`: its
/// last token must be evaluated for its logits.
int64_t shared_prefix(const Session& session, const std::vector<int32_t>& ids) {
  const std::vector<int32_t>& cached = session.tokens();
  const size_t most = std::min(cached.size(), ids.size() - 1);
  size_t n = 0;
  while (n < most && cached[n] == ids[n]) ++n;
  return static_cast<int64_t>(n);
}

}  // namespace

const char* to_string(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::none:
      return "none";
    case StopReason::end_token:
      return "end_token";
    case StopReason::stop_string:
      return "stop_string";
    case StopReason::limit:
      return "limit";
    case StopReason::callback:
      return "callback";
    case StopReason::context_full:
      return "context_full";
    case StopReason::constraint:
      return "constraint";
    case StopReason::cancelled:
      return "cancelled";
    case StopReason::deadline:
      return "deadline";
  }
  return "none";
}

GenerateOptions default_options(const Model& model) {
  const ModelConfig& config = model.config();
  GenerateOptions options;
  SamplerOptions& sampler = options.sampler;
  // A generation_config that says anything about sampling replaces octet's own defaults.
  const bool says =
      config.do_sample >= 0 || config.temperature >= 0 || config.top_k >= 0 || config.top_p >= 0;
  if (says) {
    sampler.temperature = config.do_sample == 0 ? 0.0f : 1.0f;
    sampler.top_k = 0;
    if (config.do_sample != 0 && config.temperature >= 0)
      sampler.temperature = static_cast<float>(config.temperature);
    if (config.top_k >= 0) sampler.top_k = config.top_k;
    if (config.top_p > 0) sampler.top_p = static_cast<float>(config.top_p);
  }
  if (config.min_p > 0) sampler.min_p = static_cast<float>(config.min_p);
  if (config.repetition_penalty > 0)
    sampler.repetition_penalty = static_cast<float>(config.repetition_penalty);
  return options;
}

struct TextStreamImpl : Counted {
  TextStreamImpl(Session owner, const GenerateOptions& wanted, bool is_turn)
      : session(std::move(owner)),
        options(wanted),
        turn(is_turn),
        sampler(wanted.sampler),
        decoder(session.model().tokenizer(), {.keep_special = false}),
        stop(wanted.stop) {
    const Tokenizer& tokenizer = session.model().tokenizer();
    const auto vocab = static_cast<int32_t>(session.model().config().vocab_size);
    for (int32_t id = 0; id < vocab; ++id)
      if (!tokenizer.has_text(id)) textless.push_back(id);
  }
  ~TextStreamImpl() override { finish_turn(); }

  /// Evaluates the prompt and takes its logits.
  void start(const std::vector<int32_t>& prompt);
  /// The next piece of text that is not empty; false at the end.
  bool next(std::string& piece);
  /// Stops here, for this reason.
  void end(StopReason reason) {
    if (session.impl()->stats.stop == StopReason::none) session.impl()->stats.stop = reason;
    ended = true;
  }

  Session session;
  GenerateOptions options;
  bool turn;  // the answer becomes the assistant's turn
  Sampler sampler;
  StreamDecoder decoder;
  StopFilter stop;
  std::vector<int32_t> textless;  // ids that must not be drawn: padding rows of the embedding
  std::vector<float> last_row;    // logits of a step without lookup
  std::span<float> logits;        // of the next token
  std::string answer;
  std::string piece;
  Clock::time_point begin = Clock::now();
  bool ended = false;
  bool flushed = false;

 private:
  void evaluate(std::span<const int32_t> ids);
  void advance(int32_t id);
  int32_t draw();
  std::string push_token();
  void finish_turn();
};

void retain(TextStreamImpl* impl) noexcept {
  retain_counted(impl);
}
void release(TextStreamImpl* impl) noexcept {
  release_counted(impl);
}

void TextStreamImpl::evaluate(std::span<const int32_t> ids) {
  session.evaluate(ids, Session::Rows::last, [&](int64_t, std::span<const float> row) {
    last_row.assign(row.begin(), row.end());
  });
  logits = last_row;
}

/// Appends a token that was drawn.
void TextStreamImpl::advance(int32_t id) {
  if (options.lookup)
    logits = session.impl()->lookup->advance(session, id,
                                             options.max_tokens - session.stats().generated_tokens);
  else
    evaluate(std::span(&id, 1));
}

int32_t TextStreamImpl::draw() {
  for (int32_t id : textless)
    logits[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
  const int32_t id = sampler.sample(logits);
  sampler.accept(id);
  return id;
}

void TextStreamImpl::start(const std::vector<int32_t>& prompt) {
  require(!prompt.empty(), ErrorCode::InvalidArgument, "the prompt is empty");
  require(static_cast<int64_t>(prompt.size()) < session.context(), ErrorCode::InvalidArgument,
          "the prompt has ", prompt.size(), " tokens, the context holds ", session.context(),
          " and one more is needed for an answer");
  for (int32_t id : prompt) sampler.accept_prompt(id);
  const int64_t shared = shared_prefix(session, prompt);
  session.truncate(shared);
  evaluate(std::span(prompt).subspan(static_cast<size_t>(shared)));
  GenerateStats& stats = session.impl()->stats;
  stats.cached_tokens = shared;
  stats.prompt_tokens = static_cast<int64_t>(prompt.size()) - shared;
  stats.prefill_seconds = seconds_since(begin);
  if (options.max_tokens <= 0) end(StopReason::limit);
  options.lookup = options.lookup && is_int8(session.model().scheme());
  std::unique_ptr<Lookup>& lookup = session.impl()->lookup;
  if (options.lookup && !lookup)
    lookup = std::make_unique<Lookup>(session.model(), session.context());
}

std::string TextStreamImpl::push_token() {
  GenerateStats& stats = session.impl()->stats;
  const Clock::time_point start = Clock::now();
  if (stats.generated_tokens > 0) advance(session.impl()->pending);
  const int32_t id = draw();
  session.impl()->pending = id;
  if (stats.generated_tokens++ == 0)
    stats.first_token_seconds = seconds_since(begin);
  else
    stats.decode_seconds += seconds_since(start);
  const std::vector<int32_t>& ends = session.model().config().eos_ids;
  if (options.stop_at_end_tokens && std::find(ends.begin(), ends.end(), id) != ends.end()) {
    end(StopReason::end_token);
    return {};
  }
  std::string text = stop.push(decoder.push(id));
  if (stop.found())
    end(StopReason::stop_string);
  else if (stats.generated_tokens >= options.max_tokens)
    end(StopReason::limit);
  else if (session.size() + 1 >= session.context())
    end(StopReason::context_full);
  return text;
}

bool TextStreamImpl::next(std::string& text) {
  for (text.clear(); text.empty();) {
    if (!ended) {
      text = push_token();
    } else if (!flushed) {
      flushed = true;
      if (!stop.found()) text = stop.push(decoder.finish());
      text += stop.finish();
    } else {
      finish_turn();
      return false;
    }
  }
  answer += text;
  return true;
}

void TextStreamImpl::finish_turn() {
  if (!turn) return;
  turn = false;
  session.impl()->messages.push_back({"assistant", answer});
}

namespace {

/// Starts to answer `prompt`; the text goes into the conversation if it is a turn of it.
TextStream begin_stream(Session& session, const std::string& prompt, const EncodeOptions& encode,
                        const GenerateOptions& options, bool is_turn) {
  session.impl()->stats = {};
  auto impl = Handle<TextStreamImpl>(new TextStreamImpl(session, options, false));
  impl->start(session.model().tokenizer().encode(prompt, encode));
  impl->turn = is_turn;
  return TextStream(std::move(impl));
}

}  // namespace

TextStream Session::stream(std::string_view user) {
  return stream(user, default_options(model()));
}

TextStream Session::stream(std::string_view user, const GenerateOptions& options) {
  // A model without a template continues plain text: its turns follow each other.
  std::vector<ChatMessage> turns = impl_->messages;
  turns.push_back({"user", std::string(user)});
  std::string prompt;
  EncodeOptions encode;
  if (model().chat_template().empty()) {
    for (const ChatMessage& message : turns) prompt += message.content;
    encode.add_bos = model().tokenizer().adds_bos();
  } else {
    prompt = render_chat(model(), turns);  // writes BOS itself, where the model has one
  }
  TextStream stream = begin_stream(*this, prompt, encode, options, true);
  impl_->messages = std::move(turns);
  return stream;
}

TextStream Session::complete(std::string_view prompt, const GenerateOptions& options) {
  EncodeOptions encode;
  encode.add_bos = model().tokenizer().adds_bos();
  TextStream stream = begin_stream(*this, std::string(prompt), encode, options, false);
  impl_->messages.clear();
  return stream;
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
  done_ = !impl_->next(impl_->piece);
  piece_ = impl_->piece;
}

void TextStream::stop() {
  impl_->end(StopReason::callback);
  impl_->flushed = true;
}

}  // namespace octet
