#include <octet/session.h>

#include "lib/c/call.h"
#include "lib/c/handles.h"
#include "lib/c/messages.h"

using namespace octet;
using namespace octet::c;

static_assert(OCTET_STOP_NONE == int(StopReason::none));
static_assert(OCTET_STOP_END_TOKEN == int(StopReason::end_token));
static_assert(OCTET_STOP_STRING == int(StopReason::stop_string));
static_assert(OCTET_STOP_LIMIT == int(StopReason::limit));
static_assert(OCTET_STOP_CALLBACK == int(StopReason::callback));
static_assert(OCTET_STOP_CONTEXT_FULL == int(StopReason::context_full));
static_assert(OCTET_ROWS_NONE == int(Session::Rows::none));
static_assert(OCTET_ROWS_LAST == int(Session::Rows::last));
static_assert(OCTET_ROWS_ALL == int(Session::Rows::all));

namespace {

GenerateOptions generate_options(const Model& model, const octet_generate_options* given_options) {
  if (!given_options) return default_options(model);
  const octet_generate_options& from = sized(given_options, given_options->size, "options");
  GenerateOptions options;
  options.sampler = {.temperature = from.temperature,
                     .top_k = from.top_k,
                     .top_p = from.top_p,
                     .min_p = from.min_p,
                     .repetition_penalty = from.repetition_penalty,
                     .presence_penalty = from.presence_penalty,
                     .frequency_penalty = from.frequency_penalty,
                     .seed = from.seed};
  options.max_tokens = from.max_tokens;
  for (const char* stop : array(from.stop, from.stop_count, "options.stop"))
    options.stop.emplace_back(text(stop, "options.stop"));
  options.stop_at_end_tokens = from.stop_at_end_tokens;
  options.lookup = from.lookup;
  return options;
}

/// Passes the pieces of a stream on, and gives the whole of it out.
void run(TextStream stream, octet_text_callback on_text, void* context, char** text) {
  std::string whole;
  for (std::string_view piece : stream) {
    if (text) whole += piece;
    if (!on_text || on_text(context, piece.data(), piece.size())) continue;
    stream.stop();
    break;
  }
  if (text) *text = copy(whole);
}

}  // namespace

octet_status octet_generate_options_init(const octet_model* model, octet_generate_options* options,
                                         size_t size) {
  return call([&] {
    octet_generate_options& out = sized(options, size, "options");
    const GenerateOptions defaults = default_options(given(model, "model").model);
    out = {.size = size,
           .max_tokens = defaults.max_tokens,
           .temperature = defaults.sampler.temperature,
           .top_k = defaults.sampler.top_k,
           .top_p = defaults.sampler.top_p,
           .min_p = defaults.sampler.min_p,
           .repetition_penalty = defaults.sampler.repetition_penalty,
           .presence_penalty = defaults.sampler.presence_penalty,
           .frequency_penalty = defaults.sampler.frequency_penalty,
           .seed = defaults.sampler.seed,
           .stop = nullptr,
           .stop_count = 0,
           .stop_at_end_tokens = defaults.stop_at_end_tokens,
           .lookup = defaults.lookup};
  });
}

octet_status octet_session_create(const octet_model* model, int64_t context,
                                  octet_session** session) {
  return call([&] {
    octet_session*& out = given(session, "session");
    out = new octet_session{Session(given(model, "model").model, {.context = context})};
  });
}

void octet_session_free(octet_session* session) {
  delete session;
}

octet_status octet_session_generate(octet_session* session, const char* user,
                                    const octet_generate_options* options,
                                    octet_text_callback on_text, void* context, char** text) {
  return call([&] {
    Session& target = given(session, "session").session;
    run(target.stream(c::text(user, "user"), generate_options(target.model(), options)), on_text,
        context, text);
  });
}

octet_status octet_session_complete(octet_session* session, const char* prompt,
                                    const octet_generate_options* options,
                                    octet_text_callback on_text, void* context, char** text) {
  return call([&] {
    Session& target = given(session, "session").session;
    run(target.complete(c::text(prompt, "prompt"), generate_options(target.model(), options)),
        on_text, context, text);
  });
}

octet_status octet_session_stats(const octet_session* session, octet_generate_stats* stats,
                                 size_t size) {
  return call([&] {
    octet_generate_stats& out = sized(stats, size, "stats");
    const GenerateStats& from = given(session, "session").session.stats();
    out = {.prompt_tokens = from.prompt_tokens,
           .cached_tokens = from.cached_tokens,
           .generated_tokens = from.generated_tokens,
           .drafted_tokens = from.drafted_tokens,
           .accepted_tokens = from.accepted_tokens,
           .prefill_seconds = from.prefill_seconds,
           .decode_seconds = from.decode_seconds,
           .first_token_seconds = from.first_token_seconds,
           .stop = static_cast<octet_stop_reason>(from.stop)};
  });
}

octet_status octet_session_set_messages(octet_session* session, const octet_message* messages,
                                        size_t count) {
  return call(
      [&] { given(session, "session").session.set_messages(chat_messages(messages, count)); });
}

size_t octet_session_message_count(const octet_session* session) {
  return session ? session->session.messages().size() : 0;
}

octet_status octet_session_message(const octet_session* session, size_t index,
                                   octet_message* message) {
  return call([&] {
    octet_message& out = given(message, "message");
    const std::vector<ChatMessage>& turns = given(session, "session").session.messages();
    require(index < turns.size(), ErrorCode::InvalidArgument, "message ", index,
            " asked for, the conversation has ", turns.size());
    out = {turns[index].role.c_str(), turns[index].content.c_str()};
  });
}

octet_status octet_session_evaluate(octet_session* session, const int32_t* ids, size_t count,
                                    octet_rows rows, octet_logits_callback on_logits,
                                    void* context) {
  return call([&] {
    require(rows >= OCTET_ROWS_NONE && rows <= OCTET_ROWS_ALL, ErrorCode::InvalidArgument,
            "rows is ", int{rows}, ", OCTET_ROWS_NONE, _LAST or _ALL expected");
    require(on_logits || rows == OCTET_ROWS_NONE, ErrorCode::InvalidArgument,
            "on_logits is NULL, and rows is not OCTET_ROWS_NONE");
    given(session, "session")
        .session.evaluate(array(ids, count, "ids"), static_cast<Session::Rows>(rows),
                          [&](int64_t row, std::span<const float> logits) {
                            on_logits(context, row, logits.data(),
                                      static_cast<int64_t>(logits.size()));
                          });
  });
}

octet_status octet_session_truncate(octet_session* session, int64_t length) {
  return call([&] { given(session, "session").session.truncate(length); });
}

int64_t octet_session_context(const octet_session* session) {
  return session ? session->session.context() : 0;
}

const int32_t* octet_session_tokens(const octet_session* session, size_t* count) {
  if (count) *count = session ? session->session.tokens().size() : 0;
  return session ? session->session.tokens().data() : nullptr;
}
