#include <octet/session.h>

#include "lib/c/call.h"
#include "lib/c/generate.h"
#include "lib/c/handles.h"
#include "lib/c/messages.h"

using namespace octet;
using namespace octet::c;

static_assert(OCTET_ROWS_NONE == int(Session::Rows::none));
static_assert(OCTET_ROWS_LAST == int(Session::Rows::last));
static_assert(OCTET_ROWS_ALL == int(Session::Rows::all));

namespace {

SessionOptions session_options(const octet_session_options* given_options) {
  if (!given_options) return {};
  const octet_session_options& from = sized(given_options, given_options->size, "options");
  return {.context = from.context,
          .overflow = from.drop_oldest ? Overflow::drop_oldest : Overflow::error};
}

/// Passes the pieces of a stream on, and gives the whole of it out.
void run(TextStream stream, octet_text_callback on_text, void* context, char** text) {
  std::string whole;
  for (std::string_view piece : stream) {
    if (text && !stream.reasoning()) whole += piece;
    if (!on_text || on_text(context, piece.data(), piece.size(), stream.reasoning())) continue;
    stream.stop();
    break;
  }
  if (text) *text = copy(whole);
}

}  // namespace

octet_status octet_session_options_init(octet_session_options* options, size_t size) {
  return call([&] {
    const SessionOptions defaults;
    sized(options, size, "options") = {.size = size,
                                       .context = defaults.context,
                                       .drop_oldest = defaults.overflow == Overflow::drop_oldest};
  });
}

octet_status octet_session_create(const octet_model* model, const octet_session_options* options,
                                  octet_session** session) {
  return call([&] {
    octet_session*& out = given(session, "session");
    out = new octet_session{Session(given(model, "model").model, session_options(options)), {}};
  });
}

octet_status octet_session_fork(const octet_session* session, octet_session** fork) {
  return call([&] {
    octet_session*& out = given(fork, "fork");
    out = new octet_session{given(session, "session").session.fork(), {}};
  });
}

octet_status octet_session_save(const octet_session* session, const char* path) {
  return call([&] { given(session, "session").session.save(std::string(text(path, "path"))); });
}

octet_status octet_session_load(const octet_model* model, const char* path,
                                const octet_session_options* options, octet_session** session) {
  return call([&] {
    octet_session*& out = given(session, "session");
    out =
        new octet_session{Session::load(given(model, "model").model,
                                        std::string(text(path, "path")), session_options(options)),
                          {}};
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
    sized(stats, size, "stats") = generate_stats(given(session, "session").session.stats());
  });
}

octet_status octet_session_generated(octet_session* session, const octet_token** tokens,
                                     size_t* count) {
  return call([&] {
    const octet_token*& out = given(tokens, "tokens");
    size_t& out_count = given(count, "count");
    TokenList& list = given(session, "session").generated;
    list.assign(session->session.generated());
    out = list.tokens().data();
    out_count = list.tokens().size();
  });
}

const char* octet_session_reasoning(const octet_session* session) {
  return session ? session->session.reasoning().c_str() : nullptr;
}

octet_status octet_session_drop_last_turn(octet_session* session, bool* dropped) {
  return call([&] {
    const bool was_there = given(session, "session").session.drop_last_turn();
    if (dropped) *dropped = was_there;
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
                                    int rows, octet_logits_callback on_logits, void* context,
                                    const octet_cancel_token* cancel) {
  return call([&] {
    require(rows >= OCTET_ROWS_NONE && rows <= OCTET_ROWS_ALL, ErrorCode::InvalidArgument,
            "rows is ", rows, ", OCTET_ROWS_NONE, _LAST or _ALL expected");
    require(on_logits || rows == OCTET_ROWS_NONE, ErrorCode::InvalidArgument,
            "on_logits is NULL, and rows is not OCTET_ROWS_NONE");
    given(session, "session")
        .session.evaluate(
            array(ids, count, "ids"), static_cast<Session::Rows>(rows),
            [&](int64_t row, std::span<const float> logits) {
              on_logits(context, row, logits.data(), static_cast<int64_t>(logits.size()));
            },
            cancel_token(cancel));
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
