// What sessions and engines share.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <octet/generate.h>

#include "bindings.h"

using namespace octet;

void bind_generate(nb::module_& m) {
  nb::class_<CancelToken>(
      m, "CancelToken",
      "Ends the work it was given to, from any thread. It stays cancelled: make\n"
      "one for each piece of work.")
      .def("__init__", [](CancelToken* self) { new (self) CancelToken(CancelToken::make()); })
      .def("cancel", &CancelToken::cancel)
      .def_prop_ro("cancelled", &CancelToken::cancelled);

  nb::enum_<StopReason>(m, "StopReason", "Why a generation ended.")
      .value("none", StopReason::none)
      .value("end_token", StopReason::end_token)
      .value("stop_string", StopReason::stop_string)
      .value("limit", StopReason::limit)
      .value("callback", StopReason::callback, "The caller stopped.")
      .value("context_full", StopReason::context_full)
      .value("constraint", StopReason::constraint, "The constrained answer is complete.")
      .value("cancelled", StopReason::cancelled)
      .value("deadline", StopReason::deadline, "Of an engine's request.");

  nb::class_<GenerateStats>(m, "Stats", "What a generation did; seconds are wall time.")
      .def_ro("prompt_tokens", &GenerateStats::prompt_tokens, "Evaluated for that call.")
      .def_ro("cached_tokens", &GenerateStats::cached_tokens, "Taken from the KV cache.")
      .def_ro("generated_tokens", &GenerateStats::generated_tokens)
      .def_ro("reasoning_tokens", &GenerateStats::reasoning_tokens, "Of these, inside <think>.")
      .def_ro("drafted_tokens", &GenerateStats::drafted_tokens)
      .def_ro("accepted_tokens", &GenerateStats::accepted_tokens)
      .def_ro("dropped_turns", &GenerateStats::dropped_turns,
              "Left out of the prompt, which did not fit.")
      .def_ro("prefill_seconds", &GenerateStats::prefill_seconds)
      .def_ro("decode_seconds", &GenerateStats::decode_seconds)
      .def_ro("first_token_seconds", &GenerateStats::first_token_seconds)
      .def_ro("stop", &GenerateStats::stop);

  nb::class_<TokenLogprob>(m, "TokenLogprob")
      .def_ro("id", &TokenLogprob::id)
      .def_ro("logprob", &TokenLogprob::logprob, "Natural logarithm.");
  nb::class_<GeneratedToken>(m, "GeneratedToken", "A token that was generated.")
      .def_ro("id", &GeneratedToken::id)
      .def_ro("logprob", &GeneratedToken::logprob, "Only if the option logprobs asked for it.")
      .def_ro("forced", &GeneratedToken::forced, "Not drawn: put there by max_reasoning_tokens.")
      .def_ro("top", &GeneratedToken::top, "The likeliest, best first.");
}
