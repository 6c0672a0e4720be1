#ifndef OCTET_C_H
#define OCTET_C_H
/// octet for C (C99) and for whatever calls C: models, tokenizers, chat templates, sessions,
/// logits.
///
///   octet_model* model;
///   octet_session* session;
///   if (octet_model_open("r1.int8.safetensors", NULL, NULL, NULL, &model) != OCTET_OK ||
///       octet_session_create(model, NULL, &session) != OCTET_OK ||
///       octet_session_generate(session, "What is 17 * 24?", NULL, print, NULL, NULL) != OCTET_OK)
///     fprintf(stderr, "%s\n", octet_last_error());
///
/// Errors. A function that can fail returns an octet_status; if that is not OCTET_OK, it has
/// written to none of its outputs, and octet_last_error() says what was wrong. A pointer that must
/// not be NULL and is, is OCTET_INVALID_ARGUMENT. No C++ exception leaves a function.
///
/// Ownership. Each handle belongs to the caller, who gives it back with the function for it
/// (octet_model_free and so on; NULL is fine there). Handles share what they need: a session or
/// tokenizer outlives the octet_model it was made from. Text and arrays that come through a
/// pointer to a pointer belong to the caller too: octet_free(). What comes back as a const pointer
/// belongs to the handle.
///
/// Threads. Models, tokenizers, cancel tokens and engines may be used by any threads at the same
/// time; a session, and a generation except for octet_generation_cancel, by one at a time.
/// Callbacks run in the thread that called.
///
/// Text is UTF-8; `const char*` without a length ends with a NUL byte.
///
/// Structs of options are filled by their _init function, which is told sizeof the struct and keeps
/// it in `size`: a later octet can then tell programs that were compiled with an earlier, shorter
/// struct. Any other size is OCTET_INVALID_ARGUMENT.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OCTET_API __attribute__((visibility("default")))

// --- errors and memory ------------------------------------------------------------------------

/// What kind of failure; the numbers are those of octet::ErrorCode in octet/error.h.
typedef enum octet_status {
  OCTET_OK = 0,
  OCTET_INVALID_FILE = 1,      ///< a file's content breaks its format
  OCTET_UNSUPPORTED = 2,       ///< well formed, but something octet does not know
  OCTET_OUT_OF_MEMORY = 3,     ///< memory that was asked for is not there
  OCTET_INVALID_ARGUMENT = 4,  ///< a value from the caller
  OCTET_CANCELLED = 5,         ///< stopped on request
  OCTET_DEVICE = 6,            ///< a device is missing or failed
  OCTET_IO = 7,                ///< the operating system refused to read or write
  OCTET_INTERNAL = 8,          ///< a defect in octet, or a callback that threw
  OCTET_BUSY = 9,              ///< no place in a queue now; later there may be one
} octet_status;

/// "Ok", "InvalidFile", "Unsupported", ...; "Unknown" for a number that is no octet_status.
OCTET_API const char* octet_status_name(int status);

/// What the last failure in this thread was about, one line; "" if there was none. Valid until the
/// next failure in this thread.
OCTET_API const char* octet_last_error(void);

/// Gives back text or an array that octet allocated. NULL is fine.
OCTET_API void octet_free(void* memory);

/// "0.1.0".
OCTET_API const char* octet_version(void);

// --- models -----------------------------------------------------------------------------------

/// A loaded model: weights, tokenizer, chat template and threads.
typedef struct octet_model octet_model;

/// Where a model runs, and how a checkpoint is quantized while it loads: ModelOptions in
/// octet/model.h, which explains each. The strings need to live during the call only.
typedef struct octet_model_options {
  size_t size;
  const char* device;    ///< "auto", "cpu", "cuda", "cuda:N"
  int threads;           ///< 0: one for each core this process may use
  const char* scheme;    ///< of checkpoints: "w8a8", "w8a8-g128", "f16", "f32"
  const char* rotation;  ///< of checkpoints: "auto", "off", "on"
  const char* mixed;     ///< of checkpoints: "k,v", ..., "off"
  int64_t max_rows;      ///< of a step; 0: the device's own choice
  const char* kv_cache;  ///< "f16", "int16" (CPU), "int8"
  bool exact;            ///< CUDA gives int8 models the CPU's bits, and is slower
} octet_model_options;

/// Fills in the defaults. Errors: OCTET_INVALID_ARGUMENT for a wrong size.
OCTET_API octet_status octet_model_options_init(octet_model_options* options, size_t size);

/// Called now and then during long work. Returning false cancels it (OCTET_CANCELLED).
typedef bool (*octet_progress_callback)(void* context, int64_t done, int64_t total);

/// path: a converted file (memory-mapped), or a Hugging Face directory, .safetensors or .gguf,
/// which is quantized while it loads. options and progress may be NULL.
/// Errors: OCTET_IO, OCTET_INVALID_FILE, OCTET_UNSUPPORTED, OCTET_DEVICE, OCTET_OUT_OF_MEMORY,
/// OCTET_INVALID_ARGUMENT, OCTET_CANCELLED.
OCTET_API octet_status octet_model_open(const char* path, const octet_model_options* options,
                                        octet_progress_callback progress, void* context,
                                        octet_model** model);
OCTET_API void octet_model_free(octet_model* model);

/// Facts about a model; 0 or NULL if model is NULL. The strings live as long as the handle.
OCTET_API int64_t octet_model_vocab_size(const octet_model* model);  ///< length of a row of logits
OCTET_API int64_t octet_model_max_positions(const octet_model* model);
OCTET_API int octet_model_threads(const octet_model* model);
OCTET_API int64_t octet_model_weight_bytes(const octet_model* model);
OCTET_API int64_t octet_model_kv_bytes_per_token(const octet_model* model);
OCTET_API const char* octet_model_scheme(const octet_model* model);           ///< "w8a8", ...
OCTET_API const char* octet_model_device(const octet_model* model);           ///< "cpu", "cuda:0"
OCTET_API const char* octet_model_instruction_set(const octet_model* model);  ///< "avx2", ...
OCTET_API const char* octet_model_chat_template(const octet_model* model);    ///< Jinja; "": none

/// The ids at which generation stops; *count of them, alive as long as the handle. NULL and 0 if
/// there are none.
OCTET_API const int32_t* octet_model_end_ids(const octet_model* model, size_t* count);

// --- tokenizers -------------------------------------------------------------------------------

typedef struct octet_tokenizer octet_tokenizer;

/// path: a tokenizer.json, a directory that holds one (or a tokenizer.model), a GGUF file, a
/// sentencepiece .model, or a converted octet file.
/// Errors: OCTET_IO, OCTET_INVALID_FILE, OCTET_UNSUPPORTED.
OCTET_API octet_status octet_tokenizer_open(const char* path, octet_tokenizer** tokenizer);
/// A model's own, sharing its tables. Errors: OCTET_UNSUPPORTED if it has none.
OCTET_API octet_status octet_tokenizer_of(const octet_model* model, octet_tokenizer** tokenizer);
OCTET_API void octet_tokenizer_free(octet_tokenizer* tokenizer);

/// The ids of `length` bytes of text: *ids is an array of *count, for octet_free().
/// add_bos: put the beginning-of-text token first, where the model has one. parse_special: text
/// that spells an added token becomes that token; false for text from users.
/// Errors: OCTET_INVALID_ARGUMENT if the text is not UTF-8.
OCTET_API octet_status octet_tokenizer_encode(const octet_tokenizer* tokenizer, const char* text,
                                              size_t length, bool add_bos, bool parse_special,
                                              int32_t** ids, size_t* count);

/// The text of `count` ids: *text, for octet_free(), has *length bytes and a NUL after them. length
/// may be NULL. keep_special: write the special tokens' text too. Bytes that are not UTF-8 become
/// U+FFFD. Errors: OCTET_INVALID_ARGUMENT for a negative id.
OCTET_API octet_status octet_tokenizer_decode(const octet_tokenizer* tokenizer, const int32_t* ids,
                                              size_t count, bool keep_special, char** text,
                                              size_t* length);

/// The number of ids that may have text; 0 if tokenizer is NULL.
OCTET_API int32_t octet_tokenizer_size(const octet_tokenizer* tokenizer);
/// The id of the beginning-of-text token; -1: none.
OCTET_API int32_t octet_tokenizer_bos_id(const octet_tokenizer* tokenizer);
/// The id of a token by its text, such as "<|im_end|>"; -1: there is no such token.
OCTET_API int32_t octet_tokenizer_find(const octet_tokenizer* tokenizer, const char* token);

// --- chat templates ---------------------------------------------------------------------------

typedef struct octet_message {
  const char* role;  ///< "system", "user", "assistant"
  const char* content;
} octet_message;

/// The model's chat template filled with messages: *text, for octet_free(), has *length bytes and a
/// NUL after them. length may be NULL.
/// Errors: OCTET_INVALID_ARGUMENT with the template's own words if it refuses the messages;
/// OCTET_UNSUPPORTED if the model has no template.
OCTET_API octet_status octet_render_chat(const octet_model* model, const octet_message* messages,
                                         size_t count, bool add_generation_prompt, char** text,
                                         size_t* length);

/// The same as token ids, *ids an array of *count for octet_free(). Text in a message that spells a
/// special token is encoded as plain text: only the template writes special tokens.
OCTET_API octet_status octet_encode_chat(const octet_model* model, const octet_message* messages,
                                         size_t message_count, bool add_generation_prompt,
                                         int32_t** ids, size_t* count);

// --- generating -------------------------------------------------------------------------------

/// Ends work from another thread. It stays cancelled: make one for each piece of work.
typedef struct octet_cancel_token octet_cancel_token;
OCTET_API octet_status octet_cancel_token_create(octet_cancel_token** token);
/// From any thread; takes effect within milliseconds. NULL is fine.
OCTET_API void octet_cancel_token_cancel(octet_cancel_token* token);
OCTET_API void octet_cancel_token_free(octet_cancel_token* token);

/// What an answer must look like; for any thread.
typedef struct octet_constraint octet_constraint;
/// JSON texts that fulfil a schema; octet/constraint.h lists the keywords.
/// Errors: OCTET_INVALID_ARGUMENT for what is no schema or has no value; OCTET_UNSUPPORTED naming
/// the keyword.
OCTET_API octet_status octet_constraint_json_schema(const char* schema,
                                                    octet_constraint** constraint);
/// Texts that the whole of a regular expression matches; octet/constraint.h says what is known.
/// Errors: OCTET_INVALID_ARGUMENT naming the place; OCTET_UNSUPPORTED.
OCTET_API octet_status octet_constraint_regex(const char* pattern, octet_constraint** constraint);
OCTET_API void octet_constraint_free(octet_constraint* constraint);

/// How text is generated: GenerateOptions in octet/generate.h and SamplerOptions in
/// octet/sampler.h, which explain each.
typedef struct octet_generate_options {
  size_t size;
  int64_t max_tokens;
  float temperature;  ///< 0: greedy
  int64_t top_k;      ///< 0: all
  float top_p;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  uint64_t seed;
  const char* const* stop;  ///< texts that end the generation and are not given out
  size_t stop_count;
  bool stop_at_end_tokens;
  bool lookup;              ///< guess repeated text; changes the speed only
  int64_t logprobs;         ///< of each token, and so many alternatives; -1: none
  bool separate_reasoning;  ///< what is between <think> and </think> comes apart from the answer
  int64_t max_reasoning_tokens;        ///< then </think> is put there; -1: no cap
  const octet_constraint* constraint;  ///< of the answer, not of reasoning; may be NULL
  const octet_cancel_token* cancel;    ///< may be NULL
} octet_generate_options;

/// Fills in what the model's checkpoint recommends, and octet's own defaults where it is silent.
/// Errors: OCTET_INVALID_ARGUMENT for a wrong size.
OCTET_API octet_status octet_generate_options_init(const octet_model* model,
                                                   octet_generate_options* options, size_t size);

typedef enum octet_stop_reason {
  OCTET_STOP_NONE = 0,
  OCTET_STOP_END_TOKEN = 1,
  OCTET_STOP_STRING = 2,
  OCTET_STOP_LIMIT = 3,
  OCTET_STOP_CALLBACK = 4,
  OCTET_STOP_CONTEXT_FULL = 5,
  OCTET_STOP_CONSTRAINT = 6,  ///< a constrained answer is complete
  OCTET_STOP_CANCELLED = 7,
  OCTET_STOP_DEADLINE = 8,
} octet_stop_reason;

/// What a generation did. Seconds are wall time.
typedef struct octet_generate_stats {
  int64_t prompt_tokens;  ///< evaluated for that call
  int64_t cached_tokens;  ///< taken from the KV cache
  int64_t generated_tokens;
  int64_t reasoning_tokens;  ///< of these, inside <think>
  int64_t drafted_tokens;    ///< guesses by prompt lookup that were evaluated
  int64_t accepted_tokens;   ///< of these, the ones that became generated tokens
  int64_t dropped_turns;     ///< left out of the prompt, which did not fit
  double prefill_seconds;
  double decode_seconds;
  double first_token_seconds;
  octet_stop_reason stop;
} octet_generate_stats;

typedef struct octet_logprob {
  int32_t id;
  float logprob;  ///< natural logarithm
} octet_logprob;

/// A token that was generated. logprob and top only if options.logprobs asked for them.
typedef struct octet_token {
  int32_t id;
  float logprob;
  bool forced;               ///< not drawn: put there by max_reasoning_tokens or a constraint
  const octet_logprob* top;  ///< the likeliest, best first
  size_t top_count;
} octet_token;

// --- sessions ---------------------------------------------------------------------------------

/// One sequence: a KV cache and the conversation in it.
typedef struct octet_session octet_session;

typedef struct octet_session_options {
  size_t size;
  int64_t context;   ///< positions that fit; 0: the model's own limit, at most 4096
  bool drop_oldest;  ///< leave the oldest turns out of a prompt that does not fit; else an error
} octet_session_options;
OCTET_API octet_status octet_session_options_init(octet_session_options* options, size_t size);

/// options may be NULL. Errors: OCTET_INVALID_ARGUMENT, OCTET_OUT_OF_MEMORY naming both numbers.
OCTET_API octet_status octet_session_create(const octet_model* model,
                                            const octet_session_options* options,
                                            octet_session** session);
OCTET_API void octet_session_free(octet_session* session);

/// Another session that continues from here by itself, sharing memory. Errors: OCTET_OUT_OF_MEMORY.
OCTET_API octet_status octet_session_fork(const octet_session* session, octet_session** fork);
/// Writes the conversation and its cache, all or nothing. Errors: OCTET_IO.
OCTET_API octet_status octet_session_save(const octet_session* session, const char* path);
/// A saved session, which continues without evaluating anything again. Errors: OCTET_IO,
/// OCTET_INVALID_FILE; OCTET_INVALID_ARGUMENT if it was saved with another model or does not fit.
OCTET_API octet_status octet_session_load(const octet_model* model, const char* path,
                                          const octet_session_options* options,
                                          octet_session** session);

/// Gets each piece of the answer, `length` bytes of whole characters, not ended by a NUL, valid
/// during the call. reasoning: part of the reasoning, if separate_reasoning was asked for.
/// Returning false stops the generation.
typedef bool (*octet_text_callback)(void* context, const char* text, size_t length, bool reasoning);

/// Adds a user's turn to the conversation and generates the assistant's, which is added when it
/// ends, also when on_text ends it. on_text may be NULL; so may options, for the defaults; so may
/// text, which else gets the whole answer (with separate_reasoning, without the reasoning),
/// NUL-terminated, for octet_free(). The callback must not use the session.
/// Errors: OCTET_INVALID_ARGUMENT for an option out of range or a prompt that does not fit;
/// OCTET_UNSUPPORTED if the model has no tokenizer; OCTET_CANCELLED if options->cancel ends the
/// evaluation of the prompt (later it ends the answer, as on_text does).
OCTET_API octet_status octet_session_generate(octet_session* session, const char* user,
                                              const octet_generate_options* options,
                                              octet_text_callback on_text, void* context,
                                              char** text);

/// The same for `prompt` as it stands, without the chat template; the session starts over.
OCTET_API octet_status octet_session_complete(octet_session* session, const char* prompt,
                                              const octet_generate_options* options,
                                              octet_text_callback on_text, void* context,
                                              char** text);

/// Writes *stats. size: sizeof *stats, as with options.
/// Errors: OCTET_INVALID_ARGUMENT for a wrong size.
OCTET_API octet_status octet_session_stats(const octet_session* session,
                                           octet_generate_stats* stats, size_t size);

/// The tokens that were generated last, *count of them if options.logprobs asked for them, valid
/// until the session is used again.
OCTET_API octet_status octet_session_generated(octet_session* session, const octet_token** tokens,
                                               size_t* count);
/// The reasoning that was generated last, if separate_reasoning was asked for, valid until the
/// session is used again; NULL if session is NULL.
OCTET_API const char* octet_session_reasoning(const octet_session* session);

/// Removes the last user's message and everything after it; *dropped tells whether there was one.
/// dropped may be NULL.
OCTET_API octet_status octet_session_drop_last_turn(octet_session* session, bool* dropped);

/// Replaces the conversation; the cache keeps what the next prompt shares with it.
OCTET_API octet_status octet_session_set_messages(octet_session* session,
                                                  const octet_message* messages, size_t count);
/// The number of turns in the conversation; 0 if session is NULL.
OCTET_API size_t octet_session_message_count(const octet_session* session);
/// A turn, counted from 0; its text is valid until the conversation changes.
/// Errors: OCTET_INVALID_ARGUMENT if there are not so many.
OCTET_API octet_status octet_session_message(const octet_session* session, size_t index,
                                             octet_message* message);

// --- logits and embeddings --------------------------------------------------------------------

/// Which rows of an evaluation have logits. (Numbers that come in are ints: C++ knows no enum with
/// a value outside its enumerators, which a caller may give by mistake.)
typedef enum octet_rows {
  OCTET_ROWS_NONE = 0,
  OCTET_ROWS_LAST = 1,
  OCTET_ROWS_ALL = 2,
} octet_rows;

/// Gets one row, counted from 0 within the call: vocab_size logits, valid during the call.
typedef void (*octet_logits_callback)(void* context, int64_t row, const float* logits,
                                      int64_t vocab_size);

/// Appends `count` ids to the sequence and evaluates them; on_logits, which may be NULL for
/// OCTET_ROWS_NONE, is called for each row asked for, in order. It must not use the session.
/// rows: an octet_rows.
/// cancel may be NULL. Errors: OCTET_INVALID_ARGUMENT for an id outside the vocabulary or a full
/// context; OCTET_CANCELLED, with some of the ids appended.
OCTET_API octet_status octet_session_evaluate(octet_session* session, const int32_t* ids,
                                              size_t count, int rows,
                                              octet_logits_callback on_logits, void* context,
                                              const octet_cancel_token* cancel);

/// Forgets every position from `length` on. Errors: OCTET_INVALID_ARGUMENT if there are fewer.
OCTET_API octet_status octet_session_truncate(octet_session* session, int64_t length);
/// Positions that fit; 0 if session is NULL.
OCTET_API int64_t octet_session_context(const octet_session* session);
/// The ids in the cache, *count of them, valid until the session changes; NULL and 0 if there are
/// none.
OCTET_API const int32_t* octet_session_tokens(const octet_session* session, size_t* count);

typedef enum octet_pooling {
  OCTET_POOLING_MEAN = 0,  ///< of the hidden states of all positions
  OCTET_POOLING_LAST = 1,  ///< the hidden state of the last position
} octet_pooling;

/// *vector, for octet_free(), gets the pooled hidden states, *size of them, of `count` ids after
/// the last layer and the final norm. pooling: an octet_pooling; normalize: to length 1. cancel may
/// be NULL. Errors:
/// OCTET_INVALID_ARGUMENT for no ids, too many, or one outside the vocabulary; OCTET_CANCELLED.
OCTET_API octet_status octet_embed(const octet_model* model, const int32_t* ids, size_t count,
                                   int pooling, bool normalize, const octet_cancel_token* cancel,
                                   float** vector, size_t* size);

// --- engines ----------------------------------------------------------------------------------

/// Continuous batching over one model: requests join and leave at every step, and share what their
/// prompts have in common. An answer is that of the request alone, whatever else runs (int8 schemes
/// on a CPU). It has a thread of its own.
typedef struct octet_engine octet_engine;
/// A request's answer as it is made.
typedef struct octet_generation octet_generation;

/// EngineOptions in octet/engine.h, which explains each.
typedef struct octet_engine_options {
  size_t size;
  int64_t context;      ///< positions of a request; 0: the model's own limit, at most 4096
  int64_t kv_bytes;     ///< memory for keys and values of all requests; 0: eight contexts
  int64_t max_running;  ///< requests evaluated at a time; the others wait
  int64_t max_waiting;
  int64_t prompt_rows;  ///< of prompts in a step beside running answers; 0: the device's own choice
  bool reuse_prefixes;
  bool steady;            ///< even times between an answer's tokens before speed
  double prompt_seconds;  ///< time that a prompt is spread over beside running answers
} octet_engine_options;
OCTET_API octet_status octet_engine_options_init(octet_engine_options* options, size_t size);

/// options may be NULL. Errors: OCTET_INVALID_ARGUMENT, OCTET_OUT_OF_MEMORY.
OCTET_API octet_status octet_engine_create(const octet_model* model,
                                           const octet_engine_options* options,
                                           octet_engine** engine);
/// Cancels what runs and waits. Generations may be freed before or after.
OCTET_API void octet_engine_free(octet_engine* engine);

typedef struct octet_request {
  size_t size;
  const int32_t* prompt;  ///< octet_encode_chat(), or octet_tokenizer_encode()
  size_t prompt_count;
  const octet_generate_options* options;  ///< NULL: the defaults
  const char* client;       ///< who asks; clients that wait get equal shares. NULL: ""
  int priority;             ///< higher starts sooner
  double deadline_seconds;  ///< after octet_engine_submit; 0: none
} octet_request;
/// Fills in an empty prompt and no more than that.
OCTET_API octet_status octet_request_init(octet_request* request, size_t size);

/// Queues a request; its memory need not outlive the call. If the queue is full, waits up to
/// wait_seconds for a place. Errors: OCTET_BUSY if there is none then, or after octet_engine_drain;
/// OCTET_INVALID_ARGUMENT for a prompt that does not fit, or an option out of range;
/// OCTET_OUT_OF_MEMORY if it could not fit with nothing else there.
OCTET_API octet_status octet_engine_submit(octet_engine* engine, const octet_request* request,
                                           double wait_seconds, octet_generation** generation);

/// The next part of an answer.
typedef struct octet_piece {
  const char* text;  ///< whole characters, and a NUL after them; may be empty
  size_t length;
  bool reasoning;     ///< if separate_reasoning was asked for
  octet_token token;  ///< id -1: none, this is the rest of the text
} octet_piece;

typedef enum octet_poll {
  OCTET_POLL_PIECE = 0,
  OCTET_POLL_END = 1,
  OCTET_POLL_TIMEOUT = 2,
} octet_poll;

/// Waits for the next piece, for at most `seconds` (negative: without end). *piece is valid until
/// the next call for this generation, and only written for OCTET_POLL_PIECE.
/// Errors: what ended the request, other than an octet_stop_reason.
OCTET_API octet_status octet_generation_next(octet_generation* generation, double seconds,
                                             octet_poll* poll, octet_piece* piece);
/// Ends the request within a step, from any thread. NULL is fine.
OCTET_API void octet_generation_cancel(octet_generation* generation);
/// Writes *stats, complete after the end. size: sizeof *stats.
OCTET_API octet_status octet_generation_stats(const octet_generation* generation,
                                              octet_generate_stats* stats, size_t size);
/// Also cancels the request, if it has not ended.
OCTET_API void octet_generation_free(octet_generation* generation);

/// EngineStats in octet/engine.h, which explains each.
typedef struct octet_engine_counters {
  int64_t waiting;
  int64_t running;
  int64_t pages_total;
  int64_t pages_used;
  int64_t pages_cached;
  uint64_t submitted;
  uint64_t refused;
  uint64_t finished;
  uint64_t cancelled;
  uint64_t deadlines_missed;
  uint64_t failed;
  uint64_t prompt_tokens;
  uint64_t cached_tokens;
  uint64_t generated_tokens;
  uint64_t steps;
} octet_engine_counters;
/// Writes *stats. size: sizeof *stats.
OCTET_API octet_status octet_engine_stats(const octet_engine* engine, octet_engine_counters* stats,
                                          size_t size);

/// Takes no more requests, and waits up to `seconds` for those that are there. *ended tells whether
/// all have ended.
OCTET_API octet_status octet_engine_drain(octet_engine* engine, double seconds, bool* ended);

#ifdef __cplusplus
}
#endif
#endif
