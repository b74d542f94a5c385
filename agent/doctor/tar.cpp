#include "agent/doctor/tar.hpp"

#include <array>
#include <cstdio>
#include <cstring>

namespace sepal::agent::doctor {
namespace {

constexpr size_t kBlock = 512;

// A field of octal digits, NUL at its end.
void put_octal(char* field, size_t size, uint64_t value) {
  for (size_t i = size - 1; i-- > 0; value >>= 3U) field[i] = static_cast<char>('0' + (value & 7U));
  field[size - 1] = '\0';
}

// struct posix_header of tar.h: name 100, mode 8, uid 8, gid 8, size 12, mtime 12, chksum 8, typeflag 1, linkname 100,
// magic 6, version 2, uname 32, gname 32, …
std::array<char, kBlock> make_header(const TarFile& file, uint64_t seconds) {
  std::array<char, kBlock> header{};
  std::memcpy(header.data(), file.name.data(), file.name.size());
  put_octal(header.data() + 100, 8, 0644);
  put_octal(header.data() + 108, 8, 0);
  put_octal(header.data() + 116, 8, 0);
  put_octal(header.data() + 124, 12, file.content.size());
  put_octal(header.data() + 136, 12, seconds);
  header[156] = '0';
  std::memcpy(header.data() + 257, "ustar\00000", 8);
  std::memcpy(header.data() + 265, "root", 4);
  std::memcpy(header.data() + 297, "root", 4);
  // The sum is made with spaces in its own place.
  std::memset(header.data() + 148, ' ', 8);
  uint64_t sum = 0;
  for (const char byte : header) sum += static_cast<unsigned char>(byte);
  put_octal(header.data() + 148, 7, sum);
  return header;
}

}  // namespace

Result<std::string> make_tar(const std::vector<TarFile>& files, uint64_t seconds) {
  constexpr size_t kNameMax = 99;
  std::string archive;
  for (const TarFile& file : files) {
    if (file.name.empty() || file.name.size() > kNameMax || file.name.front() == '/')
      return fail(Errc::internal, "a name that does not fit into an archive: " + file.name);
    const auto header = make_header(file, seconds);
    archive.append(header.data(), header.size());
    archive += file.content;
    archive.append((kBlock - file.content.size() % kBlock) % kBlock, '\0');
  }
  archive.append(2 * kBlock, '\0');  // the end
  return archive;
}

}  // namespace sepal::agent::doctor
