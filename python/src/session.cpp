#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>

#include "bindings.h"
#include "shared_session.h"

using namespace octet;

namespace {

using Logits = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

Session::Rows parse_rows(const std::string& name) {
  if (name == "none") return Session::Rows::none;
  if (name == "last") return Session::Rows::last;
  if (name == "all") return Session::Rows::all;
  throw nb::value_error("rows: 'none', 'last' or 'all' expected");
}

Logits evaluate(const SharedSession& self, const std::vector<int32_t>& ids,
                const std::string& rows) {
  const Session::Rows wanted = parse_rows(rows);
  size_t count = wanted == Session::Rows::all ? ids.size() : 0;
  if (wanted == Session::Rows::last) count = std::min<size_t>(1, ids.size());
  size_t vocab = 0;
  std::unique_ptr<float[]> logits;
  self.use([&](Session& session) {
    vocab = static_cast<size_t>(session.model().config().vocab_size);
    logits.reset(new float[count * vocab]);
    float* out = logits.get();
    session.evaluate(ids, wanted, [&](int64_t, std::span<const float> row) {
      out = std::copy(row.begin(), row.end(), out);
    });
  });
  float* data = logits.get();
  nb::capsule owner(logits.release(),
                    [](void* memory) noexcept { delete[] static_cast<float*>(memory); });
  return Logits(data, {count, vocab}, owner);
}

Model model_of(const SharedSession& self) {
  return self.use([](Session& session) { return session.model(); });
}

std::unique_ptr<SharedStream> stream(const SharedSession& self, const std::string& user,
                                     const nb::kwargs& options) {
  const GenerateOptions wanted = generate_options(model_of(self), options);
  return std::make_unique<SharedStream>(
      self, [&](Session& session) { return session.stream(user, wanted); });
}

std::unique_ptr<SharedStream> complete(const SharedSession& self, const std::string& prompt,
                                       const nb::kwargs& options) {
  const GenerateOptions wanted = generate_options(model_of(self), options);
  return std::make_unique<SharedStream>(
      self, [&](Session& session) { return session.complete(prompt, wanted); });
}

void bind_stats(nb::module_& m) {
  nb::enum_<StopReason>(m, "StopReason", "Why a generation ended.")
      .value("none", StopReason::none)
      .value("end_token", StopReason::end_token)
      .value("stop_string", StopReason::stop_string)
      .value("limit", StopReason::limit)
      .value("callback", StopReason::callback, "The caller stopped.")
      .value("context_full", StopReason::context_full);
  nb::class_<GenerateStats>(m, "Stats", "What a generation did; seconds are wall time.")
      .def_ro("prompt_tokens", &GenerateStats::prompt_tokens, "Evaluated for that call.")
      .def_ro("cached_tokens", &GenerateStats::cached_tokens, "Taken from the KV cache.")
      .def_ro("generated_tokens", &GenerateStats::generated_tokens)
      .def_ro("drafted_tokens", &GenerateStats::drafted_tokens)
      .def_ro("accepted_tokens", &GenerateStats::accepted_tokens)
      .def_ro("prefill_seconds", &GenerateStats::prefill_seconds)
      .def_ro("decode_seconds", &GenerateStats::decode_seconds)
      .def_ro("first_token_seconds", &GenerateStats::first_token_seconds)
      .def_ro("stop", &GenerateStats::stop);
}

void bind_stream(nb::module_& m) {
  nb::class_<SharedStream>(
      m, "TextStream", "An answer as an iterator over pieces of text, made while it is iterated.")
      .def(
          "__iter__", [](nb::handle self) { return self; },
          nb::sig("def __iter__(self) -> TextStream"))
      .def("__next__",
           [](SharedStream& self) {
             std::optional<std::string> piece = self.next();
             if (!piece) throw nb::stop_iteration();
             return *std::move(piece);
           })
      .def("close", &SharedStream::close,
           "Ends the answer here, as dropping the iterator does. The conversation keeps what was\n"
           "made so far.");
}

}  // namespace

void bind_session(nb::module_& m) {
  bind_stats(m);
  bind_stream(m);
  nb::class_<SharedSession>(
      m, "Session", "One sequence: a KV cache and the conversation in it. Threads take turns.")
      .def(
          "__init__",
          [](SharedSession* self, const Model& model, int64_t context) {
            new (self) SharedSession(Session(model, {.context = context}));
          },
          nb::arg("model"), nb::arg("context") = 0,
          "context: positions that the KV cache may hold; 0: the model's own limit, at most 4096.")
      .def("stream", &stream, nb::arg("user"), nb::arg("options"),
           nb::sig("def stream(self, user: str, **options: Unpack[Options]) -> TextStream"),
           "Adds a user's turn, and gives the assistant's as an iterator of its pieces. It is "
           "added\n"
           "to the conversation when the iterator ends or goes. The prompt is evaluated at once.")
      .def(
          "generate",
          [](const SharedSession& self, const std::string& user, const nb::kwargs& options) {
            return stream(self, user, options)->rest();
          },
          nb::arg("user"), nb::arg("options"),
          nb::sig("def generate(self, user: str, **options: Unpack[Options]) -> str"),
          "The same, as a whole.")
      .def("complete", &complete, nb::arg("prompt"), nb::arg("options"),
           nb::sig("def complete(self, prompt: str, **options: Unpack[Options]) -> TextStream"),
           "Continues a prompt as it stands, without the chat template; the session starts over.")
      .def_prop_rw(
          "messages",
          [](const SharedSession& self) {
            return message_list(self.use([](Session& session) { return session.messages(); }));
          },
          [](const SharedSession& self, const nb::list& messages) {
            std::vector<ChatMessage> turns = chat_messages(messages);
            self.use([&](Session& session) { session.set_messages(std::move(turns)); });
          },
          nb::for_getter(nb::sig("def messages(self) -> list[Message]")),
          nb::for_setter(nb::sig("def messages(self, messages: list[Message], /) -> None")),
          "The conversation. Setting it keeps of the cache what the next prompt shares with it.")
      .def_prop_ro("stats",
                   [](const SharedSession& self) {
                     return self.use([](Session& session) { return session.stats(); });
                   })
      .def("evaluate", &evaluate, nb::arg("ids"), nb::arg("rows") = "last",
           nb::sig("def evaluate(self, ids: Sequence[int], rows: Literal['none', 'last', 'all'] = "
                   "'last') -> numpy.typing.NDArray[numpy.float32]"),
           "Appends ids to the sequence and evaluates them. Returns logits [rows, vocab_size].")
      .def(
          "truncate",
          [](const SharedSession& self, int64_t length) {
            self.use([&](Session& session) { session.truncate(length); });
          },
          nb::arg("length"), "Forgets every position from length on.")
      .def_prop_ro(
          "tokens",
          [](const SharedSession& self) {
            return self.use([](Session& session) { return session.tokens(); });
          },
          "The ids in the cache.")
      .def_prop_ro(
          "context",
          [](const SharedSession& self) {
            return self.use([](Session& session) { return session.context(); });
          },
          "Positions that fit.")
      .def_prop_ro("model", &model_of)
      .def("__len__", [](const SharedSession& self) {
        return self.use([](Session& session) { return session.size(); });
      });
}
