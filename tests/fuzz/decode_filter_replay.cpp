// Runs the fuzz target over the captured messages of tests/wire, where there is no libFuzzer: each whole, cut short at
// every byte with a length that agrees, and with every byte changed in several ways.
// Inputs that a fuzzer once found stand in seeds/ and are run in the same way.
//   replay_decode_filter SEEDS               as a test
//   replay_decode_filter --write DIRECTORY   writes the captured messages there as seeds for libFuzzer
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/wire/vector.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

// A copy of exactly this size, so that the sanitizer sees each byte read beyond it.
void run(Bytes bytes) {
  bytes.shrink_to_fit();
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

void run_variants(const Bytes& whole) {
  run(whole);
  for (uint32_t size = 0; size < whole.size(); ++size) {
    Bytes cut(whole.begin(), whole.begin() + size);
    run(cut);
    if (size >= sizeof size) std::memcpy(cut.data(), &size, sizeof size);
    run(cut);
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {1, 4, 0x80, 0xff}) {
      Bytes changed = whole;
      changed[at] = static_cast<uint8_t>(changed[at] ^ change);
      run(changed);
    }
  }
}

size_t run_seeds(const std::string& directory) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream in(entry.path(), std::ios::binary);
    run_variants(Bytes(std::istreambuf_iterator<char>(in), {}));
    ++count;
  }
  return count;
}

void write_seed(const std::string& path, const Bytes& bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

int main(int argc, char** argv) {
  const bool writing = argc == 3 && std::string(argv[1]) == "--write";
  if (argc != 2 && !writing) {
    std::fprintf(stderr, "usage: replay_decode_filter SEEDS | --write DIRECTORY\n");
    return 64;
  }
  size_t messages = 0;
  for (const char* folder : {"requests", "replies"}) {
    for (const sepal::wire::Vector& vector : sepal::wire::load_vectors(folder)) {
      ++messages;
      if (writing)
        write_seed(std::string(argv[2]) + "/" + folder + "-" + vector.name, vector.bytes);
      else
        run_variants(vector.bytes);
    }
  }
  const size_t seeds = writing ? 0 : run_seeds(argv[1]);
  std::printf("%zu messages, %zu seeds\n", messages, seeds);
  return messages < 100 || (!writing && seeds == 0) ? 1 : 0;
}
