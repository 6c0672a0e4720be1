#include <octet/engine.h>

#include "lib/c/call.h"
#include "lib/c/generate.h"
#include "lib/c/handles.h"

using namespace octet;
using namespace octet::c;

static_assert(OCTET_POLL_PIECE == int(Generation::Poll::piece));
static_assert(OCTET_POLL_END == int(Generation::Poll::end));
static_assert(OCTET_POLL_TIMEOUT == int(Generation::Poll::timeout));

namespace {

EngineOptions engine_options(const octet_engine_options* given_options) {
  if (!given_options) return {};
  const octet_engine_options& from = sized(given_options, given_options->size, "options");
  return {.context = from.context,
          .kv_bytes = from.kv_bytes,
          .max_running = from.max_running,
          .max_waiting = from.max_waiting,
          .prompt_seconds = from.prompt_seconds,
          .prompt_rows = from.prompt_rows,
          .steady = from.steady,
          .reuse_prefixes = from.reuse_prefixes};
}

EngineRequest engine_request(const Model& model, const octet_request* given_request) {
  const octet_request& from = sized(given_request, given(given_request, "request").size, "request");
  const std::span<const int32_t> prompt = array(from.prompt, from.prompt_count, "request.prompt");
  return {.prompt = {prompt.begin(), prompt.end()},
          .options = generate_options(model, from.options),
          .client = from.client ? from.client : "",
          .priority = from.priority,
          .deadline_seconds = from.deadline_seconds};
}

Generation::Poll wait(Generation& generation, GenerationPiece& piece, double seconds) {
  if (seconds >= 0) return generation.poll(piece, seconds);
  return generation.next(piece) ? Generation::Poll::piece : Generation::Poll::end;
}

}  // namespace

octet_status octet_engine_options_init(octet_engine_options* options, size_t size) {
  return call([&] {
    const EngineOptions defaults;
    sized(options, size, "options") = {.size = size,
                                       .context = defaults.context,
                                       .kv_bytes = defaults.kv_bytes,
                                       .max_running = defaults.max_running,
                                       .max_waiting = defaults.max_waiting,
                                       .prompt_rows = defaults.prompt_rows,
                                       .reuse_prefixes = defaults.reuse_prefixes,
                                       .steady = defaults.steady,
                                       .prompt_seconds = defaults.prompt_seconds};
  });
}

octet_status octet_engine_create(const octet_model* model, const octet_engine_options* options,
                                 octet_engine** engine) {
  return call([&] {
    octet_engine*& out = given(engine, "engine");
    out = new octet_engine{Engine(given(model, "model").model, engine_options(options))};
  });
}

void octet_engine_free(octet_engine* engine) {
  delete engine;
}

octet_status octet_request_init(octet_request* request, size_t size) {
  return call([&] {
    sized(request, size, "request") = {.size = size,
                                       .prompt = nullptr,
                                       .prompt_count = 0,
                                       .options = nullptr,
                                       .client = nullptr,
                                       .priority = 0,
                                       .deadline_seconds = 0};
  });
}

octet_status octet_engine_submit(octet_engine* engine, const octet_request* request,
                                 double wait_seconds, octet_generation** generation) {
  return call([&] {
    octet_generation*& out = given(generation, "generation");
    Engine& target = given(engine, "engine").engine;
    out = new octet_generation{
        target.submit(engine_request(target.model(), request), wait_seconds), {}, {}};
  });
}

octet_status octet_generation_next(octet_generation* generation, double seconds, octet_poll* poll,
                                   octet_piece* piece) {
  return call([&] {
    octet_poll& out = given(poll, "poll");
    octet_piece& out_piece = given(piece, "piece");
    auto& [target, last, tokens] = given(generation, "generation");
    out = static_cast<octet_poll>(wait(target, last, seconds));
    if (out != OCTET_POLL_PIECE) return;
    tokens.assign({&last.token, 1});
    out_piece = {last.text.c_str(), last.text.size(), last.reasoning, tokens.tokens().front()};
  });
}

void octet_generation_cancel(octet_generation* generation) {
  if (generation) generation->generation.cancel();
}

octet_status octet_generation_stats(const octet_generation* generation, octet_generate_stats* stats,
                                    size_t size) {
  return call([&] {
    sized(stats, size, "stats") =
        generate_stats(given(generation, "generation").generation.stats());
  });
}

void octet_generation_free(octet_generation* generation) {
  delete generation;
}

octet_status octet_engine_stats(const octet_engine* engine, octet_engine_counters* stats,
                                size_t size) {
  return call([&] {
    octet_engine_counters& out = sized(stats, size, "stats");
    const EngineStats from = given(engine, "engine").engine.stats();
    out = {.waiting = from.waiting,
           .running = from.running,
           .pages_total = from.pages_total,
           .pages_used = from.pages_used,
           .pages_cached = from.pages_cached,
           .submitted = from.submitted,
           .refused = from.refused,
           .finished = from.finished,
           .cancelled = from.cancelled,
           .deadlines_missed = from.deadlines_missed,
           .failed = from.failed,
           .prompt_tokens = from.prompt_tokens,
           .cached_tokens = from.cached_tokens,
           .generated_tokens = from.generated_tokens,
           .steps = from.steps};
  });
}

octet_status octet_engine_drain(octet_engine* engine, double seconds, bool* ended) {
  return call([&] {
    const bool all = given(engine, "engine").engine.drain(seconds);
    if (ended) *ended = all;
  });
}
