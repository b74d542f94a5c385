// A tar archive in memory, as every tar reads it (POSIX ustar): plain files only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace sepal::agent::doctor {

struct TarFile {
  std::string name;  // "sepal-doctor/doctor.txt"; at most 99 bytes, relative
  std::string content;
};

// `seconds`: since 1970, the files' time. Errc::internal: a name that does not fit.
Result<std::string> make_tar(const std::vector<TarFile>& files, uint64_t seconds);

}  // namespace sepal::agent::doctor
