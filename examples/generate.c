/* The same in C: generate_c MODEL "What is 17 * 24?" */
#include <octet/c.h>
#include <stdio.h>

static bool print(void* context, const char* text, size_t length, bool reasoning) {
  (void)context, (void)reasoning;
  fwrite(text, 1, length, stdout);
  return fflush(stdout) == 0; /* nobody listens: stop */
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: generate_c MODEL PROMPT\n");
    return 2;
  }
  octet_model* model = NULL;
  octet_session* session = NULL;
  octet_status status = octet_model_open(argv[1], NULL, NULL, NULL, &model);
  if (status == OCTET_OK) status = octet_session_create(model, NULL, &session);
  if (status == OCTET_OK)
    status = octet_session_generate(session, argv[2], NULL, print, NULL, NULL);
  if (status == OCTET_OK)
    printf("\n");
  else
    fprintf(stderr, "generate_c: %s: %s\n", octet_status_name(status), octet_last_error());
  octet_session_free(session);
  octet_model_free(model);
  return status == OCTET_OK ? 0 : 1;
}
