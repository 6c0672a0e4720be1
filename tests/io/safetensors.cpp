#include "lib/io/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/core/mapped_file.h"
#include "support/temporary_folder.h"

using namespace octet;
using test::TemporaryFolder;

namespace {

std::string file_bytes(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + std::string(data_bytes, 'x');
}

Safetensors parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file)), "f.safetensors");
}

/// The message of the InvalidFile error that parsing gives; empty if it succeeds.
std::string rejection(const std::string& file) {
  try {
    parse(file);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::InvalidFile);
    return error.what();
  }
  return "";
}

std::vector<std::byte> pattern(size_t size, int seed) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + 7 * i);
  return bytes;
}

}  // namespace

TEST_CASE("a minimal safetensors header is read") {
  const std::string file =
      file_bytes(R"({"__metadata__":{"a":"b"},)"
                 R"("t":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                 R"("s":{"dtype":"U8","shape":[],"data_offsets":[24,25]},)"
                 R"("z":{"dtype":"F32","shape":[4,0],"data_offsets":[25,25]}}  )",
                 25);
  const Safetensors result = parse(file);
  CHECK(result.metadata == std::map<std::string, std::string>{{"a", "b"}});
  REQUIRE(result.tensors.size() == 3);
  CHECK(result.find("t")->shape == std::vector<uint64_t>{2, 3});
  CHECK(result.find("t")->data.size() == 24);
  CHECK(result.find("s")->data.size() == 1);
  CHECK(result.find("z")->data.empty());
  CHECK(result.find("nothing") == nullptr);
}

TEST_CASE("what a safetensors header must not say is named in the error") {
  const auto tensor = [](const std::string& inside) {
    return rejection(file_bytes("{\"t\":{" + inside + "}}", 4));
  };
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  CHECK(tensor(good) == "");
  CHECK(tensor(good + R"(,"dtype":"F32")").find("dtype occurs twice") != std::string::npos);
  CHECK(tensor(good + R"(,"extra":1)").find("unknown key \"extra\"") != std::string::npos);
  CHECK(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])").find("3 data_offsets") !=
        std::string::npos);
  CHECK(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])").find("4 bytes of data") !=
        std::string::npos);
  CHECK(tensor(R"("dtype":["F32"],"shape":[1],"data_offsets":[0,4])") != "");
  CHECK(tensor(R"("dtype":"F32","shape":{},"data_offsets":[0,4])") != "");
  CHECK(tensor(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])") != "");
  CHECK(tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])") != "");
  CHECK(tensor(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4])") != "");
  const std::string list = R"("dtype":"F32","shape":[)" + std::string(2000, ' ') + "1";
  std::string ones = list;
  for (int i = 0; i < 100; ++i) ones += ",1";
  CHECK(tensor(ones + R"(],"data_offsets":[0,4])").find("more than 64") != std::string::npos);

  CHECK(rejection(file_bytes("{}", 0)) == "");
  CHECK(rejection(file_bytes("{}", 1)).find("1 bytes after the last tensor") != std::string::npos);
  CHECK(rejection(file_bytes("{}x", 0)) != "");
  CHECK(rejection(file_bytes(std::string("{}\0x", 4), 0)).find("NUL") != std::string::npos);
  CHECK(rejection(file_bytes(R"({"__metadata__":{"a":"b","a":"c"}})", 0)) != "");
  CHECK(rejection(file_bytes(R"({"__metadata__":{},"__metadata__":{}})", 0)) != "");
  CHECK(rejection(file_bytes(R"({"__metadata__":[]})", 0)) != "");
  CHECK(rejection(file_bytes(R"({"t":null})", 0)) != "");
}

TEST_CASE("a deeply nested safetensors header is rejected at once") {
  CHECK(rejection(file_bytes(std::string(10 << 20, '['), 0)).find("list") != std::string::npos);
  std::string objects;
  for (int i = 0; i < 1 << 20; ++i) objects += "{\"a\":";
  CHECK(rejection(file_bytes(objects, 0)).find("unknown key") != std::string::npos);
}

TEST_CASE("a written file is read back, aligned, without gaps") {
  const TemporaryFolder folder;
  const std::string path = folder.file("out.safetensors");
  const std::vector<SafetensorsWriter::Plan> plan = {
      {"first \"quoted\" \u00e9", "F32", {3, 5}},  // 60 bytes
      {"second", "I8", {64}},
      {"empty", "F16", {0, 7}},
      {"scalar", "BF16", {}},
      {"last", "U8", {65}}};
  uint64_t size = 0;
  {
    SafetensorsWriter writer(path, {{"octet.format", "1"}, {"text", "line\nnext"}}, plan);
    writer.write(4, 0, pattern(65, 5));
    const auto first = pattern(60, 1);
    writer.write(0, 20, std::span(first).subspan(20));
    writer.write(0, 0, std::span(first).first(20));
    writer.write(1, 0, pattern(64, 2));
    writer.write(3, 0, pattern(2, 4));
    CHECK_FALSE(std::filesystem::exists(path));
    size = writer.finish();
  }
  CHECK(std::filesystem::file_size(path) == size);
  const MappedFile file(path);
  const Safetensors result = parse_safetensors(file.bytes(), path);
  CHECK(result.metadata.at("text") == "line\nnext");
  CHECK(result.metadata.size() == 2);
  const size_t sizes[] = {60, 64, 0, 2, 65};
  for (size_t i = 0; i < plan.size(); ++i) {
    const SafetensorsEntry* entry = result.find(plan[i].name);
    REQUIRE(entry != nullptr);
    CHECK(entry->dtype == plan[i].dtype);
    CHECK(entry->shape == plan[i].shape);
    CHECK((entry->data.data() - file.bytes().data()) % 64 == 0);
    const auto expected = pattern(sizes[i], static_cast<int>(i) + 1);
    CHECK(std::vector(entry->data.begin(), entry->data.end()) == expected);
  }
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("the writer's header is plain JSON padded with spaces, its tensors back to back") {
  const TemporaryFolder folder;
  const std::string path = folder.file("out.safetensors");
  SafetensorsWriter writer(path, {}, {{"a", "U8", {1}}, {"b", "U8", {2}}});
  writer.write(0, 0, pattern(1, 1));
  writer.write(1, 0, pattern(2, 2));
  writer.finish();
  const std::string file = read_file(path, 10000);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  CHECK((8 + length) % 64 == 0);
  const std::string text = file.substr(8, length);
  CHECK(text.find_first_not_of(' ', text.find_last_of('}') + 1) == std::string::npos);
  const auto header = nlohmann::json::parse(text);
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, entry] : header.items())
    ranges.emplace_back(entry["data_offsets"][0], entry["data_offsets"][1]);
  std::sort(ranges.begin(), ranges.end());
  CHECK(ranges == std::vector<std::pair<uint64_t, uint64_t>>{{0, 1}, {1, 64}, {64, 66}});
  CHECK(file.size() == 8 + length + 66);
  CHECK(header.contains("octet.pad.0"));
}

TEST_CASE("an unfinished file leaves nothing behind") {
  const TemporaryFolder folder;
  const std::string path = folder.write("out.safetensors", "old");
  {
    SafetensorsWriter writer(path, {}, {{"a", "U8", {4}}});
    writer.write(0, 0, pattern(3, 1));
    CHECK_THROWS_WITH_AS(writer.finish(), doctest::Contains("1 bytes have not been written"),
                         Error);
  }
  CHECK(read_file(path, 10) == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("the writer refuses what would not be a valid file") {
  const TemporaryFolder folder;
  const std::string path = folder.file("out.safetensors");
  const auto code = [&](const std::vector<SafetensorsWriter::Plan>& plan) {
    try {
      SafetensorsWriter writer(path, {}, plan);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::Internal;
  };
  CHECK(code({{"a", "U8", {1}}, {"a", "U8", {1}}}) == ErrorCode::InvalidArgument);
  CHECK(code({{"__metadata__", "U8", {1}}}) == ErrorCode::InvalidArgument);
  CHECK(code({{"a", "Q4_K", {1}}}) == ErrorCode::InvalidArgument);
  CHECK(code({{"a", "F32", {uint64_t{1} << 62, 4}}}) == ErrorCode::InvalidArgument);
  CHECK(code({{"\xff", "U8", {1}}}) == ErrorCode::InvalidArgument);
  CHECK_THROWS_AS(SafetensorsWriter(folder.file("no/such/folder"), {}, {}), Error);
  CHECK_THROWS_AS(SafetensorsWriter(folder.path(), {}, {}), Error);
  SafetensorsWriter writer(path, {}, {{"a", "U8", {4}}});
  CHECK_THROWS_AS(writer.write(0, 2, pattern(3, 0)), Error);
  CHECK_THROWS_AS(writer.write(0, UINT64_MAX, pattern(1, 0)), Error);
  CHECK_THROWS_AS(writer.write(1, 0, pattern(1, 0)), Error);
}
