#include <cstring>
#include <set>

#include "lib/core/checked.h"
#include "lib/core/error.h"
#include "lib/io/json.h"
#include "lib/io/safetensors.h"

namespace octet {
namespace {

constexpr uint64_t alignment = 64;

/// Bytes from `size` to the next boundary.
uint64_t padding(uint64_t size) {
  return (alignment - size % alignment) % alignment;
}

uint64_t tensor_bytes(const std::string& path, const SafetensorsWriter::Plan& tensor) {
  const uint64_t element = safetensors_element_bytes(tensor.dtype);
  require(element > 0, ErrorCode::InvalidArgument, path, ": tensor ", tensor.name,
          ": unknown dtype \"", tensor.dtype, "\"");
  uint64_t count = 0, bytes = 0;
  // Below 2^48, so that a sum of many cannot overflow either.
  const bool fits = checked_product(tensor.shape, count) && checked_mul(count, element, bytes) &&
                    bytes < uint64_t{1} << 48;
  require(fits, ErrorCode::InvalidArgument, path, ": tensor ", tensor.name,
          ": the size of its shape overflows");
  return bytes;
}

std::string quoted(const std::string& path, const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception& problem) {
    fail(ErrorCode::InvalidArgument, path, ": ", json_problem(problem));
  }
}

/// The members of the header's object, and where the data of the next tensor begins.
class Header {
 public:
  Header(const std::string& path, bool aligned) : path_(path), aligned_(aligned) {}

  void add_metadata(const std::map<std::string, std::string>& metadata) {
    if (metadata.empty()) return;
    std::string members;
    for (const auto& [key, value] : metadata) {
      if (!members.empty()) members += ',';
      members += quoted(path_, key) + ':' + quoted(path_, value);
    }
    members_ = "\"__metadata__\":{" + members + "}";
  }

  /// Returns where the tensor's data begins.
  uint64_t add_tensor(const SafetensorsWriter::Plan& tensor) {
    if (const uint64_t pad = padding(end_); aligned_ && pad > 0)
      add_range({str("octet.pad.", pads_++), "U8", {pad}}, pad);
    const uint64_t begin = end_;
    add_range(tensor, tensor_bytes(path_, tensor));
    return begin;
  }

  uint64_t data_bytes() const { return end_; }

  /// The length field and the header, padded with spaces to the alignment.
  std::string text() const {
    std::string text = "{" + members_ + "}";
    text.append(padding(sizeof(uint64_t) + text.size()), ' ');
    const uint64_t length = text.size();
    std::string head(sizeof length, '\0');
    std::memcpy(head.data(), &length, sizeof length);
    return head + text;
  }

 private:
  void add_range(const SafetensorsWriter::Plan& tensor, uint64_t bytes) {
    std::string shape;
    for (uint64_t extent : tensor.shape) shape += (shape.empty() ? "" : ",") + str(extent);
    add(tensor.name, str("{\"dtype\":\"", tensor.dtype, "\",\"shape\":[", shape,
                         "],\"data_offsets\":[", end_, ",", end_ + bytes, "]}"));
    end_ += bytes;
  }

  void add(const std::string& name, const std::string& value) {
    require(names_.insert(name).second, ErrorCode::InvalidArgument, path_, ": tensor ", name,
            " is planned twice");
    if (!members_.empty()) members_ += ',';
    members_ += quoted(path_, name) + ':' + value;
  }

  const std::string& path_;
  bool aligned_;
  std::string members_;
  std::set<std::string> names_{"__metadata__"};
  uint64_t end_ = 0;
  int pads_ = 0;
};

}  // namespace

SafetensorsWriter::Layout SafetensorsWriter::plan_layout(
    const std::string& path, const std::map<std::string, std::string>& metadata,
    const std::vector<Plan>& tensors, bool aligned) {
  Header header(path, aligned);
  header.add_metadata(metadata);
  Layout layout;
  for (const Plan& tensor : tensors) {
    const uint64_t begin = header.add_tensor(tensor);
    layout.ranges.push_back({begin, header.data_bytes() - begin});
    layout.unwritten += layout.ranges.back().size;
  }
  layout.head = header.text();
  for (Range& range : layout.ranges) range.begin += layout.head.size();
  layout.file_size = layout.head.size() + header.data_bytes();
  return layout;
}

SafetensorsWriter::SafetensorsWriter(const OutputPath& path,
                                     const std::map<std::string, std::string>& metadata,
                                     const std::vector<Plan>& tensors, bool aligned)
    : SafetensorsWriter(path, plan_layout(path.shown, metadata, tensors, aligned)) {}

SafetensorsWriter::SafetensorsWriter(const OutputPath& path, Layout layout)
    : path_(path.shown),
      ranges_(std::move(layout.ranges)),
      unwritten_(layout.unwritten),
      file_size_(layout.file_size),
      file_(path, layout.file_size) {
  file_.write(0, std::as_bytes(std::span(layout.head)));
}

void SafetensorsWriter::write(size_t index, uint64_t offset, std::span<const std::byte> bytes) {
  require(index < ranges_.size(), ErrorCode::Internal, path_, ": tensor ", index, " of ",
          ranges_.size());
  const Range& range = ranges_[index];
  require(offset <= range.size && bytes.size() <= range.size - offset, ErrorCode::Internal, path_,
          ": tensor ", index, ": ", bytes.size(), " bytes at ", offset, " of ", range.size);
  file_.write(range.begin + offset, bytes);
  unwritten_ -= bytes.size();
}

uint64_t SafetensorsWriter::finish() {
  const uint64_t unwritten = unwritten_;
  require(unwritten == 0, ErrorCode::Internal, path_, ": ", unwritten,
          " bytes have not been written");
  file_.commit();
  return file_size_;
}

}  // namespace octet
