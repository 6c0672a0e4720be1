#include <octet/embed.h>

#include "lib/c/call.h"
#include "lib/c/handles.h"
#include "lib/c/messages.h"

using namespace octet;
using namespace octet::c;

static_assert(OCTET_POOLING_MEAN == int(EmbedOptions::Pooling::mean));
static_assert(OCTET_POOLING_LAST == int(EmbedOptions::Pooling::last));

namespace {

ModelOptions model_options(const octet_model_options* given_options) {
  if (!given_options) return {};
  const octet_model_options& from = sized(given_options, given_options->size, "options");
  ModelOptions options;
  options.device = Device::parse(text(from.device, "options.device"));
  options.threads = from.threads;
  options.scheme = parse_scheme(text(from.scheme, "options.scheme"));
  options.rotation = parse_rotation(text(from.rotation, "options.rotation"));
  options.mixed = text(from.mixed, "options.mixed");
  options.max_rows = from.max_rows;
  options.kv_cache = parse_kv_cache(text(from.kv_cache, "options.kv_cache"));
  options.exact = from.exact;
  return options;
}

}  // namespace

octet_status octet_model_options_init(octet_model_options* options, size_t size) {
  return call([&] {
    const ModelOptions defaults;
    sized(options, size, "options") = {.size = size,
                                       .device = "auto",
                                       .threads = defaults.threads,
                                       .scheme = to_string(defaults.scheme),
                                       .rotation = to_string(defaults.rotation),
                                       .mixed = default_mixed,
                                       .max_rows = defaults.max_rows,
                                       .kv_cache = to_string(defaults.kv_cache),
                                       .exact = defaults.exact};
  });
}

octet_status octet_model_open(const char* path, const octet_model_options* options,
                              octet_progress_callback progress, void* context,
                              octet_model** model) {
  return call([&] {
    octet_model*& out = given(model, "model");
    out = new octet_model{
        Model::open(std::string(text(path, "path")), model_options(options), {progress, context})};
  });
}

void octet_model_free(octet_model* model) {
  delete model;
}

int64_t octet_model_vocab_size(const octet_model* model) {
  return model ? model->model.config().vocab_size : 0;
}
int64_t octet_model_max_positions(const octet_model* model) {
  return model ? model->model.config().max_positions : 0;
}
int octet_model_threads(const octet_model* model) {
  return model ? model->model.threads() : 0;
}
int64_t octet_model_weight_bytes(const octet_model* model) {
  return model ? model->model.weight_bytes() : 0;
}
int64_t octet_model_kv_bytes_per_token(const octet_model* model) {
  return model ? model->model.kv_bytes_per_token() : 0;
}
const char* octet_model_scheme(const octet_model* model) {
  return model ? to_string(model->model.scheme()) : nullptr;
}
const char* octet_model_device(const octet_model* model) {
  return model ? model->model.device() : nullptr;
}
const char* octet_model_instruction_set(const octet_model* model) {
  return model ? model->model.instruction_set() : nullptr;
}
const char* octet_model_chat_template(const octet_model* model) {
  return model ? model->model.chat_template().c_str() : nullptr;
}

const int32_t* octet_model_end_ids(const octet_model* model, size_t* count) {
  if (count) *count = model ? model->model.config().eos_ids.size() : 0;
  return model ? model->model.config().eos_ids.data() : nullptr;
}

octet_status octet_render_chat(const octet_model* model, const octet_message* messages,
                               size_t count, bool add_generation_prompt, char** text,
                               size_t* length) {
  return call([&] {
    char*& out = given(text, "text");
    const std::string prompt = render_chat(given(model, "model").model,
                                           chat_messages(messages, count), add_generation_prompt);
    out = copy(prompt);
    if (length) *length = prompt.size();
  });
}

octet_status octet_encode_chat(const octet_model* model, const octet_message* messages,
                               size_t message_count, bool add_generation_prompt, int32_t** ids,
                               size_t* count) {
  return call([&] {
    int32_t*& out = given(ids, "ids");
    size_t& out_count = given(count, "count");
    const std::vector<int32_t> made = encode_chat(
        given(model, "model").model, chat_messages(messages, message_count), add_generation_prompt);
    out = copy(std::span<const int32_t>(made));
    out_count = made.size();
  });
}

octet_status octet_embed(const octet_model* model, const int32_t* ids, size_t count, int pooling,
                         bool normalize, const octet_cancel_token* cancel, float** vector,
                         size_t* size) {
  return call([&] {
    float*& out = given(vector, "vector");
    size_t& out_size = given(size, "size");
    require(pooling == OCTET_POOLING_MEAN || pooling == OCTET_POOLING_LAST,
            ErrorCode::InvalidArgument, "pooling is ", pooling,
            ", OCTET_POOLING_MEAN or _LAST expected");
    const std::vector<float> made =
        embed(given(model, "model").model, array(ids, count, "ids"),
              {static_cast<EmbedOptions::Pooling>(pooling), normalize, cancel_token(cancel)});
    out = copy(std::span<const float>(made));
    out_size = made.size();
  });
}
