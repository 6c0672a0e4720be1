#pragma once
// What is behind the handles of octet/c.h.
#include <octet/c.h>
#include <octet/session.h>

struct octet_model {
  octet::Model model;
};
struct octet_tokenizer {
  octet::Tokenizer tokenizer;
};
struct octet_session {
  octet::Session session;
};
