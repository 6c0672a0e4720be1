#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>
#include <octet/embed.h>
#include <octet/engine.h>

#include <memory>
#include <optional>
#include <variant>

#include "bindings.h"
#include "interruptible.h"

using namespace octet;

namespace {

using Prompt = std::variant<std::string, std::vector<int32_t>, nb::list>;

/// Text goes through the tokenizer, messages through the chat template.
std::vector<int32_t> prompt_ids(const Model& model, const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    const Tokenizer& tokenizer = model.tokenizer();
    return tokenizer.encode(*text, {.add_bos = tokenizer.adds_bos()});
  }
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) return *ids;
  return encode_chat(model, chat_messages(std::get<nb::list>(prompt)));
}

/// An answer as a Python iterator of its text.
class PythonGeneration {
 public:
  explicit PythonGeneration(Generation generation) : generation_(std::move(generation)) {}

  /// The next piece that has text; nothing at the end. What a signal handler raises comes out, and
  /// the request goes on.
  std::optional<std::string> next() {
    for (;;) {
      switch (poll()) {
        case Generation::Poll::end:
          return std::nullopt;
        case Generation::Poll::timeout:
          break;
        case Generation::Poll::piece:
          if (piece_.token.id >= 0) tokens_.push_back(piece_.token);
          if (!piece_.text.empty()) return piece_.text;
      }
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
    }
  }

  bool reasoning() const { return piece_.reasoning; }
  const std::vector<GeneratedToken>& tokens() const { return tokens_; }
  GenerateStats stats() const { return generation_.stats(); }
  void cancel() { generation_.cancel(); }

 private:
  Generation::Poll poll() {
    nb::gil_scoped_release released;
    return generation_.poll(piece_, 0.1);
  }

  Generation generation_;
  GenerationPiece piece_;
  std::vector<GeneratedToken> tokens_;
};

std::string rest(PythonGeneration& generation) {
  std::string text;
  while (const std::optional<std::string> piece = generation.next())
    if (!generation.reasoning()) text += *piece;
  return text;
}

PythonGeneration submit(Engine& self, const Prompt& prompt, const std::string& client, int priority,
                        double deadline, double wait, const nb::kwargs& options) {
  EngineRequest request = {.prompt = prompt_ids(self.model(), prompt),
                           .options = generate_options(self.model(), options),
                           .client = client,
                           .priority = priority,
                           .deadline_seconds = deadline};
  nb::gil_scoped_release released;
  return PythonGeneration(self.submit(std::move(request), wait));
}

using Vector = nb::ndarray<nb::numpy, float, nb::ndim<1>>;

Vector embed_ids(const Model& model, const std::variant<std::string, std::vector<int32_t>>& input,
                 const std::string& pooling, bool normalize) {
  if (pooling != "mean" && pooling != "last")
    throw nb::value_error("pooling: 'mean' or 'last' expected");
  EmbedOptions options;
  options.pooling = pooling == "mean" ? EmbedOptions::Pooling::mean : EmbedOptions::Pooling::last;
  options.normalize = normalize;
  options.cancel = CancelToken::make();
  const auto* text = std::get_if<std::string>(&input);
  auto vector = std::make_unique<std::vector<float>>(run_interruptible(
      [&] {
        return embed(model, text ? model.tokenizer().encode(*text) : std::get<1>(input), options);
      },
      [&] { options.cancel.cancel(); }));
  float* data = vector->data();
  const size_t size = vector->size();
  nb::capsule owner(vector.release(),
                    [](void* memory) noexcept { delete static_cast<std::vector<float>*>(memory); });
  return Vector(data, {size}, owner);
}

void bind_generation(nb::module_& m) {
  nb::class_<PythonGeneration>(
      m, "Generation",
      "A request's answer as an iterator over pieces of text, made by the engine meanwhile.\n"
      "Dropping it cancels the request.")
      .def(
          "__iter__", [](nb::handle self) { return self; },
          nb::sig("def __iter__(self) -> Generation"))
      .def("__next__", [](PythonGeneration& self) { return piece_or_stop(self.next()); })
      .def("text", &rest, "Waits for the rest, and returns it without reasoning.")
      .def_prop_ro("reasoning", &PythonGeneration::reasoning,
                   "Whether the last piece is reasoning, if separate_reasoning was asked for.")
      .def_prop_ro("tokens", &PythonGeneration::tokens, "The tokens so far.")
      .def_prop_ro("stats", &PythonGeneration::stats, "Complete after the end.")
      .def("cancel", &PythonGeneration::cancel,
           "Takes effect within a step; pieces made so far still come. From any thread.");
}

}  // namespace

void bind_engine(nb::module_& m) {
  bind_generation(m);
  nb::class_<EngineStats>(m, "EngineStats", "What an engine does and has done.")
      .def_ro("waiting", &EngineStats::waiting)
      .def_ro("running", &EngineStats::running)
      .def_ro("pages_total", &EngineStats::pages_total, "Blocks of 64 positions.")
      .def_ro("pages_used", &EngineStats::pages_used)
      .def_ro("pages_cached", &EngineStats::pages_cached)
      .def_ro("submitted", &EngineStats::submitted)
      .def_ro("refused", &EngineStats::refused)
      .def_ro("finished", &EngineStats::finished)
      .def_ro("cancelled", &EngineStats::cancelled)
      .def_ro("deadlines_missed", &EngineStats::deadlines_missed)
      .def_ro("failed", &EngineStats::failed)
      .def_ro("prompt_tokens", &EngineStats::prompt_tokens)
      .def_ro("cached_tokens", &EngineStats::cached_tokens)
      .def_ro("generated_tokens", &EngineStats::generated_tokens)
      .def_ro("steps", &EngineStats::steps);
  nb::class_<Engine>(
      m, "Engine",
      "Continuous batching over one model: requests join and leave at every step, and\n"
      "share what their prompts have in common. For any thread.")
      .def(
          "__init__",
          [](Engine* self, const Model& model, int64_t context, int64_t kv_bytes,
             int64_t max_running, int64_t max_waiting, double prompt_seconds, int64_t prompt_rows,
             bool steady, bool reuse_prefixes) {
            new (self) Engine(model, {.context = context,
                                      .kv_bytes = kv_bytes,
                                      .max_running = max_running,
                                      .max_waiting = max_waiting,
                                      .prompt_seconds = prompt_seconds,
                                      .prompt_rows = prompt_rows,
                                      .steady = steady,
                                      .reuse_prefixes = reuse_prefixes});
          },
          nb::arg("model"), nb::kw_only(), nb::arg("context") = 0, nb::arg("kv_bytes") = 0,
          nb::arg("max_running") = EngineOptions().max_running,
          nb::arg("max_waiting") = EngineOptions().max_waiting,
          nb::arg("prompt_seconds") = EngineOptions().prompt_seconds, nb::arg("prompt_rows") = 0,
          nb::arg("steady") = false, nb::arg("reuse_prefixes") = true,
          "context: positions of a request. kv_bytes: memory for keys and values of all requests;\n"
          "0: eight contexts. prompt_seconds: time that a prompt is spread over beside running\n"
          "answers. prompt_rows: of prompts in such a step. steady: even times between an "
          "answer's\n"
          "tokens before speed.")
      .def("submit", &submit, nb::arg("prompt"), nb::kw_only(), nb::arg("client") = "",
           nb::arg("priority") = 0, nb::arg("deadline") = 0.0, nb::arg("wait") = 0.0,
           nb::arg("options"),
           nb::sig("def submit(self, prompt: str | Sequence[int] | list[Message], *, "
                   "client: str = '', priority: int = 0, deadline: float = 0.0, wait: float = 0.0, "
                   "**options: Unpack[Options]) -> Generation"),
           "Queues a request. prompt: text as it stands, ids, or messages for the chat template.\n"
           "client: who asks; clients that wait get equal shares. deadline: seconds until the\n"
           "answer ends. If the queue is full, waits so many seconds, then raises Error (Busy).")
      .def(
          "drain",
          [](Engine& self, double seconds) {
            nb::gil_scoped_release released;
            return self.drain(seconds);
          },
          nb::arg("seconds"),
          "Takes no more requests, and waits for those that are there. True if all have ended.")
      .def_prop_ro("stats", &Engine::stats)
      .def_prop_ro("model", &Engine::model)
      .def_prop_ro("context", &Engine::context);

  m.def(
      "embed", &embed_ids, nb::arg("model"), nb::arg("input"), nb::kw_only(),
      nb::arg("pooling") = "mean", nb::arg("normalize") = true,
      nb::sig("def embed(model: Model, input: str | Sequence[int], *, pooling: Literal['mean', "
              "'last'] = 'mean', normalize: bool = True) -> numpy.typing.NDArray[numpy.float32]"),
      "A vector [hidden_size]: the pooled hidden states after the last layer and the final norm.");
}
