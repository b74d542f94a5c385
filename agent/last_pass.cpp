// One line: "sepal-last-pass 1 PROGRAM INPUT LEFT RULES", numbers in hexadecimal.
#include "agent/last_pass.hpp"

#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "agent/state.hpp"

namespace sepal::agent {
namespace {

constexpr const char* kHeader = "sepal-last-pass 1";

constexpr size_t padded(size_t size) { return (size + 3) & ~size_t{3}; }

// Of one segment of notes: header, name "GNU", the id.
std::string build_id_in(const uint8_t* at, size_t left) {
  while (left >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note{};
    std::memcpy(&note, at, sizeof note);
    const size_t name_at = sizeof note;
    const size_t id_at = name_at + padded(note.n_namesz);
    const size_t size = id_at + padded(note.n_descsz);
    if (size > left) return {};
    const bool gnu = note.n_namesz == 4 && std::memcmp(at + name_at, "GNU", 4) == 0;
    if (gnu && note.n_type == NT_GNU_BUILD_ID) {
      constexpr char kDigits[] = "0123456789abcdef";
      std::string text;
      for (size_t i = 0; i < note.n_descsz; ++i) {
        text += kDigits[at[id_at + i] >> 4U];
        text += kDigits[at[id_at + i] & 15U];
      }
      return text;
    }
    at += size;
    left -= size;
  }
  return {};
}

// The program itself is the first object told of.
int take_build_id(dl_phdr_info* info, size_t /*size*/, void* into) {
  auto& id = *static_cast<std::string*>(into);
  for (size_t i = 0; i < info->dlpi_phnum && id.empty(); ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    id = build_id_in(reinterpret_cast<const uint8_t*>(info->dlpi_addr + segment.p_vaddr), segment.p_memsz);
  }
  return 1;
}

}  // namespace

std::optional<LastPass> load_last_pass(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line) || !line.starts_with(kHeader)) return std::nullopt;
  std::istringstream words(line.substr(std::strlen(kHeader)));
  LastPass last;
  std::string more;
  words >> last.program >> std::hex >> last.input >> last.left >> last.rules;
  if (!words || words >> more) return std::nullopt;
  return last;
}

Result<void> save_last_pass(const std::string& path, const LastPass& last) {
  std::ostringstream text;
  text << kHeader << ' ' << last.program << std::hex << ' ' << last.input << ' ' << last.left << ' ' << last.rules
       << '\n';
  return replace_file(path, text.str());
}

void forget_last_pass(const std::string& path) { ::unlink(path.c_str()); }

std::string program_id() {
  std::string id;
  ::dl_iterate_phdr(take_build_id, &id);
  return id;
}

}  // namespace sepal::agent
