#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>

#include "bindings.h"
#include "interruptible.h"
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
  const CancelToken cancel = CancelToken::make();
  const auto work = [&](Session& session) {
    vocab = static_cast<size_t>(session.model().config().vocab_size);
    logits.reset(new float[count * vocab]);
    float* out = logits.get();
    session.evaluate(
        ids, wanted,
        [&](int64_t, std::span<const float> row) { out = std::copy(row.begin(), row.end(), out); },
        cancel);
  };
  run_interruptible([&] { self.take_turn(work); }, [&] { cancel.cancel(); });
  float* data = logits.get();
  nb::capsule owner(logits.release(),
                    [](void* memory) noexcept { delete[] static_cast<float*>(memory); });
  return Logits(data, {count, vocab}, owner);
}

Model model_of(const SharedSession& self) {
  return self.use([](Session& session) { return session.model(); });
}

/// The stream that start(Session&, options) gives. It evaluates the prompt, which can be long.
template <class Start>
std::unique_ptr<SharedStream> start_stream(const SharedSession& self, const nb::kwargs& options,
                                           const Start& start) {
  GenerateOptions wanted = generate_options(model_of(self), options);
  if (!wanted.cancel) wanted.cancel = CancelToken::make();
  return run_interruptible(
      [&] {
        return std::make_unique<SharedStream>(
            self, [&](Session& session) { return start(session, wanted); });
      },
      [&] { wanted.cancel.cancel(); });
}

std::unique_ptr<SharedStream> stream(const SharedSession& self, const std::string& user,
                                     const nb::kwargs& options) {
  return start_stream(self, options, [&](Session& session, const GenerateOptions& wanted) {
    return session.stream(user, wanted);
  });
}

std::unique_ptr<SharedStream> complete(const SharedSession& self, const std::string& prompt,
                                       const nb::kwargs& options) {
  return start_stream(self, options, [&](Session& session, const GenerateOptions& wanted) {
    return session.complete(prompt, wanted);
  });
}

SessionOptions session_options(int64_t context, bool drop_oldest) {
  return {.context = context, .overflow = drop_oldest ? Overflow::drop_oldest : Overflow::error};
}

void bind_stream(nb::module_& m) {
  nb::class_<SharedStream>(
      m, "TextStream", "An answer as an iterator over pieces of text, made while it is iterated.")
      .def(
          "__iter__", [](nb::handle self) { return self; },
          nb::sig("def __iter__(self) -> TextStream"))
      .def("__next__", [](SharedStream& self) { return piece_or_stop(self.next()); })
      .def_prop_ro("reasoning", &SharedStream::reasoning,
                   "Whether the last piece is reasoning, if separate_reasoning was asked for.")
      .def("close", &SharedStream::close,
           "Ends the answer here, as dropping the iterator does. The conversation keeps what was\n"
           "made so far.");
}

}  // namespace

void bind_session(nb::module_& m) {
  bind_stream(m);
  nb::class_<SharedSession>(
      m, "Session", "One sequence: a KV cache and the conversation in it. Threads take turns.")
      .def(
          "__init__",
          [](SharedSession* self, const Model& model, int64_t context, bool drop_oldest) {
            new (self) SharedSession(Session(model, session_options(context, drop_oldest)));
          },
          nb::arg("model"), nb::arg("context") = 0, nb::arg("drop_oldest") = false,
          "context: positions that the KV cache may hold; 0: the model's own limit, at most 4096.\n"
          "drop_oldest: leave the oldest turns out of a prompt that does not fit; else an error.")
      .def(
          "fork",
          [](const SharedSession& self) {
            return SharedSession(self.use([](Session& session) { return session.fork(); }));
          },
          "Another session that continues from here by itself, sharing memory.")
      .def(
          "save",
          [](const SharedSession& self, const std::filesystem::path& path) {
            self.use([&](Session& session) { session.save(path.string()); });
          },
          nb::arg("path"), "Writes the conversation and its cache, all or nothing.")
      .def_static(
          "load",
          [](const Model& model, const std::filesystem::path& path, int64_t context,
             bool drop_oldest) {
            nb::gil_scoped_release released;
            return SharedSession(
                Session::load(model, path.string(), session_options(context, drop_oldest)));
          },
          nb::arg("model"), nb::arg("path"), nb::arg("context") = 0, nb::arg("drop_oldest") = false,
          "A saved session, which continues without evaluating anything again.")
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
      .def(
          "drop_last_turn",
          [](const SharedSession& self) {
            return self.use([](Session& session) { return session.drop_last_turn(); });
          },
          "Removes the last user's message and everything after it; False if there is none.")
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
      .def_prop_ro(
          "generated",
          [](const SharedSession& self) {
            return self.use([](Session& session) { return session.generated(); });
          },
          "The tokens that were generated last, if the option logprobs asked for them.")
      .def_prop_ro(
          "reasoning",
          [](const SharedSession& self) {
            return self.use([](Session& session) { return session.reasoning(); });
          },
          "The reasoning that was generated last, if separate_reasoning was asked for.")
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
