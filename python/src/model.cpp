#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <octet/model.h>

#include "bindings.h"
#include "progress.h"

using namespace octet;

namespace {

void open_model(Model* self, const std::filesystem::path& path, const std::string& device,
                int threads, const std::string& scheme, const std::string& rotation,
                const std::string& mixed, int64_t max_rows, const std::string& kv_cache, bool exact,
                const nb::object& progress) {
  ModelOptions options;
  options.device = Device::parse(device);
  options.threads = threads;
  options.scheme = parse_scheme(scheme);
  options.rotation = parse_rotation(rotation);
  options.mixed = mixed;
  options.max_rows = max_rows;
  options.kv_cache = parse_kv_cache(kv_cache);
  options.exact = exact;
  PythonProgress callback(progress);
  new (self)
      Model(callback.run([&](Progress to) { return Model::open(path.string(), options, to); }));
}

void bind_config(nb::module_& m) {
  nb::class_<ModelConfig>(m, "ModelConfig", "The shape of a decoder.")
      .def_ro("family", &ModelConfig::family)
      .def_ro("vocab_size", &ModelConfig::vocab_size)
      .def_ro("hidden_size", &ModelConfig::hidden_size)
      .def_ro("num_layers", &ModelConfig::num_layers)
      .def_ro("num_heads", &ModelConfig::num_heads)
      .def_ro("num_kv_heads", &ModelConfig::num_kv_heads)
      .def_ro("head_dim", &ModelConfig::head_dim)
      .def_ro("intermediate_size", &ModelConfig::intermediate_size)
      .def_ro("max_positions", &ModelConfig::max_positions)
      .def_ro("eos_ids", &ModelConfig::eos_ids, "Generation stops at each of these.");
}

}  // namespace

void bind_model(nb::module_& m) {
  bind_config(m);
  nb::class_<Model>(m, "Model", "A loaded model; for any thread.")
      .def("__init__", &open_model, nb::arg("path"), nb::kw_only(), nb::arg("device") = "auto",
           nb::arg("threads") = 0, nb::arg("scheme") = "w8a8", nb::arg("rotation") = "auto",
           nb::arg("mixed") = default_mixed, nb::arg("max_rows") = 0, nb::arg("kv_cache") = "f16",
           nb::arg("exact") = false, nb::arg("progress") = nb::none(),
           nb::sig("def __init__(self, path: str | PathLike[str], *, device: str = 'auto', "
                   "threads: int = 0, "
                   "scheme: Literal['w8a8', 'w8a8-g128', 'f16', 'f32'] = 'w8a8', "
                   "rotation: Literal['auto', 'off', 'on'] = 'auto', mixed: str = 'k,v', "
                   "max_rows: int = 0, kv_cache: Literal['f16', 'int16', 'int8'] = 'f16', "
                   "exact: bool = False, "
                   "progress: Callable[[int, int], bool | None] | None = None) -> None"),
           "path: a converted file (memory-mapped, ready at once), or a Hugging Face directory,\n"
           ".safetensors or .gguf, which is quantized while it loads, as scheme, rotation and "
           "mixed\n"
           "say. device: 'auto', 'cpu', 'cuda', 'cuda:N'. threads: 0 for one a core.\n"
           "exact: on CUDA, an int8 model gives the CPU's bits, and is slower.\n"
           "progress(done, total) may return False, which cancels.")
      .def_prop_ro("config", &Model::config, nb::rv_policy::reference_internal)
      .def_prop_ro("tokenizer", &Model::tokenizer, nb::rv_policy::copy,
                   "Raises Error (Unsupported) if the model has none.")
      .def_prop_ro("scheme", [](const Model& self) { return to_string(self.scheme()); })
      .def_prop_ro("device", &Model::device)
      .def_prop_ro("threads", &Model::threads)
      .def_prop_ro("instruction_set", &Model::instruction_set)
      .def_prop_ro("kv_cache", [](const Model& self) { return to_string(self.kv_cache()); })
      .def_prop_ro("chat_template", &Model::chat_template, "Jinja source; empty: none.")
      .def_prop_ro("weight_bytes", &Model::weight_bytes)
      .def_prop_ro("kv_bytes_per_token", &Model::kv_bytes_per_token)
      .def(
          "render_chat",
          [](const Model& self, const nb::list& messages, bool add_generation_prompt) {
            return render_chat(self, chat_messages(messages), add_generation_prompt);
          },
          nb::arg("messages"), nb::arg("add_generation_prompt") = true,
          nb::sig("def render_chat(self, messages: list[Message], "
                  "add_generation_prompt: bool = True) -> str"),
          "The model's chat template filled with messages.");
}
