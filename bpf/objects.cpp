// See objects.hpp; libbpf.h, bpf(2).
#include "bpf/objects.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace sepal::bpf {
namespace {

constexpr size_t kKernelWordsMax = 400;  // of libbpf's and the verifier's words, kept for the error

// libbpf reports through one callback per process, without context: collected while one object is loaded.
thread_local std::string* libbpf_words = nullptr;

[[gnu::format(printf, 2, 0)]] int collect_words(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN || libbpf_words == nullptr) return 0;
  std::array<char, 4096> text{};
  const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
  *libbpf_words += text.data();
  return length;
}

}  // namespace

CollectedWords::CollectedWords() : before_(::libbpf_set_print(collect_words)) { libbpf_words = &words_; }

CollectedWords::~CollectedWords() {
  libbpf_words = nullptr;
  ::libbpf_set_print(before_);
}

std::string CollectedWords::text() const {
  std::string line = words_.size() > kKernelWordsMax ? words_.substr(words_.size() - kKernelWordsMax) : words_;
  while (!line.empty() && line.back() == '\n') line.pop_back();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

void CloseObject::operator()(bpf_object* object) const { ::bpf_object__close(object); }

Result<UniqueFd> duplicate(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return fail_errno(errno, "duplicate a descriptor");
  return copy;
}

Result<ProgramInfo> program_info(int fd) {
  std::array<uint32_t, 8> map_ids{};
  bpf_prog_info info{};
  info.nr_map_ids = map_ids.size();
  info.map_ids = reinterpret_cast<uintptr_t>(map_ids.data());
  uint32_t size = sizeof info;
  if (::bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return fail_errno(errno, "ask for an eBPF program's tag");
  ProgramInfo result;
  result.id = info.id;
  static_assert(sizeof info.tag == sizeof result.tag);
  std::memcpy(result.tag.data(), info.tag, sizeof info.tag);
  result.map_ids.assign(map_ids.begin(), map_ids.begin() + std::min<size_t>(info.nr_map_ids, map_ids.size()));
  return result;
}

Result<bpf_map_info> map_info(int fd) {
  bpf_map_info info{};
  uint32_t size = sizeof info;
  if (::bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return fail_errno(errno, "ask for an eBPF map's layout");
  return info;
}

bool same_layout(const bpf_map_info& info, const bpf_map* map) {
  return info.type == ::bpf_map__type(map) && info.key_size == ::bpf_map__key_size(map) &&
         info.value_size == ::bpf_map__value_size(map);
}

}  // namespace sepal::bpf
