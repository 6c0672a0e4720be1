#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace octet {

/// A regular file mapped read-only for as long as the object lives. Movable, not copyable.
class MappedFile {
 public:
  /// Errors: Io if the file cannot be opened or mapped, or is not a regular file.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  /// Tells the kernel that these bytes will not be needed soon (streaming conversion of files
  /// larger than memory); they can still be read.
  void drop(std::span<const std::byte> part) const;

  /// Asks the kernel for pages of 2 MB, but not in `single_rows`, of which a page would bring what
  /// nobody reads. A wish: it holds for what is then read from a disk, where the file system has
  /// such pages (ext4 on Linux 6.18 does).
  void prefer_huge_pages(std::span<const std::byte> single_rows) const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// The whole file as text. Errors: Io; InvalidFile if it is larger than max_bytes.
std::string read_file(const std::string& path, size_t max_bytes);

}  // namespace octet
