// Runs the fuzz target over the captured messages of tests/wire, where there is no libFuzzer: each whole, cut short at
// every byte with a length that agrees, and with every byte changed in several ways.
//   replay_decode_filter              as a test
//   replay_decode_filter DIRECTORY    writes the messages there as seeds for libFuzzer
#include <cstdio>
#include <cstring>
#include <fstream>

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

}  // namespace

int main(int argc, char** argv) {
  size_t count = 0;
  for (const char* folder : {"requests", "replies"}) {
    for (const sepal::wire::Vector& vector : sepal::wire::load_vectors(folder)) {
      ++count;
      if (argc < 2) {
        run_variants(vector.bytes);
        continue;
      }
      std::ofstream out(std::string(argv[1]) + "/" + folder + "-" + vector.name, std::ios::binary);
      out.write(reinterpret_cast<const char*>(vector.bytes.data()), static_cast<std::streamsize>(vector.bytes.size()));
    }
  }
  std::printf("%zu messages\n", count);
  return count < 100 ? 1 : 0;
}
