/* octet/c.h as C99 sees it, with the shared library: program MODEL PROMPT
   Writes lines of results, which program.cpp compares with what the C++ interface gives. */
#include <octet/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(octet_status status) {
  if (status == OCTET_OK) return;
  fprintf(stderr, "%s: %s\n", octet_status_name(status), octet_last_error());
  exit(1);
}

static bool append(void* context, const char* text, size_t length, bool reasoning) {
  if (reasoning) return false;
  strncat(context, text, length);
  return true;
}

static void print_best(void* context, int64_t row, const float* logits, int64_t vocab_size) {
  int64_t best = 0;
  for (int64_t id = 1; id < vocab_size; ++id)
    if (logits[id] > logits[best]) best = id;
  (void)context;
  printf("row %d: %d %a\n", (int)row, (int)best, (double)logits[best]);
}

int main(int argc, char** argv) {
  octet_model_options model_options;
  octet_generate_options options;
  octet_model* model;
  octet_session* session;
  octet_session_options session_options;
  octet_tokenizer* tokenizer;
  char streamed[4096] = "";
  char* text;
  int32_t* ids;
  size_t count;
  if (argc != 3) return 2;

  check(octet_model_options_init(&model_options, sizeof model_options));
  model_options.threads = 2;
  check(octet_model_open(argv[1], &model_options, NULL, NULL, &model));
  check(octet_session_options_init(&session_options, sizeof session_options));
  session_options.context = 256;
  check(octet_session_create(model, &session_options, &session));
  check(octet_tokenizer_of(model, &tokenizer));
  check(octet_generate_options_init(model, &options, sizeof options));
  octet_model_free(model); /* the others keep what they need */

  options.max_tokens = 20;
  options.temperature = 0;
  check(octet_session_generate(session, argv[2], &options, append, streamed, &text));
  printf("%s\n", strcmp(streamed, text) == 0 ? "streamed" : "not what was streamed");
  printf("%s\n", text);
  octet_free(text);

  check(octet_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]), false, true, &ids, &count));
  check(octet_session_truncate(session, 0));
  check(octet_session_evaluate(session, ids, count, OCTET_ROWS_ALL, print_best, NULL, NULL));
  octet_free(ids);
  octet_tokenizer_free(tokenizer);
  octet_session_free(session);
  return 0;
}
