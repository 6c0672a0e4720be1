#pragma once
// <immintrin.h>. GCC 12 warns that its own _mm512_undefined_ps() is uninitialized (PR 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
