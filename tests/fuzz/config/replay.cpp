// Runs a fuzz target over files and over the files of directories: what libFuzzer's own main would do with them, where
// there is no libFuzzer. Each seed is run whole, cut short at every hundredth byte, and with single bytes changed.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;

void run(const std::string& text) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// The same changes in every run: a failure can be repeated.
void run_variants(const std::string& text, std::mt19937& random) {
  constexpr int kChanges = 40;
  const std::string special("[]{},:-?&*!|>'\"%@`#\n \t\0\xff", 24);
  for (size_t end = 0; end < text.size(); end += 100) run(text.substr(0, end));
  for (int i = 0; i < kChanges && !text.empty(); ++i) {
    std::string changed = text;
    changed[random() % changed.size()] = special[random() % special.size()];
    run(changed);
  }
}

void run_file(const fs::path& path, std::mt19937& random) {
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  run(text);
  run_variants(text, random);
}

}  // namespace

int main(int argc, char** argv) {
  std::mt19937 random(1);
  size_t count = 0;
  for (int i = 1; i < argc; ++i) {
    if (fs::is_regular_file(argv[i])) run_file(argv[i], random), ++count;
    if (!fs::is_directory(argv[i])) continue;
    for (const auto& entry : fs::recursive_directory_iterator(argv[i])) {
      if (entry.is_regular_file()) run_file(entry.path(), random), ++count;
    }
  }
  std::printf("%zu seeds\n", count);
  return count == 0 ? 1 : 0;
}
