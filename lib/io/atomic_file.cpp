#include "lib/io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "lib/core/error.h"
#include "lib/io/file_kind.h"

namespace octet {
namespace {

[[noreturn]] void fail_io(const std::string& path, const char* what) {
  const int number = errno;
  fail(ErrorCode::Io, path, ": ", what, ": ", std::strerror(number));
}

/// Makes the new name last through a power failure. Not every file system can, and the file itself
/// is complete by now, so that a refusal is no error.
void flush_folder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)fsync(fd);
  close(fd);
}

}  // namespace

AtomicFile::AtomicFile(const OutputPath& path, uint64_t size)
    : path_(path), folder_(folder_of(path.path)) {
  struct stat info {};
  require(stat(path.path.c_str(), &info) != 0 || S_ISREG(info.st_mode), ErrorCode::Io, path.shown,
          ": exists and is not a regular file");
  static std::atomic<unsigned> counter{0};
  do {
    temporary_ = str(folder_, "/.octet-", getpid(), "-", counter++, ".tmp");
    fd_ = open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (fd_ < 0 && errno == EEXIST);  // left over from a process of the same number
  if (fd_ < 0) fail_io(path_.shown, "cannot create");
  try {
    reserve(size);
  } catch (...) {
    close_and_remove();
    throw;
  }
}

AtomicFile::~AtomicFile() {
  close_and_remove();
}

void AtomicFile::reserve(uint64_t size) {
  require(size <= INT64_MAX, ErrorCode::Io, path_.shown, ": a file of ", size,
          " bytes is too large");
  const auto length = static_cast<off_t>(size);
  // A full disk shows now instead of after the work.
  if (length > 0 && fallocate(fd_, 0, 0, length) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
    fail_io(path_.shown, str("cannot take ", size, " bytes of disk").c_str());
  if (ftruncate(fd_, length) != 0) fail_io(path_.shown, "cannot set the size");
}

void AtomicFile::write(uint64_t offset, std::span<const std::byte> bytes) {
  require(fd_ >= 0, ErrorCode::Internal, path_.shown, ": written after it was finished");
  while (!bytes.empty()) {
    const ssize_t done = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail_io(path_.shown, "cannot write");
    bytes = bytes.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
}

void AtomicFile::commit() {
  require(fd_ >= 0, ErrorCode::Internal, path_.shown, ": finished twice");
  if (fsync(fd_) != 0) fail_io(path_.shown, "cannot flush to disk");
  // The system keeps a file in memory in pages as small as its pieces were written. Read anew from
  // disk, a model's weights come in pages of 2 MB (core/mapped_file.h), a fifth faster to decode.
  (void)posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  const int closed = close(fd_);
  fd_ = -1;
  if (closed != 0) fail_io(path_.shown, "cannot close");
  if (rename(temporary_.c_str(), path_.path.c_str()) != 0)
    fail_io(path_.shown, "cannot rename to this name");
  temporary_.clear();
  flush_folder(folder_);
}

void AtomicFile::close_and_remove() noexcept {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
  fd_ = -1;
  temporary_.clear();
}

}  // namespace octet
