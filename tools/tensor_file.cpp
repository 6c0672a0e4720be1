#include "tensor_file.h"

#include <octet/error.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace octet::tools {
namespace {

[[noreturn]] void io_error(const std::string& path) {
  throw Error(ErrorCode::Io, path + ": cannot write: " + std::strerror(errno));
}

}  // namespace

TensorFile::TensorFile(const std::string& path, const std::vector<Plan>& tensors)
    : path_(path), temporary_(path + ".tmp" + std::to_string(getpid())) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const Plan& tensor : tensors) {
    uint64_t bytes = 4;
    for (int64_t extent : tensor.shape) bytes *= static_cast<uint64_t>(extent);
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {expected_, expected_ + bytes}}};
    expected_ += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::error_code ignored;
  const std::filesystem::file_status found = std::filesystem::status(path, ignored);
  if (exists(found) && !is_regular_file(found))
    throw Error(ErrorCode::Io, path + ": exists and is not a regular file");
  file_ = std::fopen(temporary_.c_str(), "wb");
  if (!file_) io_error(path_);
  const uint64_t length = text.size();  // little endian, as every machine octet runs on
  write(&length, sizeof length);
  write(text.data(), text.size());
  written_ = 0;
}

TensorFile::~TensorFile() {
  if (file_) std::fclose(file_);
  if (!temporary_.empty()) std::remove(temporary_.c_str());
}

void TensorFile::write(const void* data, size_t bytes) {
  if (std::fwrite(data, 1, bytes, file_) != bytes) io_error(path_);
  written_ += bytes;
}

void TensorFile::finish() {
  if (written_ != expected_)
    throw Error(ErrorCode::Internal,
                path_ + ": " + std::to_string(written_) + " bytes of " + std::to_string(expected_));
  const bool flushed = std::fflush(file_) == 0 && fsync(fileno(file_)) == 0;
  const bool closed = std::fclose(std::exchange(file_, nullptr)) == 0;
  if (!flushed || !closed || std::rename(temporary_.c_str(), path_.c_str()) != 0) io_error(path_);
  temporary_.clear();
}

}  // namespace octet::tools
