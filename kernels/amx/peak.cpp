// What one thread can do with AMX: kernels/types.h.
#include "kernels/amx/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {

/// Four tdpbusd into four tiles of sums, as in a block, without its loads.
uint64_t peak_int8_amx(uint64_t iterations) {
  const Tiles tiles;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  alignas(64) int8_t ones[side * step_k];
  __builtin_memset(ones, 1, sizeof ones);
  written();
  _tile_loadd(4, ones, step_k);
  _tile_loadd(5, ones, step_k);
  _tile_loadd(6, ones, step_k);
  _tile_loadd(7, ones, step_k);
  for (uint64_t i = 0; i < iterations; ++i) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  return iterations * 4 * side * side * step_k * 2;
}

}  // namespace octet::kernels
