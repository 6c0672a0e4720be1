#include "lib/core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "lib/core/error.h"

namespace octet {
namespace {

/// Closes the descriptor at the end of the scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

size_t open_regular(const std::string& path, Descriptor& file) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(file.fd >= 0, ErrorCode::Io, path, ": cannot open: ", std::strerror(errno));
  struct stat info {};
  require(fstat(file.fd, &info) == 0, ErrorCode::Io, path, ": ", std::strerror(errno));
  require(S_ISREG(info.st_mode), ErrorCode::Io, path, ": not a regular file");
  return static_cast<size_t>(info.st_size);
}

/// Of the whole pages inside the part: a neighbour's page stays as it is.
void advise(std::span<const std::byte> part, int advice) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  Descriptor file{-1};
  size_ = open_regular(path, file);
  if (size_ == 0) return;
  void* address = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  require(address != MAP_FAILED, ErrorCode::Io, path, ": cannot map ", size_,
          " bytes: ", std::strerror(errno));
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::drop(std::span<const std::byte> part) const {
  advise(part, MADV_DONTNEED);
}

void MappedFile::prefer_huge_pages(std::span<const std::byte> single_rows) const {
#ifdef MADV_HUGEPAGE
  advise(bytes(), MADV_HUGEPAGE);
  advise(single_rows, MADV_NOHUGEPAGE);
#endif
}

std::string read_file(const std::string& path, size_t max_bytes) {
  Descriptor file{-1};
  const size_t size = open_regular(path, file);
  require(size <= max_bytes, ErrorCode::InvalidFile, path, ": ", size, " bytes, at most ",
          max_bytes, " expected");
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got = read(file.fd, text.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    require(got >= 0, ErrorCode::Io, path, ": cannot read: ", std::strerror(errno));
    if (got == 0) break;  // the file shrank
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

}  // namespace octet
