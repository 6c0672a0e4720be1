#pragma once
// What is behind the handles of octet/c.h.
#include <octet/c.h>
#include <octet/engine.h>
#include <octet/session.h>

#include "lib/c/generate.h"

struct octet_model {
  octet::Model model;
};
struct octet_tokenizer {
  octet::Tokenizer tokenizer;
};
struct octet_cancel_token {
  octet::CancelToken token;
};
struct octet_constraint {
  octet::Constraint constraint;
};
struct octet_session {
  octet::Session session;
  octet::c::TokenList generated;
};
struct octet_engine {
  octet::Engine engine;
};
struct octet_generation {
  octet::Generation generation;
  octet::GenerationPiece piece;  // the last one
  octet::c::TokenList tokens;    // of that piece
};
