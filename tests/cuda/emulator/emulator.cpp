// Blocks of fibers, and a runtime whose one device is the CPU.
#include <cuda_runtime.h>
#include <setjmp.h>
#include <ucontext.h>

#include <array>
#include <cstdio>
#include <memory>
#include <mutex>

namespace octet::emulator {

dim3 thread_index, block_index, grid_size, block_size;
std::byte* shared_memory;

namespace {

constexpr size_t stack_bytes = 128 * 1024;
constexpr int max_words = 8;

struct Barrier {
  int arrived = 0;
  uint64_t generation = 0;
};

struct Warp {
  Barrier barrier;
  int alive = 32;
  // Two, so that a lane may pass its next values while others still read the last.
  std::array<std::array<uint32_t, 32 * max_words>, 2> values;
};

struct Fiber {
  ucontext_t first;
  jmp_buf resume;
  std::unique_ptr<std::byte[]> stack;
  bool started = false, done = false;
  uint64_t calls = 0;  // of gather()
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Warp> warps;
Barrier block_barrier, workers_barrier;
std::array<Barrier, 4> named_barriers;
std::vector<Barrier> pair_barriers, four_warps_barriers;
int block_alive = 0, current = 0;
uint64_t progress = 0;
jmp_buf scheduler;
const std::function<void()>* kernel_body;

void yield() {
  if (_setjmp(fibers[static_cast<size_t>(current)]->resume) == 0) _longjmp(scheduler, 1);
}

void fiber_main() {
  (*kernel_body)();
  fibers[static_cast<size_t>(current)]->done = true;
  --warps[static_cast<size_t>(current / 32)].alive;
  --block_alive;
  ++progress;
  _longjmp(scheduler, 1);
}

void resume(int index) {
  Fiber& fiber = *fibers[static_cast<size_t>(index)];
  current = index;
  thread_index = dim3(static_cast<unsigned>(index), 0, 0);
  if (_setjmp(scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.resume, 1);
  fiber.started = true;
  getcontext(&fiber.first);
  fiber.first.uc_stack.ss_sp = fiber.stack.get();
  fiber.first.uc_stack.ss_size = stack_bytes;
  fiber.first.uc_link = nullptr;
  makecontext(&fiber.first, fiber_main, 0);
  setcontext(&fiber.first);
}

/// `alive` may fall while threads wait: those that have ended count as arrived.
void wait(Barrier& barrier, const int& alive) {
  const uint64_t generation = barrier.generation;
  ++barrier.arrived;
  while (barrier.generation == generation) {
    if (barrier.arrived == alive) {
      barrier.arrived = 0;
      ++barrier.generation;
      ++progress;
      return;
    }
    yield();
  }
}

void run_block(int threads) {
  warps.assign(static_cast<size_t>(threads / 32), Warp{});
  block_barrier = workers_barrier = {};
  named_barriers = {};
  pair_barriers.assign(static_cast<size_t>(threads / 64) + 1, Barrier{});
  four_warps_barriers.assign(static_cast<size_t>(threads / 128) + 1, Barrier{});
  block_alive = threads;
  for (int i = 0; i < threads; ++i) {
    Fiber& fiber = *fibers[static_cast<size_t>(i)];
    fiber.started = fiber.done = false;
    fiber.calls = 0;
  }
  while (block_alive > 0) {
    const uint64_t before = progress;
    for (int i = 0; i < threads; ++i)
      if (!fibers[static_cast<size_t>(i)]->done) resume(i);
    if (progress == before) {
      std::fputs("emulator: the threads of a block wait for each other in different places\n",
                 stderr);
      std::abort();
    }
  }
}

}  // namespace

void sync_threads() {
  wait(block_barrier, block_alive);
}

void sync_first(int threads) {
  wait(workers_barrier, threads);
}
void sync_named(int name, int threads) {
  wait(named_barriers[static_cast<size_t>(name)], threads);
}
void sync_pair() {
  wait(pair_barriers[static_cast<size_t>(current / 64)], 64);
}
void sync_four_warps() {
  wait(four_warps_barriers[static_cast<size_t>(current / 128)], 128);
}
void give_way() {
  yield();
}
void note_progress() {
  ++progress;
}

void sync_warp() {
  Warp& warp = warps[static_cast<size_t>(current / 32)];
  wait(warp.barrier, warp.alive);
}

const uint32_t* gather(const uint32_t* values, int words) {
  Warp& warp = warps[static_cast<size_t>(current / 32)];
  auto& shared = warp.values[fibers[static_cast<size_t>(current)]->calls++ % 2];
  std::copy_n(values, words, shared.begin() + current % 32 * words);
  sync_warp();
  return shared.data();
}

uint64_t exchange(uint64_t value, int lane) {
  const uint32_t mine[2] = {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)};
  const uint32_t* all = gather(mine, 2);
  return all[lane * 2] | static_cast<uint64_t>(all[lane * 2 + 1]) << 32;
}

void run(dim3 grid, int threads, size_t shared_bytes, const std::function<void()>& kernel) {
  static std::mutex one_at_a_time;
  std::lock_guard turn(one_at_a_time);
  while (fibers.size() < static_cast<size_t>(threads)) {
    fibers.push_back(std::make_unique<Fiber>());
    fibers.back()->stack = std::make_unique<std::byte[]>(stack_bytes);
  }
  kernel_body = &kernel;
  grid_size = grid;
  block_size = dim3(static_cast<unsigned>(threads));
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        block_index = dim3(x, y, z);
        // Of the exact size, so that a sanitizer sees what lies outside; full of garbage.
        const std::unique_ptr<void, void (*)(void*)> shared(
            std::aligned_alloc(16, (shared_bytes + 15) / 16 * 16 + 16), std::free);
        std::memset(shared.get(), 0x7f, shared_bytes);
        shared_memory = static_cast<std::byte*>(shared.get());
        run_block(threads);
      }
}

}  // namespace octet::emulator

using Work = std::function<void()>;
struct EmulatedGraph {
  std::vector<Work> work;
};
struct EmulatedStream {
  EmulatedGraph* recording = nullptr;
};

namespace {

cudaError_t perform(cudaStream_t stream, Work work) {
  if (stream && stream->recording)
    stream->recording->work.push_back(std::move(work));
  else
    work();
  return cudaSuccess;
}

cudaError_t allocate(void** memory, size_t bytes) {
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!*memory) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0x7f, bytes);  // what is read before it is written shows
  return cudaSuccess;
}

constexpr size_t memory_bytes = size_t{8} << 30;

}  // namespace

namespace octet::emulator {
void launch(const cudaLaunchConfig_t& config, Work kernel) {
  perform(config.stream, [config, kernel = std::move(kernel)] {
    run(config.gridDim, static_cast<int>(config.blockDim.x), config.dynamicSmemBytes, kernel);
  });
}
}  // namespace octet::emulator

cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t) {
  return "emulated error";
}
const char* cudaGetErrorName(cudaError_t) {
  return "emulated";
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulator", 9, 0, 4, memory_bytes};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 4
           : attribute == cudaDevAttrClusterLaunch     ? 0
                                                       : 227 * 1024;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  return bytes > memory_bytes ? cudaErrorMemoryAllocation : allocate(memory, bytes);
}
cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  return allocate(memory, bytes);
}
cudaError_t cudaFreeHost(void* memory) {
  return cudaFree(memory);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = memory_bytes;
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return perform(stream, [=] { std::memset(memory, value, bytes); });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, int, cudaStream_t stream) {
  return perform(stream, [=] { std::memcpy(to, from, bytes); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, int) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, int) {
  *event = nullptr;  // whatever is put into a stream has ended
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int) {
  stream->recording = new EmulatedGraph;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->recording, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, int) {
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  for (const Work& work : graph->work) perform(stream, work);
  return cudaSuccess;
}
